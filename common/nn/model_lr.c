/* model_lr.c - logistic regression: z = b + sum of w_i x_i over the ids of all fields + w' floats.
 *
 * Ids have one weight each in the sparse table "linear" (dim 1), floats a dense vector. Rows begin at
 * N(0, model.embedding_init^2), as BARS does, which is zero for all that matters.
 */
#include <assert.h>

#include "common/nn/families.h"
#include "common/nn/ops.h"

uint32_t model_lr_logit(struct graph *g)
{
    assert(g->fields || g->floats);
    const uint32_t bias = graph_vector(g, "linear.bias", 1, PLAN_ZERO);
    uint32_t z = GRAPH_NONE;
    if (g->fields)
        z = op_bag_sum(g, graph_table(g, "linear", 1), bias);
    if (g->floats) {
        const uint32_t w = graph_matrix(g, "linear.floats", 1, g->floats, 0);
        const uint32_t y = op_linear(g, graph_float_features(g), w,
                                     z == GRAPH_NONE ? bias : GRAPH_NONE, &(struct epilogue){0});
        z = z == GRAPH_NONE ? y : op_add(g, z, y);
    }
    return z;
}

uint32_t model_lr_build(struct graph *g, struct errbuf *err)
{
    (void)err;
    return model_lr_logit(g);
}
