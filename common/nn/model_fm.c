/* model_fm.c - factorisation machine (Rendle 2010): LR plus 1/2 (square of the sum - sum of squares).
 *
 * Two sparse tables over the same keys: "linear" (dim 1) and "embedding" (dim d). A float feature has a
 * factor, too ("fm.floats", (D, d)), and so interacts like an id.
 */
#include "common/nn/families.h"
#include "common/nn/ops.h"

uint32_t model_fm_pairs(struct graph *g, uint32_t table)
{
    uint32_t factors = GRAPH_NONE, floats = GRAPH_NONE;
    if (g->floats) {
        factors = graph_matrix(g, "fm.floats", g->floats, graph_at(g, table)->cols,
                               g->job->model.embedding_init);
        floats = graph_float_features(g);
    }
    return op_fm(g, table, factors, floats);
}

uint32_t model_fm_build(struct graph *g, struct errbuf *err)
{
    if (!g->fields) {
        (void)errbuf_set(err, ST_USAGE, "model.family: fm needs at least one id field");
        return GRAPH_NONE;
    }
    const uint32_t linear = model_lr_logit(g);
    const uint32_t table = graph_table(g, "embedding", (size_t)g->job->model.embedding);
    return op_add(g, linear, model_fm_pairs(g, table));
}
