/* nn_grad.c - every operator and every family against central differences, in double.
 *
 * math and nn are compiled into this file with real = double; nothing of their archives is linked. For
 * each case: every single parameter, the padding (exactly 0), and 20 random directions through all
 * parameters at once. The batches have empty bags, repeated keys, weights and floats (nn_case.h).
 *
 * The same double build makes the golden values that the float build is held against (nn_model.c): loss,
 * logits and directional derivatives. `nn_grad golden` prints them anew, for nn_golden.h.
 *
 * Accepted: |analytic - numeric| <= 1e-6 of the larger for what is smooth, 1e-5 where a relu is near. The
 * step is 1e-5 (the optimum of central differences in double is near 6e-6).
 */
#define PENSTOCK_REAL_DOUBLE

#include "common/math/gemm.c"
#include "common/math/vec.c"
#include "common/math/vec_plain.c"
#include "common/nn/epilogue.c"
#include "common/nn/graph.c"
#include "common/nn/model.c"
#include "common/nn/model_dcnv2.c"
#include "common/nn/model_deepfm.c"
#include "common/nn/model_dlrm.c"
#include "common/nn/model_finalmlp.c"
#include "common/nn/model_finalnet.c"
#include "common/nn/model_fm.c"
#include "common/nn/model_lr.c"
#include "common/nn/model_mlp.c"
#include "common/nn/model_widedeep.c"
#include "common/nn/op_activation.c"
#include "common/nn/op_add.c"
#include "common/nn/op_bag_sum.c"
#include "common/nn/op_batch_norm.c"
#include "common/nn/op_bce.c"
#include "common/nn/op_bilinear.c"
#include "common/nn/op_columns.c"
#include "common/nn/op_concat.c"
#include "common/nn/op_cross.c"
#include "common/nn/op_embed.c"
#include "common/nn/op_factorized.c"
#include "common/nn/op_field_gate.c"
#include "common/nn/op_fm.c"
#include "common/nn/op_gate.c"
#include "common/nn/op_imitate.c"
#include "common/nn/op_layer_norm.c"
#include "common/nn/op_linear.c"
#include "common/nn/op_pairs.c"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/nn_case.h"
#include "tests/unit/nn_golden.h"

#define STEP       1e-5
#define DIRECTIONS 20u

static void expect_close(const char *what, size_t i, double analytic, double numeric,
                         double tolerance)
{
    double size = fabs(analytic) > fabs(numeric) ? fabs(analytic) : fabs(numeric);
    size = size > 1e-3 ? size : 1e-3; /* numeric is good to about 1e-11 absolute */
    if (fabs(analytic - numeric) > tolerance * size)
        fail_msg("%s %zu: analytic %.12g, numeric %.12g", what, i, analytic, numeric);
}

/* What two blocks of FinalNet imitate is held still in backward. So it is here: `still` has the teacher's
 * probabilities at the point where the gradient was taken. Both students' losses are linear in them, and the
 * students' logits sum to twice the teacher's. NULL: no such thing in this case. */
static double still_part(const struct nn_case *c, const double *still)
{
    double sum = 0;
    for (size_t i = 0; i < c->n && still; i++)
        sum += 2 * c->logits[i] * (1 / (1 + exp(-c->logits[i])) - still[i]);
    return c->job.model.finalnet.teach * sum;
}

/* As case_step, but the loss is the sum of all losses. */
static void step_all(struct nn_case *c, const double *still)
{
    struct graph *g = c->model ? c->model->graph : c->graph;
    struct graph_run run = run_of(&c->in, &c->p, &c->g);
    graph_bind(g, &run);
    graph_forward(g, &run);
    if (c->model)
        memcpy(c->logits, graph_at(g, c->model->logit)->value, c->n * sizeof(real));
    graph_backward(g, &run);
    c->loss = (run.loss + run.loss_aside + still_part(c, still)) / (double)c->n;
}

static bool has_teacher(const struct nn_case *c)
{
    return c->model && c->job.model.family == JOB_FINALNET && c->job.model.finalnet.teach > 0 &&
           c->job.model.second.hidden.used > 0;
}

