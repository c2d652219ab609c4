/* op_lstm.c - the recurrent part of an LSTM over sequences packed by step (tokens.h).
 *
 *     [i f g o] = x + U h~ (+ 1 for f), h~ = h of the step before, dropped;  gates in Keras's order
 *     c' = s(f) c + s(i) tanh(g);  h' = s(o) tanh(c')
 *
 * x (T, 4 H), the inputs' part with its bias, is one product for all tokens (op_linear); here a step is one product
 * of the records that still go on, whose rows are neighbours in this step and in the one before it: nothing is
 * gathered. The forget gate begins open: its bias is 1 more than what is stored. Dropout of the state has one mask
 * a record for all its steps.
 *
 * Backward walks the steps from the last; the gates' gradients G land in x's gradient as they are, so dU = G' h~
 * is one product over all tokens at the end. Only dh of the step before, G U, is sequential.
 */
#include <assert.h>
#include <string.h>

#include "common/math/gemm.h"
#include "common/nn/epilogue.h"
#include "common/nn/ops.h"

enum { LSTM_X, LSTM_U };
enum {
    LSTM_KEEP_GATES, /* (T, 4 H) after their activations */
    LSTM_KEEP_CELL,  /* (T, H) */
    LSTM_KEEP_STATE, /* (T, H) h~ */
    LSTM_KEEP_DC,    /* (n, H) scratch: the cell's gradient */
    LSTM_KEEP_DH     /* (n + 1, H) scratch; its last row: tanh of a cell */
};

struct lstm {
    const struct graph_tensor *x, *u, *y, *gates, *cell, *state;
    const struct tokens *t;
    struct graph_run *run;
    struct vec_finish finish;
    struct epilogue_base base;
    size_t width; /* H */
};

static struct lstm lstm_of(const struct graph *g, const struct op *op, struct graph_run *run)
{
    return (struct lstm){
        .x = graph_at(g, op->in[LSTM_X]),
        .u = graph_at(g, op->in[LSTM_U]),
        .y = graph_at(g, op->out),
        .gates = graph_at(g, op->save[LSTM_KEEP_GATES]),
        .cell = graph_at(g, op->save[LSTM_KEEP_CELL]),
        .state = graph_at(g, op->save[LSTM_KEEP_STATE]),
        .t = g->tokens,
        .run = run,
        .finish = epilogue_finish(op, run),
        .base = epilogue_base(g, op, run),
        .width = graph_at(g, op->out)->cols,
    };
}

/* Gates' part of the state: rows [from, from + many) from those at `before`, one step earlier. */
static void lstm_product(const struct lstm *l, size_t from, size_t many, size_t before)
{
    for (size_t i = 0; i < many; i++)
        vec_finish(l->state->own + (from + i) * l->state->ld, l->y->value + (before + i) * l->y->ld,
                   NULL, NULL, l->width, &l->finish, epilogue_key(l->base, l->run, from + i));
    gemm_nt(&(struct gemm){.m = many,
                           .n = 4 * l->width,
                           .k = l->width,
                           .a = l->state->value + from * l->state->ld,
                           .lda = l->state->ld,
                           .b = l->u->value,
                           .ldb = l->u->ld,
                           .c = l->gates->own + from * l->gates->ld,
                           .ldc = l->gates->ld});
}

static void lstm_row(const struct lstm *l, size_t row, const real *cell_before)
{
    const size_t H = l->width;
    real *a = l->gates->own + row * l->gates->ld, *c = l->cell->own + row * l->cell->ld;
    real *y = l->y->own + row * l->y->ld;
    vec_put(a, l->x->value + row * l->x->ld, 4 * H, cell_before != NULL);
    for (size_t k = H; k < 2 * H; k++)
        a[k] += 1;
    vec_sigmoid(a, a, 2 * H);
    vec_tanh(a + 2 * H, a + 2 * H, H);
    vec_sigmoid(a + 3 * H, a + 3 * H, H);
    vec_mul(c, a, a + 2 * H, H, false);
    if (cell_before)
        vec_mul(c, a + H, cell_before, H, true);
    vec_tanh(y, c, H);
    vec_mul(y, y, a + 3 * H, H, false);
}

static void lstm_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct lstm l = lstm_of(g, op, run);
    for (size_t s = 0; s < l.t->steps; s++) {
        const size_t from = l.t->step[s], many = l.t->step[s + 1] - from;
        const size_t before = s > 0 ? l.t->step[s - 1] : 0;
        if (s > 0)
            lstm_product(&l, from, many, before);
        for (size_t i = 0; i < many; i++)
            lstm_row(&l, from + i, s > 0 ? l.cell->value + (before + i) * l.cell->ld : NULL);
    }
}

