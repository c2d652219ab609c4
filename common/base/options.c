/* options.c - the table of options: loading, setting, dumping and explaining all rows alike.
 *
 * A job is a tree of maps, a row is a path through it. Loading walks the tree and looks each path up; so
 * the tree names every key that is given, the table every key that exists, and a mistake is a path that
 * has no row. Everything else (help, the resolved dump, the config hash) walks the table and never the
 * tree: what is not in the table does not exist.
 *
 * The nearest key is found by edit distance with swaps (Damerau, optimal string alignment), of the whole
 * path or, one worse, of its last word alone: "batch" without its section finds train.batch.
 */
#include "common/base/options.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

enum { PATH_MAX_BYTES = 128 };

static void *slot_of(const struct option *row, void *dst)
{
    return (char *)dst + row->offset;
}

static const void *slot_in(const struct option *row, const void *src)
{
    return (const char *)src + row->offset;
}

static bool is_list(enum option_type type)
{
    return type == OPT_TEXTS || type == OPT_PATHS || type == OPT_U64S;
}

/* A value on a command line or in the table: [a list] and "quoted" as in a job, else the text as it is. */
static enum status load_text(const struct option *row, const char *text, void *slot,
                             struct errbuf *err)
{
    size_t n = strlen(text);
    const struct yaml_node *at;
    bool quoted = n >= 2 && (text[0] == '"' || text[0] == '\'') && text[n - 1] == text[0];
    if ((is_list(row->type) && text[0] == '[') || quoted) {
        struct yaml_node *node;
        enum status st = yaml_parse(text, n, "the value", &node, err);
        if (st != ST_OK)
            return st;
        st = option_load(row, node, slot, &at, err);
        yaml_tree_free(node);
        return st;
    }
    bool words = row->type == OPT_TEXT || row->type == OPT_PATH || row->type == OPT_TEXTS ||
                 row->type == OPT_PATHS;
    struct yaml_node node = {.kind = YAML_SCALAR, .quoted = words, .text = (char *)(uintptr_t)text};
    return option_load(row, &node, slot, &at, err);
}

void options_default(const struct option *row, void *dst)
{
    void *slot = slot_of(row, dst);
    option_release(row, slot);
    if (row->def == NULL || (is_list(row->type) && row->def[0] == '\0'))
        return;
    struct errbuf err;
    if (load_text(row, row->def, slot, &err) != ST_OK) {
        fprintf(stderr, "option %s: its default: %s\n", row->path, err.text);
        abort();
    }
}

void options_defaults(const struct option_table *t, void *dst)
{
    for (size_t i = 0; i < t->rows_used; i++)
        options_default(&t->rows[i], dst);
}

void options_release(const struct option_table *t, void *dst)
{
    for (size_t i = 0; i < t->rows_used; i++)
        option_release(&t->rows[i], slot_of(&t->rows[i], dst));
}

/* -- finding -- */

const struct option *options_find(const struct option_table *t, const char *path)
{
    for (size_t i = 0; i < t->rows_used; i++)
        if (strcmp(t->rows[i].path, path) == 0)
            return &t->rows[i];
    return NULL;
}

/* Whether some row lies below this path. */
static bool is_section(const struct option_table *t, const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < t->rows_used; i++)
        if (strncmp(t->rows[i].path, path, n) == 0 && t->rows[i].path[n] == '.')
            return true;
    return false;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static unsigned distance(const char *a, const char *b)
{
    unsigned line[3]
                 [PATH_MAX_BYTES + 1]; /* of the matrix: the one before the last, the last, this */
    size_t na = strnlen(a, PATH_MAX_BYTES), nb = strnlen(b, PATH_MAX_BYTES);
    for (unsigned j = 0; j <= nb; j++)
        line[0][j] = j;
    for (unsigned i = 1; i <= na; i++) {
        unsigned *two = line[(i + 1) % 3], *one = line[(i + 2) % 3], *now = line[i % 3];
        now[0] = i;
        for (unsigned j = 1; j <= nb; j++) {
            unsigned change = a[i - 1] != b[j - 1];
            now[j] = least(least(one[j] + 1, now[j - 1] + 1), one[j - 1] + change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], two[j - 2] + 1);
        }
    }
    return line[na % 3][nb];
}

static const char *last_word(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot == NULL ? path : dot + 1;
}

