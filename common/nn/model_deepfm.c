/* model_deepfm.c - DeepFM (Guo et al. 2017): z = LR(x) + FM's second order + out(hidden(E)).
 *
 * The factors of the FM part *are* the embeddings of the deep part: one table, read by two operators,
 * whose gradients add up. Floats have factors of their own in the FM part and stand behind E in the other.
 */
#include "common/nn/families.h"
#include "common/nn/ops.h"

uint32_t model_deepfm_build(struct graph *g, struct errbuf *err)
{
    if (!g->fields) {
        (void)errbuf_set(err, ST_USAGE, "model.family: deepfm needs at least one id field");
        return GRAPH_NONE;
    }
    const uint32_t wide = model_lr_logit(g);
    const uint32_t table = model_mlp_table(g);
    const uint32_t fm = op_add(g, wide, model_fm_pairs(g, table));
    const uint32_t deep = model_mlp_hidden(g, model_mlp_features(g, table));
    return op_add(g, fm, model_mlp_linear(g, deep, "out", 1, &(struct epilogue){0}));
}
