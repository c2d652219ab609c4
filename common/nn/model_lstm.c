/* model_lstm.c - the classic next-item model: Embedding -> LSTM -> Dropout -> Dense(softmax).
 *
 * With model.tied=false, model.embedding=128, .input_dropout=.2, .recurrent_dropout=.2 it is the Keras example's. The
 * input kernel begins Xavier-normal, the state's at N(0, 1 / H): the variance of an orthogonal matrix's
 * elements, without the orthogonality, which a plan of independent numbers can't give. The forget gate begins
 * at bias 1 (op_lstm adds it). model_gru.c is the same around another cell.
 */
#include <math.h>

#include "common/nn/families.h"
#include "common/nn/ops.h"

size_t model_recurrent_width(const struct graph *g, struct errbuf *err)
{
    const size_t d = (size_t)g->job->model.embedding;
    const size_t width = g->job->model.recurrent ? (size_t)g->job->model.recurrent : d;
    if (g->job->model.tied && width != d) {
        (void)errbuf_set(err, ST_USAGE,
                         "model.recurrent: %zu is not model.embedding, %zu; set model.tied=false",
                         width, d);
        return 0;
    }
    return width;
}

uint32_t model_recurrent_inputs(struct graph *g, uint32_t table, size_t gates)
{
    const size_t d = graph_at(g, table)->cols;
    const uint32_t x =
        op_tokens(g, table, GRAPH_NONE, 1,
                  &(struct epilogue){.dropout = g->job->model.input_dropout, .whole_record = true});
    const uint32_t w = graph_matrix(g, "recurrent.weight", gates, d, sqrt(2 / (double)(gates + d)));
    return op_linear(g, x, w, graph_vector(g, "recurrent.bias", gates, PLAN_ZERO),
                     &(struct epilogue){0});
}

uint32_t model_recurrent_out(struct graph *g, uint32_t h, uint32_t table, struct model_head *out)
{
    if (g->job->model.dropout > 0)
        h = op_epilogue(g, h, &(struct epilogue){.dropout = g->job->model.dropout});
    model_next_item(g, h, table, out);
    return h;
}

uint32_t model_lstm_build(struct graph *g, struct model_head *out, struct errbuf *err)
{
    const size_t width = model_recurrent_width(g, err);
    if (width == 0)
        return GRAPH_NONE;
    graph_sequences(g, (size_t)g->job->data.sequence.max, true);
    const uint32_t table = graph_table(g, "embedding", (size_t)g->job->model.embedding);
    const uint32_t x = model_recurrent_inputs(g, table, 4 * width);
    const uint32_t u =
        graph_matrix(g, "recurrent.state", 4 * width, width, sqrt(1 / (double)width));
    return model_recurrent_out(g, op_lstm(g, x, u, g->job->model.recurrent_dropout), table, out);
}