const char *options_nearest(const struct option_table *t, const char *path)
{
    const char *nearest = t->rows[0].path;
    unsigned best = UINT32_MAX;
    for (size_t i = 0; i < t->rows_used; i++) {
        unsigned d = distance(path, t->rows[i].path);
        d = least(d, distance(last_word(path), last_word(t->rows[i].path)) + 1);
        if (d < best) {
            best = d;
            nearest = t->rows[i].path;
        }
    }
    return nearest;
}

/* -- loading -- */

struct load {
    const struct option_table *t;
    const char *file;
    const char *skip;
    void *dst;
    bool *seen;
    struct errbuf *err;
};

static enum status unknown_key(const struct load *l, const struct yaml_node *key, const char *path,
                               const struct yaml_node *value)
{
    char longer[2 * PATH_MAX_BYTES + 2];
    const char *nearest;
    int n;
    if (value->kind == YAML_MAP && value->items_used > 0) {
        /* A section's name is wrong: its first key says which was meant. */
        snprintf(longer, sizeof longer, "%s.%.*s", path, PATH_MAX_BYTES, value->keys[0]->text);
        nearest = options_nearest(l->t, longer);
        const char *dot = strrchr(nearest, '.');
        n = dot == NULL ? (int)strlen(nearest) : (int)(dot - nearest);
    } else {
        nearest = options_nearest(l->t, path);
        n = (int)strlen(nearest);
    }
    return errbuf_set(l->err, ST_USAGE, "%s:%u:%u: %s: no such key; the nearest is %.*s", l->file,
                      key->line, key->column, path, n, nearest);
}

static enum status load_map(const struct load *l, const struct yaml_node *map, const char *prefix);

static enum status load_section(const struct load *l, const struct yaml_node *value,
                                const char *path)
{
    if (value->kind == YAML_SCALAR && value->text[0] == '\0' && !value->quoted)
        return ST_OK; /* "train:" with everything below it commented out */
    if (value->kind != YAML_MAP)
        return errbuf_set(l->err, ST_USAGE, "%s:%u:%u: %s: must be a map of keys", l->file,
                          value->line, value->column, path);
    return load_map(l, value, path);
}

/* skip: paths with '|' between them, or NULL. */
static bool skipped(const char *skip, const char *path)
{
    size_t n = strlen(path);
    for (; skip != NULL && *skip != '\0'; skip += strcspn(skip, "|"), skip += *skip == '|')
        if (strcspn(skip, "|") == n && memcmp(skip, path, n) == 0)
            return true;
    return false;
}

static enum status load_key(const struct load *l, const struct yaml_node *key,
                            const struct yaml_node *value, const char *prefix)
{
    char path[PATH_MAX_BYTES];
    int n = snprintf(path, sizeof path, "%s%s%s", prefix, *prefix == '\0' ? "" : ".", key->text);
    if (n < 0 || (size_t)n >= sizeof path)
        memcpy(path + sizeof path - 4, "...", 4);
    if (strchr(key->text, '.') != NULL)
        return errbuf_set(l->err, ST_USAGE, "%s:%u:%u: %s: write each part on a level of its own",
                          l->file, key->line, key->column, path);
    if (skipped(l->skip, path))
        return ST_OK;
    const struct option *row = options_find(l->t, path);
    if (row == NULL)
        return is_section(l->t, path) ? load_section(l, value, path)
                                      : unknown_key(l, key, path, value);
    const struct yaml_node *at;
    enum status st = option_load(row, value, slot_of(row, l->dst), &at, l->err);
    if (st != ST_OK)
        return errbuf_wrap(l->err, st, "%s:%u:%u: %s: ", l->file, at->line, at->column, path);
    l->seen[row - l->t->rows] = true;
    return ST_OK;
}

static enum status load_map(const struct load *l, const struct yaml_node *map, const char *prefix)
{
    for (size_t i = 0; i < map->items_used; i++) {
        enum status st = load_key(l, map->keys[i], map->items[i], prefix);
        if (st != ST_OK)
            return st;
    }
    return ST_OK;
}

enum status options_load(const struct option_table *t, const struct yaml_node *node,
                         const char *file, const char *skip, void *dst, bool *seen,
                         struct errbuf *err)
{
    struct load l = {t, file, skip, dst, seen, err};
    if (node->kind != YAML_MAP)
        return errbuf_set(err, ST_USAGE, "%s:%u:%u: must be a map of keys", file, node->line,
                          node->column);
    return load_map(&l, node, "");
}

