/* model_finalnet.c - FinalNet (Zhu et al. 2023): layers whose two halves multiply; one block or two.
 *
 * A layer makes [h2 ; h1] = W x + b, joins them (model.finalnet.mix: h2 + h1 h2, or [h2 ; h1 h2]), then
 * batch norm, relu, dropout. The first block (model.hidden) sees the features behind a gate across the
 * fields (model.finalnet.gate), the second (model.second.hidden; none: there is one block) as they are.
 *
 *     z = out(block 1)                   or  z = (z1 + z2) / 2,  z1 = out(block 1), z2 = out2(block 2)
 *
 * Of two blocks each learns from the mean of both besides: BCE(z1, p) + BCE(z2, p), p = sigmoid(z) held
 * still, weighed by model.finalnet.teach. Floats stand behind the gated fields, ungated.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/nn/families.h"
#include "common/nn/ops.h"

static uint32_t finalnet_block(struct graph *g, uint32_t x, const struct model_net *net)
{
    const struct epilogue finish = {.relu = true, .dropout = net->dropout};
    const bool concat = g->job->model.finalnet.mix == JOB_MIX_CONCAT;
    for (size_t i = 0; i < net->hidden->used; i++) {
        const size_t width = (size_t)net->hidden->item[i];
        char name[PLAN_NAME_MAX];
        (void)snprintf(name, sizeof(name), "%s.%zu", net->name, i);
        x = model_mlp_linear(g, x, name, concat ? width : 2 * width, &(struct epilogue){0});
        x = op_factorized(g, x, concat);
        x = g->job->model.batch_norm ? model_mlp_norm(g, x, name, &finish)
                                     : op_epilogue(g, x, &finish);
    }
    return x;
}

/* parts side by side, and the floats. */
static uint32_t finalnet_features(struct graph *g, uint32_t *parts, size_t used)
{
    if (g->floats)
        parts[used++] = graph_float_features(g);
    return used == 1 ? parts[0] : op_concat(g, parts, used);
}

/* What the first block sees of x, the fields' embeddings: behind their gate, with the floats. */
static uint32_t finalnet_gated(struct graph *g, uint32_t x)
{
    const int gate = g->job->model.finalnet.gate;
    const uint32_t w = graph_matrix(g, "gate.weight", g->fields, g->fields, 0);
    const uint32_t b = graph_vector(g, "gate.bias", g->fields, PLAN_ONE);
    const uint32_t y = op_field_gate(g, x, w, b, gate == JOB_FIELD_GATE_SUM);
    if (gate == JOB_FIELD_GATE_SUM)
        return finalnet_features(g, (uint32_t[2]){y}, 1);
    return finalnet_features(g, (uint32_t[3]){x, y}, 2);
}

static bool finalnet_can(const struct graph *g, struct errbuf *err)
{
    const struct u64s *hidden[2] = {&g->job->model.hidden, &g->job->model.second.hidden};
    const char *const names[2] = {"model.hidden", "model.second.hidden"};
    for (size_t i = 0; i < 2 && g->job->model.finalnet.mix == JOB_MIX_CONCAT; i++) {
        for (size_t l = 0; l < hidden[i]->used; l++) {
            if (hidden[i]->item[l] % 2 == 0)
                continue;
            (void)errbuf_set(err, ST_USAGE,
                             "%s: %" PRIu64 " is odd; model.finalnet.mix=concat halves each layer",
                             names[i], hidden[i]->item[l]);
            return false;
        }
    }
    return true;
}

uint32_t model_finalnet_build(struct graph *g, struct errbuf *err)
{
    if (!finalnet_can(g, err))
        return GRAPH_NONE;
    const struct model_net first = {"block1", &g->job->model.hidden, g->job->model.dropout};
    const struct model_net second = {"block2", &g->job->model.second.hidden,
                                     g->job->model.second.dropout};
    const uint32_t x = g->fields ? op_embed(g, model_mlp_table(g)) : GRAPH_NONE;
    const bool gated = g->fields && g->job->model.finalnet.gate != JOB_FIELD_GATE_NONE;
    uint32_t plain = GRAPH_NONE;
    if (!gated || second.hidden->used)
        plain = finalnet_features(g, (uint32_t[2]){x}, g->fields ? 1 : 0);
    const uint32_t h1 = finalnet_block(g, gated ? finalnet_gated(g, x) : plain, &first);
    const uint32_t z1 = model_mlp_linear(g, h1, "out", 1, &(struct epilogue){0});
    if (!second.hidden->used)
        return z1;
    const uint32_t h2 = finalnet_block(g, plain, &second);
    const uint32_t z2 = model_mlp_linear(g, h2, "out2", 1, &(struct epilogue){0});
    const uint32_t z = op_mean(g, z1, z2);
    if (g->job->model.finalnet.teach > 0) {
        op_imitate(g, z1, z, g->job->model.finalnet.teach);
        op_imitate(g, z2, z, g->job->model.finalnet.teach);
    }
    return z;
}
