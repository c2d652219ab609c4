/* op_batch_norm.c - y = drop(act(gamma (x - mean) / sqrt(var + eps) + beta)), per column.
 *
 * Training uses the batch's mean and (biased) variance and reports its mean and *unbiased* variance as
 * this batch's value of the averaged tensors, which the servers fold in at PLAN_STAT_RATE, as PyTorch
 * does. Evaluation uses the averaged ones. A batch of one record has no variance: it is normalised by the
 * averaged tensors, too, and reports them unchanged.
 *
 * Forward is two passes over x (moments; scale, shift and epilogue). Backward is two: the first takes the
 * epilogue off in place, block by block, and sums dy and dy xhat; the second makes dx, over dy where
 * nobody else wants it. The first pass of each is done early where the neighbour tells of its rows.
 *
 *     dx = gamma/s (dy - mean(dy) - xhat mean(dy xhat))    dgamma = sum dy xhat    dbeta = sum dy
 */
#include <assert.h>
#include <math.h>

#include "common/nn/epilogue.h"
#include "common/nn/ops.h"

#define NORM_BLOCK_ROWS 32u

enum { BN_X, BN_GAMMA, BN_BETA, BN_MEAN, BN_VAR }; /* inputs */
enum { SAVE_MEAN, SAVE_RSTD, SAVE_SCALE, SAVE_SHIFT, SAVE_SUM, SAVE_SUM_XHAT, SAVE_ROWS };

static real *saved(const struct graph *g, const struct op *op, size_t row)
{
    const struct graph_tensor *t = graph_at(g, op->save[0]); /* (SAVE_ROWS, cols) */
    return t->own + row * t->ld;
}

static bool by_batch(const struct graph_run *run, size_t rows)
{
    return run->train && rows > 1;
}

/* Rows [from, to) of x join the moments, which stand in SAVE_MEAN and SAVE_RSTD until they are complete. */
static void batch_norm_take(const struct graph *g, const struct op *op, struct graph_run *run,
                            size_t from, size_t to)
{
    const struct graph_tensor *x = graph_at(g, op->in[BN_X]);
    if (!by_batch(run, graph_rows_of(x, run)))
        return;
    const struct vec_matrix m = {.x = x->value, .ld = x->ld, .rows = to, .cols = x->cols};
    vec_column_moments(saved(g, op, SAVE_MEAN), saved(g, op, SAVE_RSTD), &m, from);
}

/* mean and rstd of this run; the batch's own go to the stat gradients. */
static void batch_norm_moments(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[BN_X]);
    const struct graph_tensor *mean = graph_at(g, op->in[BN_MEAN]);
    const struct graph_tensor *var = graph_at(g, op->in[BN_VAR]);
    const size_t rows = graph_rows_of(x, run);
    real *out_mean = saved(g, op, SAVE_MEAN), *rstd = saved(g, op, SAVE_RSTD);
    if (by_batch(run, rows)) {
        if (!op->told)
            batch_norm_take(g, op, run, 0, rows);
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

static void batch_norm_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[BN_X]), *y = graph_at(g, op->out);
    batch_norm_moments(g, op, run);
    real *scale = saved(g, op, SAVE_SCALE), *shift = saved(g, op, SAVE_SHIFT);
    vec_mul(scale, graph_at(g, op->in[BN_GAMMA])->value, saved(g, op, SAVE_RSTD), x->cols, false);
    vec_scaled(shift, -1, saved(g, op, SAVE_MEAN), x->cols, false);
    vec_mul_add(shift, shift, scale, graph_at(g, op->in[BN_BETA])->value, x->cols);
    const struct vec_finish finish = epilogue_finish(op, run);
    const struct epilogue_base base = epilogue_base(g, op, run);
    const size_t rows = graph_rows_of(x, run);
    for (size_t r = 0; r < rows; r++)
        vec_finish(y->own + r * y->ld, x->value + r * x->ld, scale, shift, x->cols, &finish,
                   epilogue_key(base, run, r));
}

static struct vec_norm_back norm_back(const struct graph *g, const struct op *op,
                                      const struct graph_run *run)
{
    return (struct vec_norm_back){
        .n = graph_rows_of(graph_at(g, op->out), run),
        .dy = graph_at(g, op->out)->grad,
        .dy_ld = graph_at(g, op->out)->ld,
        .mean = saved(g, op, SAVE_MEAN),
        .rstd = saved(g, op, SAVE_RSTD),
        .gamma = graph_at(g, op->in[BN_GAMMA])->value,
    };
}