enum status options_set(const struct option_table *t, const char *assignment, void *dst, bool *seen,
                        struct errbuf *err)
{
    const char *equals = strchr(assignment, '=');
    if (equals == NULL || equals == assignment)
        return errbuf_set(err, ST_USAGE, "--set %.100s: must be KEY=VALUE", assignment);
    char path[PATH_MAX_BYTES];
    snprintf(path, sizeof path, "%.*s", (int)(equals - assignment), assignment);
    const struct option *row = options_find(t, path);
    if (row == NULL && is_section(t, path))
        return errbuf_set(err, ST_USAGE, "--set %s: is a group of keys, not a key", path);
    if (row == NULL)
        return errbuf_set(err, ST_USAGE, "--set %s: no such key; the nearest is %s", path,
                          options_nearest(t, path));
    enum status st = load_text(row, equals + 1, slot_of(row, dst), err);
    if (st != ST_OK)
        return errbuf_wrap(err, st, "--set %s: ", path);
    seen[row - t->rows] = true;
    return ST_OK;
}

/* -- showing -- */

bool options_applies(const struct option_table *t, const struct option *row, const void *src)
{
    if (row->applies == NULL)
        return true;
    const char *equals = strchr(row->applies, '=');
    char path[PATH_MAX_BYTES];
    snprintf(path, sizeof path, "%.*s", (int)(equals - row->applies), row->applies);
    const struct option *judge = options_find(t, path);
    assert(judge != NULL && "applies names a row of the same table");
    struct buffer value = BUFFER_INIT;
    options_value_text(judge, src, &value);
    bool holds = false;
    for (const char *at = equals + 1; !holds; at++) {
        size_t n = strcspn(at, "|");
        holds = n == value.used && memcmp(at, value.data, n) == 0;
        at += n;
        if (*at == '\0')
            break;
    }
    buffer_release(&value);
    return holds;
}

void options_value_text(const struct option *row, const void *src, struct buffer *out)
{
    option_put(row, slot_in(row, src), out);
}

/* The sections that `path` opens beyond those that `before` has open. */
static void put_sections(const char *path, const char *before, int indent, struct buffer *out)
{
    int depth = 0;
    bool same = true;
    for (const char *dot = strchr(path, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
        size_t n = (size_t)(dot - path) + 1;
        same = same && strncmp(path, before, n) == 0;
        const char *word = dot;
        while (word > path && word[-1] != '.')
            word--;
        if (!same)
            buffer_printf(out, "%*s%.*s:\n", indent + 2 * depth, "", (int)(dot - word), word);
        depth++;
    }
}

void options_dump(const struct option_table *t, size_t from, size_t end, const void *src,
                  int indent, struct buffer *out)
{
    const char *before = "";
    for (size_t i = from; i < end; i++) {
        const struct option *row = &t->rows[i];
        put_sections(row->path, before, indent, out);
        before = row->path;
        int depth = 0;
        for (const char *at = row->path; *at != '\0'; at++)
            depth += *at == '.';
        bool applies = options_applies(t, row, src);
        buffer_printf(out, "%*s%s%s: ", indent + 2 * depth, "", applies ? "" : "# ",
                      last_word(row->path));
        options_value_text(row, src, out);
        buffer_printf(out, applies ? "\n" : "  (%s)\n", row->applies);
    }
}

size_t options_help(const struct option_table *t, const char *word, FILE *out)
{
    size_t shown = 0;
    for (size_t i = 0; i < t->rows_used; i++) {
        const struct option *row = &t->rows[i];
        if (word != NULL && strcasestr(row->path, word) == NULL &&
            strcasestr(row->help, word) == NULL)
            continue;
        shown++;
        if (out == NULL)
            continue;
        struct buffer allowed = BUFFER_INIT;
        option_put_allowed(row, &allowed);
        fprintf(out, "  %s\n      %s\n      %s: %s; %s%s%s%s\n", row->path, row->help,
                option_type_name(row->type), buffer_text(&allowed),
                row->def == NULL ? "required" : "default ",
                row->def == NULL    ? ""
                : *row->def == '\0' ? "empty"
                                    : row->def,
                row->applies == NULL ? "" : "; only with ",
                row->applies == NULL ? "" : row->applies);
        buffer_release(&allowed);
    }
    return shown;
}

const char *option_env(const char *name)
{
    const char *value = getenv(name);
    return value == NULL || *value == '\0' ? NULL : value;
}
