/* flight.c - the memory of a batch under way, and the loops that spread it over shards and back.
 *
 * Partition is a counting sort by shard: one pass finds each key's shard and counts, one pass places the
 * positions, so a shard's keys keep the order of the batch and one list serves all shards. Scatter and
 * gather then copy whole rows between a shard's frame (its keys, one after the other) and the batch's
 * arrays (all keys): the row is the unit, so dims that tables really have get a loop whose length the
 * compiler knows. Dense blocks are contiguous on both sides: one memcpy.
 *
 * Nothing here takes memory once a flight has seen its largest batch.
 */
#include "worker/flight.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

enum { ALIGN = 64 };

static const struct plan_table *table_of(const struct plan *plan, enum plan_kind kind)
{
    for (size_t t = plan->tables_used; t > 0; t--) {
        if (plan->tables[t - 1].kind == kind)
            return &plan->tables[t - 1];
    }
    return NULL;
}

static size_t sparse_tables(const struct plan *plan)
{
    size_t n = 0;
    while (n < plan->tables_used && plan->tables[n].kind == PLAN_SPARSE)
        n++;
    return n;
}

static float *floats(size_t rows, size_t dim)
{
    assert(rows <= SIZE_MAX / sizeof(float) / (dim + 1));
    return mem_aligned(ALIGN, (rows * dim + 1) * sizeof(float));
}

static void free_rows(struct flight *f, const struct plan *plan)
{
    for (size_t t = 0; t < plan->tables_used; t++) {
        free(f->rows[t]);
        free(f->grad_rows[t]);
        f->rows[t] = f->grad_rows[t] = NULL;
    }
    free(f->at);
    free(f->owner);
    f->at = NULL;
    f->owner = NULL;
}

static void make_rows(struct flight *f, const struct plan *plan, size_t unique)
{
    for (size_t t = 0; t < sparse_tables(plan); t++) {
        f->rows[t] = floats(unique, plan->tables[t].dim);
        f->grad_rows[t] = floats(unique, plan->tables[t].dim);
    }
    f->at = mem_array(unique + 1, sizeof *f->at);
    f->owner = mem_array(unique + 1, sizeof *f->owner);
    f->unique_cap = unique;
}

void flight_init(struct flight *f, const struct plan *plan, size_t unique_max)
{
    const struct plan_table *dense = table_of(plan, PLAN_DENSE);
    const struct plan_table *stat = table_of(plan, PLAN_STAT);
    *f = (struct flight){0};
    make_rows(f, plan, unique_max);
    if (dense != NULL) {
        f->dense = floats(dense->blocks, DENSE_BLOCK);
        f->grad_dense = floats(dense->blocks, DENSE_BLOCK);
    }
    if (stat != NULL) {
        f->stat = floats(stat->blocks, DENSE_BLOCK);
        f->grad_stat = floats(stat->blocks, DENSE_BLOCK);
    }
}

void flight_reserve(struct flight *f, const struct plan *plan, size_t unique)
{
    if (unique <= f->unique_cap)
        return;
    size_t cap = f->unique_cap + f->unique_cap / 2;
    free_rows(f, plan);
    make_rows(f, plan, unique > cap ? unique : cap);
}

void flight_release(struct flight *f, const struct plan *plan)
{
    free_rows(f, plan);
    free(f->dense);
    free(f->stat);
    free(f->grad_dense);
    free(f->grad_stat);
    free(f->part);
    *f = (struct flight){0};
}

void flight_partition(struct flight *f, const uint16_t *map, uint32_t shards)
{
    assert(f->unique <= f->unique_cap);
    if (shards > f->parts_cap) {
        free(f->part);
        f->part = mem_array(shards, sizeof *f->part);
        f->parts_cap = shards;
    }
    memset(f->part, 0, shards * sizeof *f->part);
    f->parts = shards;
    f->answered = 0;
    for (size_t i = 0; i < f->unique; i++) {
        f->owner[i] = map[hash_bucket(f->keys[i])];
        f->part[f->owner[i]].n++;
    }
    uint32_t *at = f->at;
    for (uint32_t s = 0; s < shards; s++) {
        f->part[s].at = at;
        at += f->part[s].n;
        f->part[s].n = 0;
    }
    for (size_t i = 0; i < f->unique; i++) {
        struct flight_part *p = &f->part[f->owner[i]];
        f->at[(size_t)(p->at - f->at) + p->n++] = (uint32_t)i;
    }
}

/* dim is a constant in each of these calls: the inner copy becomes a few vector moves. */
static inline __attribute__((always_inline)) void
spread(float *restrict dst, const float *restrict src, const uint32_t *at, size_t n, size_t dim)
{
    for (size_t i = 0; i < n; i++)
        memcpy(dst + at[i] * dim, src + i * dim, dim * sizeof(float));
}

static inline __attribute__((always_inline)) void
collect(float *restrict dst, const float *restrict src, const uint32_t *at, size_t n, size_t dim)
{
    for (size_t i = 0; i < n; i++)
        memcpy(dst + i * dim, src + at[i] * dim, dim * sizeof(float));
}

static void scatter_rows(float *dst, const float *src, const struct flight_part *p, size_t dim)
{
    switch (dim) {
    case 1: spread(dst, src, p->at, p->n, 1); break;
    case 4: spread(dst, src, p->at, p->n, 4); break;
    case 8: spread(dst, src, p->at, p->n, 8); break;
    case 10: spread(dst, src, p->at, p->n, 10); break;
    case 16: spread(dst, src, p->at, p->n, 16); break;
    case 32: spread(dst, src, p->at, p->n, 32); break;
    default: spread(dst, src, p->at, p->n, dim); break;
    }
}

