/* nn_builds.h - each operator under a small graph that makes its gradient matter in every element.
 *
 * nn_grad.c walks the table at the end. Besides each operator by itself there are the ways in which a graph
 * uses it: twice, tied weights, inputs that others read too, views in a concat, in place, told of early rows.
 */
#ifndef PENSTOCK_TESTS_UNIT_NN_BUILDS_H
#define PENSTOCK_TESTS_UNIT_NN_BUILDS_H

#include <stdio.h>

#include "common/nn/graph.h"
#include "common/nn/ops.h"

static inline uint32_t head(struct graph *g, uint32_t x) /* a mix of all columns */
{
    const size_t cols = graph_at(g, x)->cols;
    return op_linear(g, x, graph_matrix(g, "head.w", 1, cols, 1),
                     graph_vector(g, "head.b", 1, PLAN_ZERO), &(struct epilogue){0});
}

static inline uint32_t mixed(struct graph *g, const char *name, uint32_t x, size_t width)
{
    return op_linear(g, x, graph_matrix(g, name, width, graph_at(g, x)->cols, 1), GRAPH_NONE,
                     &(struct epilogue){0});
}

static inline uint32_t embedded(struct graph *g)
{
    return op_embed(g, graph_table(g, "embedding", 4));
}

static inline uint32_t build_bag_sum(struct graph *g)
{
    return op_bag_sum(g, graph_table(g, "linear", 1), graph_vector(g, "b", 1, PLAN_ZERO));
}

static inline uint32_t build_bag_sum_twice(struct graph *g)
{
    const uint32_t t = graph_table(g, "linear", 1), b = graph_vector(g, "b", 1, PLAN_ZERO);
    const uint32_t x = op_bag_sum(g, t, b), y = op_sigmoid(g, op_bag_sum(g, t, b));
    return op_add(g, x, y);
}

static inline uint32_t build_embed(struct graph *g)
{
    return head(g, embedded(g));
}

static inline uint32_t build_fm(struct graph *g)
{
    return op_fm(g, graph_table(g, "embedding", 4), GRAPH_NONE, GRAPH_NONE);
}

static inline uint32_t build_fm_floats(struct graph *g)
{
    return op_fm(g, graph_table(g, "embedding", 3), graph_matrix(g, "v", g->floats, 3, 0.5),
                 graph_float_features(g));
}

/* Both read one table: its gradient is the sum of two operators'. */
static inline uint32_t build_fm_and_embed(struct graph *g)
{
    const uint32_t t = graph_table(g, "embedding", 4);
    return op_add(g, op_fm(g, t, GRAPH_NONE, GRAPH_NONE), head(g, op_embed(g, t)));
}

static inline uint32_t linear_with(struct graph *g, struct epilogue e)
{
    const uint32_t x = embedded(g);
    const uint32_t w = graph_matrix(g, "w", 17, 12, 0.5), b = graph_vector(g, "b", 17, PLAN_ZERO);
    return head(g, op_linear(g, x, w, b, &e));
}

static inline uint32_t build_linear(struct graph *g)
{
    return linear_with(g, (struct epilogue){0});
}

static inline uint32_t build_linear_relu(struct graph *g)
{
    return linear_with(g, (struct epilogue){.relu = true});
}

static inline uint32_t build_linear_drop(struct graph *g)
{
    return linear_with(g, (struct epilogue){.dropout = 0.4});
}

static inline uint32_t build_linear_relu_drop(struct graph *g)
{
    return linear_with(g, (struct epilogue){.relu = true, .dropout = 0.4});
}

static inline uint32_t build_linear_tied(struct graph *g) /* W and b used twice, x used twice */
{
    const uint32_t x = embedded(g);
    const uint32_t w = graph_matrix(g, "w", 12, 12, 0.3), b = graph_vector(g, "b", 12, PLAN_ZERO);
    const uint32_t y = op_softplus(g, op_linear(g, x, w, b, &(struct epilogue){0}));
    return head(g, op_add(g, op_linear(g, y, w, b, &(struct epilogue){0}), x));
}

static inline uint32_t build_one_output_tied(struct graph *g)
{
    const uint32_t x = embedded(g), y = op_sigmoid(g, x);
    const uint32_t w = graph_matrix(g, "w", 1, 12, 0.3), b = graph_vector(g, "b", 1, PLAN_ZERO);
    return op_add(g, op_linear(g, x, w, b, &(struct epilogue){0}),
                  op_linear(g, y, w, b, &(struct epilogue){.dropout = 0.3}));
}

