/* options.h - ONE table of options drives everything: loading a job file, --set, --help=WORD, check,
 * resolved.yaml, the config hash and what --resume may change.
 *
 * A row says where the value lives in a plain struct (offset), its type, bounds, unit, default, choices,
 * to which models it applies, and its help. Mistakes name file, line, column, key, what is allowed and
 * the nearest right key. Numbers take k, M, G (1000s for counts; 1024s for bytes, as 64M, 64MiB) and
 * us, ms, s, m, h, d for times; nan, inf, 1e400 and trailing junk are refused.
 * The only getenv of the project (option_env) is here as well.
 */
#ifndef PENSTOCK_COMMON_BASE_OPTIONS_H
#define PENSTOCK_COMMON_BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"
#include "common/base/option.h"
#include "common/base/yaml.h"

struct option_table {
    const struct option *rows;
    size_t rows_used;
};

/* Put defaults everywhere; dst is all zeros before. What is required stays zero until loaded. */
void options_defaults(const struct option_table *t, void *dst);
/* One row back to its default (a required one: zero); what it held is freed. */
void options_default(const struct option *row, void *dst);
void options_release(const struct option_table *t, void *dst);
/* Load the map `node` (nested keys joined by '.'). skip: a top path that somebody else loads
 * ("data.fields"; several with '|' between), or NULL. seen: rows_used flags, set where a key was given. ST_USAGE with a text that
 * begins "file:line:column: key: ". On failure dst may be half loaded: release it. */
MUST_CHECK enum status options_load(const struct option_table *t, const struct yaml_node *node,
                                    const char *file, const char *skip, void *dst, bool *seen,
                                    struct errbuf *err);
/* "train.batch=4096" from the command line. Lists are written [a, b], quotes as in a job. */
MUST_CHECK enum status options_set(const struct option_table *t, const char *assignment, void *dst,
                                   bool *seen, struct errbuf *err);
/* One row's value as it would be written in a job. */
void options_value_text(const struct option *row, const void *src, struct buffer *out);
/* Whether the row's `applies` holds in src (a row without one always applies). */
bool options_applies(const struct option_table *t, const struct option *row, const void *src);
/* All rows as YAML, nested, under `indent` spaces, each with nothing but its value. A row that does not
 * apply is a comment: loaded again it would be refused. */
void options_dump(const struct option_table *t, size_t from, size_t end, const void *src,
                  int indent, struct buffer *out);
/* Rows whose path or help contains word (NULL: all), with type, bounds, default, help. Number shown;
 * out NULL: only counted. */
size_t options_help(const struct option_table *t, const char *word, FILE *out);
/* The row with this path or NULL; nearest: the closest path by edit distance (never NULL). */
const struct option *options_find(const struct option_table *t, const char *path);
const char *options_nearest(const struct option_table *t, const char *path);

/* The project's only getenv. */
const char *option_env(const char *name); /* NULL if unset or empty */

#endif
