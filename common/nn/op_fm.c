/* op_fm.c - the factorisation machine's second-order term (Rendle 2010) over all features of a record.
 *
 * z (n, 1) = 1/2 sum_k [ S_k^2 - sum_i (x_i v_ik)^2 ], S_k = sum_i x_i v_ik. A feature is an occurrence of
 * an id in any field (x its weight) or a float (v its row of `factors`): pairs inside one bag count too,
 * so a libsvm line, which is one bag, is an ordinary FM.
 *
 * Backward: dv_ik = dz x_i (S_k - x_i v_ik), never a difference of squares.
 */
#include <assert.h>
#include <string.h>

#include "common/nn/ops.h"

enum { FM_TABLE, FM_FACTORS, FM_FLOATS };

/* The features of one record: its ids, or its floats as one bag of rows 0 .. D - 1. */
static struct vec_bags fm_ids(const struct graph *g, const struct model_input *in, size_t record,
                              size_t d)
{
    return (struct vec_bags){
        .offsets = in->offsets + record * g->fields,
        .index = in->index,
        .weight = in->weight,
        .bags = g->fields,
        .d = d,
    };
}

static struct vec_bags fm_floats(const struct graph_tensor *x, const uint32_t range[2],
                                 size_t record, size_t d)
{
    return (struct vec_bags){
        .offsets = range,
        .weight = x->value + record * x->ld,
        .bags = 1,
        .d = d,
    };
}

static void fm_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *table = graph_at(g, op->in[FM_TABLE]), *z = graph_at(g, op->out);
    const struct graph_tensor *sums = graph_at(g, op->save[0]); /* (n, d) */
    const uint32_t range[2] = {0, (uint32_t)g->floats};
    for (size_t i = 0; i < run->in->n; i++) {
        real *s = sums->own + i * sums->ld;
        const struct vec_bags ids = fm_ids(g, run->in, i, table->cols);
        real squares = vec_bags_squares(s, table->value, &ids, false);
        if (op->in_used > FM_FACTORS) {
            const struct vec_bags floats =
                fm_floats(graph_at(g, op->in[FM_FLOATS]), range, i, table->cols);
            squares += vec_bags_squares(s, graph_at(g, op->in[FM_FACTORS])->value, &floats, true);
        }
        z->own[i] = (vec_dot(s, s, table->cols) - squares) / 2;
    }
}

static void fm_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *table = graph_at(g, op->in[FM_TABLE]), *z = graph_at(g, op->out);
    const struct graph_tensor *sums = graph_at(g, op->save[0]);
    const uint32_t range[2] = {0, (uint32_t)g->floats};
    real *d_rows = graph_grad_in(g, op, FM_TABLE);
    if (!op->add[FM_TABLE])
        memset(d_rows, 0, run->in->unique * table->cols * sizeof(*d_rows));
    for (size_t i = 0; i < run->in->n; i++) {
        const struct vec_bags ids = fm_ids(g, run->in, i, table->cols);
        vec_bags_fm_back(d_rows, table->value, z->grad[i], sums->value + i * sums->ld, &ids);
    }
    if (op->in_used <= FM_FACTORS)
        return;
    const struct graph_tensor *factors = graph_at(g, op->in[FM_FACTORS]);
    if (!op->add[FM_FACTORS])
        memset(factors->grad, 0, factors->rows * factors->cols * sizeof(*factors->grad));
    for (size_t i = 0; i < run->in->n; i++) {
        const struct vec_bags floats =
            fm_floats(graph_at(g, op->in[FM_FLOATS]), range, i, table->cols);
        vec_bags_fm_back(factors->grad, factors->value, z->grad[i], sums->value + i * sums->ld,
                         &floats);
    }
}

static size_t fm_flops(const struct graph *g, const struct op *op)
{
    return (g->fields + g->floats + 1) * 4 * graph_at(g, op->in[FM_TABLE])->cols;
}

static const struct op_kind fm_kind = {
    .name = "fm",
    .forward = fm_forward,
    .backward = fm_backward,
    .flops = fm_flops,
};

uint32_t op_fm(struct graph *g, uint32_t table, uint32_t factors, uint32_t floats)
{
    const size_t d = graph_at(g, table)->cols;
    const uint32_t out = graph_slab(g, ROWS_BATCH, 0, 1);
    const uint32_t sums = graph_slab(g, ROWS_BATCH, 0, d);
    struct op *op = graph_op(g, &fm_kind, out);
    graph_save(g, op, 0, sums);
    graph_read(g, op, table);
    if (factors != GRAPH_NONE) {
        assert(graph_at(g, factors)->cols == d && graph_at(g, factors)->rows == g->floats);
        graph_read(g, op, factors);
        graph_read(g, op, floats);
    }
    return out;
}