static double loss_at(struct nn_case *c, const double *still, size_t i, double h)
{
    const double kept = c->w[i];
    c->w[i] = kept + h;
    step_all(c, still);
    c->w[i] = kept;
    return c->loss;
}

static bool is_padding(const struct nn_case *c, size_t i)
{
    if (!c->p.dense || c->w + i < c->p.dense)
        return false;
    const size_t at = (size_t)(c->w + i - c->p.dense);
    const struct plan_table *t = &c->plan.tables[plan_find(&c->plan, "dense")];
    for (size_t k = 0; k < t->tensors_used; k++) {
        const struct plan_tensor *x = &t->tensors[k];
        const size_t from = (size_t)x->block_first * DENSE_BLOCK;
        if (at >= from && at < from + (size_t)(x->shape[0] * x->shape[1]))
            return false;
    }
    return true;
}

static void check_case(struct nn_case *c, double tolerance)
{
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(case_open(c, &err), ST_OK);
    /* NaN everywhere: what is not written, or read before it is written, shows. */
    const struct graph *g = c->model ? c->model->graph : c->graph;
    memset(g->slab, 0xff, g->slab_bytes);
    memset(c->dw, 0xff, c->used * sizeof(*c->dw));
    step_all(c, NULL);
    double *teacher = mem_array(c->n, sizeof(*teacher)), *still = has_teacher(c) ? teacher : NULL;
    for (size_t i = 0; i < c->n; i++)
        teacher[i] = 1 / (1 + exp(-c->logits[i]));
    double *dw = mem_array(c->used, sizeof(*dw)), *v = mem_array(c->used, sizeof(*v));
    double *at = mem_array(c->used, sizeof(*at));
    memcpy(dw, c->dw, c->used * sizeof(*dw));
    memcpy(at, c->w, c->used * sizeof(*at));
    for (size_t i = 0; i < c->used; i++) {
        if (is_padding(c, i)) {
            assert_true(dw[i] == 0);
            continue;
        }
        const double numeric =
            (loss_at(c, still, i, STEP) - loss_at(c, still, i, -STEP)) / (2 * STEP);
        expect_close("parameter", i, dw[i], numeric, tolerance);
    }
    for (uint64_t d = 0; d < DIRECTIONS; d++) {
        const double slope = case_slope(c, dw, d, v);
        double loss[2];
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < c->used; i++)
                c->w[i] = at[i] + (side ? -STEP : STEP) * v[i];
            step_all(c, still);
            loss[side] = c->loss;
        }
        memcpy(c->w, at, c->used * sizeof(*at));
        expect_close("direction", (size_t)d, slope, (loss[0] - loss[1]) / (2 * STEP), tolerance);
    }
    free(teacher);
    free(dw);
    free(v);
    free(at);
    case_close(c);
}

/* -- operators, each under a small graph that makes its gradient matter in every element -- */

static uint32_t head(struct graph *g, uint32_t x) /* a mix of all columns */
{
    const size_t cols = graph_at(g, x)->cols;
    return op_linear(g, x, graph_matrix(g, "head.w", 1, cols, 1),
                     graph_vector(g, "head.b", 1, PLAN_ZERO), &(struct epilogue){0});
}

static uint32_t mixed(struct graph *g, const char *name, uint32_t x, size_t width)
{
    return op_linear(g, x, graph_matrix(g, name, width, graph_at(g, x)->cols, 1), GRAPH_NONE,
                     &(struct epilogue){0});
}

static uint32_t embedded(struct graph *g)
{
    return op_embed(g, graph_table(g, "embedding", 4));
}

static uint32_t build_bag_sum(struct graph *g)
{
    return op_bag_sum(g, graph_table(g, "linear", 1), graph_vector(g, "b", 1, PLAN_ZERO));
}

static uint32_t build_bag_sum_twice(struct graph *g)
{
    const uint32_t t = graph_table(g, "linear", 1), b = graph_vector(g, "b", 1, PLAN_ZERO);
    const uint32_t x = op_bag_sum(g, t, b), y = op_sigmoid(g, op_bag_sum(g, t, b));
    return op_add(g, x, y);
}

