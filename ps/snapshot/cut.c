/* cut.c - a taken cut as a stream of bytes in file order.
 *
 * A file is a header and a list of *passes*, one for each tensor: a pass goes over a run of a table's list
 * (cut_list.h) and emits one part of each record. Training goes on between two calls, so a record may be
 * touched between the pass over weights and the pass over state: each pass looks its value up afresh, and
 * gets the same answer, because the first touch after the take left an image in the open log, which the
 * record's meta names. Nothing is copied ahead.
 *
 *   value as of the take   meta.stamp == open stamp ? image in the open log : live record
 *   as written             full and last_step < step: a copy rendered to step; else the value
 *   old (for the hash)     delta: oldest entry of the taken log; untouched (dense): the value
 *
 * The hash of what is written is computed in the pass over weights: that one comes first of those that read
 * records, and has the whole record in its hands (rendered, where it is rendered). Computing it there costs
 * no memory for each row and no pass of its own; state and meta are hashed as they will be written, since
 * no pass can see another value. The old values are subtracted meanwhile in the order of the log, not of
 * the rows: a sum has no order, and images lie in memory as they were made (by key: 3 to 4 times slower,
 * two cache misses and a TLB miss for each row).
 *
 * Rendering replays missed steps and may be dear, so what the weights pass rendered of state and meta is
 * kept for the later passes, up to KEEP_BYTES; rows beyond that are rendered again.
 *
 * Rows are looked at in groups: prefetch records, then images, then copy. Shard thread only.
 */
#include "ps/snapshot/cut.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/snapshot/cut_hash.h"
#include "ps/snapshot/cut_list.h"
#include "ps/snapshot/safetensors.h"

#define GROUP      64u
#define KEEP_BYTES ((size_t)64 << 20)

enum part { PART_IDS, PART_WEIGHTS, PART_STATE, PART_META };

struct pass {
    enum part part;
    uint32_t table;
    size_t begin, end; /* rows of the table's list */
    size_t row_bytes;
    size_t last_bytes; /* of the last row: a tensor's last block is cut short */
};

struct keep {       /* rendered [meta 8 | state] of the first `rows` rows of a list */
    uint8_t *bytes; /* owned */
    size_t rows, each;
};

struct cut {
    struct cut_conf conf;
    struct cut_list list[PLAN_TABLES_MAX];
    uint64_t seed[PLAN_TABLES_MAX];
    struct keep keep[PLAN_TABLES_MAX];
    struct pass *pass; /* owned */
    size_t passes, passes_cap;
    size_t at_pass, at_row;
    struct buffer carry; /* the header, then single rows larger than a caller's room */
    size_t carry_at;
    uint8_t *scratch; /* owned: one record */
    struct cut_hash hash;
    uint8_t *oldest; /* owned: a bit for each entry of the taken log: its row's old value */
    uint64_t
        *touched[PLAN_TABLES_MAX];    /* audit; owned: a bit a slot: the row is in the taken log */
    uint64_t before[PLAN_TABLES_MAX]; /* audit: the hash as of the last complete cut, anew */
    size_t at_entry;                  /* entries before this one are out of the hash */
    uint64_t total;
};

/* -- values -- */

static const void *value_of(const struct cut *c, uint32_t table, const struct cut_row *row)
{
    const struct row_meta *meta = table_record(c->conf.store->table[table], row->slot);
    if (meta->stamp != c->conf.open_stamp)
        return meta;
    const void *image = undo_at(c->conf.open, meta->image)->image;
    assert(image != NULL && "a row of the cut existed at the take");
    return image;
}

static const void *rendered(struct cut *c, uint32_t table, const void *record, uint64_t step)
{
    if (c->conf.render == NULL || ((const struct row_meta *)record)->last_step >= step)
        return record;
    memcpy(c->scratch, record, table_record_bytes(c->conf.store->table[table]));
    c->conf.render(c->conf.render_ctx, table, c->scratch, step);
    return c->scratch;
}

