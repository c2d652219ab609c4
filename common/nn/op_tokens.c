/* op_tokens.c - sequences as rows: y = drop(scale * E[item] + P[place]), one row a token.
 *
 * table (U, d), positions (L, d) or none -> (T, d). A place counts from the oldest input of its record, so packed
 * sequences are what padded ones are when the padding stands behind them. Backward sums each key's row, and
 * each place's, in the order of tokens. A history beside other fields has their weights of occurrences, too.
 */
#include <assert.h>
#include <string.h>

#include "common/nn/epilogue.h"
#include "common/nn/ops.h"

enum { TOKENS_TABLE, TOKENS_PLACES };

static real tokens_scale(const struct graph *g, const struct op *op, const struct graph_run *run,
                         size_t row)
{
    const bool weighted = g->tokens->whole && run->in->weight;
    return weighted ? op->scale * run->in->weight[g->tokens->at[row]] : op->scale;
}

static void tokens_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *table = graph_at(g, op->in[TOKENS_TABLE]), *y = graph_at(g, op->out);
    const real *places = op->in_used > 1 ? graph_at(g, op->in[TOKENS_PLACES])->value : NULL;
    const struct vec_finish finish = epilogue_finish(op, run);
    const struct epilogue_base base = epilogue_base(g, op, run);
    const struct tokens *t = g->tokens;
    for (size_t r = 0; r < t->used; r++) {
        real *row = y->own + r * y->ld;
        vec_scaled(row, tokens_scale(g, op, run, r), table->value + (size_t)t->item[r] * y->cols,
                   y->cols, false);
        if (places || finish.drop_below)
            vec_finish(row, row, NULL, places ? places + (size_t)t->place[r] * y->cols : NULL,
                       y->cols, &finish, epilogue_key(base, run, r));
    }
}

static void tokens_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *y = graph_at(g, op->out);
    const struct vec_finish finish = epilogue_finish(op, run);
    const struct epilogue_base base = epilogue_base(g, op, run);
    const struct tokens *t = g->tokens;
    real *d_rows = graph_grad_in(g, op, TOKENS_TABLE), *d_places = NULL;
    if (!op->add[TOKENS_TABLE])
        memset(d_rows, 0, run->in->unique * y->cols * sizeof(*d_rows));
    if (op->in_used > 1) {
        const struct graph_tensor *p = graph_at(g, op->in[TOKENS_PLACES]);
        d_places = graph_grad_in(g, op, TOKENS_PLACES);
        if (!op->add[TOKENS_PLACES])
            memset(d_places, 0, p->rows * p->cols * sizeof(*d_places));
    }
    for (size_t r = 0; r < t->used; r++) {
        real *dy = y->grad + r * y->ld;
        if (finish.drop_below)
            vec_finish_back(dy, dy, y->value + r * y->ld, y->cols, &finish,
                            epilogue_key(base, run, r));
        if (d_places)
            vec_put(d_places + (size_t)t->place[r] * y->cols, dy, y->cols, true);
        vec_scaled(d_rows + (size_t)t->item[r] * y->cols, tokens_scale(g, op, run, r), dy, y->cols,
                   true);
    }
}

static const struct op_kind tokens_kind = {
    .name = "tokens",
    .forward = tokens_forward,
    .backward = tokens_backward,
};

uint32_t op_tokens(struct graph *g, uint32_t table, uint32_t positions, double scale,
                   const struct epilogue *e)
{
    const struct graph_tensor t = *graph_at(g, table);
    assert(t.home == HOME_TABLE && g->tokens && !e->relu);
    const uint32_t out = graph_slab(g, ROWS_TOKENS, 0, t.cols);
    struct op *op = graph_op(g, &tokens_kind, out);
    graph_read(g, op, table);
    if (positions != GRAPH_NONE) {
        assert(graph_at(g, positions)->rows == g->tokens->places_max &&
               graph_at(g, positions)->cols == t.cols);
        graph_read(g, op, positions);
    }
    op->scale = (real)scale;
    epilogue_set(g, op, e);
    return out;
}
