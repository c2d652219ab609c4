/* op_embed.c - a table's rows as features: each field's bag is summed (model.pooling=mean: averaged, the sum over the
 * number of occurrences, whatever their weights), and stands beside the others'.
 *
 * table (U, d) -> (n, F d), or of some fields that are neighbours. An empty bag gives zeros. Backward adds every occurrence's part of dy to its
 * key's row, in the order of the batch, so the sums have one order whatever the keys are.
 */
#include <assert.h>
#include <string.h>

#include "common/nn/ops.h"

static struct vec_bags embed_bags(const struct graph *g, const struct op *op,
                                  const struct model_input *in, size_t d)
{
    return (struct vec_bags){
        .offsets = in->offsets + op->param,
        .index = in->index,
        .weight = in->weight,
        .bags = graph_at(g, op->out)->cols / d,
        .d = d,
    };
}

/* Each field's columns of a row, divided by how many occurrences its bag has. */
static void embed_means(real *row, const struct vec_bags *b)
{
    for (size_t f = 0; f < b->bags; f++) {
        const uint32_t many = b->offsets[f + 1] - b->offsets[f];
        if (many > 1)
            vec_scaled(row + f * b->d, 1 / (real)many, row + f * b->d, b->d, false);
    }
}

static void embed_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *table = graph_at(g, op->in[0]), *y = graph_at(g, op->out);
    struct vec_bags bags = embed_bags(g, op, run->in, table->cols);
    for (size_t i = 0; i < run->in->n; i++, bags.offsets += g->fields) {
        vec_bags_sum(y->own + i * y->ld, table->value, &bags);
        if (op->mean)
            embed_means(y->own + i * y->ld, &bags);
    }
}

static void embed_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *table = graph_at(g, op->in[0]), *y = graph_at(g, op->out);
    real *d_rows = graph_grad_in(g, op, 0); /* (U, d) */
    if (!op->add[0])
        memset(d_rows, 0, run->in->unique * table->cols * sizeof(*d_rows));
    struct vec_bags bags = embed_bags(g, op, run->in, table->cols);
    for (size_t i = 0; i < run->in->n; i++, bags.offsets += g->fields) {
        if (op->mean) /* over dy: nobody reads it any more */
            embed_means(y->grad + i * y->ld, &bags);
        vec_bags_scatter(d_rows, y->grad + i * y->ld, &bags);
    }
}

static const struct op_kind embed_kind = {
    .name = "embed",
    .forward = embed_forward,
    .backward = embed_backward,
};

uint32_t op_embed_fields(struct graph *g, uint32_t table, size_t from, size_t to)
{
    const struct graph_tensor t = *graph_at(g, table);
    assert(t.home == HOME_TABLE && from < to && to <= g->fields);
    const uint32_t out = graph_slab(g, ROWS_BATCH, 0, (to - from) * t.cols);
    struct op *op = graph_op(g, &embed_kind, out);
    graph_read(g, op, table);
    op->param = from;
    op->mean = g->job->model.pooling == JOB_POOL_MEAN;
    return out;
}

uint32_t op_embed(struct graph *g, uint32_t table)
{
    return op_embed_fields(g, table, 0, g->fields);
}
