/* families.h - the model families: each is one file, model_<name>.c, and one row of the table in model.c.
 *
 * A builder draws its graph from (job, fields, floats) in g and returns the logit tensor (n, 1), or
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

/* -- parts that families share; each stands in the file of the family that it is named after -- */

/* z (n, 1) = bias + sum of the "linear" table's rows + floats times "linear.floats". */
uint32_t model_lr_logit(struct graph *g);
/* E (n, F d + D): the "embedding" table's rows by field, and the floats behind them. */
uint32_t model_mlp_features(struct graph *g);
/* model.hidden: linear, batch norm (if model.batch_norm), relu, dropout; x itself if there are none. */
uint32_t model_mlp_hidden(struct graph *g, uint32_t x);
/* A linear layer `name` with Xavier-normal weight and zero bias. */
uint32_t model_mlp_linear(struct graph *g, uint32_t x, const char *name, size_t width,
                          const struct epilogue *e);

#endif
