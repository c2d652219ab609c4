/* slices.c - gather a slice's rows, step, scale, and add up (slices.h). */
#include "worker/slices.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

/* -- the batches -- */

void slices_init(struct slices *s, const struct dataset *d, size_t count, size_t batch_max,
                 uint64_t S)
{
    *s = (struct slices){.count = count};
    merge_init(&s->keys);
    if (count == 0)
        return;
    s->batch = mem_array(count, sizeof *s->batch);
    s->list = mem_array(count, sizeof *s->list);
    s->n = mem_array(count, sizeof *s->n);
    for (size_t i = 0; i < count; i++)
        batch_init(&s->batch[i], d, (batch_max + (size_t)S - 1) / (size_t)S);
}

void slices_release(struct slices *s)
{
    for (size_t i = 0; i < s->count; i++)
        batch_release(&s->batch[i]);
    free(s->batch);
    free(s->list);
    free(s->n);
    merge_release(&s->keys);
    *s = (struct slices){0};
}

void slices_merge_keys(struct slices *s)
{
    for (size_t i = 0; i < s->count; i++) {
        s->list[i] = s->batch[i].keys;
        s->n[i] = s->batch[i].unique;
    }
    merge_keys(&s->keys, s->list, s->n, s->count);
}

/* -- the sum -- */

static bool sparse(const struct plan *plan, size_t t)
{
    return t < plan->tables_used && plan->tables[t].kind == PLAN_SPARSE;
}

void slice_sum_init(struct slice_sum *u, const struct plan *plan, size_t count)
{
    *u = (struct slice_sum){.count = count};
    if (count == 0)
        return;
    u->grads = mem_array(count, sizeof *u->grads);
    u->list = mem_array(count, sizeof *u->list);
    for (size_t i = 0; i < count; i++) {
        u->grads[i].dense = mem_aligned(64, (plan_floats(plan, PLAN_DENSE) + 1) * sizeof(float));
        u->grads[i].stat = mem_aligned(64, (plan_floats(plan, PLAN_STAT) + 1) * sizeof(float));
    }
}

void slice_sum_release(struct slice_sum *u)
{
    for (size_t t = 0; t < PLAN_TABLES_MAX; t++) {
        free(u->row[t]);
        for (size_t i = 0; i < u->count; i++)
            free(u->grads[i].row[t]);
    }
    for (size_t i = 0; i < u->count; i++) {
        free(u->grads[i].dense);
        free(u->grads[i].stat);
    }
    free(u->grads);
    free(u->list);
    *u = (struct slice_sum){0};
}

static void reserve(float **row, size_t *cap, const struct plan *plan, size_t unique)
{
    if (unique <= *cap && *cap > 0)
        return;
    *cap = unique + unique / 2 + 64;
    for (size_t t = 0; sparse(plan, t); t++) {
        free(row[t]);
        row[t] = mem_aligned(64, (*cap * plan->tables[t].dim + 1) * sizeof(float));
    }
}

/* Index, in the keys of all slices, of each key of slice i. */
static const uint32_t *index_of(const struct slices *s, size_t i)
{
    const uint32_t *of = s->keys.of;
    for (size_t j = 0; j < i; j++)
        of += s->n[j];
    return of;
}

void slice_sum_begin(struct slice_sum *u, const struct plan *plan, const struct slices *s,
                     const struct flight *f, size_t i, struct model_params *p,
                     struct model_grads *g)
{
    const size_t unique = s->batch[i].unique;
    const uint32_t *of = index_of(s, i);
    *p = (struct model_params){.dense = f->dense, .stat = f->stat};
    *g = (struct model_grads){.dense = u->grads[i].dense, .stat = u->grads[i].stat};
    reserve(u->row, &u->row_cap, plan, unique);
    reserve(u->grads[i].row, &u->grads[i].row_cap, plan, unique);
    for (size_t t = 0; sparse(plan, t); t++) {
        const size_t dim = plan->tables[t].dim;
        for (size_t k = 0; k < unique; k++)
            memcpy(u->row[t] + k * dim, f->rows[t] + of[k] * dim, dim * sizeof(float));
        p->rows[t] = u->row[t];
        g->rows[t] = u->grads[i].row[t];
    }
}

static void scale(float *v, size_t n, float by)
{
    for (size_t i = 0; i < n; i++)
        v[i] *= by;
}

void slice_sum_scale(struct slice_sum *u, const struct plan *plan, const struct slices *s, size_t i,
                     float share)
{
    struct slice_grads *g = &u->grads[i];
    for (size_t t = 0; sparse(plan, t); t++)
        scale(g->row[t], s->batch[i].unique * plan->tables[t].dim, share);
    scale(g->dense, plan_floats(plan, PLAN_DENSE), share);
    scale(g->stat, plan_floats(plan, PLAN_STAT), share);
}

void slice_sum_finish(struct slice_sum *u, const struct plan *plan, const struct slices *s,
                      struct flight *f)
{
    const float **list = u->list;
    for (size_t t = 0; sparse(plan, t); t++) {
        for (size_t i = 0; i < s->count; i++)
            list[i] = u->grads[i].row[t];
        merge_rows(&s->keys, list, plan->tables[t].dim, f->grad_rows[t]);
    }
    for (size_t i = 0; i < s->count; i++)
        list[i] = s->batch[i].n > 0 ? u->grads[i].dense : NULL;
    merge_arrays(list, s->count, plan_floats(plan, PLAN_DENSE), f->grad_dense);
    for (size_t i = 0; i < s->count; i++)
        list[i] = s->batch[i].n > 0 ? u->grads[i].stat : NULL;
    merge_arrays(list, s->count, plan_floats(plan, PLAN_STAT), f->grad_stat);
}