static inline uint32_t norm_of(struct graph *g, uint32_t x, struct epilogue e)
{
    const size_t cols = graph_at(g, x)->cols;
    const struct op_norm p = {
        .gamma = graph_vector(g, "gamma", cols, PLAN_ONE),
        .beta = graph_vector(g, "beta", cols, PLAN_ZERO),
        .mean = graph_stat(g, "mean", cols, PLAN_ZERO),
        .var = graph_stat(g, "var", cols, PLAN_ONE),
        .eps = (real)1e-5,
    };
    return op_batch_norm(g, x, &p, &e);
}

static inline uint32_t build_batch_norm(struct graph *g)
{
    return head(g, norm_of(g, mixed(g, "w", embedded(g), 6), (struct epilogue){0}));
}

static inline uint32_t build_batch_norm_relu_drop(struct graph *g)
{
    return head(g, norm_of(g, mixed(g, "w", embedded(g), 19),
                           (struct epilogue){.relu = true, .dropout = 0.3}));
}

static inline uint32_t build_batch_norm_drop(struct graph *g)
{
    return head(g, norm_of(g, mixed(g, "w", embedded(g), 6), (struct epilogue){.dropout = 0.3}));
}

static inline uint32_t
build_batch_norm_shared(struct graph *g) /* x has another reader, later and earlier */
{
    const uint32_t x = mixed(g, "w", embedded(g), 6);
    const uint32_t before = op_sigmoid(g, x);
    const uint32_t y = norm_of(g, x, (struct epilogue){0});
    return head(g, op_add(g, op_add(g, before, y), x));
}

static inline uint32_t layer_norm_of(struct graph *g, uint32_t x)
{
    const size_t cols = graph_at(g, x)->cols;
    return op_layer_norm(g, x, graph_vector(g, "gamma", cols, PLAN_ONE),
                         graph_vector(g, "beta", cols, PLAN_ZERO), 1e-5);
}

static inline uint32_t build_layer_norm(struct graph *g)
{
    return head(g, layer_norm_of(g, mixed(g, "w", embedded(g), 6)));
}

static inline uint32_t build_layer_norm_residual(struct graph *g)
{
    const uint32_t x = mixed(g, "w", embedded(g), 6);
    return head(g, op_add(g, layer_norm_of(g, x), x));
}

static inline uint32_t build_elementwise(struct graph *g) /* in place, one after the other */
{
    const uint32_t x = mixed(g, "w", embedded(g), 6);
    const uint32_t y =
        op_epilogue(g, op_softplus(g, op_sigmoid(g, x)), &(struct epilogue){.dropout = 0.3});
    return head(g, y);
}

static inline uint32_t build_elementwise_shared(struct graph *g)
{
    const uint32_t x = mixed(g, "w", embedded(g), 6);
    const uint32_t a = op_add(g, op_sigmoid(g, x), op_softplus(g, x));
    const uint32_t b = op_add(g, op_epilogue(g, x, &(struct epilogue){.relu = true}), x);
    return head(g, op_add(g, a, b));
}

static inline uint32_t cross_of(struct graph *g, const char *name, uint32_t x0, uint32_t x)
{
    char w[PLAN_NAME_MAX], b[PLAN_NAME_MAX];
    (void)snprintf(w, sizeof(w), "%s.w", name);
    (void)snprintf(b, sizeof(b), "%s.b", name);
    const size_t cols = graph_at(g, x)->cols;
    return op_cross(g, x0, x, graph_matrix(g, w, cols, cols, 0.3),
                    graph_vector(g, b, cols, PLAN_ZERO));
}

static inline uint32_t build_cross(struct graph *g)
{
    const uint32_t e = embedded(g);
    return head(g, cross_of(g, "a", e, e));
}

static inline uint32_t build_cross_three(struct graph *g)
{
    const uint32_t e = embedded(g);
    const uint32_t x = cross_of(g, "b", e, cross_of(g, "a", e, e));
    return head(g, op_add(g, cross_of(g, "c", e, x), e));
}

