/* op_bilinear.c - FinalMLP's fusion of two streams (Mao et al. 2023): y = sum over heads of a_h' W_h b_h.
 *
 * a (rows, A) and b (rows, B) are cut into H heads of A / H and B / H columns; weight (A, B / H) holds the
 * heads' matrices W_h (A / H, B / H) one below the other; y (rows, 1). T_h = a_h W_h is one product a head
 * and is kept; then, with U = dy * b (made over T, once T has given db):
 *
 *     db = dy T       da_h = U_h W_h'       dW_h = a_h' U_h
 */
#include <assert.h>

#include "common/math/gemm.h"
#include "common/nn/ops.h"

enum { BILINEAR_A, BILINEAR_B, BILINEAR_W };

struct bilinear_call { /* what one call works on */
    const struct graph_tensor *a, *b, *w, *t, *y;
    size_t rows, heads;
    size_t a_head, b_head; /* columns of a head */
};

static struct bilinear_call bilinear_call(const struct graph *g, const struct op *op,
                                          const struct graph_run *run)
{
    struct bilinear_call c = {
        .a = graph_at(g, op->in[BILINEAR_A]),
        .b = graph_at(g, op->in[BILINEAR_B]),
        .w = graph_at(g, op->in[BILINEAR_W]),
        .t = graph_at(g, op->save[0]),
        .y = graph_at(g, op->out),
    };
    c.rows = graph_rows_of(c.y, run);
    c.b_head = c.w->cols;
    c.heads = c.b->cols / c.b_head;
    c.a_head = c.a->cols / c.heads;
    return c;
}

static void bilinear_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct bilinear_call c = bilinear_call(g, op, run);
    for (size_t h = 0; h < c.heads; h++)
        gemm_nn(&(struct gemm){.m = c.rows,
                               .n = c.b_head,
                               .k = c.a_head,
                               .a = c.a->value + h * c.a_head,
                               .lda = c.a->ld,
                               .b = c.w->value + h * c.a_head * c.b_head,
                               .ldb = c.b_head,
                               .c = c.t->own + h * c.b_head,
                               .ldc = c.t->ld});
    for (size_t r = 0; r < c.rows; r++)
        c.y->own[r * c.y->ld] =
            vec_dot(c.t->value + r * c.t->ld, c.b->value + r * c.b->ld, c.b->cols);
}

static void bilinear_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct bilinear_call c = bilinear_call(g, op, run);
    real *da = graph_grad_in(g, op, BILINEAR_A), *db = graph_grad_in(g, op, BILINEAR_B);
    for (size_t r = 0; r < c.rows; r++) {
        const real dy = c.y->grad[r * c.y->ld];
        real *t = c.t->own + r * c.t->ld;
        if (db)
            vec_scaled(db + r * c.b->ld, dy, t, c.b->cols, op->add[BILINEAR_B]);
        vec_scaled(t, dy, c.b->value + r * c.b->ld, c.b->cols, false);
    }
    for (size_t h = 0; h < c.heads; h++) {
        const real *u = c.t->value + h * c.b_head;
        const size_t w = h * c.a_head * c.b_head;
        if (da)
            gemm_nt(&(struct gemm){.m = c.rows,
                                   .n = c.a_head,
                                   .k = c.b_head,
                                   .a = u,
                                   .lda = c.t->ld,
                                   .b = c.w->value + w,
                                   .ldb = c.b_head,
                                   .c = da + h * c.a_head,
                                   .ldc = c.a->ld,
                                   .add = op->add[BILINEAR_A]});
        gemm_tn(&(struct gemm){.m = c.a_head,
                               .n = c.b_head,
                               .k = c.rows,
                               .a = c.a->value + h * c.a_head,
                               .lda = c.a->ld,
                               .b = u,
                               .ldb = c.t->ld,
                               .c = graph_grad_in(g, op, BILINEAR_W) + w,
                               .ldc = c.b_head,
                               .add = op->add[BILINEAR_W]});
    }
}

static size_t bilinear_flops(const struct graph *g, const struct op *op)
{
    const struct graph_tensor *w = graph_at(g, op->in[BILINEAR_W]);
    return 2 * w->rows * w->cols + 2 * graph_at(g, op->in[BILINEAR_B])->cols;
}

static const struct op_kind bilinear_kind = {
    .name = "bilinear",
    .forward = bilinear_forward,
    .backward = bilinear_backward,
    .flops = bilinear_flops,
};

uint32_t op_bilinear(struct graph *g, uint32_t a, uint32_t b, uint32_t weight)
{
    const struct graph_tensor ta = *graph_at(g, a), tb = *graph_at(g, b), tw = *graph_at(g, weight);
    assert(ta.kind == tb.kind && tw.rows == ta.cols && tb.cols % tw.cols == 0);
    assert(ta.cols % (tb.cols / tw.cols) == 0 && a != b);
    const uint32_t out = graph_slab(g, ta.kind, ta.rows, 1);
    const uint32_t products = graph_slab(g, ta.kind, ta.rows, tb.cols);
    struct op *op = graph_op(g, &bilinear_kind, out);
    graph_save(g, op, 0, products);
    graph_read(g, op, a);
    graph_read(g, op, b);
    graph_read(g, op, weight);
    return out;
}
