/* table.c - one shard's rows of one table, and the store of all its tables.
 *
 * A piece of the row slab is [u64 key | record], padded to 16 bytes. The key stands before the record, in
 * the line that meta is in and that every use of the row reads first: so the index needs no keys of its own,
 * and whether a slot still holds its key is one comparison in a line that is needed anyway. A handle of a
 * pull thus makes the push that follows free of lookups.
 *
 * A removed row's record carries META_DEAD in flags and the next free slot in stamp. Nobody outside meets
 * such a record: the index, table_scan and table_resolve leave it out.
 *
 * Lookups change nothing: no counters, no moving to the front.
 */
#include "ps/store/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/store/index.h"
#include "ps/store/slab.h"

#define KEY_BYTES sizeof(uint64_t)
#define META_DEAD 0x8000u
#define TOUCH_MAX                                                                                  \
    256u /* bytes of a record that a lookup prefetches; the hardware follows longer ones */
#define CHUNK 64u

struct table {
    struct table_conf conf;
    struct budget own; /* used unless the store shares one */
    struct budget *budget;
    struct slab rows;
    struct index index;
    uint32_t dim;
    uint32_t record_bytes;
    uint32_t touch; /* bytes of a piece to prefetch */
    uint32_t free;  /* first slot of the free list, or SLOT_NONE */
};

static enum status table_new_in(const struct table_conf *conf, struct budget *shared,
                                struct table **out, struct errbuf *err)
{
    const uint32_t dim = conf->plan->tables[conf->index].dim;
    const uint64_t bytes = sizeof(struct row_meta) + 4 * ((uint64_t)dim + conf->state_floats);
    const uint64_t stride = (KEY_BYTES + bytes + 15) / 16 * 16;
    if (stride > SLAB_BYTES)
        return errbuf_set(err, ST_USAGE, "table %s: a row of %u + %u floats is too long",
                          conf->plan->tables[conf->index].name, dim, conf->state_floats);
    struct table *t = mem_zalloc(sizeof *t);
    t->conf = *conf;
    t->own.max = conf->bytes_max;
    t->budget = shared != NULL ? shared : &t->own;
    t->dim = dim;
    t->record_bytes = (uint32_t)bytes;
    t->touch = stride < TOUCH_MAX ? (uint32_t)stride : TOUCH_MAX;
    t->free = SLOT_NONE;
    slab_init(&t->rows, stride, t->budget);
    index_init(&t->index, &t->rows, t->budget);
    *out = t;
    return ST_OK;
}

enum status table_new(const struct table_conf *conf, struct table **out, struct errbuf *err)
{
    return table_new_in(conf, NULL, out, err);
}

void table_free(struct table *t)
{
    if (t == NULL)
        return;
    index_release(&t->index);
    slab_release(&t->rows);
    assert(t->own.used == 0);
    free(t);
}

void table_clear(struct table *t)
{
    index_clear(&t->index);
    slab_reset(&t->rows);
    t->free = SLOT_NONE;
}

static inline uint64_t *piece_key(const struct table *t, uint32_t slot)
{
    return slab_piece(&t->rows, slot);
}

static inline struct row_meta *record_of(const struct table *t, uint32_t slot)
{
    return (struct row_meta *)(void *)((char *)slab_piece(&t->rows, slot) + KEY_BYTES);
}

void *table_record(const struct table *t, uint32_t slot)
{
    return record_of(t, slot);
}

void table_records(const struct table *t, const uint32_t *slots, size_t n, void **out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = slots[i] == SLOT_NONE ? NULL : record_of(t, slots[i]);
}

static inline void prefetch(const struct table *t, uint32_t slot)
{
    const char *piece = slab_piece(&t->rows, slot);
    for (uint32_t at = 0; at < t->touch; at += 64)
        __builtin_prefetch(piece + at);
}

void table_prefetch(const struct table *t, const uint32_t *slots, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (slots[i] != SLOT_NONE && slab_holds(&t->rows, slots[i]))
            prefetch(t, slots[i]);
}

void table_find(const struct table *t, const uint64_t *keys, size_t n, uint32_t *slots)
{
    index_find(&t->index, keys, n, t->touch, slots);
}

bool table_holds(const struct table *t, uint64_t key, uint32_t slot)
{
    return slot != SLOT_NONE && slab_holds(&t->rows, slot) && *piece_key(t, slot) == key &&
           (record_of(t, slot)->flags & META_DEAD) == 0;
}

void table_resolve(const struct table *t, const uint64_t *keys, size_t n, uint32_t *slots)
{
    uint64_t lost[CHUNK];
    uint32_t at[CHUNK], found[CHUNK];
    for (size_t from = 0; from < n; from += CHUNK) {
        const size_t end = n - from < CHUNK ? n : from + CHUNK;
        table_prefetch(t, slots + from, end - from);
        size_t m = 0;
        for (size_t i = from; i < end; i++) {
            if (table_holds(t, keys[i], slots[i]))
                continue;
            at[m] = (uint32_t)(i - from);
            lost[m++] = keys[i];
        }
        if (m == 0)
            continue;
        table_find(t, lost, m, found);
        for (size_t i = 0; i < m; i++)
            slots[from + at[i]] = found[i];
    }
}

