/* op_factorized.c - the factorized interaction of FinalNet (Zhu et al. 2023), behind its linear layer.
 *
 * x (rows, 2 m) = [h2 ; h1] is what a linear layer of twice the width made. Two ways to bring h1 in:
 *
 *     sum     y (rows, m)   = h2 + h1 * h2         dh2 = dy (1 + h1)       dh1 = dy h2
 *     concat  y (rows, 2 m) = [h2 ; h1 * h2]       dh2 = dy_1 + dy_2 h1    dh1 = dy_2 h2
 *
 * Both are row-wise, so rows that the linear layer tells of are done while they are in the cache, and
 * passed on to the batch norm behind; in backward the same the other way round.
 */
#include <assert.h>

#include "common/nn/ops.h"

#define FACTORIZED_BLOCK_ROWS 64u

static bool is_concat(const struct graph_tensor *x, const struct graph_tensor *y)
{
    return x->cols == y->cols;
}

static void factorized_take(const struct graph *g, const struct op *op, struct graph_run *run,
                            size_t from, size_t to)
{
    const struct graph_tensor *x = graph_at(g, op->in[0]), *y = graph_at(g, op->out);
    const size_t m = x->cols / 2;
    for (size_t r = from; r < to; r++) {
        const real *h2 = x->value + r * x->ld, *h1 = h2 + m;
        real *to_row = y->own + r * y->ld;
        if (is_concat(x, y)) {
            vec_put(to_row, h2, m, false);
            vec_mul(to_row + m, h1, h2, m, false);
        } else {
            vec_mul_add(to_row, h1, h2, h2, m);
        }
    }
    graph_tell(g, op, run, from, to);
}

static void factorized_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    if (!op->told)
        factorized_take(g, op, run, 0, graph_rows_of(graph_at(g, op->out), run));
}

/* dx of one row. Where dx is written first, dh2 begins as what the part without h1 hands back. */
static void factorized_row_back(real *dx, const real *dy, const real *x, size_t m, bool concat,
                                bool add)
{
    const real *h2 = x, *h1 = x + m, *dy2 = concat ? dy + m : dy;
    vec_put(dx, dy, m, add);
    vec_mul(dx, dy2, h1, m, true);
    vec_mul(dx + m, dy2, h2, m, add);
}

static void factorized_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[0]), *y = graph_at(g, op->out);
    const size_t rows = graph_rows_of(y, run);
    real *dx = graph_grad_in(g, op, 0);
    for (size_t from = 0; from < rows; from += FACTORIZED_BLOCK_ROWS) {
        const size_t left = rows - from,
                     to = left < FACTORIZED_BLOCK_ROWS ? rows : from + FACTORIZED_BLOCK_ROWS;
        for (size_t r = from; r < to; r++)
            factorized_row_back(dx + r * x->ld, y->grad + r * y->ld, x->value + r * x->ld,
                                x->cols / 2, is_concat(x, y), op->add[0]);
        graph_tell_grad(g, op, run, from, to);
    }
}

static size_t factorized_flops(const struct graph *g, const struct op *op)
{
    return graph_at(g, op->in[0])->cols;
}

static const struct op_kind factorized_kind = {
    .name = "factorized",
    .forward = factorized_forward,
    .backward = factorized_backward,
    .take = factorized_take,
    .flops = factorized_flops,
    .tells = true,
    .tells_grad = true,
};

uint32_t op_factorized(struct graph *g, uint32_t x, bool concat)
{
    const struct graph_tensor t = *graph_at(g, x);
    assert(t.cols % 2 == 0);
    const uint32_t out = graph_slab(g, t.kind, t.rows, concat ? t.cols : t.cols / 2);
    struct op *op = graph_op(g, &factorized_kind, out);
    graph_read(g, op, x);
    return out;
}
