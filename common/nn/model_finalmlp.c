/* model_finalmlp.c - FinalMLP (Mao et al. 2023): two nets over gated features, and a bilinear fusion.
 *
 *     a = net 1(E * 2 sigmoid(t1))      b = net 2(E * 2 sigmoid(t2))      z = out([a ; b]) + sum_h a_h' W_h b_h
 *
 * The gates (model.finalmlp.gate): none; bias, a learned vector a stream; fields, a net over the user's
 * embedding for the first stream and over the item's for the second, taken from E itself (the paper
 * has tables of their own for it). All gates begin as 1, but for the noise of a net's weights.
 *
 * The heads' matrices stand in one tensor and begin as the reference begins them: Xavier over all of their
 * elements at once, std sqrt(2 / (elements + 1)), far below that of one head's matrix.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "common/nn/families.h"
#include "common/nn/ops.h"

/* Place of the id field of this type among the id fields, or `fields` if there is none. */
static size_t finalmlp_field(const struct graph *g, int type)
{
    for (size_t i = 0; i < g->job->data.fields_used; i++)
        if (g->job->data.fields[i].type == type)
            return model_mlp_slot(g, i);
    return g->fields;
}

/* The features of stream `which`, behind its gate. */
static uint32_t finalmlp_gated(struct graph *g, uint32_t e, size_t which)
{
    const size_t d = (size_t)g->job->model.embedding, cols = graph_at(g, e)->cols;
    char name[PLAN_NAME_MAX];
    (void)snprintf(name, sizeof(name), "gate%zu", which + 1);
    if (g->job->model.finalmlp.gate == JOB_GATE_NONE)
        return e;
    if (g->job->model.finalmlp.gate == JOB_GATE_BIAS)
        return op_gate(g, e, graph_vector(g, name, cols, PLAN_ZERO));
    const size_t field = finalmlp_field(g, which ? FIELD_ITEM : FIELD_USER);
    uint32_t t = op_columns(g, e, field * d, d);
    const struct u64s *hidden = &g->job->model.finalmlp.gate_hidden;
    for (size_t i = 0; i < hidden->used; i++) {
        (void)snprintf(name, sizeof(name), "gate%zu.%zu", which + 1, i);
        t = model_mlp_linear(g, t, name, (size_t)hidden->item[i], &(struct epilogue){.relu = true});
    }
    (void)snprintf(name, sizeof(name), "gate%zu.out", which + 1);
    return op_gate(g, e, model_mlp_linear(g, t, name, cols, &(struct epilogue){0}));
}

static bool finalmlp_can(const struct graph *g, struct errbuf *err)
{
    const struct u64s *hidden[2] = {&g->job->model.hidden, &g->job->model.second.hidden};
    const char *const names[2] = {"model.hidden", "model.second.hidden"};
    const uint64_t heads = g->job->model.finalmlp.heads;
    for (size_t i = 0; i < 2; i++) {
        if (!hidden[i]->used) {
            (void)errbuf_set(err, ST_USAGE, "%s: finalmlp needs at least one layer", names[i]);
            return false;
        }
        const uint64_t last = hidden[i]->item[hidden[i]->used - 1];
        if (last % heads) {
            (void)errbuf_set(err, ST_USAGE,
                             "model.finalmlp.heads: %" PRIu64 " does not divide %" PRIu64
                             ", the last width of %s",
                             heads, last, names[i]);
            return false;
        }
    }
    if (g->job->model.finalmlp.gate == JOB_GATE_FIELDS &&
        (finalmlp_field(g, FIELD_USER) >= g->fields ||
         finalmlp_field(g, FIELD_ITEM) >= g->fields)) {
        (void)errbuf_set(
            err, ST_USAGE,
            "model.finalmlp.gate: fields needs a field of type user and one of type item");
        return false;
    }
    return true;
}

uint32_t model_finalmlp_build(struct graph *g, struct errbuf *err)
{
    if (!finalmlp_can(g, err))
        return GRAPH_NONE;
    const uint32_t e = model_mlp_features(g, model_mlp_table(g));
    const struct model_net second = {"mlp2", &g->job->model.second.hidden,
                                     g->job->model.second.dropout};
    const uint32_t a = model_mlp_hidden(g, finalmlp_gated(g, e, 0));
    const uint32_t b = model_mlp_net(g, finalmlp_gated(g, e, 1), &second);
    const size_t rows = graph_at(g, a)->cols;
    const size_t cols = graph_at(g, b)->cols / (size_t)g->job->model.finalmlp.heads;
    const uint32_t w =
        graph_matrix(g, "fusion.weight", rows, cols, sqrt(2 / (double)(rows * cols + 1)));
    const uint32_t both[2] = {a, b};
    const uint32_t linear =
        model_mlp_linear(g, op_concat(g, both, 2), "out", 1, &(struct epilogue){0});
    return op_add(g, linear, op_bilinear(g, a, b, w));
}
