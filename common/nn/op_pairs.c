/* op_pairs.c - the dot products of all pairs of a record's vectors: DLRM's interaction (Naumov et al. 2019).
 *
 * x (rows, V d) holds V vectors of d reals side by side; y (rows, V (V - 1) / 2) has <x_i, x_j> for j < i,
 * in the order (1, 0), (2, 0), (2, 1), ... - the lower triangle of X X'.
 *
 * Backward: with the symmetric G, G_ij = G_ji = dy_ij and a zero diagonal, dX = G X. V is a few dozen, so
 * both are kernels of their own (vec_pairs, vec_mix) over one record at a time, not products of matrices.
 */
#include <assert.h>

#include "common/nn/ops.h"

static void pairs_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[0]), *y = graph_at(g, op->out);
    const size_t rows = graph_rows_of(x, run), V = op->param;
    for (size_t r = 0; r < rows; r++)
        vec_pairs(y->own + r * y->ld, x->value + r * x->ld, V, x->cols / V);
}

static void pairs_spread(real *w, const real *dy, size_t V) /* dy -> G; the diagonal stays 0 */
{
    for (size_t i = 1; i < V; i++)
        for (size_t j = 0; j < i; j++, dy++)
            w[i * V + j] = w[j * V + i] = *dy;
}

static void pairs_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[0]), *y = graph_at(g, op->out);
    const size_t rows = graph_rows_of(x, run), V = op->param;
    real *w = graph_at(g, op->save[0])->own; /* G (V, V) */
    real *dx = graph_grad_in(g, op, 0);
    const struct vec_mixing mixing = {.vectors = V, .d = x->cols / V, .w = w};
    for (size_t i = 0; i < V; i++)
        w[i * V + i] = 0;
    for (size_t r = 0; r < rows; r++) {
        pairs_spread(w, y->grad + r * y->ld, V);
        vec_mix(dx + r * x->ld, x->value + r * x->ld, &mixing, op->add[0]);
    }
}

static size_t pairs_flops(const struct graph *g, const struct op *op)
{
    const size_t V = op->param;
    return 2 * graph_at(g, op->out)->cols * (graph_at(g, op->in[0])->cols / V);
}

static const struct op_kind pairs_kind = {
    .name = "pairs",
    .forward = pairs_forward,
    .backward = pairs_backward,
    .flops = pairs_flops,
};

uint32_t op_pairs(struct graph *g, uint32_t x, size_t vectors)
{
    const struct graph_tensor t = *graph_at(g, x);
    assert(vectors >= 2 && t.cols % vectors == 0);
    const uint32_t out = graph_slab(g, t.kind, t.rows, vectors * (vectors - 1) / 2);
    const uint32_t spread = graph_slab(g, ROWS_FIXED, 1, vectors * vectors);
    struct op *op = graph_op(g, &pairs_kind, out);
    graph_save(g, op, 0, spread);
    graph_read(g, op, x);
    op->param = vectors;
    return out;
}
