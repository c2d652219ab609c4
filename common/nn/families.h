/* families.h - the model families: each is one file, model_<name>.c, and one row of the table in model.c.
 *
 * A builder draws its graph from (job, fields, floats) in g and returns the logit tensor (n, T), or
 * GRAPH_NONE after writing why this schema can't be used.
 */
#ifndef PENSTOCK_COMMON_NN_FAMILIES_H
#define PENSTOCK_COMMON_NN_FAMILIES_H

#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/nn/epilogue.h"
#include "common/nn/graph.h"

uint32_t model_lr_build(struct graph *g, struct errbuf *err);
uint32_t model_fm_build(struct graph *g, struct errbuf *err);
uint32_t model_mlp_build(struct graph *g, struct errbuf *err);
uint32_t model_dcnv2_build(struct graph *g, struct errbuf *err);
uint32_t model_widedeep_build(struct graph *g, struct errbuf *err);
uint32_t model_deepfm_build(struct graph *g, struct errbuf *err);
uint32_t model_dlrm_build(struct graph *g, struct errbuf *err);
uint32_t model_finalmlp_build(struct graph *g, struct errbuf *err);
uint32_t model_multitask_build(struct graph *g, struct errbuf *err);
uint32_t model_finalnet_build(struct graph *g, struct errbuf *err);
uint32_t model_din_build(struct graph *g, struct errbuf *err);

/* -- parts that families share; each stands in the file of the family that it is named after -- */

/* z (n, 1) = bias + sum of the "linear" table's rows + floats times "linear.floats". */
uint32_t model_lr_logit(struct graph *g);
/* The second-order term of `table` and, if there are floats, of them. */
uint32_t model_fm_pairs(struct graph *g, uint32_t table);
/* The sparse table "embedding", or GRAPH_NONE without id fields. */
uint32_t model_mlp_table(struct graph *g);
/* E (n, F d + D): the rows of `table` by field, and the floats behind them. */
uint32_t model_mlp_features(struct graph *g, uint32_t table);
/* Hidden layers NAME.0, NAME.1 ...: linear, batch norm (if model.batch_norm), relu or Dice, dropout; x
 * itself if there are none. */
struct model_net {
    const char *name;
    const struct u64s *hidden; /* widths; borrowed */
    double dropout;
};
uint32_t model_mlp_net(struct graph *g, uint32_t x, const struct model_net *net);
/* The net of model.hidden, "mlp". */
uint32_t model_mlp_hidden(struct graph *g, uint32_t x);
/* Batch norm NAME.bn.weight, .bias, .mean, .var. */
uint32_t model_mlp_norm(struct graph *g, uint32_t x, const char *name, const struct epilogue *e);
/* Dice NAME.dice.alpha, .mean, .var. */
uint32_t model_mlp_dice(struct graph *g, uint32_t x, const char *name, const struct epilogue *e);
/* Place among the id fields of the job's field number `field`. */
size_t model_mlp_slot(const struct graph *g, size_t field);
/* A linear layer `name` with Xavier-normal weight and zero bias. */
uint32_t model_mlp_linear(struct graph *g, uint32_t x, const char *name, size_t width,
                          const struct epilogue *e);

/* -- sequence families: draw the loss, too; `out` says what ranks. They return h, or GRAPH_NONE as above -- */

struct model_head { /* an item's logit: <h of a token, its row of items> + its row of bias */
    uint32_t h, items, bias; /* (T, d); tables (U, d), (U, 1) or GRAPH_NONE */
};

uint32_t model_sasrec_build(struct graph *g, struct model_head *out, struct errbuf *err);
uint32_t model_lstm_build(struct graph *g, struct model_head *out, struct errbuf *err);
uint32_t model_gru_build(struct graph *g, struct model_head *out, struct errbuf *err);
uint32_t model_cnn_build(struct graph *g, struct model_head *out, struct errbuf *err);

/* ST_USAGE unless the records are sequences. */
MUST_CHECK enum status model_next_item_check(const struct graph *g, struct errbuf *err);
/* The loss of model.loss over h, tied to `table` or with an output table and a bias of its own. */
void model_next_item(struct graph *g, uint32_t h, uint32_t table, struct model_head *out);
/* Layer norm NAME.weight, .bias, and a linear layer NAME.weight, .bias as the Transformer begins them. */
uint32_t model_next_norm(struct graph *g, uint32_t x, const char *name);
uint32_t model_next_linear(struct graph *g, uint32_t x, const char *name, size_t width,
                           const struct epilogue *e);
/* Width of the state, 0 after an error; the gates' part of the inputs, (T, gates); dropout and the loss. */
size_t model_recurrent_width(const struct graph *g, struct errbuf *err);
uint32_t model_recurrent_inputs(struct graph *g, uint32_t table, size_t gates);
uint32_t model_recurrent_out(struct graph *g, uint32_t h, uint32_t table, struct model_head *out);

#endif
