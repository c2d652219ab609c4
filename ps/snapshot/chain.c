/* chain.c - a k-way merge of sorted files, newest wins.
 *
 * Each file gives a table up to two sorted sources: its rows and its tombs. A heap holds the sources by
 * (key, newest file first); so of equal keys the first one taken decides, be it a record or a tomb, and the
 * others are passed over. Within one file a row wins over its own tomb: it was removed and made again.
 */
#include "ps/snapshot/chain.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

struct chain_source {
    uint64_t key; /* of entry `at` */
    uint64_t at, n;
    size_t part;
    bool tomb;
};

enum status chain_open(const char *dir, const struct manifest *m, const struct plan *plan,
                       struct chain *out, struct errbuf *err)
{
    struct chain c = {plan, mem_array(m->files_used, sizeof *c.part), 0};
    for (size_t i = 0; i < m->files_used; i++) {
        enum status st = part_open(dir, &m->files[i], plan, &c.part[i], err);
        if (st != ST_OK) {
            chain_close(&c);
            return st;
        }
        c.parts++;
    }
    *out = c;
    return ST_OK;
}

void chain_close(struct chain *c)
{
    for (size_t i = 0; i < c->parts; i++)
        part_close(&c->part[i]);
    free(c->part);
    memset(c, 0, sizeof *c);
}

static bool before(const struct chain_source *a, const struct chain_source *b)
{
    if (a->key != b->key)
        return a->key < b->key;
    if (a->part != b->part)
        return a->part > b->part;
    return !a->tomb && b->tomb;
}

static void sift_down(struct chain_source *heap, size_t n, size_t i)
{
    for (;;) {
        size_t least = i, left = 2 * i + 1, right = left + 1;
        if (left < n && before(&heap[left], &heap[least]))
            least = left;
        if (right < n && before(&heap[right], &heap[least]))
            least = right;
        if (least == i)
            return;
        struct chain_source swap = heap[i];
        heap[i] = heap[least];
        heap[least] = swap;
        i = least;
    }
}

static const struct part_table *table_of(const struct chain_cursor *at, size_t part)
{
    return &at->chain->part[part].table[at->table];
}

static uint64_t key_of(const struct chain_cursor *at, const struct chain_source *s)
{
    const struct part_table *t = table_of(at, s->part);
    return s->tomb ? part_tomb(t, s->at) : part_key(t, s->at);
}

static void add_source(struct chain_cursor *at, size_t part, bool tomb, uint64_t n)
{
    if (n == 0)
        return;
    struct chain_source *s = &at->heap[at->used++];
    *s = (struct chain_source){0, 0, n, part, tomb};
    s->key = key_of(at, s);
}

void chain_cursor_init(struct chain_cursor *at, const struct chain *c, uint32_t table)
{
    at->chain = c;
    at->table = table;
    at->used = 0;
    at->heap = mem_array(2 * c->parts, sizeof *at->heap);
    for (size_t p = 0; p < c->parts; p++) {
        add_source(at, p, false, c->part[p].table[table].n);
        add_source(at, p, true, c->part[p].table[table].tombs);
    }
    for (size_t i = at->used / 2; i-- > 0;)
        sift_down(at->heap, at->used, i);
}

void chain_cursor_release(struct chain_cursor *at)
{
    free(at->heap);
    memset(at, 0, sizeof *at);
}

/* Take the least source's entry and move it on. */
static struct chain_source take(struct chain_cursor *at)
{
    struct chain_source taken = at->heap[0];
    struct chain_source *top = &at->heap[0];
    if (++top->at < top->n)
        top->key = key_of(at, top);
    else
        *top = at->heap[--at->used];
    sift_down(at->heap, at->used, 0);
    return taken;
}

enum status chain_next(struct chain_cursor *at, uint64_t *out_key,
                       const struct part_table **out_table, struct part_row *out_row,
                       struct errbuf *err)
{
    while (at->used > 0) {
        struct chain_source first = take(at);
        const struct part *newest = &at->chain->part[first.part];
        while (at->used > 0 && at->heap[0].key == first.key) {
            struct chain_source other = take(at);
            const struct part *older = &at->chain->part[other.part];
            if (older != newest && older->k == newest->k && !first.tomb && !other.tomb)
                return errbuf_set(
                    err, ST_BAD_DATA, "row %" PRIu64 " of table %s stands in both %s and %s",
                    first.key, at->chain->plan->tables[at->table].name, older->name, newest->name);
        }
        if (first.tomb)
            continue;
        *out_key = first.key;
        *out_table = table_of(at, first.part);
        *out_row = part_row(*out_table, first.at);
        return ST_OK;
    }
    return ST_END;
}
