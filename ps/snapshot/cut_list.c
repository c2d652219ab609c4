/* cut_list.c - which rows are in a cut.
 *
 *   delta, sparse   every row of the taken log, once, with its oldest entry (the old value for the hash)
 *   full, sparse    every row of the table, less those added in the open interval
 *   dense kinds     every block this shard owns, touched or not
 *
 * Sorted by key with a stable radix sort, least significant byte first; bytes that are the same in all keys
 * are passed over, which makes small vocabularies cheap. Stable matters: a folded log holds a row twice,
 * oldest first, and "keep the first of equal keys" is then all there is to do. 16 bytes a row, and as many
 * again while sorting, in slabs, since the number of rows comes from outside.
 */
#include "ps/snapshot/cut_list.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "common/base/mem.h"

#define SCAN_BATCH 256u

static enum status list_room(struct cut_list *l, size_t cap, struct errbuf *err)
{
    void *slab;
    enum status st = mem_slab(cap * sizeof *l->row, &slab, err);
    if (st != ST_OK)
        return errbuf_wrap(err, st, "the list of %zu rows of a cut: ", cap);
    l->row = slab;
    l->cap = cap;
    return ST_OK;
}

static void list_free(struct cut_list *l)
{
    mem_slab_free(l->row, l->cap * sizeof *l->row);
    memset(l, 0, sizeof *l);
}

void cut_list_release(struct cut_list *lists, size_t tables)
{
    for (size_t t = 0; t < tables; t++)
        list_free(&lists[t]);
}

static void scatter(const struct cut_row *from, struct cut_row *to, size_t n, uint32_t shift,
                    size_t start[256])
{
    for (size_t i = 0; i < n; i++)
        to[start[(from[i].key >> shift) & 0xff]++] = from[i];
}

void cut_list_sort(struct cut_row *rows, struct cut_row *tmp, size_t n)
{
    struct cut_row *from = rows, *to = tmp;
    uint64_t same = UINT64_MAX, first = n > 0 ? rows[0].key : 0;
    for (size_t i = 1; i < n; i++)
        same &= ~(rows[i].key ^ first);
    for (uint32_t shift = 0; shift < 64; shift += 8) {
        if (((same >> shift) & 0xff) == 0xff)
            continue;
        size_t start[256] = {0}, at = 0;
        for (size_t i = 0; i < n; i++)
            start[(from[i].key >> shift) & 0xff]++;
        for (size_t b = 0; b < 256; b++) {
            size_t count = start[b];
            start[b] = at;
            at += count;
        }
        scatter(from, to, n, shift, start);
        struct cut_row *swap = from;
        from = to;
        to = swap;
    }
    if (from != rows)
        memcpy(rows, from, n * sizeof *rows);
}

static enum status sort_list(struct cut_list *l, struct errbuf *err)
{
    struct cut_list tmp = {NULL, 0, 0};
    if (l->n < 2)
        return ST_OK;
    enum status st = list_room(&tmp, l->n, err);
    if (st != ST_OK)
        return st;
    cut_list_sort(l->row, tmp.row, l->n);
    list_free(&tmp);
    size_t kept = 1;
    for (size_t i = 1; i < l->n; i++)
        if (l->row[i].key != l->row[kept - 1].key)
            l->row[kept++] = l->row[i];
    l->n = kept;
    return ST_OK;
}

/* Did the row exist at the take? One that was added since has an entry without image in the open log. */
static bool existed(const struct cut_conf *conf, const struct table *t, uint32_t slot)
{
    const struct row_meta *meta = table_record(t, slot);
    return meta->stamp != conf->open_stamp || undo_at(conf->open, meta->image)->image != NULL;
}