static uint32_t build_embed(struct graph *g)
{
    return head(g, embedded(g));
}

static uint32_t build_fm(struct graph *g)
{
    return op_fm(g, graph_table(g, "embedding", 4), GRAPH_NONE, GRAPH_NONE);
}

static uint32_t build_fm_floats(struct graph *g)
{
    return op_fm(g, graph_table(g, "embedding", 3), graph_matrix(g, "v", g->floats, 3, 0.5),
                 graph_float_features(g));
}

/* Both read one table: its gradient is the sum of two operators'. */
static uint32_t build_fm_and_embed(struct graph *g)
{
    const uint32_t t = graph_table(g, "embedding", 4);
    return op_add(g, op_fm(g, t, GRAPH_NONE, GRAPH_NONE), head(g, op_embed(g, t)));
}

static uint32_t linear_with(struct graph *g, struct epilogue e)
{
    const uint32_t x = embedded(g);
    const uint32_t w = graph_matrix(g, "w", 17, 12, 0.5), b = graph_vector(g, "b", 17, PLAN_ZERO);
    return head(g, op_linear(g, x, w, b, &e));
}

static uint32_t build_linear(struct graph *g)
{
    return linear_with(g, (struct epilogue){0});
}

static uint32_t build_linear_relu(struct graph *g)
{
    return linear_with(g, (struct epilogue){.relu = true});
}

static uint32_t build_linear_drop(struct graph *g)
{
    return linear_with(g, (struct epilogue){.dropout = 0.4});
}

static uint32_t build_linear_relu_drop(struct graph *g)
{
    return linear_with(g, (struct epilogue){.relu = true, .dropout = 0.4});
}

static uint32_t build_linear_tied(struct graph *g) /* W and b used twice, x used twice */
{
    const uint32_t x = embedded(g);
    const uint32_t w = graph_matrix(g, "w", 12, 12, 0.3), b = graph_vector(g, "b", 12, PLAN_ZERO);
    const uint32_t y = op_softplus(g, op_linear(g, x, w, b, &(struct epilogue){0}));
    return head(g, op_add(g, op_linear(g, y, w, b, &(struct epilogue){0}), x));
}

static uint32_t build_one_output_tied(struct graph *g)
{
    const uint32_t x = embedded(g), y = op_sigmoid(g, x);
    const uint32_t w = graph_matrix(g, "w", 1, 12, 0.3), b = graph_vector(g, "b", 1, PLAN_ZERO);
    return op_add(g, op_linear(g, x, w, b, &(struct epilogue){0}),
                  op_linear(g, y, w, b, &(struct epilogue){.dropout = 0.3}));
}

static uint32_t norm_of(struct graph *g, uint32_t x, struct epilogue e)
{
    const size_t cols = graph_at(g, x)->cols;
    const struct op_norm p = {
        .gamma = graph_vector(g, "gamma", cols, PLAN_ONE),
        .beta = graph_vector(g, "beta", cols, PLAN_ZERO),
        .mean = graph_stat(g, "mean", cols, PLAN_ZERO),
        .var = graph_stat(g, "var", cols, PLAN_ONE),
        .eps = 1e-5,
    };
    return op_batch_norm(g, x, &p, &e);
}

static uint32_t build_batch_norm(struct graph *g)
{
    return head(g, norm_of(g, mixed(g, "w", embedded(g), 6), (struct epilogue){0}));
}

static uint32_t build_batch_norm_relu_drop(struct graph *g)
{
    return head(g, norm_of(g, mixed(g, "w", embedded(g), 19),
                           (struct epilogue){.relu = true, .dropout = 0.3}));
}

static uint32_t build_batch_norm_drop(struct graph *g)
{
    return head(g, norm_of(g, mixed(g, "w", embedded(g), 6), (struct epilogue){.dropout = 0.3}));
}

static uint32_t
build_batch_norm_shared(struct graph *g) /* x has another reader, later and earlier */
{
    const uint32_t x = mixed(g, "w", embedded(g), 6);
    const uint32_t before = op_sigmoid(g, x);
    const uint32_t y = norm_of(g, x, (struct epilogue){0});
    return head(g, op_add(g, op_add(g, before, y), x));
}

