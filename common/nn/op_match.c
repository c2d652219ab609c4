/* op_match.c - what DIN's attention judges an item of a history h by, beside the target t: [h ; t ; h - t ; h t].
 *
 * h (T, d) by record, t (n, d) -> (T, 4 d). The layer behind it could take t's and h's parts once a record and once a
 * token, for h - t says nothing new; but then its weights would not be those of the paper, which L2 and Adam see.
 *
 *     dh = dy_0 + dy_2 + dy_3 t        dt = sum over the record's tokens of dy_1 - dy_2 + dy_3 h
 */
#include <assert.h>
#include <string.h>

#include "common/nn/ops.h"

enum { MATCH_H, MATCH_T };

static void match_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *h = graph_at(g, op->in[MATCH_H]), *t = graph_at(g, op->in[MATCH_T]);
    const struct graph_tensor *y = graph_at(g, op->out);
    const size_t rows = graph_rows_of(h, run), d = h->cols;
    for (size_t r = 0; r < rows; r++) {
        const real *item = h->value + r * h->ld;
        const real *target = t->value + (size_t)g->tokens->record[r] * t->ld;
        real *to = y->own + r * y->ld;
        vec_put(to, item, d, false);
        vec_put(to + d, target, d, false);
        vec_scaled(to + 2 * d, -1, target, d, false);
        vec_put(to + 2 * d, item, d, true);
        vec_mul(to + 3 * d, item, target, d, false);
    }
}

static void match_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *h = graph_at(g, op->in[MATCH_H]), *t = graph_at(g, op->in[MATCH_T]);
    const struct graph_tensor *y = graph_at(g, op->out);
    const size_t rows = graph_rows_of(h, run), records = graph_rows_of(t, run), d = h->cols;
    real *dh = graph_grad_in(g, op, MATCH_H), *dt = graph_grad_in(g, op, MATCH_T);
    for (size_t i = 0; i < records && dt && !op->add[MATCH_T]; i++)
        memset(dt + i * t->ld, 0, d * sizeof(*dt));
    for (size_t r = 0; r < rows; r++) {
        const size_t record = g->tokens->record[r];
        const real *dy = y->grad + r * y->ld;
        if (dh) {
            real *to = dh + r * h->ld;
            vec_put(to, dy, d, op->add[MATCH_H]);
            vec_put(to, dy + 2 * d, d, true);
            vec_mul(to, dy + 3 * d, t->value + record * t->ld, d, true);
        }
        if (dt) {
            real *to = dt + record * t->ld;
            vec_put(to, dy + d, d, true);
            vec_scaled(to, -1, dy + 2 * d, d, true);
            vec_mul(to, dy + 3 * d, h->value + r * h->ld, d, true);
        }
    }
}

static const struct op_kind match_kind = {
    .name = "match",
    .forward = match_forward,
    .backward = match_backward,
};

uint32_t op_match(struct graph *g, uint32_t h, uint32_t t)
{
    const struct graph_tensor th = *graph_at(g, h), tt = *graph_at(g, t);
    assert(th.kind == ROWS_TOKENS && tt.kind == ROWS_BATCH && th.cols == tt.cols &&
           !g->tokens->by_step);
    const uint32_t out = graph_slab(g, ROWS_TOKENS, 0, 4 * th.cols);
    struct op *op = graph_op(g, &match_kind, out);
    graph_read(g, op, h);
    graph_read(g, op, t);
    return out;
}