static enum status list_all(const struct cut_conf *conf, uint32_t table, struct cut_list *l,
                            struct errbuf *err)
{
    const struct table *t = conf->store->table[table];
    uint64_t keys[SCAN_BATCH], cursor = 0;
    uint32_t slots[SCAN_BATCH];
    size_t got;
    enum status st = list_room(l, table_rows(t), err);
    if (st != ST_OK)
        return st;
    while ((got = table_scan(t, &cursor, SCAN_BATCH, keys, slots)) > 0) {
        table_prefetch(t, slots, got);
        for (size_t i = 0; i < got; i++)
            if (existed(conf, t, slots[i]))
                l->row[l->n++] = (struct cut_row){keys[i], slots[i], CUT_UNTOUCHED};
        assert(l->n <= l->cap);
    }
    return ST_OK;
}

static enum status list_blocks(const struct cut_conf *conf, uint32_t table, struct cut_list *l,
                               struct errbuf *err)
{
    const struct plan_table *pt = &conf->plan->tables[table];
    uint64_t first, end;
    plan_blocks_of(pt, conf->shard, conf->shards, &first, &end);
    enum status st = list_room(l, end - first, err);
    if (st != ST_OK)
        return st;
    for (uint64_t block = first; block < end; block++) {
        uint32_t slot;
        table_find(conf->store->table[table], &block, 1, &slot);
        if (slot == SLOT_NONE)
            return errbuf_set(err, ST_INTERNAL, "block %" PRIu64 " of table %s is not on shard %u",
                              block, pt->name, conf->shard);
        l->row[l->n++] = (struct cut_row){block, slot, CUT_UNTOUCHED};
    }
    return ST_OK;
}

static bool dense(const struct cut_conf *conf, uint32_t table)
{
    return conf->plan->tables[table].kind != PLAN_SPARSE;
}

static enum status rooms_of_log(const struct cut_conf *conf, struct cut_list *lists,
                                struct errbuf *err)
{
    size_t count[PLAN_TABLES_MAX] = {0};
    size_t entries = undo_entries(conf->taken);
    for (size_t i = 0; i < entries; i++)
        count[undo_at(conf->taken, i)->table]++;
    for (uint32_t t = 0; t < conf->plan->tables_used; t++) {
        enum status st = dense(conf, t) ? ST_OK : list_room(&lists[t], count[t], err);
        if (st != ST_OK)
            return st;
    }
    return ST_OK;
}

/* Sparse rows are appended; blocks stand there already and get their oldest entry. */
static void fill_from_log(const struct cut_conf *conf, struct cut_list *lists)
{
    size_t entries = undo_entries(conf->taken);
    for (size_t i = 0; i < entries; i++) {
        const struct undo_entry *e = undo_at(conf->taken, i);
        struct cut_list *l = &lists[e->table];
        if (!dense(conf, e->table)) {
            l->row[l->n++] = (struct cut_row){e->key, e->slot, (uint32_t)i};
            continue;
        }
        size_t at = l->n > 0 && e->key >= l->row[0].key ? (size_t)(e->key - l->row[0].key) : l->n;
        assert(at < l->n && l->row[at].slot == e->slot);
        if (l->row[at].old == CUT_UNTOUCHED)
            l->row[at].old = (uint32_t)i;
    }
}

enum status cut_list_make(const struct cut_conf *conf, struct cut_list *lists, struct errbuf *err)
{
    size_t tables = conf->plan->tables_used;
    enum status st = ST_OK;
    for (uint32_t t = 0; t < tables && st == ST_OK; t++) {
        if (dense(conf, t))
            st = list_blocks(conf, t, &lists[t], err);
        else if (conf->full)
            st = list_all(conf, t, &lists[t], err);
    }
    if (st == ST_OK && !conf->full) {
        st = rooms_of_log(conf, lists, err);
        if (st == ST_OK)
            fill_from_log(conf, lists);
    }
    for (uint32_t t = 0; t < tables && st == ST_OK; t++)
        if (!dense(conf, t))
            st = sort_list(&lists[t], err);
    if (st != ST_OK)
        cut_list_release(lists, tables);
    return st;
}