static uint32_t layer_norm_of(struct graph *g, uint32_t x)
{
    const size_t cols = graph_at(g, x)->cols;
    return op_layer_norm(g, x, graph_vector(g, "gamma", cols, PLAN_ONE),
                         graph_vector(g, "beta", cols, PLAN_ZERO), 1e-5);
}

static uint32_t build_layer_norm(struct graph *g)
{
    return head(g, layer_norm_of(g, mixed(g, "w", embedded(g), 6)));
}

static uint32_t build_layer_norm_residual(struct graph *g)
{
    const uint32_t x = mixed(g, "w", embedded(g), 6);
    return head(g, op_add(g, layer_norm_of(g, x), x));
}

static uint32_t build_elementwise(struct graph *g) /* in place, one after the other */
{
    const uint32_t x = mixed(g, "w", embedded(g), 6);
    const uint32_t y =
        op_epilogue(g, op_softplus(g, op_sigmoid(g, x)), &(struct epilogue){.dropout = 0.3});
    return head(g, y);
}

static uint32_t build_elementwise_shared(struct graph *g)
{
    const uint32_t x = mixed(g, "w", embedded(g), 6);
    const uint32_t a = op_add(g, op_sigmoid(g, x), op_softplus(g, x));
    const uint32_t b = op_add(g, op_epilogue(g, x, &(struct epilogue){.relu = true}), x);
    return head(g, op_add(g, a, b));
}

static uint32_t cross_of(struct graph *g, const char *name, uint32_t x0, uint32_t x)
{
    char w[PLAN_NAME_MAX], b[PLAN_NAME_MAX];
    (void)snprintf(w, sizeof(w), "%s.w", name);
    (void)snprintf(b, sizeof(b), "%s.b", name);
    const size_t cols = graph_at(g, x)->cols;
    return op_cross(g, x0, x, graph_matrix(g, w, cols, cols, 0.3),
                    graph_vector(g, b, cols, PLAN_ZERO));
}

static uint32_t build_cross(struct graph *g)
{
    const uint32_t e = embedded(g);
    return head(g, cross_of(g, "a", e, e));
}

static uint32_t build_cross_three(struct graph *g)
{
    const uint32_t e = embedded(g);
    const uint32_t x = cross_of(g, "b", e, cross_of(g, "a", e, e));
    return head(g, op_add(g, cross_of(g, "c", e, x), e));
}

static uint32_t
build_concat(struct graph *g) /* views, a copy of floats, a tensor with two readers */
{
    const uint32_t x = mixed(g, "x", embedded(g), 6);
    const uint32_t y = op_sigmoid(g, x);
    const uint32_t parts[4] = {x, graph_float_features(g), y, mixed(g, "z", y, 3)};
    return head(g, op_concat(g, parts, 4));
}

static uint32_t
build_concat_nested(struct graph *g) /* the same tensor twice, a concat in a concat */
{
    const uint32_t x = mixed(g, "x", embedded(g), 3);
    const uint32_t twice[3] = {x, mixed(g, "y", x, 4), x};
    const uint32_t inner = op_concat(g, twice, 3);
    const uint32_t outer[2] = {mixed(g, "z", x, 2), inner};
    return head(g, op_concat(g, outer, 2));
}

static uint32_t build_concat_norm(struct graph *g) /* in-place operators that write into a view */
{
    const uint32_t x = mixed(g, "x", embedded(g), 20);
    const uint32_t n = norm_of(g, x, (struct epilogue){.relu = true});
    const uint32_t parts[2] = {op_sigmoid(g, mixed(g, "y", x, 18)), n};
    return head(g, op_concat(g, parts, 2));
}

static uint32_t build_pairs(struct graph *g)
{
    return head(g, op_pairs(g, embedded(g), 3));
}

