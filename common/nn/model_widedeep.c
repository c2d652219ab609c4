/* model_widedeep.c - Wide & Deep (Cheng et al. 2016): z = LR(x) + out(hidden(E)).
 *
 * The wide part is plain logistic regression over all ids and floats, without crossed features; it has a
 * table of its own ("linear"). One optimizer for both parts, as BARS has it.
 */
#include "common/nn/families.h"
#include "common/nn/ops.h"

uint32_t model_widedeep_build(struct graph *g, struct errbuf *err)
{
    (void)err;
    const uint32_t wide = model_lr_logit(g);
    const uint32_t deep = model_mlp_hidden(g, model_mlp_features(g, model_mlp_table(g)));
    return op_add(g, wide, model_mlp_linear(g, deep, "out", 1, &(struct epilogue){0}));
}
