/* op_bce_pair.c - the original SASRec's loss: -log sigmoid(z+) - log(1 - sigmoid(z-)), mean over the tokens.
 *
 * z+ is the target's logit, z- that of one other item, the batch's candidate number (token mod C); a candidate that is
 * the target is no negative, and the token goes without.
 */
#include <assert.h>
#include <string.h>

#include "common/nn/ops.h"

enum { PAIR_H, PAIR_ITEMS, PAIR_BIAS };

struct pair {
    const real *items, *bias; /* bias may be NULL */
    real *d_items, *d_bias;
    size_t d;
};

static real pair_logit(const struct pair *p, const real *h, size_t u)
{
    return vec_dot(h, p->items + u * p->d, p->d) + (p->bias ? p->bias[u] : 0);
}

static void pair_spread(const struct pair *p, real dz, const real *h, real *dh, size_t u, bool add)
{
    vec_scaled(dh, dz, p->items + u * p->d, p->d, add);
    vec_scaled(p->d_items + u * p->d, dz, h, p->d, true);
    if (p->bias)
        p->d_bias[u] += dz;
}

static void pair_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *h = graph_at(g, op->in[PAIR_H]);
    const struct tokens *t = g->tokens;
    struct pair p = {
        .items = graph_at(g, op->in[PAIR_ITEMS])->value,
        .d_items = graph_grad_in(g, op, PAIR_ITEMS),
        .d = h->cols,
    };
    if (op->in_used > PAIR_BIAS) {
        p.bias = graph_at(g, op->in[PAIR_BIAS])->value;
        p.d_bias = graph_grad_in(g, op, PAIR_BIAS);
    }
    assert(run->in->candidates > 0);
    if (!op->add[PAIR_ITEMS])
        memset(p.d_items, 0, run->in->unique * p.d * sizeof(real));
    if (p.bias && !op->add[PAIR_BIAS])
        memset(p.d_bias, 0, run->in->unique * sizeof(real));
    for (size_t r = 0; r < t->used; r++) {
        const real *row = h->value + r * h->ld, labels[2] = {1, 0};
        real *dh = graph_grad_in(g, op, PAIR_H) + r * h->ld, dz[2];
        const size_t u[2] = {t->target[r], run->in->candidate[r % run->in->candidates]};
        const size_t many = u[0] == u[1] ? 1 : 2;
        const real z[2] = {pair_logit(&p, row, u[0]), pair_logit(&p, row, u[1])};
        run->loss += vec_bce(dz, z, labels, many, 1 / (real)t->used);
        run->correct += many == 2 && z[0] > z[1];
        for (size_t i = 0; i < many; i++)
            pair_spread(&p, dz[i], row, dh, u[i], i > 0 || op->add[PAIR_H]);
    }
    run->count += t->used;
}

static void pair_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    (void)g; /* loss and gradient are one, and come with backward */
    (void)op;
    (void)run;
}

static const struct op_kind pair_kind = {
    .name = "bce_pair",
    .forward = pair_forward,
    .backward = pair_backward,
    .loss = true,
};

void op_bce_pair(struct graph *g, uint32_t h, uint32_t items, uint32_t bias)
{
    assert(graph_at(g, h)->kind == ROWS_TOKENS && graph_at(g, items)->home == HOME_TABLE &&
           graph_at(g, items)->cols == graph_at(g, h)->cols);
    struct op *op = graph_op(g, &pair_kind, GRAPH_NONE);
    graph_read(g, op, h);
    graph_read(g, op, items);
    if (bias != GRAPH_NONE)
        graph_read(g, op, bias);
}