static uint32_t
build_pairs_shared(struct graph *g) /* as DLRM: beside what it is made of, in one concat */
{
    const uint32_t x = embedded(g), parts[2] = {mixed(g, "w", x, 4), x};
    const uint32_t all = op_concat(g, parts, 2);
    const uint32_t top[2] = {all, op_pairs(g, all, 4)};
    return head(g, op_concat(g, top, 2));
}

static uint32_t factorized_of(struct graph *g, const char *name, bool concat)
{
    return op_factorized(g, mixed(g, name, embedded(g), 14), concat);
}

static uint32_t build_factorized(struct graph *g)
{
    return head(g, factorized_of(g, "w", false));
}

static uint32_t build_factorized_concat(struct graph *g)
{
    return head(g, factorized_of(g, "w", true));
}

static uint32_t
build_factorized_norm(struct graph *g) /* told of rows by the layer, tells the norm */
{
    const uint32_t x = embedded(g);
    const uint32_t w = graph_matrix(g, "w", 38, 12, 0.5), b = graph_vector(g, "b", 38, PLAN_ZERO);
    const uint32_t h = op_linear(g, x, w, b, &(struct epilogue){0});
    return head(g, norm_of(g, op_factorized(g, h, false), (struct epilogue){.dropout = 0.3}));
}

static uint32_t build_factorized_shared(struct graph *g) /* adds to a gradient that is there */
{
    const uint32_t x = mixed(g, "w", embedded(g), 6);
    const uint32_t both[3] = {op_factorized(g, x, false), op_factorized(g, x, true), x};
    return head(g, op_concat(g, both, 3));
}

static uint32_t bilinear_of(struct graph *g, uint32_t a, uint32_t b, size_t heads)
{
    const size_t rows = graph_at(g, a)->cols, cols = graph_at(g, b)->cols / heads;
    return op_bilinear(g, a, b, graph_matrix(g, "heads", rows, cols, 0.5));
}

static uint32_t build_bilinear(struct graph *g)
{
    const uint32_t x = embedded(g);
    return bilinear_of(g, mixed(g, "a", x, 7), mixed(g, "b", x, 5), 1);
}

static uint32_t
build_bilinear_heads(struct graph *g) /* of columns of one matrix, which others read */
{
    const uint32_t x = embedded(g);
    const uint32_t both[2] = {mixed(g, "a", x, 18), mixed(g, "b", x, 6)};
    const uint32_t side = op_concat(g, both, 2);
    return op_add(g, head(g, side), bilinear_of(g, both[0], both[1], 3));
}

static uint32_t build_gate(struct graph *g) /* of each row; x has another reader */
{
    const uint32_t x = embedded(g);
    return head(g, op_add(g, op_gate(g, x, mixed(g, "t", x, 12)), x));
}

static uint32_t build_gate_of_all(struct graph *g) /* one gate, used twice */
{
    const uint32_t x = embedded(g), t = graph_vector(g, "t", 12, PLAN_ZERO);
    return head(g, op_gate(g, op_gate(g, x, t), t));
}

static uint32_t build_field_gate(struct graph *g)
{
    const uint32_t w = graph_matrix(g, "w", 3, 3, 0.5), b = graph_vector(g, "b", 3, PLAN_ONE);
    return head(g, op_field_gate(g, embedded(g), w, b, false));
}

static uint32_t build_field_gate_tied(struct graph *g) /* twice the same gate, beside its input */
{
    const uint32_t x = embedded(g);
    const uint32_t w = graph_matrix(g, "w", 3, 3, 0.5), b = graph_vector(g, "b", 3, PLAN_ONE);
    const uint32_t y = op_field_gate(g, x, w, b, true);
    const uint32_t parts[2] = {x, op_field_gate(g, y, w, b, false)};
    return head(g, op_concat(g, parts, 2));
}

static uint32_t build_columns(struct graph *g) /* parts that overlap, and one alone */
{
    const uint32_t x = embedded(g);
    const uint32_t a = op_columns(g, x, 0, 5), b = op_columns(g, x, 3, 5);
    return op_add(g, head(g, op_mean(g, a, op_sigmoid(g, b))),
                  op_mean(g, op_columns(g, x, 11, 1), op_columns(g, x, 0, 1)));
}