static const void *as_written(struct cut *c, uint32_t table, const void *value)
{
    return c->conf.full ? rendered(c, table, value, c->conf.step) : value;
}

/* -- the hash -- */

static uint64_t hash_of(const struct cut *c, uint32_t table, uint64_t key, const void *record)
{
    const struct table *t = c->conf.store->table[table];
    return cut_row_hash(c->seed[table], key, record, (const char *)record + sizeof(struct row_meta),
                        table_record_bytes(t) - sizeof(struct row_meta));
}

static uint64_t weights_of(const struct cut *c, uint32_t table, uint64_t key, const void *record)
{
    return cut_weights_hash(c->seed[table], key, (const char *)record + sizeof(struct row_meta),
                            4 * (size_t)table_dim(c->conf.store->table[table]));
}

/* The row is new in the hash (old NULL), or what the last complete cut had of it goes out. */
static void count_old(struct cut *c, uint32_t table, uint64_t key, const void *old)
{
    if (old == NULL || c->conf.hash->rows[table] == 0) {
        c->hash.rows[table]++;
        return;
    }
    old = rendered(c, table, old, c->conf.rendered);
    c->hash.bucket[table][hash_bucket(key)] -= hash_of(c, table, key, old);
    c->hash.weights[table] -= weights_of(c, table, key, old);
}

/* What the last complete cut had of a row, into the audit. */
static void audit_old(struct cut *c, uint32_t table, uint64_t key, const void *old)
{
    if (old == NULL || c->conf.hash->rows[table] == 0)
        return;
    c->before[table] += hash_of(c, table, key, rendered(c, table, old, c->conf.rendered));
}

static bool is_touched(const struct cut *c, uint32_t table, uint32_t slot)
{
    return c->touched[table][slot / 64] >> (slot % 64) & 1;
}

/* Up to n entries more of the taken log. */
static void count_entries(struct cut *c, size_t n)
{
    size_t all = c->oldest == NULL ? 0 : undo_entries(c->conf.taken);
    for (; n > 0 && c->at_entry < all; n--, c->at_entry++) {
        if ((c->oldest[c->at_entry / 8] >> (c->at_entry % 8) & 1) == 0)
            continue;
        const struct undo_entry *e = undo_at(c->conf.taken, c->at_entry);
        if (c->conf.full)
            audit_old(c, e->table, e->key, e->image);
        else
            count_old(c, e->table, e->key, e->image);
    }
}

static void count_row(struct cut *c, uint32_t table, const struct cut_row *row, const void *value,
                      const void *written)
{
    c->hash.bucket[table][hash_bucket(row->key)] += hash_of(c, table, row->key, written);
    c->hash.weights[table] += weights_of(c, table, row->key, written);
    if (c->conf.full)
        c->hash.rows[table]++;
    /* From here on the scratch may be used: `written` is done with. */
    if (c->conf.full && c->conf.audit && !is_touched(c, table, row->slot))
        audit_old(c, table, row->key, value);
    else if (!c->conf.full && row->old == CUT_UNTOUCHED) /* a dense block */
        count_old(c, table, row->key, value);
}

/* -- emitting -- */

static void keep_row(struct cut *c, uint32_t table, size_t i, const void *written)
{
    struct keep *k = &c->keep[table];
    if (i >= k->rows)
        return;
    uint8_t *to = k->bytes + i * k->each;
    size_t dim = table_dim(c->conf.store->table[table]);
    memcpy(to, written, CUT_META_BYTES);
    memcpy(to + CUT_META_BYTES, (const char *)written + sizeof(struct row_meta) + 4 * dim,
           k->each - CUT_META_BYTES);
}

