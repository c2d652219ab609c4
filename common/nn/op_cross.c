/* op_cross.c - one cross layer of DCN-v2 (Wang et al. 2021, eq. 1): y = x0 * (W x + b) + x.
 *
 * u = W x + b is kept; in backward it becomes du = dy * x0 in place:
 *
 *     dx0 += dy * u      dW = du' x      db = sum du      dx = dy + du W
 *
 * In the first layer x is x0 itself and gets both parts. From the second on nobody else reads x, so dx
 * grows in place out of dy.
 */
#include <assert.h>

#include "common/math/gemm.h"
#include "common/nn/ops.h"

enum { CROSS_X, CROSS_X0, CROSS_W, CROSS_B };

struct cross_call { /* what one call works on */
    const struct graph_tensor *x, *x0, *w, *b, *u, *y;
    size_t rows;
    const struct graph *g;
    const struct op *op;
};

static struct cross_call cross_call(const struct graph *g, const struct op *op,
                                    const struct graph_run *run)
{
    return (struct cross_call){
        .x = graph_at(g, op->in[CROSS_X]),
        .x0 = graph_at(g, op->in[CROSS_X0]),
        .w = graph_at(g, op->in[CROSS_W]),
        .b = graph_at(g, op->in[CROSS_B]),
        .u = graph_at(g, op->save[0]),
        .y = graph_at(g, op->out),
        .rows = graph_rows_of(graph_at(g, op->out), run),
        .g = g,
        .op = op,
    };
}

static void cross_finish(void *ctx, size_t from, size_t to) /* u is ready */
{
    const struct cross_call *c = ctx;
    for (size_t r = from; r < to; r++)
        vec_mul_add(c->y->own + r * c->y->ld, c->x0->value + r * c->x0->ld,
                    c->u->value + r * c->u->ld, c->x->value + r * c->x->ld, c->x->cols);
}

static void cross_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    struct cross_call c = cross_call(g, op, run);
    const size_t cols = c.x->cols;
    gemm_nt(&(struct gemm){.m = c.rows,
                           .n = cols,
                           .k = cols,
                           .a = c.x->value,
                           .lda = c.x->ld,
                           .b = c.w->value,
                           .ldb = c.w->ld,
                           .c = c.u->own,
                           .ldc = c.u->ld,
                           .bias = c.b->value,
                           .done = cross_finish,
                           .ctx = &c});
}

/* Everything but the products: dx begins as dy, dx0 gets dy * u, u becomes du; db. */
static void cross_unfinish(const struct cross_call *c)
{
    const struct op *op = c->op;
    real *dx = graph_grad_in(c->g, op, CROSS_X), *dx0 = graph_grad_in(c->g, op, CROSS_X0);
    const size_t cols = c->x->cols;
    for (size_t r = 0; r < c->rows; r++) {
        const real *dy = c->y->grad + r * c->y->ld;
        real *u = c->u->own + r * c->u->ld;
        /* dx first: in the first layer dx0 is the same array and adds. */
        if (dx && dx + r * c->x->ld != dy)
            vec_put(dx + r * c->x->ld, dy, cols, op->add[CROSS_X]);
        if (dx0)
            vec_mul(dx0 + r * c->x0->ld, dy, u, cols, op->add[CROSS_X0]);
        vec_mul(u, dy, c->x0->value + r * c->x0->ld, cols, false);
    }
    vec_column_sums(graph_grad_in(c->g, op, CROSS_B),
                    &(struct vec_matrix){c->u->value, c->u->ld, c->rows, cols}, op->add[CROSS_B]);
}

static void cross_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct cross_call c = cross_call(g, op, run);
    const size_t cols = c.x->cols;
    cross_unfinish(&c);
    real *dx = graph_grad_in(g, op, CROSS_X);
    if (dx)
        gemm_nn(&(struct gemm){.m = c.rows,
                               .n = cols,
                               .k = cols,
                               .a = c.u->value,
                               .lda = c.u->ld,
                               .b = c.w->value,
                               .ldb = c.w->ld,
                               .c = dx,
                               .ldc = c.x->ld,
                               .add = true});
    gemm_tn(&(struct gemm){.m = cols,
                           .n = cols,
                           .k = c.rows,
                           .a = c.u->value,
                           .lda = c.u->ld,
                           .b = c.x->value,
                           .ldb = c.x->ld,
                           .c = graph_grad_in(g, op, CROSS_W),
                           .ldc = c.w->ld,
                           .add = op->add[CROSS_W]});
}

static size_t cross_flops(const struct graph *g, const struct op *op)
{
    const size_t c = graph_at(g, op->in[CROSS_X])->cols;
    return 2 * c * c + 3 * c;
}

static const struct op_kind cross_kind = {
    .name = "cross",
    .forward = cross_forward,
    .backward = cross_backward,
    .flops = cross_flops,
    .grad_in_place = true,
};

uint32_t op_cross(struct graph *g, uint32_t x0, uint32_t x, uint32_t weight, uint32_t bias)
{
    const struct graph_tensor t = *graph_at(g, x);
    assert(graph_at(g, x0)->cols == t.cols && graph_at(g, weight)->rows == t.cols);
    const uint32_t out = graph_slab(g, t.kind, t.rows, t.cols);
    const uint32_t u = graph_slab(g, t.kind, t.rows, t.cols);
    struct op *op = graph_op(g, &cross_kind, out);
    graph_save(g, op, 0, u);
    graph_read(g, op, x);
    graph_read(g, op, x0);
    graph_read(g, op, weight);
    graph_read(g, op, bias);
    return out;
}
