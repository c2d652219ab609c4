/* op_unfold.c - what a causal convolution sees, side by side: the product behind it is then op_linear.
 *
 * x (T, d) packed by record -> (T, kernel d): token t gets those at t - (kernel - 1) dilation, ..., t - dilation, t of its own
 * sequence, and zeros where there is none. Backward adds each of these parts to the row it came from. The copies are
 * 1 / (2 d) of the product's work.
 */
#include <assert.h>
#include <string.h>

#include "common/nn/ops.h"

static void unfold_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    (void)run;
    const struct graph_tensor *x = graph_at(g, op->in[0]), *y = graph_at(g, op->out);
    const size_t kernel = op->param, d = x->cols;
    for (size_t r = 0; r < g->tokens->used; r++) {
        for (size_t k = 0; k < kernel; k++) {
            const size_t back = (kernel - 1 - k) * op->step;
            real *to = y->own + r * y->ld + k * d;
            if (back <= g->tokens->place[r])
                memcpy(to, x->value + (r - back) * x->ld, d * sizeof(*to));
            else
                memset(to, 0, d * sizeof(*to));
        }
    }
}

static void unfold_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[0]), *y = graph_at(g, op->out);
    const size_t kernel = op->param, d = x->cols;
    real *dx = graph_grad_in(g, op, 0);
    (void)run;
    /* A token is the last part of its own row: the first to write; later tokens add the other parts. */
    for (size_t r = 0; r < g->tokens->used; r++) {
        const real *dy = y->grad + r * y->ld;
        vec_put(dx + r * x->ld, dy + (kernel - 1) * d, d, op->add[0]);
        for (size_t k = 0; k + 1 < kernel; k++) {
            const size_t back = (kernel - 1 - k) * op->step;
            if (back <= g->tokens->place[r])
                vec_put(dx + (r - back) * x->ld, dy + k * d, d, true);
        }
    }
}

static const struct op_kind unfold_kind = {
    .name = "unfold",
    .forward = unfold_forward,
    .backward = unfold_backward,
};

uint32_t op_unfold(struct graph *g, uint32_t x, size_t kernel, size_t dilation)
{
    const struct graph_tensor t = *graph_at(g, x);
    assert(t.kind == ROWS_TOKENS && !g->tokens->by_step && t.wants_grad && kernel > 0 &&
           dilation > 0);
    const uint32_t out = graph_slab(g, ROWS_TOKENS, 0, kernel * t.cols);
    struct op *op = graph_op(g, &unfold_kind, out);
    graph_read(g, op, x);
    op->param = kernel;
    op->step = dilation;
    return out;
}
