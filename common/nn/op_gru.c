/* op_gru.c - the recurrent part of a GRU over sequences packed by step (tokens.h), PyTorch's form ("reset after").
 *
 *     a = U h~ + b, h~ = h of the step before, dropped;  parts r, z, n
 *     r = s(x_r + a_r);  z = s(x_z + a_z);  n = tanh(x_n + r a_n);  h' = (1 - z) n + z h
 *
 * As in op_lstm x (T, 3 H) is one product for all tokens, a step one of the records that still go on, and dU one
 * over all tokens. The gradients of a, which differ from x's in the third part, are written over the gates.
 */
#include <assert.h>
#include <string.h>

#include "common/math/gemm.h"
#include "common/nn/epilogue.h"
#include "common/nn/ops.h"

enum { GRU_X, GRU_U, GRU_BIAS };
enum {
    GRU_KEEP_GATES, /* (T, 3 H) after their activations; in backward the gradient of a */
    GRU_KEEP_Q,     /* (T, H) a_n */
    GRU_KEEP_STATE, /* (T, H) h~ */
    GRU_KEEP_DH     /* (n, H) scratch */
};

struct gru {
    const struct graph_tensor *x, *u, *y, *gates, *q, *state;
    const real *bias;
    const struct tokens *t;
    struct graph_run *run;
    struct vec_finish finish;
    struct epilogue_base base;
    size_t width; /* H */
};

static struct gru gru_of(const struct graph *g, const struct op *op, struct graph_run *run)
{
    return (struct gru){
        .x = graph_at(g, op->in[GRU_X]),
        .u = graph_at(g, op->in[GRU_U]),
        .y = graph_at(g, op->out),
        .gates = graph_at(g, op->save[GRU_KEEP_GATES]),
        .q = graph_at(g, op->save[GRU_KEEP_Q]),
        .state = graph_at(g, op->save[GRU_KEEP_STATE]),
        .bias = graph_at(g, op->in[GRU_BIAS])->value,
        .t = g->tokens,
        .run = run,
        .finish = epilogue_finish(op, run),
        .base = epilogue_base(g, op, run),
        .width = graph_at(g, op->out)->cols,
    };
}

/* a of rows [from, from + many) from the states at `before`, one step earlier. */
static void gru_product(const struct gru *u, size_t from, size_t many, size_t before)
{
    for (size_t i = 0; i < many; i++)
        vec_finish(u->state->own + (from + i) * u->state->ld, u->y->value + (before + i) * u->y->ld,
                   NULL, NULL, u->width, &u->finish, epilogue_key(u->base, u->run, from + i));
    gemm_nt(&(struct gemm){.m = many,
                           .n = 3 * u->width,
                           .k = u->width,
                           .a = u->state->value + from * u->state->ld,
                           .lda = u->state->ld,
                           .b = u->u->value,
                           .ldb = u->u->ld,
                           .c = u->gates->own + from * u->gates->ld,
                           .ldc = u->gates->ld,
                           .bias = u->bias});
}

static void gru_row(const struct gru *u, size_t row, const real *h)
{
    const size_t H = u->width;
    const real *x = u->x->value + row * u->x->ld;
    real *a = u->gates->own + row * u->gates->ld, *q = u->q->own + row * u->q->ld;
    real *y = u->y->own + row * u->y->ld, *n = a + 2 * H;
    const real *z = a + H;
    if (!h)
        vec_put(a, u->bias, 3 * H, false);
    vec_put(q, n, H, false);
    vec_put(a, x, 2 * H, true);
    vec_sigmoid(a, a, 2 * H);
    vec_mul_add(n, a, q, x + 2 * H, H);
    vec_tanh(n, n, H);
    for (size_t k = 0; k < H; k++)
        y[k] = n[k] + z[k] * ((h ? h[k] : 0) - n[k]);
}

static void gru_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct gru u = gru_of(g, op, run);
    for (size_t s = 0; s < u.t->steps; s++) {
        const size_t from = u.t->step[s], many = u.t->step[s + 1] - from;
        const size_t before = s > 0 ? u.t->step[s - 1] : 0;
        if (s > 0)
            gru_product(&u, from, many, before);
        for (size_t i = 0; i < many; i++)
            gru_row(&u, from + i, s > 0 ? u.y->value + (before + i) * u.y->ld : NULL);
    }
}

/* From dh (in y's gradient) of a row: x's gradient, a's (over the gates), and what goes straight to h. */
static void gru_row_back(const struct gru *u, size_t row, const real *h, real *to)
{
    const size_t H = u->width;
    const real *dh = u->y->grad + row * u->y->ld, *q = u->q->value + row * u->q->ld;
    real *a = u->gates->own + row * u->gates->ld, *dx = u->x->grad + row * u->x->ld;
    for (size_t k = 0; k < H; k++) {
        const real r = a[k], z = a[H + k], n = a[2 * H + k];
        const real dn = dh[k] * (1 - z) * (1 - n * n);
        dx[k] = dn * q[k] * r * (1 - r);
        dx[H + k] = dh[k] * ((h ? h[k] : 0) - n) * z * (1 - z);
        dx[2 * H + k] = dn;
        a[k] = dx[k];
        a[H + k] = dx[H + k];
        a[2 * H + k] = dn * r;
        if (to)
            to[k] += dh[k] * z;
    }
}

