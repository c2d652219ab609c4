/* op_dice.c - DIN's activation: y = drop(p x + alpha (1 - p) x), p = sigmoid((x - mean) / sqrt(var + eps)).
 *
 * mean and var are a column's, as batch norm has them (op_batch_norm.c): of the batch in training, whose mean and
 * *unbiased* variance are reported; the averaged ones in evaluation and in a batch of one row or of none. Where alpha
 * is 0, as it begins, this is a relu with a soft corner that moves with the data.
 *
 *     dalpha = sum dy x (1 - p)        dxhat = dy x (1 - alpha) p (1 - p)
 *     dx = dy (alpha + (1 - alpha) p) + (dxhat - mean(dxhat) - xhat mean(dxhat xhat)) / sqrt(var + eps)
 *
 * p is kept; in backward dxhat takes its place.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/nn/epilogue.h"
#include "common/nn/ops.h"

#define DICE_BLOCK_ROWS 32u

enum { DICE_X, DICE_ALPHA, DICE_MEAN, DICE_VAR }; /* inputs */
enum {
    KEEP_MEAN,
    KEEP_RSTD,
    KEEP_SHIFT,
    KEEP_SUM,
    KEEP_SUM_XHAT,
    KEEP_ONE,
    KEEP_ROWS
}; /* save 0 */

static real *kept(const struct graph *g, const struct op *op, size_t row)
{
    const struct graph_tensor *t = graph_at(g, op->save[0]); /* (KEEP_ROWS, cols) */
    return t->own + row * t->ld;
}

static bool dice_by_batch(const struct graph_run *run, size_t rows)
{
    return run->train && rows > 1;
}

/* mean and rstd of this run; the batch's own go to the stat gradients. */
static void dice_moments(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[DICE_X]);
    const struct graph_tensor *mean = graph_at(g, op->in[DICE_MEAN]);
    const struct graph_tensor *var = graph_at(g, op->in[DICE_VAR]);
    const size_t rows = graph_rows_of(x, run);
    real *out_mean = kept(g, op, KEEP_MEAN), *rstd = kept(g, op, KEEP_RSTD);
    if (dice_by_batch(run, rows)) {
        const struct vec_matrix m = {.x = x->value, .ld = x->ld, .rows = rows, .cols = x->cols};
        vec_column_moments(out_mean, rstd, &m, 0);
        vec_put(out_mean, x->value, x->cols, true);
        vec_put(mean->grad, out_mean, x->cols, false);
        vec_scaled(var->grad, 1 / (real)(rows - 1), rstd, x->cols, false);
        vec_scaled(rstd, 1 / (real)rows, rstd, x->cols, false);
    } else {
        vec_put(out_mean, mean->value, x->cols, false);
        vec_put(rstd, var->value, x->cols, false);
        if (run->train) {
            vec_put(mean->grad, mean->value, x->cols, false);
            vec_put(var->grad, var->value, x->cols, false);
        }
    }
    for (size_t c = 0; c < x->cols; c++)
        rstd[c] = 1 / (real)sqrt((double)(rstd[c] + op->eps));
}

static struct vec_gates dice_gates(const struct graph *g, const struct op *op)
{
    return (struct vec_gates){kept(g, op, KEEP_RSTD), kept(g, op, KEEP_SHIFT),
                              graph_at(g, op->in[DICE_ALPHA])->value};
}

static void dice_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[DICE_X]), *y = graph_at(g, op->out);
    const struct graph_tensor *p = graph_at(g, op->save[1]);
    dice_moments(g, op, run);
    real *shift = kept(g, op, KEEP_SHIFT);
    vec_mul(shift, kept(g, op, KEEP_MEAN), kept(g, op, KEEP_RSTD), x->cols, false);
    vec_scaled(shift, -1, shift, x->cols, false);
    const struct vec_gates gates = dice_gates(g, op);
    const struct vec_finish finish = epilogue_finish(op, run);
    const struct epilogue_base base = epilogue_base(g, op, run);
    const size_t rows = graph_rows_of(x, run);
    for (size_t r = 0; r < rows; r++) {
        real *to = y->own + r * y->ld;
        vec_dice(to, p->own + r * p->ld, x->value + r * x->ld, &gates, x->cols);
        if (finish.drop_below)
            vec_finish(to, to, NULL, NULL, x->cols, &finish, epilogue_key(base, run, r));
    }
}

static struct vec_norm_back dice_back(const struct graph *g, const struct op *op, size_t rows,
                                      const real *dxhat)
{
    return (struct vec_norm_back){
        .n = rows,
        .dy = dxhat,
        .dy_ld = graph_at(g, op->save[1])->ld,
        .mean = kept(g, op, KEEP_MEAN),
        .rstd = kept(g, op, KEEP_RSTD),
        .gamma = kept(g, op, KEEP_ONE),
    };
}

