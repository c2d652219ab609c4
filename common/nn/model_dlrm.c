/* model_dlrm.c - DLRM (Naumov et al. 2019): a bottom net over the floats, dot products of all pairs, a top net.
 *
 *     e_0 = relu(linear(bottom net(floats)))  (d)       T = [e_0 ; e_1 .. e_F]       z = out(hidden([T ; pairs(T)]))
 *
 * Without float fields there is no bottom net and no e_0. With model.dlrm.top=dots the top net sees
 * [e_0 ; pairs(T)] as in the paper; the default shows it the embeddings, too, which Frappe likes better
 * (README.md, Measured). Bottom layers have model.batch_norm but no dropout: floats are few.
 */
#include "common/nn/families.h"
#include "common/nn/ops.h"

static uint32_t dlrm_bottom(struct graph *g) /* (n, d) */
{
    const struct model_net net = {"bottom", &g->job->model.dlrm.bottom, 0};
    const uint32_t h = model_mlp_net(g, graph_float_features(g), &net);
    return model_mlp_linear(g, h, "bottom.out", (size_t)g->job->model.embedding,
                            &(struct epilogue){.relu = true});
}

uint32_t model_dlrm_build(struct graph *g, struct errbuf *err)
{
    const size_t vectors = g->fields + (g->floats ? 1 : 0);
    if (vectors < 2 || !g->fields) {
        (void)errbuf_set(err, ST_USAGE,
                         "model.family: dlrm needs pairs: two id fields, or one and float fields");
        return GRAPH_NONE;
    }
    uint32_t parts[2] = {GRAPH_NONE, op_embed(g, model_mlp_table(g))};
    uint32_t all = parts[1];
    if (g->floats) {
        parts[0] = dlrm_bottom(g);
        all = op_concat(g, parts, 2);
    }
    const uint32_t dots = op_pairs(g, all, vectors);
    const uint32_t beside = g->job->model.dlrm.top == JOB_TOP_ALL ? all : parts[0];
    const uint32_t top[2] = {beside, dots};
    const uint32_t x = beside == GRAPH_NONE ? dots : op_concat(g, top, 2);
    return model_mlp_linear(g, model_mlp_hidden(g, x), "out", 1, &(struct epilogue){0});
}