static void gather_rows(float *dst, const float *src, const struct flight_part *p, size_t dim)
{
    switch (dim) {
    case 1: collect(dst, src, p->at, p->n, 1); break;
    case 4: collect(dst, src, p->at, p->n, 4); break;
    case 8: collect(dst, src, p->at, p->n, 8); break;
    case 10: collect(dst, src, p->at, p->n, 10); break;
    case 16: collect(dst, src, p->at, p->n, 16); break;
    case 32: collect(dst, src, p->at, p->n, 32); break;
    default: collect(dst, src, p->at, p->n, dim); break;
    }
}

/* A shard's run of a dense table: floats and where they begin. No such table: none. */
static size_t run_of(const struct plan *plan, enum plan_kind kind, uint32_t shard, uint32_t shards,
                     size_t *out_first)
{
    const struct plan_table *t = table_of(plan, kind);
    uint64_t first = 0, end = 0;
    if (t != NULL)
        plan_blocks_of(t, shard, shards, &first, &end);
    *out_first = (size_t)first * DENSE_BLOCK;
    return (size_t)(end - first) * DENSE_BLOCK;
}

static enum status scatter_tables(struct flight *f, const struct plan *plan, uint32_t shard,
                                  const struct msg *rows, struct errbuf *err)
{
    const struct flight_part *p = &f->part[shard];
    const size_t sparse = sparse_tables(plan);
    for (size_t t = 0; t < sparse; t++) {
        if (rows->frame[t].bytes != p->n * plan->tables[t].dim * sizeof(float))
            return errbuf_set(err, ST_BAD_PEER, "shard %u answered %zu bytes of %zu rows of %s",
                              shard, rows->frame[t].bytes, p->n, plan->tables[t].name);
    }
    for (size_t t = 0; t < sparse; t++)
        scatter_rows(f->rows[t], rows->frame[t].data, p, plan->tables[t].dim);
    return ST_OK;
}

static enum status scatter_dense(struct flight *f, const struct plan *plan, uint32_t shard,
                                 const struct frame *dense, const struct frame *stat,
                                 struct errbuf *err)
{
    size_t dense_first, stat_first;
    size_t dense_n = run_of(plan, PLAN_DENSE, shard, f->parts, &dense_first);
    size_t stat_n = run_of(plan, PLAN_STAT, shard, f->parts, &stat_first);
    if (dense->bytes != dense_n * sizeof(float) || stat->bytes != stat_n * sizeof(float))
        return errbuf_set(err, ST_BAD_PEER, "shard %u answered other dense blocks than it owns",
                          shard);
    if (dense_n > 0)
        memcpy(f->dense + dense_first, dense->data, dense_n * sizeof(float));
    if (stat_n > 0)
        memcpy(f->stat + stat_first, stat->data, stat_n * sizeof(float));
    return ST_OK;
}

enum status flight_scatter(struct flight *f, const struct plan *plan, uint32_t shard,
                           const struct msg *rows, struct errbuf *err)
{
    const bool apart = f->dense_request != 0, dense = apart && rows->u.rows.request != f->request;
    const size_t sparse = dense ? 0 : sparse_tables(plan), n = dense ? 0 : f->part[shard].n;
    const size_t frames = sparse + (apart && !dense ? 0 : 2);
    enum status st = ST_OK;
    if (rows->u.rows.n != n || rows->frames != frames)
        return errbuf_set(err, ST_BAD_PEER,
                          "shard %u answered %u keys in %u frames, asked were %zu"
                          " in %zu",
                          shard, rows->u.rows.n, rows->frames, n, frames);
    if (!dense)
        st = scatter_tables(f, plan, shard, rows, err);
    if (st == ST_OK && frames > (dense ? 0 : sparse))
        st = scatter_dense(f, plan, shard, &rows->frame[sparse], &rows->frame[sparse + 1], err);
    return st;
}

void flight_keys(const struct flight *f, uint32_t shard, struct frame_pool *pool, struct frame *out)
{
    const struct flight_part *p = &f->part[shard];
    *out = frame_pool_get(pool, p->n * sizeof(uint64_t));
    uint64_t *keys = out->data;
    for (size_t i = 0; i < p->n; i++)
        keys[i] = f->keys[p->at[i]];
}

static void gather_run(const float *grads, const struct plan *plan, enum plan_kind kind,
                       uint32_t shard, uint32_t shards, struct frame_pool *pool, struct frame *out)
{
    size_t first, n = run_of(plan, kind, shard, shards, &first);
    *out = frame_pool_get(pool, n * sizeof(float));
    if (n > 0)
        memcpy(out->data, grads + first, n * sizeof(float));
}

void flight_gather(const struct flight *f, const struct plan *plan, uint32_t shard, bool with_keys,
                   bool with_dense, struct frame_pool *pool, struct msg *push)
{
    const struct flight_part *p = &f->part[shard];
    const size_t sparse = sparse_tables(plan);

    push->u.push.n = (uint32_t)p->n;
    push->frames = (uint32_t)sparse + 3;
    if (with_keys)
        flight_keys(f, shard, pool, &push->frame[0]);
    for (size_t t = 0; t < sparse; t++) {
        struct frame *g = &push->frame[t + 1];
        *g = frame_pool_get(pool, p->n * plan->tables[t].dim * sizeof(float));
        gather_rows(g->data, f->grad_rows[t], p, plan->tables[t].dim);
    }
    if (!with_dense)
        return;
    struct frame *dense = &push->frame[sparse + 1];
    gather_run(f->grad_dense, plan, PLAN_DENSE, shard, f->parts, pool, &dense[0]);
    gather_run(f->grad_stat, plan, PLAN_STAT, shard, f->parts, pool, &dense[1]);
}