static inline uint32_t
build_concat(struct graph *g) /* views, a copy of floats, a tensor with two readers */
{
    const uint32_t x = mixed(g, "x", embedded(g), 6);
    const uint32_t y = op_sigmoid(g, x);
    const uint32_t parts[4] = {x, graph_float_features(g), y, mixed(g, "z", y, 3)};
    return head(g, op_concat(g, parts, 4));
}

static inline uint32_t
build_concat_nested(struct graph *g) /* the same tensor twice, a concat in a concat */
{
    const uint32_t x = mixed(g, "x", embedded(g), 3);
    const uint32_t twice[3] = {x, mixed(g, "y", x, 4), x};
    const uint32_t inner = op_concat(g, twice, 3);
    const uint32_t outer[2] = {mixed(g, "z", x, 2), inner};
    return head(g, op_concat(g, outer, 2));
}

static inline uint32_t
build_concat_norm(struct graph *g) /* in-place operators that write into a view */
{
    const uint32_t x = mixed(g, "x", embedded(g), 20);
    const uint32_t n = norm_of(g, x, (struct epilogue){.relu = true});
    const uint32_t parts[2] = {op_sigmoid(g, mixed(g, "y", x, 18)), n};
    return head(g, op_concat(g, parts, 2));
}

static inline uint32_t build_pairs(struct graph *g)
{
    return head(g, op_pairs(g, embedded(g), 3));
}

static inline uint32_t
build_pairs_shared(struct graph *g) /* as DLRM: beside what it is made of, in one concat */
{
    const uint32_t x = embedded(g), parts[2] = {mixed(g, "w", x, 4), x};
    const uint32_t all = op_concat(g, parts, 2);
    const uint32_t top[2] = {all, op_pairs(g, all, 4)};
    return head(g, op_concat(g, top, 2));
}

static inline uint32_t factorized_of(struct graph *g, const char *name, bool concat)
{
    return op_factorized(g, mixed(g, name, embedded(g), 14), concat);
}

static inline uint32_t build_factorized(struct graph *g)
{
    return head(g, factorized_of(g, "w", false));
}

static inline uint32_t build_factorized_concat(struct graph *g)
{
    return head(g, factorized_of(g, "w", true));
}

static inline uint32_t
build_factorized_norm(struct graph *g) /* told of rows by the layer, tells the norm */
{
    const uint32_t x = embedded(g);
    const uint32_t w = graph_matrix(g, "w", 38, 12, 0.5), b = graph_vector(g, "b", 38, PLAN_ZERO);
    const uint32_t h = op_linear(g, x, w, b, &(struct epilogue){0});
    return head(g, norm_of(g, op_factorized(g, h, false), (struct epilogue){.dropout = 0.3}));
}

static inline uint32_t
build_factorized_shared(struct graph *g) /* adds to a gradient that is there */
{
    const uint32_t x = mixed(g, "w", embedded(g), 6);
    const uint32_t both[3] = {op_factorized(g, x, false), op_factorized(g, x, true), x};
    return head(g, op_concat(g, both, 3));
}

static inline uint32_t bilinear_of(struct graph *g, uint32_t a, uint32_t b, size_t heads)
{
    const size_t rows = graph_at(g, a)->cols, cols = graph_at(g, b)->cols / heads;
    return op_bilinear(g, a, b, graph_matrix(g, "heads", rows, cols, 0.5));
}

static inline uint32_t build_bilinear(struct graph *g)
{
    const uint32_t x = embedded(g);
    return bilinear_of(g, mixed(g, "a", x, 7), mixed(g, "b", x, 5), 1);
}

static inline uint32_t
build_bilinear_heads(struct graph *g) /* of columns of one matrix, which others read */
{
    const uint32_t x = embedded(g);
    const uint32_t both[2] = {mixed(g, "a", x, 18), mixed(g, "b", x, 6)};
    const uint32_t side = op_concat(g, both, 2);
    return op_add(g, head(g, side), bilinear_of(g, both[0], both[1], 3));
}

static inline uint32_t build_gate(struct graph *g) /* of each row; x has another reader */
{
    const uint32_t x = embedded(g);
    return head(g, op_add(g, op_gate(g, x, mixed(g, "t", x, 12)), x));
}

static inline uint32_t build_gate_of_all(struct graph *g) /* one gate, used twice */
{
    const uint32_t x = embedded(g), t = graph_vector(g, "t", 12, PLAN_ZERO);
    return head(g, op_gate(g, op_gate(g, x, t), t));
}