static void emit_row(struct cut *c, const struct pass *p, size_t i, const void *value, uint8_t *dst,
                     size_t bytes)
{
    const struct cut_row *row = &c->list[p->table].row[i];
    size_t dim = table_dim(c->conf.store->table[p->table]);
    const struct keep *k = &c->keep[p->table];
    if (p->part != PART_WEIGHTS && i < k->rows) {
        const uint8_t *kept = k->bytes + i * k->each;
        memcpy(dst, p->part == PART_META ? kept : kept + CUT_META_BYTES, bytes);
        return;
    }
    const char *written = as_written(c, p->table, value);
    if (p->part == PART_META) {
        memcpy(dst, written, bytes);
    } else if (p->part == PART_STATE) {
        memcpy(dst, written + sizeof(struct row_meta) + 4 * dim, bytes);
    } else {
        memcpy(dst, written + sizeof(struct row_meta), bytes);
        keep_row(c, p->table, i, written);
        count_row(c, p->table, row, value, written);
    }
}

/* n <= GROUP rows of pass p from list row i on. */
static void emit_group(struct cut *c, const struct pass *p, size_t i, size_t n, uint8_t *dst)
{
    const struct cut_row *row = &c->list[p->table].row[i];
    if (p->part == PART_IDS) {
        for (size_t j = 0; j < n; j++)
            memcpy(dst + 8 * j, &row[j].key, 8);
        return;
    }
    uint32_t slots[GROUP] = {0};
    const void *value[GROUP];
    for (size_t j = 0; j < n; j++)
        slots[j] = row[j].slot;
    table_prefetch(c->conf.store->table[p->table], slots, n);
    for (size_t j = 0; j < n; j++) {
        value[j] = value_of(c, p->table, &row[j]);
        __builtin_prefetch(value[j]);
    }
    for (size_t j = 0; j < n; j++)
        emit_row(c, p, i + j, value[j], dst + j * p->row_bytes,
                 i + j + 1 == p->end ? p->last_bytes : p->row_bytes);
}

static size_t group_bytes(const struct pass *p, size_t i, size_t n)
{
    return n * p->row_bytes - (i + n == p->end ? p->row_bytes - p->last_bytes : 0);
}

static size_t emit_some(struct cut *c, size_t room, struct buffer *out)
{
    const struct pass *p = &c->pass[c->at_pass];
    size_t i = p->begin + c->at_row, n = p->end - i, bytes = 0;
    if (n > GROUP)
        n = GROUP;
    if (n > room / p->row_bytes)
        n = room / p->row_bytes;
    if (n == 0) { /* the caller's room is less than a row */
        n = 1;
        buffer_reset(&c->carry);
        c->carry_at = 0;
        emit_group(c, p, i, 1, buffer_room(&c->carry, group_bytes(p, i, 1)));
    } else {
        bytes = group_bytes(p, i, n);
        emit_group(c, p, i, n, buffer_room(out, bytes));
    }
    count_entries(c, p->part == PART_WEIGHTS ? 2 * n : 0);
    c->at_row += n;
    if (p->begin + c->at_row == p->end) {
        c->at_pass++;
        c->at_row = 0;
    }
    return bytes;
}

void cut_next(struct cut *c, size_t max, struct buffer *out, bool *out_done)
{
    while (max > 0) {
        size_t left = c->carry.used - c->carry_at;
        if (left > 0) {
            size_t n = left < max ? left : max;
            buffer_put(out, c->carry.data + c->carry_at, n);
            c->carry_at += n;
            max -= n;
        } else if (c->at_pass < c->passes) {
            max -= emit_some(c, max, out);
        } else {
            break;
        }
    }
    *out_done = c->carry_at == c->carry.used && c->at_pass == c->passes;
    if (*out_done)
        count_entries(c, SIZE_MAX); /* a log that was folded has more entries than rows */
}

/* -- layout -- */

struct layout {
    struct cut *c;
    struct tensor_info *tensor; /* owned */
    size_t used, cap;
};