static uint32_t build_imitate(struct graph *g) /* a teacher without a gradient: a float */
{
    const uint32_t z = head(g, embedded(g));
    op_imitate(g, z, op_columns(g, graph_float_features(g), 1, 1), 0.7);
    return z;
}

static uint32_t
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
    {"columns, mean", build_columns, false},
    {"imitate", build_imitate, false},
    {"imitate begins a gradient", build_imitate_begins, false},
};

static void operators_with(size_t n, bool weights)
{
    for (size_t i = 0; i < sizeof(builds) / sizeof(*builds); i++) {
        struct nn_case c = case_default(JOB_LR);
        c.build = builds[i].build;
        c.n = n;
        c.floats = 2;
        c.weights = weights;
        print_message("    %s, n = %zu\n", builds[i].name, n);
        check_case(&c, builds[i].kinked ? 1e-5 : 1e-6);
    }
}

static void test_operators(void **state)
{
    (void)state;
    operators_with(5, false);
}

static void test_operators_weights(void **state)
{
    (void)state;
    operators_with(6, true);
}

static void test_operators_one_record(void **state)
{
    (void)state;
    operators_with(1, true);
}

/* -- families -- */

static void families_with(int family, unsigned variant)
{
    struct nn_case c = case_default(family);
    c.floats = variant & 1 ? 2 : 0;
    c.weights = (variant & 2) != 0;
    c.job.model.batch_norm = (variant & 4) != 0;
    c.job.model.dropout = variant & 8 ? 0.3 : 0;
    c.job.model.second.dropout = variant & 8 ? 0.2 : 0;
    check_case(&c, 1e-5);
}

static void test_families(void **state)
{
    (void)state;
    for (int family = 0; family < JOB_CLICK_FAMILIES; family++) {
        print_message("    %s\n", job_family_name(family));
        for (unsigned variant = 0; variant < 16; variant++)
            families_with(family, variant);
    }
}

/* Shapes: 0 one record, 1 no hidden layer, 2 no cross layer, 3 one field, 4 floats alone. */
static bool has_shape(int family, unsigned shape)
{
    const bool wants_ids = family == JOB_FM || family == JOB_DEEPFM || family == JOB_DLRM;
    return !(shape == 1 && family == JOB_FINALMLP) && !(shape == 3 && family == JOB_DLRM) &&
           !(shape == 4 && wants_ids);
}

static void test_families_shapes(void **state)
{
    (void)state;
    for (int family = 0; family < JOB_CLICK_FAMILIES; family++) {
        for (unsigned shape = 0; shape < 5; shape++) {
            struct nn_case c = case_default(family);
            c.job.model.batch_norm = true;
            c.n = shape == 0 ? 1 : 5;
            c.job.model.hidden.used = shape == 1 ? 0 : 1;
            c.job.model.cross = shape == 2 ? 0 : 3;
            c.fields = shape == 3 ? 1 : shape == 4 ? 0 : 3;
            c.floats = shape == 4 ? 3 : 0;
            if (has_shape(family, shape))
                check_case(&c, 1e-5);
        }
    }
}

/* Every choice of the options that belong to one family. */
static void test_families_options(void **state)
{
    (void)state;
    for (unsigned variant = 0; variant < 12; variant++) {
        struct nn_case c = case_default(variant < 3   ? JOB_DLRM
                                        : variant < 6 ? JOB_FINALMLP
                                                      : JOB_FINALNET);
        c.floats = variant % 2 ? 2 : 0;
        c.job.model.batch_norm = true;
        c.job.model.dlrm.top = JOB_TOP_DOTS;
        c.job.model.dlrm.bottom.used = variant == 1 ? 0 : 1;
        c.job.model.finalmlp.gate = variant == 3 ? JOB_GATE_BIAS : JOB_GATE_FIELDS;
        c.job.model.finalmlp.gate_hidden.used = variant == 5 ? 0 : 1;
        c.job.model.finalmlp.heads = variant == 4 ? 4 : 1;
        c.job.model.finalnet.gate = (int)variant % 3; /* none, sum, concat */
        c.job.model.finalnet.mix = variant == 9 || variant == 10 ? JOB_MIX_CONCAT : JOB_MIX_SUM;
        c.job.model.second.hidden.used = variant == 7 || variant == 10 ? 0 : 1;
        if (c.job.model.family == JOB_FINALMLP)
            c.job.model.second.hidden.used = 1;
        c.job.model.finalnet.teach = variant == 8 ? 0 : 1.5;
        c.hidden[1] = 4;
        print_message("    %s, variant %u\n", job_family_name(c.job.model.family), variant);
        check_case(&c, 1e-5);
    }
}

