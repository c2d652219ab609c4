/* ops.h - the operators: each is one file, op_<name>.c, and one builder here.
 *
 * A builder appends the operator to the graph, makes the tensor of its result and returns its id. House
 * rule broken on purpose: one header for all op_*.c, because this list is the vocabulary in which model
 * files are written, and reads better in one piece than in a dozen headers of one line.
 *
 * Shapes: n records, F id fields, D floats, d the dimension of a table, U unique keys.
 */
#ifndef PENSTOCK_COMMON_NN_OPS_H
#define PENSTOCK_COMMON_NN_OPS_H

#include <stddef.h>
#include <stdint.h>

#include "common/nn/epilogue.h"
#include "common/nn/graph.h"

/* -- features -- */

/* Each field's bag summed, side by side. table (U, d) -> (n, F d) */
uint32_t op_embed(struct graph *g, uint32_t table);
/* Sum of weight * row over all occurrences of a record in all fields, + bias (1) or GRAPH_NONE.
 * table (U, 1) -> (n, 1) */
uint32_t op_bag_sum(struct graph *g, uint32_t table, uint32_t bias);
/* The factorisation machine's second-order term over all occurrences, and over floats (n, D) with their
 * factors (D, d); or GRAPH_NONE for both. table (U, d) -> (n, 1) */
uint32_t op_fm(struct graph *g, uint32_t table, uint32_t factors, uint32_t floats);

/* -- layers: (rows, in) -> (rows, out), any kind of rows -- */

/* x (rows, in) times weight (out, in) transposed + bias (out) or GRAPH_NONE, then the epilogue. */
uint32_t op_linear(struct graph *g, uint32_t x, uint32_t weight, uint32_t bias,
                   const struct epilogue *e);
/* Batch norm, then the epilogue. gamma, beta: dense (cols); mean, var: stat (cols). */
struct op_norm {
    uint32_t gamma, beta, mean, var;
    real eps; /* inside the root; PyTorch's is 1e-5 */
};
uint32_t op_batch_norm(struct graph *g, uint32_t x, const struct op_norm *p,
                       const struct epilogue *e);
/* gamma, beta: (cols) */
uint32_t op_layer_norm(struct graph *g, uint32_t x, uint32_t gamma, uint32_t beta, double eps);
/* x0 * (W x + b) + x, all (rows, cols); weight (cols, cols), bias (cols) */
uint32_t op_cross(struct graph *g, uint32_t x0, uint32_t x, uint32_t weight, uint32_t bias);

/* -- elementwise: the shape stays -- */

uint32_t op_epilogue(struct graph *g, uint32_t x, const struct epilogue *e); /* relu, dropout */
uint32_t op_sigmoid(struct graph *g, uint32_t x);
uint32_t op_softplus(struct graph *g, uint32_t x);
uint32_t op_add(struct graph *g, uint32_t a, uint32_t b);

/* -- shape -- */

/* Side by side: (rows, sum of cols). At most OP_IN_MAX parts. */
uint32_t op_concat(struct graph *g, const uint32_t *parts, size_t parts_used);

/* -- losses -- */

/* Mean binary cross-entropy of logits z (n, 1) against the batch's labels. */
void op_bce(struct graph *g, uint32_t z);

#endif
