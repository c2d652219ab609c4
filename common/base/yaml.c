/* yaml.c - a YAML document as a tree with marks; the only door to libyaml's yaml.h.
 *
 * The tree is built from libyaml's events, not from its documents: an alias is then a word in the text and
 * never a second pointer, so nothing can grow beyond the text (a bomb of nine lines is refused at its
 * first anchor), and each node keeps the line and column where it stands.
 *
 * Refused with their place: aliases, anchors, tags, directives, keys that are not plain texts, the same key
 * twice in a map, a second document, NUL inside a text, nesting beyond DEPTH_MAX, more than NODES_MAX
 * nodes, more than PAIRS_MAX keys in one map (duplicates are searched pair by pair), more than BYTES_MAX.
 *
 * The builder keeps a stack of open lists and maps; a map with one key more than values waits for a value.
 * On any error the whole tree hangs on the root, and one yaml_tree_free gives it back.
 */
#include <yaml.h>

#include "common/base/yaml.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

/* DEPTH_MAX stands in a message, too. */
enum { DEPTH_MAX = 32, NODES_MAX = 65536, PAIRS_MAX = 1024, BYTES_MAX = 1 << 20 };

struct open_node {
    struct yaml_node *node; /* borrowed from the tree */
    size_t cap;             /* of its items and keys */
    size_t keys_used;       /* map: one more than items_used while a value is awaited */
};

struct builder {
    const char *name; /* borrowed */
    struct yaml_node *root;
    struct open_node stack[DEPTH_MAX];
    size_t depth;
    size_t nodes;
    size_t documents;
    bool done;
};

static enum status complain(const struct builder *b, yaml_mark_t at, const char *what,
                            struct errbuf *err)
{
    return errbuf_set(err, ST_USAGE, "%s:%zu:%zu: %s", b->name, at.line + 1, at.column + 1, what);
}

static void free_node(struct yaml_node *n)
{
    /* Recursion is as deep as the tree: DEPTH_MAX. */
    if (n == NULL)
        return;
    for (size_t i = 0; i < n->items_used; i++)
        free_node(n->items[i]);
    for (size_t i = 0; n->keys != NULL && n->keys[i] != NULL; i++)
        free_node(n->keys[i]);
    free(n->items);
    free(n->keys);
    free(n->text);
    free(n);
}

void yaml_tree_free(struct yaml_node *n)
{
    free_node(n);
}

static struct yaml_node *new_node(struct builder *b, enum yaml_kind kind, yaml_mark_t at)
{
    struct yaml_node *n = mem_zalloc(sizeof *n);
    n->kind = kind;
    n->line = (uint32_t)at.line + 1;
    n->column = (uint32_t)at.column + 1;
    b->nodes++;
    return n;
}

/* Room for one item more; keys keep a NULL behind the last, so that free_node finds the end even when a
 * key has no value yet. */
static void grow(struct open_node *o)
{
    size_t need = o->keys_used > o->node->items_used ? o->keys_used : o->node->items_used;
    if (need + 2 <= o->cap)
        return;
    size_t was = o->cap, items_cap = o->cap, keys_cap = o->cap;
    mem_grow(&o->node->items, &items_cap, need + 2, sizeof(struct yaml_node *));
    o->cap = items_cap;
    if (o->node->kind != YAML_MAP)
        return;
    mem_grow(&o->node->keys, &keys_cap, need + 2, sizeof(struct yaml_node *));
    for (size_t i = was; i < keys_cap; i++)
        o->node->keys[i] = NULL;
}

static enum status add_key(const struct builder *b, struct open_node *o, struct yaml_node *key,
                           yaml_mark_t at, struct errbuf *err)
{
    if (key->kind != YAML_SCALAR)
        return complain(b, at, "a key must be a text", err);
    if (o->keys_used == PAIRS_MAX)
        return complain(b, at, "too many keys in one map", err);
    for (size_t i = 0; i < o->keys_used; i++)
        if (strcmp(o->node->keys[i]->text, key->text) == 0)
            return errbuf_set(err, ST_USAGE, "%s:%zu:%zu: %s: this key stands in line %u already",
                              b->name, at.line + 1, at.column + 1, key->text,
                              o->node->keys[i]->line);
    o->node->keys[o->keys_used++] = key;
    return ST_OK;
}

/* Hang n, a new node, into the tree; on failure it stays the caller's. */
static enum status hang(struct builder *b, struct yaml_node *n, yaml_mark_t at, struct errbuf *err)
{
    if (b->nodes > NODES_MAX)
        return complain(b, at, "too many values", err);
    if (b->depth == 0) {
        b->root = n;
        return ST_OK;
    }
    struct open_node *o = &b->stack[b->depth - 1];
    grow(o);
    if (o->node->kind == YAML_MAP && o->keys_used == o->node->items_used)
        return add_key(b, o, n, at, err);
    o->node->items[o->node->items_used++] = n;
    return ST_OK;
}

static enum status open_node(struct builder *b, enum yaml_kind kind, yaml_mark_t at,
                             struct errbuf *err)
{
    if (b->depth == DEPTH_MAX)
        return complain(b, at, "nested too deep (at most 32 levels)", err);
    struct yaml_node *n = new_node(b, kind, at);
    enum status st = hang(b, n, at, err);
    if (st != ST_OK) {
        free_node(n);
        return st;
    }
    b->stack[b->depth++] = (struct open_node){n, 0, 0};
    return ST_OK;
}

