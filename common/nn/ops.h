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

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/nn/epilogue.h"
#include "common/nn/graph.h"

/* -- features -- */

/* Each field's bag summed (or averaged: model.pooling), side by side. table (U, d) -> (n, F d) */
uint32_t op_embed(struct graph *g, uint32_t table);
/* The same of fields [from, to). table (U, d) -> (n, (to - from) d) */
uint32_t op_embed_fields(struct graph *g, uint32_t table, size_t from, size_t to);
/* Sum of weight * row over all occurrences of a record in all fields, + bias (1) or GRAPH_NONE.
 * table (U, 1) -> (n, 1) */
uint32_t op_bag_sum(struct graph *g, uint32_t table, uint32_t bias);
/* The factorisation machine's second-order term over all occurrences, and over floats (n, D) with their
 * factors (D, d); or GRAPH_NONE for both. table (U, d) -> (n, 1) */
uint32_t op_fm(struct graph *g, uint32_t table, uint32_t factors, uint32_t floats);

/* -- sequences: rows of kind TOKENS, after graph_sequences; T tokens, L places -- */

/* drop(scale * table[item] + positions[place]); positions (L, d) or GRAPH_NONE. table (U, d) -> (T, d) */
uint32_t op_tokens(struct graph *g, uint32_t table, uint32_t positions, double scale,
                   const struct epilogue *e);
/* Causal attention within each sequence; query, key, value: three tensors (T, d) -> (T, d). By record. */
uint32_t op_attention(struct graph *g, const uint32_t qkv[3], size_t heads, double dropout);
/* A causal convolution: weight (out, kernel d), bias (out); (T, d) -> (T, out). By record. */
uint32_t op_conv(struct graph *g, uint32_t x, uint32_t weight, uint32_t bias, size_t dilation);
/* x (T, 4 H) = the inputs' part of gates i, f, g, o; u (4 H, H) -> (T, H). By step. */
uint32_t op_lstm(struct graph *g, uint32_t x, uint32_t u, double dropout);
/* x (T, 3 H) = the inputs' part of r, z, n; u (3 H, H), bias (3 H) of the state's part -> (T, H). By step. */
uint32_t op_gru(struct graph *g, uint32_t x, uint32_t u, uint32_t bias, double dropout);

/* -- a history beside other fields, after graph_history: T tokens, by record -- */

/* DIN's: h (T, d), t (n, d) -> (T, 4 d) = [h ; t ; h - t ; h t] */
uint32_t op_match(struct graph *g, uint32_t h, uint32_t t);
/* Sum of a_j h_j, or of their softmax's p_j h_j, over a record's tokens; a (T, 1), h (T, d) -> (n, d) */
uint32_t op_pool(struct graph *g, uint32_t a, uint32_t h, bool softmax);

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
/* p x + alpha (1 - p) x, p = sigmoid(xhat), then dropout. alpha: dense (cols); mean, var: stat (cols). */
struct op_dice {
    uint32_t alpha, mean, var;
    real eps; /* inside the root */
};
uint32_t op_dice(struct graph *g, uint32_t x, const struct op_dice *p, const struct epilogue *e);
/* gamma, beta: (cols) */
uint32_t op_layer_norm(struct graph *g, uint32_t x, uint32_t gamma, uint32_t beta, double eps);
/* x0 * (W x + b) + x, all (rows, cols); weight (cols, cols), bias (cols) */
uint32_t op_cross(struct graph *g, uint32_t x0, uint32_t x, uint32_t weight, uint32_t bias);

/* Dot products of all pairs of `vectors` side by side, j < i: (rows, V d) -> (rows, V (V - 1) / 2) */
uint32_t op_pairs(struct graph *g, uint32_t x, size_t vectors);
/* FinalNet's: x (rows, 2 m) = [h2 ; h1] -> h2 + h1 h2 (rows, m), or [h2 ; h1 h2] (rows, 2 m) if concat. */
uint32_t op_factorized(struct graph *g, uint32_t x, bool concat);
/* FinalMLP's: sum over heads of a_h' W_h b_h. a (rows, A), b (rows, B), weight (A, B / heads): the heads'
 * matrices (A / heads, B / heads) one below the other -> (rows, 1) */
uint32_t op_bilinear(struct graph *g, uint32_t a, uint32_t b, uint32_t weight);
/* FinalMLP's: x 2 sigmoid(t); t as x, or one gate of all rows: fixed (1, cols) */
uint32_t op_gate(struct graph *g, uint32_t x, uint32_t t);
/* FinalNet's: x (rows, F d) times W x + b across the fields, + x if residual. weight (F, F), bias (F) */
uint32_t op_field_gate(struct graph *g, uint32_t x, uint32_t weight, uint32_t bias, bool residual);

/* -- elementwise: the shape stays -- */

uint32_t op_epilogue(struct graph *g, uint32_t x, const struct epilogue *e); /* relu, dropout */
uint32_t op_sigmoid(struct graph *g, uint32_t x);
uint32_t op_softplus(struct graph *g, uint32_t x);
uint32_t op_gelu(struct graph *g, uint32_t x);
uint32_t op_add(struct graph *g, uint32_t a, uint32_t b);
uint32_t op_mean(struct graph *g, uint32_t a, uint32_t b); /* (a + b) / 2 */

/* -- shape -- */

/* Side by side: (rows, sum of cols). At most OP_IN_MAX parts. */
uint32_t op_concat(struct graph *g, const uint32_t *parts, size_t parts_used);

/* Columns [from, from + cols) by themselves. */
uint32_t op_columns(struct graph *g, uint32_t x, size_t from, size_t cols);

/* -- losses -- */

/* Mean binary cross-entropy of logits z (n, T) against the batch's labels: of several tasks the weighted sum, over the
 * labels that are there (op_bce.c). */
void op_bce(struct graph *g, uint32_t z);
/* weight * mean cross-entropy of z (n, 1) against sigmoid(teacher), which stays as it is. */
void op_imitate(struct graph *g, uint32_t z, uint32_t teacher, double weight);

/* Of the next item, over h (T, d): an item's logit is <h, its row of `items` (U, d)> + its row of `bias` (U, 1) or
 * nothing (GRAPH_NONE). Mean over the T places. */
/* Softmax over the batch's candidates, or, `shared`, over the target and the candidates that are not the target. */
void op_softmax(struct graph *g, uint32_t h, uint32_t items, uint32_t bias, bool shared);
/* The target against one candidate: -log sigmoid(z+) - log(1 - sigmoid(z-)). */
void op_bce_pair(struct graph *g, uint32_t h, uint32_t items, uint32_t bias);

#endif