/* dh of the step before gains what came through U and the mask. */
static void gru_product_back(const struct gru *u, size_t from, size_t many, size_t before, real *dh)
{
    const size_t ld = u->y->ld;
    const bool drops = u->finish.drop_below != 0;
    real *to = u->y->grad + before * ld;
    gemm_nn(&(struct gemm){.m = many,
                           .n = u->width,
                           .k = 3 * u->width,
                           .a = u->gates->value + from * u->gates->ld,
                           .lda = u->gates->ld,
                           .b = u->u->value,
                           .ldb = u->u->ld,
                           .c = drops ? dh : to,
                           .ldc = ld,
                           .add = !drops});
    for (size_t i = 0; i < many && drops; i++) {
        vec_finish_back(dh + i * ld, dh + i * ld, NULL, u->width, &u->finish,
                        epilogue_key(u->base, u->run, from + i));
        vec_put(to + i * ld, dh + i * ld, u->width, true);
    }
}

static void gru_weights(const struct graph *g, const struct op *op, const struct gru *u)
{
    const size_t second = u->t->step[1]; /* the first step saw no state */
    real *du = graph_grad_in(g, op, GRU_U);
    vec_column_sums(graph_grad_in(g, op, GRU_BIAS),
                    &(struct vec_matrix){u->gates->value, u->gates->ld, u->t->used, 3 * u->width},
                    op->add[GRU_BIAS]);
    if (second == u->t->used) {
        if (!op->add[GRU_U])
            memset(du, 0, u->u->rows * u->u->cols * sizeof(*du));
        return;
    }
    gemm_tn(&(struct gemm){.m = 3 * u->width,
                           .n = u->width,
                           .k = u->t->used - second,
                           .a = u->gates->value + second * u->gates->ld,
                           .lda = u->gates->ld,
                           .b = u->state->value + second * u->state->ld,
                           .ldb = u->state->ld,
                           .c = du,
                           .ldc = u->u->ld,
                           .add = op->add[GRU_U]});
}

static void gru_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct gru u = gru_of(g, op, run);
    real *dh = graph_at(g, op->save[GRU_KEEP_DH])->own;
    assert(!op->add[GRU_X] && graph_at(g, op->save[GRU_KEEP_DH])->ld == u.y->ld);
    for (size_t s = u.t->steps; s-- > 0;) {
        const size_t from = u.t->step[s], many = u.t->step[s + 1] - from;
        const size_t before = s > 0 ? u.t->step[s - 1] : 0;
        for (size_t i = 0; i < many; i++) {
            const size_t at = (before + i) * u.y->ld;
            gru_row_back(&u, from + i, s > 0 ? u.y->value + at : NULL,
                         s > 0 ? u.y->grad + at : NULL);
        }
        if (s > 0)
            gru_product_back(&u, from, many, before, dh);
    }
    gru_weights(g, op, &u);
}

static size_t gru_flops(const struct graph *g, const struct op *op)
{
    const struct graph_tensor *u = graph_at(g, op->in[GRU_U]);
    return 2 * u->rows * u->cols;
}

static const struct op_kind gru_kind = {
    .name = "gru",
    .forward = gru_forward,
    .backward = gru_backward,
    .flops = gru_flops,
};

uint32_t op_gru(struct graph *g, uint32_t x, uint32_t u, uint32_t bias, double dropout)
{
    const size_t width = graph_at(g, u)->cols, records = g->tokens->records_max;
    assert(g->tokens->by_step && graph_at(g, x)->kind == ROWS_TOKENS && graph_at(g, x)->wants_grad);
    assert(graph_at(g, x)->cols == 3 * width && graph_at(g, u)->rows == 3 * width);
    assert(graph_at(g, bias)->cols == 3 * width);
    const uint32_t out = graph_slab(g, ROWS_TOKENS, 0, width);
    const uint32_t keep[4] = {
        graph_slab(g, ROWS_TOKENS, 0, 3 * width),
        graph_slab(g, ROWS_TOKENS, 0, width),
        graph_slab(g, ROWS_TOKENS, 0, width),
        graph_slab(g, ROWS_FIXED, records, width),
    };
    struct op *op = graph_op(g, &gru_kind, out);
    for (uint32_t i = 0; i < 4; i++)
        graph_save(g, op, i, keep[i]);
    graph_read(g, op, x);
    graph_read(g, op, u);
    graph_read(g, op, bias);
    epilogue_set(g, op, &(struct epilogue){.dropout = dropout, .whole_record = true});
    return out;
}