static enum status add_scalar(struct builder *b, const yaml_event_t *e, struct errbuf *err)
{
    const char *value = (const char *)e->data.scalar.value;
    size_t length = e->data.scalar.length;
    if (memchr(value, 0, length) != NULL)
        return complain(b, e->start_mark, "a text with a zero byte", err);
    struct yaml_node *n = new_node(b, YAML_SCALAR, e->start_mark);
    n->text = mem_alloc(length + 1);
    memcpy(n->text, value, length);
    n->text[length] = '\0';
    n->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    enum status st = hang(b, n, e->start_mark, err);
    if (st != ST_OK)
        free_node(n);
    return st;
}

static enum status check_extras(const struct builder *b, const yaml_event_t *e,
                                const yaml_char_t *anchor, const yaml_char_t *tag,
                                struct errbuf *err)
{
    if (anchor != NULL)
        return complain(b, e->start_mark, "anchors (&name) are not allowed here", err);
    if (tag != NULL)
        return complain(b, e->start_mark, "tags (!name) are not allowed here", err);
    return ST_OK;
}

static enum status start_document(struct builder *b, const yaml_event_t *e, struct errbuf *err)
{
    if (b->documents++ > 0)
        return complain(b, e->start_mark, "a second document; one is allowed", err);
    if (e->data.document_start.version_directive != NULL ||
        e->data.document_start.tag_directives.start != e->data.document_start.tag_directives.end)
        return complain(b, e->start_mark, "directives (%name) are not allowed here", err);
    return ST_OK;
}

static enum status take_event(struct builder *b, const yaml_event_t *e, struct errbuf *err)
{
    enum status st = ST_OK;
    switch (e->type) {
    case YAML_ALIAS_EVENT:
        return complain(b, e->start_mark, "aliases (*name) are not allowed here", err);
    case YAML_DOCUMENT_START_EVENT: return start_document(b, e, err);
    case YAML_SCALAR_EVENT:
        st = check_extras(b, e, e->data.scalar.anchor, e->data.scalar.tag, err);
        return st != ST_OK ? st : add_scalar(b, e, err);
    case YAML_SEQUENCE_START_EVENT:
        st = check_extras(b, e, e->data.sequence_start.anchor, e->data.sequence_start.tag, err);
        return st != ST_OK ? st : open_node(b, YAML_LIST, e->start_mark, err);
    case YAML_MAPPING_START_EVENT:
        st = check_extras(b, e, e->data.mapping_start.anchor, e->data.mapping_start.tag, err);
        return st != ST_OK ? st : open_node(b, YAML_MAP, e->start_mark, err);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: b->depth--; return ST_OK;
    case YAML_STREAM_END_EVENT: b->done = true; return ST_OK;
    default: return ST_OK;
    }
}

/* libyaml marks what it understood and could not accept; bytes it could not even read have an offset. */
static enum status parser_error(const yaml_parser_t *p, const char *name, const char *text,
                                size_t n, struct errbuf *err)
{
    const char *why = p->problem != NULL ? p->problem : "not YAML";
    if (p->error == YAML_MEMORY_ERROR)
        return errbuf_set(err, ST_NO_MEMORY, "%s: out of memory", name);
    if (p->error != YAML_READER_ERROR)
        return errbuf_set(err, ST_USAGE, "%s:%zu:%zu: %s", name, p->problem_mark.line + 1,
                          p->problem_mark.column + 1, why);
    size_t line = 1, column = 1;
    for (size_t i = 0; i < n && i < p->problem_offset; i++) {
        column = text[i] == '\n' ? 1 : column + 1;
        line += text[i] == '\n';
    }
    return errbuf_set(err, ST_USAGE, "%s:%zu:%zu: not a text in UTF-8: %s (byte %zu)", name, line,
                      column, why, p->problem_offset);
}

static enum status build(struct builder *b, const char *text, size_t n, struct errbuf *err)
{
    yaml_parser_t p;
    if (!yaml_parser_initialize(&p))
        return errbuf_set(err, ST_NO_MEMORY, "%s: out of memory", b->name);
    /* Said, not guessed: a guess would read UTF-16, and then no mark fits what an editor shows. */
    yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&p, (const unsigned char *)text, n);
    enum status st = ST_OK;
    while (st == ST_OK && !b->done) {
        yaml_event_t e;
        if (!yaml_parser_parse(&p, &e)) {
            st = parser_error(&p, b->name, text, n, err);
            break;
        }
        st = take_event(b, &e, err);
        yaml_event_delete(&e);
    }
    yaml_parser_delete(&p);
    return st;
}

enum status yaml_parse(const char *text, size_t n, const char *name, struct yaml_node **out,
                       struct errbuf *err)
{
    if (n > BYTES_MAX)
        return errbuf_set(err, ST_USAGE, "%s: %zu bytes are too many (allowed: %d)", name, n,
                          BYTES_MAX);
    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        n -= 3;
    }
    struct builder b = {.name = name};
    enum status st = build(&b, text, n, err);
    if (st != ST_OK) {
        free_node(b.root);
        return st;
    }
    if (b.root == NULL)
        b.root = new_node(&b, YAML_MAP, (yaml_mark_t){0, 0, 0});
    *out = b.root;
    return ST_OK;
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    if (map == NULL || map->kind != YAML_MAP)
        return NULL;
    for (size_t i = 0; i < map->items_used; i++)
        if (strcmp(map->keys[i]->text, key) == 0)
            return map->items[i];
    return NULL;
}