/* From dh (in y's gradient) and dc of a row: G into x's gradient, and dc of the step before. */
static void lstm_row_back(const struct lstm *l, size_t row, const real *cell_before, real *dc,
                          real *tanh_c)
{
    const size_t H = l->width;
    const real *a = l->gates->value + row * l->gates->ld, *dh = l->y->grad + row * l->y->ld;
    real *d = l->x->grad + row * l->x->ld;
    vec_tanh(tanh_c, l->cell->value + row * l->cell->ld, H);
    for (size_t k = 0; k < H; k++) {
        const real i = a[k], f = a[H + k], n = a[2 * H + k], o = a[3 * H + k];
        const real e = dc[k] + dh[k] * o * (1 - tanh_c[k] * tanh_c[k]);
        d[k] = e * n * i * (1 - i);
        d[H + k] = cell_before ? e * cell_before[k] * f * (1 - f) : 0;
        d[2 * H + k] = e * i * (1 - n * n);
        d[3 * H + k] = dh[k] * tanh_c[k] * o * (1 - o);
        dc[k] = e * f;
    }
}

/* dh of the step before gains what came through U and the mask. */
static void lstm_product_back(const struct lstm *l, size_t from, size_t many, size_t before,
                              real *dh)
{
    const size_t ld = l->y->ld;
    const bool drops = l->finish.drop_below != 0;
    real *to = l->y->grad + before * ld;
    gemm_nn(&(struct gemm){.m = many,
                           .n = l->width,
                           .k = 4 * l->width,
                           .a = l->x->grad + from * l->x->ld,
                           .lda = l->x->ld,
                           .b = l->u->value,
                           .ldb = l->u->ld,
                           .c = drops ? dh : to,
                           .ldc = ld,
                           .add = !drops});
    for (size_t i = 0; i < many && drops; i++) {
        vec_finish_back(dh + i * ld, dh + i * ld, NULL, l->width, &l->finish,
                        epilogue_key(l->base, l->run, from + i));
        vec_put(to + i * ld, dh + i * ld, l->width, true);
    }
}

static void lstm_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct lstm l = lstm_of(g, op, run);
    const struct graph_tensor *dc = graph_at(g, op->save[LSTM_KEEP_DC]);
    real *dh = graph_at(g, op->save[LSTM_KEEP_DH])->own;
    real *tanh_c = dh + g->tokens->records_max * l.y->ld;
    assert(!op->add[LSTM_X] && graph_at(g, op->save[LSTM_KEEP_DH])->ld == l.y->ld);
    memset(dc->own, 0, l.t->records * dc->ld * sizeof(real));
    for (size_t s = l.t->steps; s-- > 0;) {
        const size_t from = l.t->step[s], many = l.t->step[s + 1] - from;
        const size_t before = s > 0 ? l.t->step[s - 1] : 0;
        for (size_t i = 0; i < many; i++)
            lstm_row_back(&l, from + i, s > 0 ? l.cell->value + (before + i) * l.cell->ld : NULL,
                          dc->own + i * dc->ld, tanh_c);
        if (s > 0)
            lstm_product_back(&l, from, many, before, dh);
    }
    const size_t second = l.t->step[1]; /* the first step saw no state */
    real *du = graph_grad_in(g, op, LSTM_U);
    if (second == l.t->used) {
        if (!op->add[LSTM_U])
            memset(du, 0, l.u->rows * l.u->cols * sizeof(*du));
        return;
    }
    gemm_tn(&(struct gemm){.m = 4 * l.width,
                           .n = l.width,
                           .k = l.t->used - second,
                           .a = l.x->grad + second * l.x->ld,
                           .lda = l.x->ld,
                           .b = l.state->value + second * l.state->ld,
                           .ldb = l.state->ld,
                           .c = du,
                           .ldc = l.u->ld,
                           .add = op->add[LSTM_U]});
}

static size_t lstm_flops(const struct graph *g, const struct op *op)
{
    const struct graph_tensor *u = graph_at(g, op->in[LSTM_U]);
    return 2 * u->rows * u->cols;
}

static const struct op_kind lstm_kind = {
    .name = "lstm",
    .forward = lstm_forward,
    .backward = lstm_backward,
    .flops = lstm_flops,
};

uint32_t op_lstm(struct graph *g, uint32_t x, uint32_t u, double dropout)
{
    const size_t width = graph_at(g, u)->cols, records = g->tokens->records_max;
    assert(g->tokens->by_step && graph_at(g, x)->kind == ROWS_TOKENS && graph_at(g, x)->wants_grad);
    assert(graph_at(g, x)->cols == 4 * width && graph_at(g, u)->rows == 4 * width);
    const uint32_t out = graph_slab(g, ROWS_TOKENS, 0, width);
    const uint32_t keep[5] = {
        graph_slab(g, ROWS_TOKENS, 0, 4 * width),      graph_slab(g, ROWS_TOKENS, 0, width),
        graph_slab(g, ROWS_TOKENS, 0, width),          graph_slab(g, ROWS_FIXED, records, width),
        graph_slab(g, ROWS_FIXED, records + 1, width),
    };
    struct op *op = graph_op(g, &lstm_kind, out);
    for (uint32_t i = 0; i < 5; i++)
        graph_save(g, op, i, keep[i]);
    graph_read(g, op, x);
    graph_read(g, op, u);
    epilogue_set(g, op, &(struct epilogue){.dropout = dropout, .whole_record = true});
    return out;
}
