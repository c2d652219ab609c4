/* op_conv.c - a causal, dilated convolution over each sequence: y = W [x at t - (kernel - 1) dilation; ...; x at t] + b.
 *
 * x (T, d) packed by record, W (out, kernel d) -> (T, out); places before a sequence's first are zeros. What
 * a token sees is laid side by side for CONV_ROWS tokens at a time, in scratch that stays in the cache, and is one product;
 * backward lays it again. Kept as a whole it is kernel times x, which at 14,000 tokens comes from memory.
 *
 * dx: a token's own part is the first to be written to its row, the parts that later tokens saw are added; so rows go
 * upwards, and of a block first all own parts.
 */
#include <assert.h>
#include <string.h>

#include "common/math/gemm.h"
#include "common/nn/ops.h"

#define CONV_ROWS 256u

enum { CONV_X, CONV_W, CONV_B };

struct conv {
    const struct graph *g;
    const struct op *op;
    const struct graph_tensor *x, *w, *y;
    real *seen, *d_seen; /* (CONV_ROWS, kernel d) */
    size_t ld, d;
    size_t from, rows; /* of the block at hand */
};

static struct conv conv_of(const struct graph *g, const struct op *op)
{
    const struct graph_tensor *seen = graph_at(g, op->save[0]);
    return (struct conv){
        .g = g,
        .op = op,
        .x = graph_at(g, op->in[CONV_X]),
        .w = graph_at(g, op->in[CONV_W]),
        .y = graph_at(g, op->out),
        .seen = seen->own,
        .d_seen = graph_at(g, op->save[1])->own,
        .ld = seen->ld,
        .d = graph_at(g, op->in[CONV_X])->cols,
    };
}

/* The next block of tokens; false behind the last. */
static bool conv_next(struct conv *c)
{
    const size_t used = c->g->tokens->used;
    c->from += c->rows;
    c->rows = used - c->from < CONV_ROWS ? used - c->from : CONV_ROWS;
    return c->rows > 0;
}

/* How far back part k of a token's view is. */
static size_t conv_back(const struct conv *c, size_t k)
{
    return (c->op->param - 1 - k) * c->op->step;
}

static void conv_lay(const struct conv *c)
{
    for (size_t r = 0; r < c->rows; r++) {
        const real *x = c->x->value + (c->from + r) * c->x->ld;
        for (size_t k = 0; k < c->op->param; k++) {
            const size_t back = conv_back(c, k);
            real *to = c->seen + r * c->ld + k * c->d;
            if (back <= c->g->tokens->place[c->from + r])
                memcpy(to, x - back * c->x->ld, c->d * sizeof(*to));
            else
                memset(to, 0, c->d * sizeof(*to));
        }
    }
}

static void conv_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    (void)run;
    struct conv c = conv_of(g, op);
    while (conv_next(&c)) {
        conv_lay(&c);
        gemm_nt(&(struct gemm){.m = c.rows,
                               .n = c.y->cols,
                               .k = c.w->cols,
                               .a = c.seen,
                               .lda = c.ld,
                               .b = c.w->value,
                               .ldb = c.w->ld,
                               .c = c.y->own + c.from * c.y->ld,
                               .ldc = c.y->ld,
                               .bias = graph_at(g, op->in[CONV_B])->value});
    }
}

static void conv_spread(const struct conv *c, real *dx)
{
    const size_t last = c->op->param - 1, ld = c->x->ld;
    for (size_t r = 0; r < c->rows; r++)
        vec_put(dx + (c->from + r) * ld, c->d_seen + r * c->ld + last * c->d, c->d,
                c->op->add[CONV_X]);
    for (size_t r = 0; r < c->rows; r++) {
        for (size_t k = 0; k < last; k++) {
            const size_t back = conv_back(c, k);
            if (back <= c->g->tokens->place[c->from + r])
                vec_put(dx + (c->from + r - back) * ld, c->d_seen + r * c->ld + k * c->d, c->d,
                        true);
        }
    }
}

static void conv_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    (void)run;
    struct conv c = conv_of(g, op);
    real *dx = graph_grad_in(g, op, CONV_X);
    while (conv_next(&c)) {
        const real *dy = c.y->grad + c.from * c.y->ld;
        conv_lay(&c);
        vec_column_sums(graph_grad_in(g, op, CONV_B),
                        &(struct vec_matrix){dy, c.y->ld, c.rows, c.y->cols},
                        op->add[CONV_B] || c.from > 0);
        gemm_tn(&(struct gemm){.m = c.y->cols,
                               .n = c.w->cols,
                               .k = c.rows,
                               .a = dy,
                               .lda = c.y->ld,
                               .b = c.seen,
                               .ldb = c.ld,
                               .c = graph_grad_in(g, op, CONV_W),
                               .ldc = c.w->ld,
                               .add = op->add[CONV_W] || c.from > 0});
        gemm_nn(&(struct gemm){.m = c.rows,
                               .n = c.w->cols,
                               .k = c.y->cols,
                               .a = dy,
                               .lda = c.y->ld,
                               .b = c.w->value,
                               .ldb = c.w->ld,
                               .c = c.d_seen,
                               .ldc = c.ld});
        conv_spread(&c, dx);
    }
}

static size_t conv_flops(const struct graph *g, const struct op *op)
{
    const struct graph_tensor *w = graph_at(g, op->in[CONV_W]);
    return 2 * w->rows * w->cols;
}

static const struct op_kind conv_kind = {
    .name = "conv",
    .forward = conv_forward,
    .backward = conv_backward,
    .flops = conv_flops,
};

uint32_t op_conv(struct graph *g, uint32_t x, uint32_t weight, uint32_t bias, size_t dilation)
{
    const struct graph_tensor t = *graph_at(g, x), w = *graph_at(g, weight);
    assert(t.kind == ROWS_TOKENS && !g->tokens->by_step && t.wants_grad && dilation > 0);
    assert(w.cols % t.cols == 0 && graph_at(g, bias)->cols == w.rows);
    const uint32_t out = graph_slab(g, ROWS_TOKENS, 0, w.rows);
    const uint32_t seen = graph_slab(g, ROWS_FIXED, CONV_ROWS, w.cols);
    const uint32_t d_seen = graph_slab(g, ROWS_FIXED, CONV_ROWS, w.cols);
    struct op *op = graph_op(g, &conv_kind, out);
    graph_save(g, op, 0, seen);
    graph_save(g, op, 1, d_seen);
    graph_read(g, op, x);
    graph_read(g, op, weight);
    graph_read(g, op, bias);
    op->param = w.cols / t.cols;
    op->step = dilation;
    return out;
}