/* A tensor and, unless it is empty, its pass. shape: dims numbers. */
static void add(struct layout *l, const char *name, enum tensor_type type, uint32_t dims,
                const uint64_t *shape, const struct pass *p)
{
    mem_grow(&l->tensor, &l->cap, l->used + 1, sizeof *l->tensor);
    struct tensor_info *t = &l->tensor[l->used++];
    memset(t, 0, sizeof *t);
    snprintf(t->name, sizeof t->name, "%s", name);
    t->type = type;
    t->dims = dims;
    memcpy(t->shape, shape, dims * sizeof *shape);
    if (p->begin == p->end || p->row_bytes == 0)
        return;
    struct cut *c = l->c;
    mem_grow(&c->pass, &c->passes_cap, c->passes + 1, sizeof *c->pass);
    c->pass[c->passes++] = *p;
}

static void add_rows(struct layout *l, const char *base, const char *suffix, enum tensor_type type,
                     uint64_t width, enum part part, uint32_t table, size_t begin, size_t end)
{
    char name[128];
    uint64_t shape[2] = {end - begin, width};
    size_t bytes = (size_t)width * (type == TENSOR_U64 ? 8 : 4);
    struct pass p = {part, table, begin, end, bytes, bytes};
    snprintf(name, sizeof name, "%s%s", base, suffix);
    add(l, name, type, part == PART_IDS ? 1 : 2, shape, &p);
}

static void lay_sparse_ids(struct layout *l, uint32_t table)
{
    char base[64];
    snprintf(base, sizeof base, "emb.%s", l->c->conf.plan->tables[table].name);
    add_rows(l, base, ".ids", TENSOR_U64, 1, PART_IDS, table, 0, l->c->list[table].n);
    add_rows(l, base, ".tomb", TENSOR_U64, 1, PART_IDS, table, 0, 0); /* nothing is evicted yet */
}

static void lay_sparse_rows(struct layout *l, uint32_t table)
{
    char base[64];
    const struct table *t = l->c->conf.store->table[table];
    size_t n = l->c->list[table].n;
    snprintf(base, sizeof base, "emb.%s", l->c->conf.plan->tables[table].name);
    add_rows(l, base, ".rows", TENSOR_F32, table_dim(t), PART_WEIGHTS, table, 0, n);
    add_rows(l, base, ".state", TENSOR_F32, table_state_floats(t), PART_STATE, table, 0, n);
    add_rows(l, base, ".meta", TENSOR_U32, 2, PART_META, table, 0, n);
}

/* This shard's run of one dense tensor: blocks [begin, end) of the tensor, which are not none. */
static void lay_run(struct layout *l, uint32_t table, const struct plan_tensor *x, uint64_t begin,
                    uint64_t end)
{
    char base[112];
    const char *kind = l->c->conf.plan->tables[table].name;
    const struct cut_list *list = &l->c->list[table];
    size_t at = (size_t)(x->block_first + begin - list->row[0].key);
    size_t n = (size_t)(end - begin);
    uint64_t elements = x->shape[0] * (x->dims == 2 ? x->shape[1] : 1);
    uint64_t last = end == x->blocks ? elements - (x->blocks - 1) * DENSE_BLOCK : DENSE_BLOCK;
    uint64_t run = (end - begin - 1) * DENSE_BLOCK + last;
    struct pass p = {PART_WEIGHTS, table, at, at + n, 4 * DENSE_BLOCK, 4 * (size_t)last};
    bool whole = begin == 0 && end == x->blocks;
    if (whole)
        snprintf(base, sizeof base, "%s.%s", kind, x->name);
    else
        snprintf(base, sizeof base, "%s.%s.%" PRIu64, kind, x->name, begin * DENSE_BLOCK);
    add(l, base, TENSOR_F32, whole ? x->dims : 1, whole ? x->shape : &run, &p);
    uint32_t state = table_state_floats(l->c->conf.store->table[table]);
    add_rows(l, base, ".state", TENSOR_F32, state, PART_STATE, table, at, at + n);
    add_rows(l, base, ".meta", TENSOR_U32, 2, PART_META, table, at, at + n);
}