/* Adam with plain dense updates on one batch, until it is learnt by heart. */
static void overfit(int family)
{
    struct nn_case c = case_default(family);
    c.n = 8;
    c.unique = 24;
    c.hidden[0] = 32;
    c.hidden[1] = 16;
    c.job.model.embedding = 8;
    c.job.model.batch_norm = true;
    c.floats = 2;
    c.spread = 0;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(case_open(&c, &err), ST_OK);
    double *m = mem_array(c.used, sizeof(*m)), *v = mem_array(c.used, sizeof(*v));
    for (int t = 1; t <= 1500; t++) {
        case_step(&c);
        for (size_t i = 0; i < c.used; i++) {
            m[i] = 0.9 * m[i] + 0.1 * c.dw[i];
            v[i] = 0.999 * v[i] + 0.001 * c.dw[i] * c.dw[i];
            const double mhat = m[i] / (1 - pow(0.9, t)), vhat = v[i] / (1 - pow(0.999, t));
            c.w[i] -= 0.02 * mhat / (sqrt(vhat) + 1e-8);
        }
    }
    print_message("    %s: loss %.2g\n", job_family_name(family), c.loss);
    assert_true(c.loss < 1e-2);
    free(m);
    free(v);
    case_close(&c);
}

static void test_overfit(void **state)
{
    (void)state;
    for (int family = 0; family < JOB_CLICK_FAMILIES; family++)
        overfit(family);
}

/* -- golden values -- */

static void test_golden(void **state)
{
    (void)state;
    for (size_t f = 0; f < GOLDEN_FAMILIES; f++) {
        struct nn_case c = golden_case(goldens[f].family);
        struct errbuf err = ERRBUF_INIT;
        assert_int_equal(case_open(&c, &err), ST_OK);
        case_step(&c);
        expect_close("loss", f, c.loss, goldens[f].loss, 1e-9);
        for (size_t i = 0; i < GOLDEN_RECORDS; i++)
            expect_close("logit", i, c.logits[i], goldens[f].logits[i], 1e-9);
        for (size_t d = 0; d < GOLDEN_SLOPES; d++)
            expect_close("slope", d, case_slope(&c, c.dw, d, NULL), goldens[f].slopes[d], 1e-9);
        case_close(&c);
    }
}

static int golden_print(void)
{
    for (size_t f = 0; f < GOLDEN_FAMILIES; f++) {
        struct nn_case c = golden_case((int)f);
        if (case_open(&c, NULL) != ST_OK)
            return 1;
        case_step(&c);
        char name[16] = "";
        for (size_t i = 0; i < sizeof(name) - 1 && job_family_name((int)f)[i]; i++)
            name[i] = (char)toupper(job_family_name((int)f)[i]);
        printf("    {JOB_%s, %.15g,\n     {", name, c.loss);
        for (size_t i = 0; i < GOLDEN_RECORDS; i++)
            printf("%s%.15g", i ? ", " : "", c.logits[i]);
        printf("},\n     {");
        for (size_t d = 0; d < GOLDEN_SLOPES; d++)
            printf("%s%.15g", d ? ", " : "", case_slope(&c, c.dw, d, NULL));
        printf("}},\n");
        case_close(&c);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "golden") == 0)
        return golden_print();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operators),
        cmocka_unit_test(test_operators_weights),
        cmocka_unit_test(test_operators_one_record),
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_families_shapes),
        cmocka_unit_test(test_families_options),
        cmocka_unit_test(test_overfit),
        cmocka_unit_test(test_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