enum status table_add(struct table *t, uint64_t key, uint32_t *out_slot, struct errbuf *err)
{
    enum status st = index_reserve(&t->index, key, err);
    if (st != ST_OK)
        return st;
    uint32_t slot = t->free;
    if (slot != SLOT_NONE)
        t->free = record_of(t, slot)->stamp;
    else if ((st = slab_take(&t->rows, &slot, err)) != ST_OK)
        return st;
    *piece_key(t, slot) = key;
    struct row_meta *record = record_of(t, slot);
    memset(record, 0, t->rows.stride - KEY_BYTES); /* the padding too: it is never written again */
    plan_init_row(t->conf.plan, t->conf.index, key, row_weights(record));
    index_insert(&t->index, key, slot);
    *out_slot = slot;
    return ST_OK;
}

void table_remove(struct table *t, uint64_t key, uint32_t slot)
{
    assert(table_holds(t, key, slot));
    index_remove(&t->index, key, slot);
    struct row_meta *meta = record_of(t, slot);
    meta->flags = META_DEAD;
    meta->stamp = t->free;
    t->free = slot;
}

uint32_t table_dim(const struct table *t)
{
    return t->dim;
}

uint32_t table_state_floats(const struct table *t)
{
    return t->conf.state_floats;
}

size_t table_record_bytes(const struct table *t)
{
    return t->record_bytes;
}

uint32_t table_slots(const struct table *t)
{
    return (uint32_t)slab_taken(&t->rows);
}

uint64_t table_rows(const struct table *t)
{
    return t->index.rows_used;
}

uint64_t table_bytes(const struct table *t)
{
    return index_bytes(&t->index) + t->rows.bytes;
}

/* In slab order, which is the order of memory and of adding: the index is not read at all. */
size_t table_scan(const struct table *t, uint64_t *cursor, size_t n, uint64_t *out_keys,
                  uint32_t *out_slots)
{
    const uint64_t end = slab_taken(&t->rows);
    const uint64_t mask = ((uint64_t)1 << t->rows.shift) - 1;
    size_t used = 0;
    uint64_t number = *cursor;
    while (number < end && used < n) {
        if ((number & mask) ==
            t->rows.per_slab) { /* the numbers behind a slab's last piece name none */
            number = (number | mask) + 1;
            continue;
        }
        const uint32_t slot = (uint32_t)number++;
        if ((record_of(t, slot)->flags & META_DEAD) != 0)
            continue;
        out_keys[used] = *piece_key(t, slot);
        out_slots[used++] = slot;
    }
    *cursor = number;
    return used;
}

void table_probe_stats(const struct table *t, double *out_mean, uint32_t *out_max)
{
    const struct index *ix = &t->index;
    *out_mean = ix->rows_used == 0 ? 0 : (double)ix->probe_sum / (double)ix->rows_used;
    *out_max = ix->probe_max;
}

void table_check(const struct table *t)
{
    index_check(&t->index);
    uint64_t keys[CHUNK], cursor = 0, rows = 0, dead = 0;
    uint32_t slots[CHUNK];
    size_t n;
    while ((n = table_scan(t, &cursor, CHUNK, keys, slots)) > 0) {
        for (size_t i = 0; i < n; i++)
            assert(index_find_one(&t->index, keys[i]) == slots[i]);
        rows += n;
    }
    for (uint32_t slot = t->free; slot != SLOT_NONE; slot = record_of(t, slot)->stamp) {
        assert(slab_holds(&t->rows, slot) && (record_of(t, slot)->flags & META_DEAD) != 0);
        dead++;
    }
    const uint64_t taken = (uint64_t)t->rows.at * t->rows.per_slab + t->rows.index;
    assert(rows == table_rows(t) && rows + dead == taken);
    assert(t->budget->used <= t->budget->max);
    assert(t->budget != &t->own || t->own.used == table_bytes(t));
    (void)dead, (void)taken;
}

/* -- the store: tables that share a budget -- */

struct store_shared {
    struct store store; /* first: a struct store * is one of these */
    struct budget budget;
};

enum status store_new(const struct plan *plan, const uint32_t *state_floats, uint64_t bytes_max,
                      struct store **out, struct errbuf *err)
{
    struct store_shared *s = mem_zalloc(sizeof *s);
    s->budget.max = bytes_max;
    for (size_t i = 0; i < plan->tables_used; i++) {
        struct table_conf conf = {.plan = plan,
                                  .index = (uint32_t)i,
                                  .state_floats = state_floats[i],
                                  .bytes_max = bytes_max};
        enum status st = table_new_in(&conf, &s->budget, &s->store.table[i], err);
        if (st != ST_OK) {
            store_free(&s->store);
            return st;
        }
        s->store.tables = i + 1;
    }
    *out = &s->store;
    return ST_OK;
}

void store_free(struct store *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->tables; i++)
        table_free(s->table[i]);
    free(s);
}

uint64_t store_bytes(const struct store *s)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < s->tables; i++)
        bytes += table_bytes(s->table[i]);
    return bytes;
}
