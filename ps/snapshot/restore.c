/* restore.c - load a complete cut into a shard's empty tables.
 *
 * Files are read oldest first and each puts its rows over what is there, so the newest wins without any
 * index of what is newest. Of each file a shard takes the rows whose bucket its map gives it and the dense
 * blocks it owns under the new number of shards: who wrote the file does not matter. Every file is checked
 * as a whole (part.h) before its first row is used; the checks of one shard are repeated by the others,
 * which reads each file once for each shard, mostly from the page cache.
 */
#include "ps/snapshot/restore.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ps/snapshot/cut_hash.h"
#include "ps/snapshot/part.h"

#define BATCH 256u

struct load {
    const struct plan *plan;
    const uint16_t *map;
    uint32_t shard, shards;
    struct store *store;
};

static bool wanted(const struct load *l, uint32_t table, uint64_t key)
{
    const struct plan_table *pt = &l->plan->tables[table];
    if (pt->kind == PLAN_SPARSE)
        return l->map[hash_bucket(key)] == l->shard;
    uint64_t first, end;
    plan_blocks_of(pt, l->shard, l->shards, &first, &end);
    return key >= first && key < end;
}

static enum status check_state(const struct load *l, uint32_t table, const struct part_table *t,
                               struct errbuf *err)
{
    uint32_t have = table_state_floats(l->store->table[table]);
    if (t->n == 0 || have == 0 || have == t->state_floats)
        return ST_OK;
    return errbuf_set(err, ST_BAD_DATA,
                      "table %s: %u floats of optimizer state a row, this job's optimizer keeps %u",
                      l->plan->tables[table].name, t->state_floats, have);
}

static void put_row(struct table *t, uint32_t slot, const struct part_row *row)
{
    struct row_meta *meta = table_record(t, slot);
    float *w = row_weights(meta);
    memcpy(meta, row->meta, CUT_META_BYTES);
    meta->stamp = meta->image = 0;
    memcpy(w, row->weights, row->weight_bytes);
    memset((char *)w + row->weight_bytes, 0, 4 * (size_t)table_dim(t) - row->weight_bytes);
    if (table_state_floats(t) > 0)
        memcpy(w + table_dim(t), row->state, row->state_bytes);
}

/* Rows i[0..n) of part table `from`, whose keys stand beside. */
static enum status load_batch(struct table *t, const struct part_table *from, const uint64_t *keys,
                              const uint64_t *i, size_t n, struct errbuf *err)
{
    uint32_t slots[BATCH] = {0};
    table_find(t, keys, n, slots);
    for (size_t j = 0; j < n; j++) {
        if (slots[j] == SLOT_NONE) {
            enum status st = table_add(t, keys[j], &slots[j], err);
            if (st != ST_OK)
                return st;
        }
    }
    table_prefetch(t, slots, n);
    for (size_t j = 0; j < n; j++) {
        struct part_row row = part_row(from, i[j]);
        put_row(t, slots[j], &row);
    }
    return ST_OK;
}

static void remove_tombs(const struct load *l, uint32_t table, const struct part_table *from)
{
    struct table *t = l->store->table[table];
    for (uint64_t i = 0; i < from->tombs; i++) {
        uint64_t key = part_tomb(from, i);
        uint32_t slot;
        table_find(t, &key, 1, &slot);
        if (slot != SLOT_NONE)
            table_remove(t, key, slot);
    }
}

static enum status load_table(const struct load *l, uint32_t table, const struct part_table *from,
                              struct errbuf *err)
{
    uint64_t keys[BATCH], index[BATCH];
    size_t n = 0;
    enum status st = check_state(l, table, from, err);
    remove_tombs(l, table, from);
    for (uint64_t i = 0; i < from->n && st == ST_OK; i++) {
        uint64_t key = part_key(from, i);
        if (!wanted(l, table, key))
            continue;
        keys[n] = key;
        index[n++] = i;
        if (n == BATCH) {
            st = load_batch(l->store->table[table], from, keys, index, n, err);
            n = 0;
        }
    }
    if (st == ST_OK && n > 0)
        st = load_batch(l->store->table[table], from, keys, index, n, err);
    return st == ST_OK ? st : errbuf_wrap(err, st, "table %s: ", l->plan->tables[table].name);
}

static enum status load_file(const struct load *l, const char *dir, const struct manifest_file *f,
                             struct errbuf *err)
{
    struct part p;
    enum status st = part_open(dir, f, l->plan, &p, err);
    if (st != ST_OK)
        return st;
    for (uint32_t t = 0; t < p.tables && st == ST_OK; t++)
        st = load_table(l, t, &p.table[t], err);
    part_close(&p);
    return st == ST_OK ? st : errbuf_wrap(err, st, "%s/%s: ", dir, f->name);
}

static enum status check_blocks(const struct load *l, struct errbuf *err)
{
    for (uint32_t t = 0; t < l->plan->tables_used; t++) {
        const struct plan_table *pt = &l->plan->tables[t];
        uint64_t first, end;
        if (pt->kind == PLAN_SPARSE)
            continue;
        plan_blocks_of(pt, l->shard, l->shards, &first, &end);
        for (uint64_t block = first; block < end; block++) {
            uint32_t slot;
            table_find(l->store->table[t], &block, 1, &slot);
            if (slot == SLOT_NONE)
                return errbuf_set(err, ST_BAD_DATA, "block %" PRIu64 " of table %s is in no file",
                                  block, pt->name);
        }
    }
    return ST_OK;
}

static void hash_table(const struct load *l, uint32_t table, struct cut_hash *hash)
{
    const struct table *t = l->store->table[table];
    uint64_t keys[BATCH], cursor = 0, seed = cut_table_seed(l->plan->tables[table].name);
    uint32_t slots[BATCH];
    size_t n, bytes = table_record_bytes(t) - sizeof(struct row_meta);
    memset(hash->bucket[table], 0, BUCKETS * sizeof *hash->bucket[table]);
    hash->rows[table] = table_rows(t);
    hash->weights[table] = 0;
    while ((n = table_scan(t, &cursor, BATCH, keys, slots)) > 0) {
        table_prefetch(t, slots, n);
        for (size_t i = 0; i < n; i++) {
            void *record = table_record(t, slots[i]);
            hash->bucket[table][hash_bucket(keys[i])] +=
                cut_row_hash(seed, keys[i], record, row_weights(record), bytes);
            hash->weights[table] +=
                cut_weights_hash(seed, keys[i], row_weights(record), 4 * (size_t)table_dim(t));
        }
    }
}

enum status restore_load(const char *dir, const struct manifest *m, const struct plan *plan,
                         const uint16_t *map, uint32_t shard, uint32_t shards, struct store *store,
                         struct cut_hash *hash, uint64_t *out_rows, struct errbuf *err)
{
    const struct load l = {plan, map, shard, shards, store};
    enum status st = ST_OK;
    assert(store->tables == plan->tables_used && shard < shards);
    for (size_t i = 0; i < m->files_used && st == ST_OK; i++)
        st = load_file(&l, dir, &m->files[i], err);
    if (st == ST_OK)
        st = check_blocks(&l, err);
    if (st != ST_OK)
        return errbuf_wrap(err, st, "cut %" PRIu64 ": ", m->k);
    uint64_t rows = 0;
    for (uint32_t t = 0; t < plan->tables_used; t++) {
        rows += table_rows(store->table[t]);
        if (hash != NULL)
            hash_table(&l, t, hash);
    }
    if (out_rows != NULL)
        *out_rows = rows;
    return ST_OK;
}
