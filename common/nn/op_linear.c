/* op_linear.c - y = drop(act(x W' + b)): rows as samples, W (out, in).
 *
 * Forward: the product adds the bias in its registers, and calls back for rows that are finished and still
 * in the cache, where activation and dropout go over them, and a batch norm behind it counts them. Backward first takes the epilogue off in place
 * (dy becomes dz) and sums dz's columns for the bias block by block, then dW = dz' x and dx = dz W.
 *
 * One output (the logit) is not a matrix product worth packing for: it is a dot product a row, and
 * backward streams x once.
 */
#include <assert.h>
#include <string.h>

#include "common/math/gemm.h"
#include "common/nn/epilogue.h"
#include "common/nn/ops.h"

#define BLOCK_ROWS 64u

struct linear_call {                          /* what one call works on */
    const struct graph_tensor *x, *w, *b, *y; /* b may be NULL */
    size_t rows;
    const struct graph *g;
    const struct op *op;
    struct graph_run *run;
    struct vec_finish finish;
    struct epilogue_base base;
};

static struct linear_call linear_call(const struct graph *g, const struct op *op,
                                      struct graph_run *run)
{
    return (struct linear_call){
        .x = graph_at(g, op->in[0]),
        .w = graph_at(g, op->in[1]),
        .b = op->in_used > 2 ? graph_at(g, op->in[2]) : NULL,
        .y = graph_at(g, op->out),
        .rows = graph_rows_of(graph_at(g, op->out), run),
        .g = g,
        .op = op,
        .run = run,
        .finish = epilogue_finish(op, run),
        .base = epilogue_base(g, op, run),
    };
}

static bool linear_has_epilogue(const struct linear_call *c)
{
    return c->finish.relu || c->finish.drop_below;
}

static void linear_finish(void *ctx, size_t from, size_t to)
{
    const struct linear_call *c = ctx;
    for (size_t r = from; r < to && linear_has_epilogue(c); r++) {
        real *y = c->y->own + r * c->y->ld;
        vec_finish(y, y, NULL, NULL, c->y->cols, &c->finish, epilogue_key(c->base, c->run, r));
    }
    graph_tell(c->g, c->op, c->run, from, to);
}

static void linear_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    struct linear_call c = linear_call(g, op, run);
    const real *bias = c.b ? c.b->value : NULL;
    if (c.y->cols > 1) {
        gemm_nt(&(struct gemm){.m = c.rows,
                               .n = c.y->cols,
                               .k = c.x->cols,
                               .a = c.x->value,
                               .lda = c.x->ld,
                               .b = c.w->value,
                               .ldb = c.w->ld,
                               .c = c.y->own,
                               .ldc = c.y->ld,
                               .bias = bias,
                               .done = linear_finish,
                               .ctx = &c});
        return;
    }
    for (size_t r = 0; r < c.rows; r++)
        c.y->own[r * c.y->ld] =
            vec_dot(c.x->value + r * c.x->ld, c.w->value, c.x->cols) + (bias ? *bias : 0);
    linear_finish(&c, 0, c.rows);
}

/* Rows [from, to): dy -> dz in place, and the bias's gradient. */
static void linear_take_grad(const struct graph *g, const struct op *op, struct graph_run *run,
                             size_t from, size_t to)
{
    const struct linear_call c = linear_call(g, op, run);
    const size_t ld = c.y->ld, cols = c.y->cols;
    for (size_t block = from; block < to; block += BLOCK_ROWS) {
        const size_t m = to - block < BLOCK_ROWS ? to - block : BLOCK_ROWS;
        real *dy = c.y->grad + block * ld;
        const real *y = c.y->value + block * ld;
        for (size_t r = 0; r < m && linear_has_epilogue(&c); r++)
            vec_finish_back(dy + r * ld, dy + r * ld, y + r * ld, cols, &c.finish,
                            epilogue_key(c.base, run, block + r));
        if (c.b)
            vec_column_sums(graph_grad_in(g, op, 2), &(struct vec_matrix){dy, ld, m, cols},
                            op->add[2] || block > 0);
    }
}