static void lay_dense(struct layout *l, uint32_t table)
{
    const struct plan_table *t = &l->c->conf.plan->tables[table];
    uint64_t first, end;
    plan_blocks_of(t, l->c->conf.shard, l->c->conf.shards, &first, &end);
    for (size_t i = 0; i < t->tensors_used; i++) {
        const struct plan_tensor *x = &t->tensors[i];
        uint64_t from = x->block_first > first ? x->block_first : first;
        uint64_t to = x->block_first + x->blocks < end ? x->block_first + x->blocks : end;
        if (from < to)
            lay_run(l, table, x, from - x->block_first, to - x->block_first);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "a.state" is a legal tensor name, and so is "a" with state behind it: better no file than one that
 * nobody can read. */
static enum status check_names(const struct layout *l, struct errbuf *err)
{
    const char **name = mem_array(l->used, sizeof *name);
    enum status st = ST_OK;
    for (size_t i = 0; i < l->used; i++)
        name[i] = l->tensor[i].name;
    qsort(name, l->used, sizeof *name, by_name);
    for (size_t i = 1; i < l->used && st == ST_OK; i++)
        if (strcmp(name[i - 1], name[i]) == 0)
            st = errbuf_set(err, ST_INTERNAL, "two tensors of a cut would be called %s", name[i]);
    free(name);
    return st;
}

static void put_header(struct layout *l)
{
    const struct cut_conf *conf = &l->c->conf;
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {{"job", conf->job},
                   {"k", conf->k},
                   {"e", conf->e},
                   {"shard", conf->shard},
                   {"shards", conf->shards},
                   {"step", conf->step},
                   {"rendered", conf->full ? conf->step : conf->rendered}};
    enum { NUMBERS = sizeof numbers / sizeof numbers[0], PAIRS = NUMBERS + 2 };
    char text[NUMBERS][24];
    const char *meta[2 * PAIRS] = {"format", "penstock-cut-1", "kind",
                                   conf->full ? "full" : "delta"};
    for (size_t i = 0; i < NUMBERS; i++) {
        snprintf(text[i], sizeof text[i], "%" PRIu64, numbers[i].value);
        meta[4 + 2 * i] = numbers[i].key;
        meta[5 + 2 * i] = text[i];
    }
    safetensors_header(l->tensor, l->used, meta, PAIRS, &l->c->carry);
    l->c->total = l->c->carry.used + (l->used > 0 ? l->tensor[l->used - 1].end : 0);
}

/* 8-byte tensors first: then every tensor is aligned in the file, and can be used where it is mapped. */
static enum status lay_out(struct cut *c, struct errbuf *err)
{
    struct layout l = {.c = c};
    const struct plan *plan = c->conf.plan;
    for (uint32_t t = 0; t < plan->tables_used; t++)
        if (plan->tables[t].kind == PLAN_SPARSE)
            lay_sparse_ids(&l, t);
    for (uint32_t t = 0; t < plan->tables_used; t++) {
        if (plan->tables[t].kind == PLAN_SPARSE)
            lay_sparse_rows(&l, t);
        else
            lay_dense(&l, t);
    }
    enum status st = check_names(&l, err);
    if (st == ST_OK)
        put_header(&l);
    free(l.tensor);
    return st;
}

static void make_keeps(struct cut *c)
{
    size_t left = c->conf.full && c->conf.render != NULL ? KEEP_BYTES : 0;
    for (uint32_t t = 0; t < c->conf.plan->tables_used && left > 0; t++) {
        struct keep *k = &c->keep[t];
        k->each = CUT_META_BYTES + 4u * table_state_floats(c->conf.store->table[t]);
        k->rows = c->list[t].n < left / k->each ? c->list[t].n : left / k->each;
        k->bytes = mem_alloc(k->rows * k->each);
        left -= k->rows * k->each;
    }
}

static void mark_oldest(struct cut *c)
{
    c->oldest = mem_zalloc(undo_entries(c->conf.taken) / 8 + 1);
    for (uint32_t t = 0; t < c->conf.plan->tables_used; t++) {
        const struct cut_list *l = &c->list[t];
        for (size_t i = 0; i < l->n; i++)
            if (l->row[i].old != CUT_UNTOUCHED)
                c->oldest[l->row[i].old / 8] |= (uint8_t)(1u << (l->row[i].old % 8));
    }
}

/* A row's first entry is its oldest, and a slot stays its row's while a cut is written. */
static void mark_touched(struct cut *c)
{
    size_t entries = undo_entries(c->conf.taken);
    c->oldest = mem_zalloc(entries / 8 + 1);
    for (uint32_t t = 0; t < c->conf.plan->tables_used; t++)
        c->touched[t] =
            mem_zalloc((table_slots(c->conf.store->table[t]) / 64 + 1) * sizeof(uint64_t));
    for (size_t i = 0; i < entries; i++) {
        const struct undo_entry *e = undo_at(c->conf.taken, i);
        if (is_touched(c, e->table, e->slot))
            continue;
        c->touched[e->table][e->slot / 64] |= UINT64_C(1) << (e->slot % 64);
        c->oldest[i / 8] |= (uint8_t)(1u << (i % 8));
    }
}

enum status cut_begin(const struct cut_conf *conf, struct cut **out, struct errbuf *err)
{
    size_t tables = conf->plan->tables_used, record = 0;
    assert(tables == conf->store->tables && tables == conf->hash->tables);
    struct cut *c = mem_zalloc(sizeof *c);
    c->conf = *conf;
    cut_hash_init(&c->hash, tables);
    if (!conf->full)
        cut_hash_copy(&c->hash, conf->hash);
    for (uint32_t t = 0; t < tables; t++) {
        size_t bytes = table_record_bytes(conf->store->table[t]);
        record = bytes > record ? bytes : record;
        c->seed[t] = cut_table_seed(conf->plan->tables[t].name);
    }
    c->scratch = mem_aligned(64, record);
    enum status st = cut_list_make(conf, c->list, err);
    if (st == ST_OK)
        st = lay_out(c, err);
    if (st != ST_OK) {
        cut_free(c);
        return st;
    }
    make_keeps(c);
    if (!conf->full)
        mark_oldest(c);
    else if (conf->audit)
        mark_touched(c);
    *out = c;
    return ST_OK;
}

uint64_t cut_total_bytes(const struct cut *c)
{
    return c->total;
}

uint64_t cut_rows(const struct cut *c)
{
    uint64_t rows = 0;
    for (uint32_t t = 0; t < c->conf.plan->tables_used; t++)
        rows += c->list[t].n;
    return rows;
}

const struct cut_hash *cut_new_hash(const struct cut *c)
{
    return &c->hash;
}

bool cut_sound(const struct cut *c, uint32_t *out_table)
{
    for (uint32_t t = 0; c->conf.full && c->conf.audit && t < c->conf.plan->tables_used; t++) {
        if (c->conf.hash->rows[t] > 0 && c->before[t] != cut_hash_sum(c->conf.hash, t)) {
            *out_table = t;
            return false;
        }
    }
    return true;
}

void cut_free(struct cut *c)
{
    if (c == NULL)
        return;
    for (uint32_t t = 0; t < PLAN_TABLES_MAX; t++) {
        free(c->keep[t].bytes);
        free(c->touched[t]);
    }
    cut_list_release(c->list, PLAN_TABLES_MAX);
    cut_hash_release(&c->hash);
    buffer_release(&c->carry);
    free(c->pass);
    free(c->oldest);
    free(c->scratch);
    free(c);
}
