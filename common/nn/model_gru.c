/* model_gru.c - GRU4Rec's network, trained on all places of a history: model_lstm.c around another cell. */
#include <math.h>

#include "common/nn/families.h"
#include "common/nn/ops.h"

uint32_t model_gru_build(struct graph *g, struct model_head *out, struct errbuf *err)
{
    const size_t width = model_recurrent_width(g, err);
    if (width == 0)
        return GRAPH_NONE;
    graph_sequences(g, (size_t)g->job->data.sequence.max, true);
    const uint32_t table = graph_table(g, "embedding", (size_t)g->job->model.embedding);
    const uint32_t x = model_recurrent_inputs(g, table, 3 * width);
    const uint32_t u =
        graph_matrix(g, "recurrent.state", 3 * width, width, sqrt(1 / (double)width));
    const uint32_t bias = graph_vector(g, "recurrent.state_bias", 3 * width, PLAN_ZERO);
    return model_recurrent_out(g, op_gru(g, x, u, bias, g->job->model.recurrent_dropout), table,
                               out);
}
