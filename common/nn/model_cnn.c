/* model_cnn.c - NextItNet (Yuan et al. 2019): residual blocks of dilated causal convolutions.
 *
 *     per dilation l:  y = relu(LN(conv_l(x)));  x = x + drop(relu(LN(conv_2l(y))))
 *
 * The whole history is one pass, and every place of it predicts.
 */
#include <math.h>
#include <stdio.h>

#include "common/nn/families.h"
#include "common/nn/ops.h"

static uint32_t convolve(struct graph *g, uint32_t x, size_t block, size_t half, size_t dilation)
{
    char name[PLAN_NAME_MAX - 8], weight[PLAN_NAME_MAX], bias[PLAN_NAME_MAX];
    const size_t d = graph_at(g, x)->cols, in = (size_t)g->job->model.kernel * d;
    const struct epilogue finish = {.relu = true, .dropout = half ? g->job->model.dropout : 0};
    (void)snprintf(name, sizeof(name), "block.%zu.conv%zu", block, half + 1);
    (void)snprintf(weight, sizeof(weight), "%s.weight", name);
    (void)snprintf(bias, sizeof(bias), "%s.bias", name);
    const uint32_t w = graph_matrix(g, weight, d, in, sqrt(2 / (double)(in + d)));
    const uint32_t y = op_conv(g, x, w, graph_vector(g, bias, d, PLAN_ZERO), dilation);
    (void)snprintf(name, sizeof(name), "block.%zu.norm%zu", block, half + 1);
    return op_epilogue(g, model_next_norm(g, y, name), &finish);
}

uint32_t model_cnn_build(struct graph *g, struct model_head *out, struct errbuf *err)
{
    const struct job *job = g->job;
    if (job->model.dilations.used == 0 || job->model.dilations.used > 16) {
        (void)errbuf_set(err, ST_USAGE, "model.dilations: %zu of them (allowed: 1 to 16)",
                         job->model.dilations.used);
        return GRAPH_NONE;
    }
    graph_sequences(g, (size_t)job->data.sequence.max, false);
    const uint32_t table = graph_table(g, "embedding", (size_t)job->model.embedding);
    uint32_t x =
        op_tokens(g, table, GRAPH_NONE, 1, &(struct epilogue){.dropout = job->model.input_dropout});
    size_t block = 0;
    for (size_t i = 0; i < job->model.blocks; i++) {
        for (size_t k = 0; k < job->model.dilations.used; k++, block++) {
            const size_t dilation = (size_t)job->model.dilations.item[k];
            const uint32_t y = convolve(g, x, block, 0, dilation);
            x = op_add(g, x, convolve(g, y, block, 1, 2 * dilation));
        }
    }
    model_next_item(g, x, table, out);
    return x;
}
