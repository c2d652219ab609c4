/* version.c - see version.h: reading through the layers, in groups of keys, lanes first, then rows. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ps/serve/version_int.h"

enum rows_found layer_find(const struct layer *top, uint32_t table, uint64_t key, uint64_t h,
                           const float **out_w)
{
    for (const struct layer *l = top; l != NULL; l = atomic_load(&l->below)) {
        const enum rows_found found = rows_find(l->rows[table], key, h, out_w);
        if (found != ROWS_ABSENT) {
            return found == ROWS_TOMB ? ROWS_ABSENT : found;
        }
    }
    return ROWS_ABSENT;
}

void layer_prefetch(const struct layer *top, uint32_t table, const uint64_t *h, size_t n)
{
    for (const struct layer *l = top; l != NULL; l = atomic_load(&l->below)) {
        if (!rows_empty(l->rows[table])) {
            rows_prefetch_lanes(l->rows[table], h, n);
        }
    }
    for (const struct layer *l = top; l != NULL; l = atomic_load(&l->below)) {
        if (!rows_empty(l->rows[table])) {
            rows_prefetch_rows(l->rows[table], h, n);
        }
    }
}

void version_rows(const struct version *v, uint32_t t, const uint64_t *keys, size_t n, float *out,
                  size_t *out_unknown)
{
    const uint32_t dim = v->plan->tables[t].dim;
    size_t unknown = 0;
    assert(t < v->plan->tables_used && v->plan->tables[t].kind == PLAN_SPARSE);
    const struct layer *top = atomic_load(&v->top);
    for (size_t at = 0; at < n; at += LAYER_GROUP) {
        uint64_t h[LAYER_GROUP] = {0};
        const size_t group = n - at < LAYER_GROUP ? n - at : LAYER_GROUP;
        for (size_t i = 0; i < group; i++) {
            h[i] = hash_u64(keys[at + i]);
        }
        layer_prefetch(top, t, h, group);
        for (size_t i = 0; i < group; i++) {
            const float *w = NULL;
            float *to = out + (at + i) * dim;
            if (layer_find(top, t, keys[at + i], h[i], &w) == ROWS_LIVE) {
                memcpy(to, w, dim * sizeof(*to));
            } else {
                plan_absent_row(v->plan, t, keys[at + i], to);
                unknown++;
            }
        }
    }
    if (out_unknown != NULL) {
        *out_unknown = unknown;
    }
}

uint64_t version_cut(const struct version *v)
{
    return v->k;
}

uint64_t version_incarnation(const struct version *v)
{
    return v->e;
}

uint64_t version_wall_us(const struct version *v)
{
    return v->wall_us;
}

uint64_t version_shown_us(const struct version *v)
{
    return v->shown_us;
}

uint64_t version_step(const struct version *v)
{
    return v->step;
}

uint64_t version_records(const struct version *v)
{
    return v->records;
}

uint64_t version_table_rows(const struct version *v, uint32_t t)
{
    return v->rows[t];
}

uint64_t version_table_hash(const struct version *v, uint32_t t)
{
    return v->hash[t];
}

const float *version_dense(const struct version *v)
{
    return v->dense;
}

const float *version_stat(const struct version *v)
{
    return v->stat;
}

void version_free(struct version *v)
{
    if (v != NULL) {
        free(v->dense);
        free(v->stat);
        free(v->files);
        free(v);
    }
}
