/* yaml.h - a YAML document as a tree with marks; the only door to yaml.h of libyaml.
 *
 * A safe subset: no aliases, anchors, tags, duplicate keys or several documents; depth (32), nodes and
 * bytes (1 MiB) are bounded. Every node knows its line and column, so that every complaint can name them.
 */
#ifndef PENSTOCK_COMMON_BASE_YAML_H
#define PENSTOCK_COMMON_BASE_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    bool quoted;              /* scalar in quotes: text, never a number or null */
    uint32_t line;            /* from 1 */
    uint32_t column;          /* from 1 */
    char *text;               /* scalar; owned */
    size_t items_used;        /* list: items; map: pairs */
    struct yaml_node **keys;  /* map: scalars; owned */
    struct yaml_node **items; /* list items or map values; owned */
};

/* name: how the text is called in errors ("job.yaml"). An empty document is an empty map.
 * ST_USAGE: "job.yaml:3:5: ...". */
MUST_CHECK enum status yaml_parse(const char *text, size_t n, const char *name,
                                  struct yaml_node **out, struct errbuf *err);
/* Not yaml_free: libyaml exports that name for its own memory, and ours would take its place. */
void yaml_tree_free(struct yaml_node *n);                                       /* NULL is fine */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key); /* or NULL */

#endif
