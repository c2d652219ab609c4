/* op_pool.c - a history as one vector: u = sum of a_j h_j over the record's tokens.
 *
 * a (T, 1), h (T, d) by record -> (n, d). With softmax a_j becomes p_j, the softmax over the record's tokens. A record
 * without tokens gets zeros.
 *
 *     dp_j = <du, h_j>    da_j = p_j (dp_j - sum_k p_k dp_k)    dh_j = p_j du;    without softmax p = a and da = dp
 */
#include <assert.h>
#include <string.h>

#include "common/nn/ops.h"

enum { POOL_A, POOL_H };
enum { POOL_P, POOL_DP }; /* (T, 1) each; P with softmax only */

static const real *pool_weights(const struct graph *g, const struct op *op)
{
    return op->save[POOL_P] == GRAPH_NONE ? graph_at(g, op->in[POOL_A])->value
                                          : graph_at(g, op->save[POOL_P])->value;
}

static void pool_softmax(const struct graph *g, const struct op *op, size_t records)
{
    const real *a = graph_at(g, op->in[POOL_A])->value;
    real *p = graph_at(g, op->save[POOL_P])->own;
    for (size_t i = 0; i < records; i++) {
        const size_t from = g->tokens->start[i], many = g->tokens->start[i + 1] - from;
        if (!many)
            continue;
        const real most = vec_max(a + from, many);
        const real sum = vec_exp_sum(p + from, a + from, 1, most, many);
        vec_scaled(p + from, 1 / sum, p + from, many, false);
    }
}

static void pool_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *h = graph_at(g, op->in[POOL_H]), *u = graph_at(g, op->out);
    const size_t records = graph_rows_of(u, run);
    if (op->save[POOL_P] != GRAPH_NONE)
        pool_softmax(g, op, records);
    const real *p = pool_weights(g, op);
    for (size_t i = 0; i < records; i++) {
        real *to = u->own + i * u->ld;
        memset(to, 0, u->cols * sizeof(*to));
        for (size_t r = g->tokens->start[i]; r < g->tokens->start[i + 1]; r++)
            vec_scaled(to, p[r], h->value + r * h->ld, u->cols, true);
    }
}

static void pool_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *h = graph_at(g, op->in[POOL_H]), *u = graph_at(g, op->out);
    const size_t records = graph_rows_of(u, run), tokens = graph_rows_of(h, run);
    const real *p = pool_weights(g, op);
    real *dp = graph_at(g, op->save[POOL_DP])->own;
    real *da = graph_grad_in(g, op, POOL_A), *dh = graph_grad_in(g, op, POOL_H);
    for (size_t r = 0; r < tokens; r++) {
        const real *du = u->grad + (size_t)g->tokens->record[r] * u->ld;
        dp[r] = vec_dot(du, h->value + r * h->ld, u->cols);
        if (dh)
            vec_scaled(dh + r * h->ld, p[r], du, u->cols, op->add[POOL_H]);
    }
    for (size_t i = 0; i < records && op->save[POOL_P] != GRAPH_NONE; i++) {
        const size_t from = g->tokens->start[i], many = g->tokens->start[i + 1] - from;
        vec_softmax_back(dp + from, p + from, dp + from, vec_dot(p + from, dp + from, many), 1,
                         many);
    }
    if (da)
        vec_put(da, dp, tokens, op->add[POOL_A]);
}

static const struct op_kind pool_kind = {
    .name = "pool",
    .forward = pool_forward,
    .backward = pool_backward,
};

uint32_t op_pool(struct graph *g, uint32_t a, uint32_t h, bool softmax)
{
    const struct graph_tensor ta = *graph_at(g, a), th = *graph_at(g, h);
    assert(ta.kind == ROWS_TOKENS && ta.cols == 1 && ta.ld == 1 && th.kind == ROWS_TOKENS &&
           !g->tokens->by_step);
    const uint32_t out = graph_slab(g, ROWS_BATCH, 0, th.cols);
    const uint32_t p = softmax ? graph_slab(g, ROWS_TOKENS, 0, 1) : GRAPH_NONE;
    const uint32_t dp = graph_slab(g, ROWS_TOKENS, 0, 1);
    struct op *op = graph_op(g, &pool_kind, out);
    if (softmax)
        graph_save(g, op, POOL_P, p);
    graph_save(g, op, POOL_DP, dp);
    graph_read(g, op, a);
    graph_read(g, op, h);
    return out;
}