static void linear_dx_done(void *ctx, size_t from, size_t to)
{
    const struct linear_call *c = ctx;
    graph_tell_grad(c->g, c->op, c->run, from, to);
}

/* One output: dw = sum of dz_r x_r, dx_r = dz_r w. */
static void linear_backward_one(struct linear_call *c)
{
    real *dx = graph_grad_in(c->g, c->op, 0), *dw = graph_grad_in(c->g, c->op, 1);
    for (size_t from = 0; from < c->rows; from += BLOCK_ROWS) {
        const size_t to = c->rows - from < BLOCK_ROWS ? c->rows : from + BLOCK_ROWS;
        for (size_t r = from; r < to; r++) {
            const real dz = c->y->grad[r * c->y->ld];
            vec_scaled(dw, dz, c->x->value + r * c->x->ld, c->x->cols, c->op->add[1] || r > 0);
            if (dx)
                vec_scaled(dx + r * c->x->ld, dz, c->w->value, c->x->cols, c->op->add[0]);
        }
        if (dx)
            linear_dx_done(c, from, to);
    }
}

/* No token in the whole batch: nothing is learned of the weights. */
static void linear_backward_none(const struct linear_call *c)
{
    for (uint32_t i = 1; i < c->op->in_used; i++) {
        const struct graph_tensor *t = graph_at(c->g, c->op->in[i]);
        if (!c->op->add[i])
            memset(graph_grad_in(c->g, c->op, i), 0, t->rows * t->cols * sizeof(real));
    }
}

static void linear_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    struct linear_call c = linear_call(g, op, run);
    if (c.rows == 0) {
        linear_backward_none(&c);
        return;
    }
    if (!op->told_grad)
        linear_take_grad(g, op, run, 0, c.rows);
    if (c.y->cols == 1) {
        linear_backward_one(&c);
        return;
    }
    real *dx = graph_grad_in(g, op, 0), *dw = graph_grad_in(g, op, 1);
    gemm_tn(&(struct gemm){.m = c.y->cols,
                           .n = c.x->cols,
                           .k = c.rows,
                           .a = c.y->grad,
                           .lda = c.y->ld,
                           .b = c.x->value,
                           .ldb = c.x->ld,
                           .c = dw,
                           .ldc = c.w->ld,
                           .add = op->add[1]});
    if (dx)
        gemm_nn(&(struct gemm){.m = c.rows,
                               .n = c.x->cols,
                               .k = c.y->cols,
                               .a = c.y->grad,
                               .lda = c.y->ld,
                               .b = c.w->value,
                               .ldb = c.w->ld,
                               .c = dx,
                               .ldc = c.x->ld,
                               .add = op->add[0],
                               .done = linear_dx_done,
                               .ctx = &c});
}

static size_t linear_flops(const struct graph *g, const struct op *op)
{
    const struct graph_tensor *w = graph_at(g, op->in[1]);
    return 2 * w->rows * w->cols;
}

static const struct op_kind linear_kind = {
    .name = "linear",
    .forward = linear_forward,
    .backward = linear_backward,
    .take_grad = linear_take_grad,
    .tells = true,
    .tells_grad = true,
    .flops = linear_flops,
};

uint32_t op_linear(struct graph *g, uint32_t x, uint32_t weight, uint32_t bias,
                   const struct epilogue *e)
{
    const struct graph_tensor tx = *graph_at(g, x), tw = *graph_at(g, weight);
    assert(tx.cols == tw.cols);
    const uint32_t out = graph_slab(g, tx.kind, tx.rows, tw.rows);
    struct op *op = graph_op(g, &linear_kind, out);
    graph_read(g, op, x);
    graph_read(g, op, weight);
    if (bias != GRAPH_NONE) {
        assert(graph_at(g, bias)->cols == tw.rows);
        graph_read(g, op, bias);
    }
    epilogue_set(g, op, e);
    return out;
}