/* First pass, rows [from, to): dy becomes the direct part of dx and p becomes dxhat, both in place; the sums. */
static void dice_split(const struct graph *g, const struct op *op, struct graph_run *run,
                       size_t from, size_t to)
{
    const struct graph_tensor *x = graph_at(g, op->in[DICE_X]), *y = graph_at(g, op->out);
    const struct graph_tensor *p = graph_at(g, op->save[1]);
    const struct vec_gates gates = dice_gates(g, op);
    const struct vec_finish finish = epilogue_finish(op, run);
    const struct epilogue_base base = epilogue_base(g, op, run);
    real *dalpha = graph_grad_in(g, op, DICE_ALPHA);
    for (size_t r = from; r < to; r++) {
        real *dy = y->grad + r * y->ld;
        if (finish.drop_below)
            vec_finish_back(dy, dy, y->value + r * y->ld, x->cols, &finish,
                            epilogue_key(base, run, r));
        vec_dice_back(dy, p->own + r * p->ld, dalpha, x->value + r * x->ld, &gates, x->cols);
    }
    const struct vec_matrix m = {x->value + from * x->ld, x->ld, to - from, x->cols};
    const struct vec_norm_back back =
        dice_back(g, op, graph_rows_of(x, run), p->value + from * p->ld);
    vec_norm_sums(kept(g, op, KEEP_SUM), kept(g, op, KEEP_SUM_XHAT), &m, &back, from > 0);
}

/* Second pass, rows [from, to): what went through p is made, and joins. */
static void dice_join(const struct graph *g, const struct op *op, struct graph_run *run,
                      size_t from, size_t to)
{
    const struct graph_tensor *x = graph_at(g, op->in[DICE_X]), *y = graph_at(g, op->out);
    const struct graph_tensor *p = graph_at(g, op->save[1]);
    real *dx = graph_grad_in(g, op, DICE_X), *through = p->own + from * p->ld;
    const struct vec_matrix m = {x->value + from * x->ld, x->ld, to - from, x->cols};
    const struct vec_norm_back back = dice_back(g, op, graph_rows_of(x, run), through);
    vec_norm_apply(through, p->ld, kept(g, op, KEEP_SUM), kept(g, op, KEEP_SUM_XHAT), &m, &back);
    for (size_t r = from; r < to; r++) {
        real *row = dx + r * x->ld, *direct = y->grad + r * y->ld;
        if (row != direct)
            vec_put(row, direct, x->cols, op->add[DICE_X]);
        vec_put(row, p->value + r * p->ld, x->cols, true);
    }
    graph_tell_grad(g, op, run, from, to);
}

static void dice_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[DICE_X]);
    const size_t rows = graph_rows_of(x, run);
    real *dalpha = graph_grad_in(g, op, DICE_ALPHA);
    if (!op->add[DICE_ALPHA])
        memset(dalpha, 0, x->cols * sizeof(*dalpha));
    for (size_t from = 0; from < rows; from += DICE_BLOCK_ROWS)
        dice_split(g, op, run, from, rows - from < DICE_BLOCK_ROWS ? rows : from + DICE_BLOCK_ROWS);
    if (!graph_grad_in(g, op, DICE_X))
        return;
    if (!dice_by_batch(run, rows)) { /* constants, not sums over the batch */
        memset(kept(g, op, KEEP_SUM), 0, x->cols * sizeof(real));
        memset(kept(g, op, KEEP_SUM_XHAT), 0, x->cols * sizeof(real));
    }
    for (size_t c = 0; c < x->cols; c++)
        kept(g, op, KEEP_ONE)[c] = 1;
    for (size_t from = 0; from < rows; from += DICE_BLOCK_ROWS)
        dice_join(g, op, run, from, rows - from < DICE_BLOCK_ROWS ? rows : from + DICE_BLOCK_ROWS);
}

static const struct op_kind dice_kind = {
    .name = "dice",
    .forward = dice_forward,
    .backward = dice_backward,
    .tells_grad = true,
    .grad_in_place = true,
};

uint32_t op_dice(struct graph *g, uint32_t x, const struct op_dice *p, const struct epilogue *e)
{
    const struct graph_tensor t = *graph_at(g, x);
    assert(!e->relu);
    const uint32_t out = graph_slab(g, t.kind, t.rows, t.cols);
    const uint32_t keep = graph_slab(g, ROWS_FIXED, KEEP_ROWS, t.cols);
    const uint32_t gate = graph_slab(g, t.kind, t.rows, t.cols);
    struct op *op = graph_op(g, &dice_kind, out);
    graph_save(g, op, 0, keep);
    graph_save(g, op, 1, gate);
    graph_read(g, op, x);
    graph_read(g, op, p->alpha);
    graph_read(g, op, p->mean);
    graph_read(g, op, p->var);
    op->eps = p->eps;
    epilogue_set(g, op, e);
    return out;
}