static inline uint32_t build_field_gate(struct graph *g)
{
    const uint32_t w = graph_matrix(g, "w", 3, 3, 0.5), b = graph_vector(g, "b", 3, PLAN_ONE);
    return head(g, op_field_gate(g, embedded(g), w, b, false));
}

static inline uint32_t
build_field_gate_tied(struct graph *g) /* twice the same gate, beside its input */
{
    const uint32_t x = embedded(g);
    const uint32_t w = graph_matrix(g, "w", 3, 3, 0.5), b = graph_vector(g, "b", 3, PLAN_ONE);
    const uint32_t y = op_field_gate(g, x, w, b, true);
    const uint32_t parts[2] = {x, op_field_gate(g, y, w, b, false)};
    return head(g, op_concat(g, parts, 2));
}

static inline struct op_dice dice_of(struct graph *g, const char *const names[3], size_t cols)
{
    return (struct op_dice){
        .alpha = graph_vector(g, names[0], cols, PLAN_ZERO),
        .mean = graph_stat(g, names[1], cols, PLAN_ZERO),
        .var = graph_stat(g, names[2], cols, PLAN_ONE),
        .eps = (real)1e-9,
    };
}

static inline uint32_t build_dice(struct graph *g)
{
    const struct op_dice p = dice_of(g, (const char *const[3]){"alpha", "mean", "var"}, 6);
    return head(g, op_dice(g, mixed(g, "w", embedded(g), 6), &p, &(struct epilogue){0}));
}

static inline uint32_t
build_dice_drop(struct graph *g) /* behind a layer that is told of its gradient */
{
    const uint32_t x = embedded(g);
    const uint32_t w = graph_matrix(g, "w", 19, 12, 0.5), b = graph_vector(g, "b", 19, PLAN_ZERO);
    const struct op_dice p = dice_of(g, (const char *const[3]){"alpha", "mean", "var"}, 19);
    return head(g, op_dice(g, op_linear(g, x, w, b, &(struct epilogue){0}), &p,
                           &(struct epilogue){.dropout = 0.3}));
}

static inline uint32_t build_dice_shared(struct graph *g) /* one alpha twice, x has other readers */
{
    const uint32_t x = mixed(g, "w", embedded(g), 6), before = op_sigmoid(g, x);
    struct op_dice p = dice_of(g, (const char *const[3]){"alpha", "mean", "var"}, 6);
    const uint32_t y = op_dice(g, x, &p, &(struct epilogue){0});
    const uint32_t alpha = p.alpha;
    p = dice_of(g, (const char *const[3]){"unused", "mean2", "var2"}, 6);
    p.alpha = alpha;
    const uint32_t z = op_dice(g, op_add(g, before, y), &p, &(struct epilogue){0});
    return head(g, op_add(g, z, x));
}

static inline uint32_t embed_of(struct graph *g, uint32_t table, size_t field)
{
    return op_embed_fields(g, table, field, field + 1);
}

static inline uint32_t build_embed_fields(struct graph *g) /* parts that overlap, of one table */
{
    const uint32_t t = graph_table(g, "embedding", 4);
    const uint32_t parts[3] = {op_embed_fields(g, t, 1, 3), embed_of(g, t, 0), embed_of(g, t, 1)};
    return head(g, op_concat(g, parts, 3));
}

static inline uint32_t build_match(struct graph *g) /* t's other reader comes first in backward */
{
    const uint32_t table = graph_table(g, "embedding", 4);
    graph_history(g, 1, 3);
    const uint32_t h = op_tokens(g, table, GRAPH_NONE, 1, &(struct epilogue){0});
    const uint32_t t = embed_of(g, table, 0);
    const uint32_t a = op_sigmoid(g, head(g, op_match(g, h, t)));
    const uint32_t parts[2] = {op_pool(g, a, h, false), t};
    return mixed(g, "out", op_concat(g, parts, 2), 1);
}

static inline uint32_t build_match_alone(struct graph *g) /* writes both gradients first; softmax */
{
    const uint32_t table = graph_table(g, "embedding", 4), other = graph_table(g, "other", 2);
    graph_history(g, 2, 2);
    const uint32_t h = op_tokens(g, table, GRAPH_NONE, 0.7, &(struct epilogue){.dropout = 0.3});
    const uint32_t x = op_match(g, h, embed_of(g, table, 1));
    const uint32_t values = op_tokens(g, other, GRAPH_NONE, 1, &(struct epilogue){0});
    return mixed(g, "out", op_pool(g, head(g, x), values, true), 1);
}

