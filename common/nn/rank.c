/* rank.c - see rank.h.
 *
 * A target's logit is read from the same product as all others, so items with equal rows tie exactly, and a model
 * that gives all items one logit ranks in the middle and not first.
 */
#include "common/nn/rank.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/math/gemm.h"

#define LOGITS_MAX ((size_t)1 << 20)
#define BLOCK_MAX  128u

void rank_release(struct rank *k)
{
    free(k->logits);
    free(k->states);
    free(k->items);
    free(k->bias);
    free(k->exps);
    free(k->place);
    *k = (struct rank){0};
}

struct ranking_of { /* one call */
    const struct graph *g;
    const struct model_input *in;
    const struct graph_tensor *items, *bias; /* bias may be NULL */
    const real *e, *b;                       /* (C, d), (C) or NULL */
    size_t d;
};

/* The candidates' rows as one matrix: the pulled rows as they stand, if they are all of them. */
static void rank_items(struct rank *k, struct ranking_of *o)
{
    const size_t C = o->in->candidates, U = o->in->unique;
    const bool all = C == U;
    mem_grow(&k->place, &k->place_cap, U, sizeof(*k->place));
    for (size_t u = 0; u < U; u++)
        k->place[u] = all ? (uint32_t)u : TOKEN_NONE;
    o->e = o->items->value;
    o->b = o->bias ? o->bias->value : NULL;
    if (all)
        return;
    mem_grow(&k->items, &k->items_cap, C * o->d, sizeof(*k->items));
    mem_grow(&k->bias, &k->bias_cap, C, sizeof(*k->bias));
    for (size_t c = 0; c < C; c++) {
        const size_t u = o->in->candidate[c];
        k->place[u] = (uint32_t)c;
        memcpy(k->items + c * o->d, o->items->value + u * o->d, o->d * sizeof(real));
        k->bias[c] = o->bias ? o->bias->value[u] : 0;
    }
    o->e = k->items;
    o->b = o->bias ? k->bias : NULL;
}

void rank_states(const struct graph *g, const struct model_head *head, size_t from, size_t many,
                 real *out)
{
    const struct graph_tensor *h = graph_at(g, head->h);
    for (size_t i = 0; i < many; i++) {
        const uint32_t row = g->tokens->last[from + i];
        if (row == TOKEN_NONE)
            memset(out + i * h->cols, 0, h->cols * sizeof(real));
        else
            memcpy(out + i * h->cols, h->value + row * h->ld, h->cols * sizeof(real));
    }
}

static void strike(const struct rank *k, const struct ranking_of *o, size_t bag, real *z)
{
    for (size_t at = o->in->offsets[bag]; at < o->in->offsets[bag + 1]; at++)
        if (k->place[o->in->index[at]] != TOKEN_NONE)
            z[k->place[o->in->index[at]]] = -(real)INFINITY;
}

/* Cross-entropy of the target among all candidates, before anything is struck out. */
static void add_loss(const struct rank *k, const real *z, size_t n, real own,
                     struct model_loss *loss)
{
    size_t above, same;
    const real most = vec_max(z, n);
    vec_rank(z, n, own, &above, &same);
    loss->sum += log((double)vec_exp_sum(k->exps, z, 1, most, n)) + (double)(most - own);
    loss->correct += above == 0 && same == 1; /* the same: itself */
}

static real rank_of(const struct rank *k, const struct ranking_of *o, size_t record, real *z,
                    struct model_loss *loss)
{
    const size_t C = o->in->candidates, bag = record * o->g->fields;
    const uint32_t *target = o->in->offsets + bag + 1;
    const uint32_t place = target[1] > target[0] ? k->place[o->in->index[target[0]]] : TOKEN_NONE;
    if (loss != NULL)
        loss->count++;
    if (place == TOKEN_NONE || isnan(z[place])) {
        if (loss != NULL)
            loss->sum = NAN;
        return (real)C;
    }
    const real own = z[place];
    size_t above, same;
    if (loss != NULL)
        add_loss(k, z, C, own, loss);
    strike(k, o, bag, z);
    strike(k, o, bag + 2, z);
    z[place] = -(real)INFINITY;
    vec_rank(z, C, own, &above, &same);
    return 1 + (real)above + (real)same / 2;
}

void rank_all(struct rank *k, const struct graph *g, const struct model_head *head,
              const struct model_input *in, real *out_rank, struct model_loss *out_loss)
{
    const size_t C = in->candidates;
    struct ranking_of o = {
        .g = g,
        .in = in,
        .items = graph_at(g, head->items),
        .bias = head->bias == GRAPH_NONE ? NULL : graph_at(g, head->bias),
        .d = graph_at(g, head->h)->cols,
    };
    assert(C > 0 && g->fields == 3);
    rank_items(k, &o);
    const size_t fit = LOGITS_MAX / C < BLOCK_MAX ? LOGITS_MAX / C : BLOCK_MAX;
    const size_t block = fit > 0 ? fit : 1;
    mem_grow(&k->logits, &k->logits_cap, block * C, sizeof(*k->logits));
    mem_grow(&k->states, &k->states_cap, BLOCK_MAX * o.d, sizeof(*k->states));
    if (out_loss != NULL) {
        mem_grow(&k->exps, &k->exps_cap, C, sizeof(*k->exps));
        *out_loss = (struct model_loss){0};
    }
    for (size_t from = 0; from < in->n; from += block) {
        const size_t many = in->n - from < block ? in->n - from : block;
        rank_states(g, head, from, many, k->states);
        gemm_nt(&(struct gemm){.m = many,
                               .n = C,
                               .k = o.d,
                               .a = k->states,
                               .lda = o.d,
                               .b = o.e,
                               .ldb = o.d,
                               .c = k->logits,
                               .ldc = C,
                               .bias = o.b});
        for (size_t i = 0; i < many; i++)
            out_rank[from + i] = rank_of(k, &o, from + i, k->logits + i * C, out_loss);
    }
}
