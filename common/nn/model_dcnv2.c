/* model_dcnv2.c - DCN-v2 (Wang et al. 2021) in its parallel form: z = fc([cross layers(E) ; MLP(E)]).
 *
 * model.cross layers x_{l+1} = E * (W_l x_l + b_l) + x_l with full W (no low rank), beside the hidden
 * layers of the MLP family. Both write straight into the columns of the concatenation.
 */
#include <math.h>
#include <stdio.h>

#include "common/nn/families.h"
#include "common/nn/ops.h"

static uint32_t dcnv2_cross(struct graph *g, uint32_t e)
{
    const size_t width = graph_at(g, e)->cols;
    uint32_t x = e;
    for (size_t i = 0; i < (size_t)g->job->model.cross; i++) {
        char name[PLAN_NAME_MAX];
        (void)snprintf(name, sizeof(name), "cross.%zu.weight", i);
        const uint32_t w = graph_matrix(g, name, width, width, sqrt(1 / (double)width));
        (void)snprintf(name, sizeof(name), "cross.%zu.bias", i);
        const uint32_t b = graph_vector(g, name, width, PLAN_ZERO);
        x = op_cross(g, e, x, w, b);
    }
    return x;
}

uint32_t model_dcnv2_build(struct graph *g, struct errbuf *err)
{
    (void)err;
    const uint32_t e = model_mlp_features(g, model_mlp_table(g));
    const uint32_t cross = dcnv2_cross(g, e);
    uint32_t both = cross;
    if (g->job->model.hidden.used) {
        const uint32_t parts[2] = {cross, model_mlp_hidden(g, e)};
        both = op_concat(g, parts, 2);
    }
    return model_mlp_linear(g, both, "out", 1, &(struct epilogue){0});
}