static inline uint32_t build_pool_twice(
    struct graph *g) /* the same weights and values in two ways, and a net over tokens */
{
    const uint32_t table = graph_table(g, "embedding", 18);
    graph_history(g, 0, 5);
    const uint32_t h = op_tokens(g, table, GRAPH_NONE, 1, &(struct epilogue){0});
    const struct op_dice p = dice_of(g, (const char *const[3]){"alpha", "mean", "var"}, 18);
    const uint32_t a = head(g, op_dice(g, mixed(g, "w", h, 18), &p, &(struct epilogue){0}));
    const uint32_t parts[2] = {op_pool(g, a, h, false), op_pool(g, a, h, true)};
    return mixed(g, "out", op_concat(g, parts, 2), 1);
}

static inline uint32_t build_columns(struct graph *g) /* parts that overlap, and one alone */
{
    const uint32_t x = embedded(g);
    const uint32_t a = op_columns(g, x, 0, 5), b = op_columns(g, x, 3, 5);
    return op_add(g, head(g, op_mean(g, a, op_sigmoid(g, b))),
                  op_mean(g, op_columns(g, x, 11, 1), op_columns(g, x, 0, 1)));
}

static inline uint32_t build_imitate(struct graph *g) /* a teacher without a gradient: a float */
{
    const uint32_t z = head(g, embedded(g));
    op_imitate(g, z, op_columns(g, graph_float_features(g), 1, 1), 0.7);
    return z;
}

static inline uint32_t
build_imitate_begins(struct graph *g) /* reads a teacher last, so it begins its gradient */
{
    const uint32_t y = head(g, embedded(g)), z = op_sigmoid(g, y);
    op_imitate(g, z, y, 0);
    return z;
}

static const struct {
    const char *name;
    uint32_t (*build)(struct graph *g);
    bool kinked;
} builds[] = {
    {"bag_sum", build_bag_sum, false},
    {"bag_sum twice", build_bag_sum_twice, false},
    {"embed", build_embed, false},
    {"fm", build_fm, false},
    {"fm with floats", build_fm_floats, false},
    {"fm and embed", build_fm_and_embed, false},
    {"linear", build_linear, false},
    {"linear relu", build_linear_relu, true},
    {"linear drop", build_linear_drop, false},
    {"linear relu drop", build_linear_relu_drop, true},
    {"linear tied", build_linear_tied, false},
    {"one output, tied", build_one_output_tied, false},
    {"batch_norm", build_batch_norm, false},
    {"batch_norm relu drop", build_batch_norm_relu_drop, true},
    {"batch_norm drop", build_batch_norm_drop, false},
    {"batch_norm shared", build_batch_norm_shared, false},
    {"layer_norm", build_layer_norm, false},
    {"layer_norm residual", build_layer_norm_residual, false},
    {"elementwise", build_elementwise, false},
    {"elementwise shared", build_elementwise_shared, true},
    {"cross", build_cross, false},
    {"cross of three", build_cross_three, false},
    {"concat", build_concat, false},
    {"concat nested", build_concat_nested, false},
    {"concat of a norm", build_concat_norm, true},
    {"pairs", build_pairs, false},
    {"pairs shared", build_pairs_shared, false},
    {"factorized", build_factorized, false},
    {"factorized concat", build_factorized_concat, false},
    {"factorized between linear and norm", build_factorized_norm, false},
    {"factorized shared", build_factorized_shared, false},
    {"bilinear", build_bilinear, false},
    {"bilinear of three heads", build_bilinear_heads, false},
    {"gate", build_gate, false},
    {"gate of all rows", build_gate_of_all, false},
    {"field_gate", build_field_gate, false},
    {"field_gate tied", build_field_gate_tied, false},
    {"dice", build_dice, false},
    {"dice drop", build_dice_drop, false},
    {"dice shared", build_dice_shared, false},
    {"embed_fields", build_embed_fields, false},
    {"match, pool", build_match, false},
    {"match alone, pool with softmax", build_match_alone, false},
    {"pool twice, dice of tokens", build_pool_twice, false},
    {"columns, mean", build_columns, false},
    {"imitate", build_imitate, false},
    {"imitate begins a gradient", build_imitate_begins, false},
};

#endif