/* First pass, rows [from, to): dy of the output becomes dy of gamma xhat + beta, in place; its sums. */
static void batch_norm_take_grad(const struct graph *g, const struct op *op, struct graph_run *run,
                                 size_t from, size_t to)
{
    const struct graph_tensor *x = graph_at(g, op->in[BN_X]), *y = graph_at(g, op->out);
    const struct vec_finish finish = epilogue_finish(op, run);
    const struct epilogue_base base = epilogue_base(g, op, run);
    struct vec_norm_back back = norm_back(g, op, run);
    for (size_t block = from; block < to; block += NORM_BLOCK_ROWS) {
        const size_t left = to - block < NORM_BLOCK_ROWS ? to - block : NORM_BLOCK_ROWS;
        for (size_t r = block; r < block + left && (finish.relu || finish.drop_below); r++)
            vec_finish_back(y->grad + r * y->ld, y->grad + r * y->ld, y->value + r * y->ld, x->cols,
                            &finish, epilogue_key(base, run, r));
        const struct vec_matrix m = {x->value + block * x->ld, x->ld, left, x->cols};
        back.dy = y->grad + block * y->ld;
        vec_norm_sums(saved(g, op, SAVE_SUM), saved(g, op, SAVE_SUM_XHAT), &m, &back, block > 0);
    }
}

/* Second pass, rows [from, to). */
static void batch_norm_apply(const struct graph *g, const struct op *op, struct graph_run *run,
                             size_t from, size_t to)
{
    const struct graph_tensor *x = graph_at(g, op->in[BN_X]), *y = graph_at(g, op->out);
    const bool add = op->add[BN_X];
    real *dx = graph_grad_in(g, op, BN_X) + from * x->ld, *dy = y->grad + from * y->ld;
    const struct vec_matrix m = {x->value + from * x->ld, x->ld, to - from, x->cols};
    struct vec_norm_back back = norm_back(g, op, run);
    back.dy = dy;
    vec_norm_apply(add ? dy : dx, add ? y->ld : x->ld, saved(g, op, SAVE_SUM),
                   saved(g, op, SAVE_SUM_XHAT), &m, &back);
    for (size_t r = 0; r < to - from && add; r++)
        vec_put(dx + r * x->ld, dy + r * y->ld, x->cols, true);
    graph_tell_grad(g, op, run, from, to);
}

static void batch_norm_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[BN_X]);
    const size_t rows = graph_rows_of(x, run);
    if (!op->told_grad)
        batch_norm_take_grad(g, op, run, 0, rows);
    real *sum = saved(g, op, SAVE_SUM), *sum_xhat = saved(g, op, SAVE_SUM_XHAT);
    vec_put(graph_grad_in(g, op, BN_GAMMA), sum_xhat, x->cols, op->add[BN_GAMMA]);
    vec_put(graph_grad_in(g, op, BN_BETA), sum, x->cols, op->add[BN_BETA]);
    if (!graph_grad_in(g, op, BN_X))
        return;
    if (!by_batch(run, rows)) { /* constants, not sums over the batch */
        vec_scaled(sum, 0, saved(g, op, SAVE_SCALE), x->cols, false);
        vec_put(sum_xhat, sum, x->cols, false);
    }
    for (size_t from = 0; from < rows; from += NORM_BLOCK_ROWS)
        batch_norm_apply(g, op, run, from,
                         rows - from < NORM_BLOCK_ROWS ? rows : from + NORM_BLOCK_ROWS);
}

static const struct op_kind batch_norm_kind = {
    .name = "batch_norm",
    .forward = batch_norm_forward,
    .backward = batch_norm_backward,
    .take = batch_norm_take,
    .take_grad = batch_norm_take_grad,
    .tells_grad = true,
    .grad_in_place = true,
};

uint32_t op_batch_norm(struct graph *g, uint32_t x, const struct op_norm *p,
                       const struct epilogue *e)
{
    const struct graph_tensor t = *graph_at(g, x);
    const uint32_t out = graph_slab(g, t.kind, t.rows, t.cols);
    const uint32_t keep = graph_slab(g, ROWS_FIXED, SAVE_ROWS, t.cols);
    struct op *op = graph_op(g, &batch_norm_kind, out);
    graph_save(g, op, 0, keep);
    graph_read(g, op, x);
    graph_read(g, op, p->gamma);
    graph_read(g, op, p->beta);
    graph_read(g, op, p->mean);
    graph_read(g, op, p->var);
    op->eps = p->eps;
    epilogue_set(g, op, e);
    return out;
}
