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
#include "tests/unit/nn_double.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/nn_builds.h"
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
    c.job.model.pooling = variant % 3 == 1 ? JOB_POOL_MEAN : JOB_POOL_SUM;
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
           !(shape >= 3 && family == JOB_DIN) && !(shape == 4 && wants_ids);
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

/* Where the history stands, and as what; activation, softmax, the net's depth; records without any history. */
static void test_din(void **state)
{
    (void)state;
    for (unsigned variant = 0; variant < 48; variant++) {
        struct nn_case c = case_default(JOB_DIN);
        const size_t at = variant % 3; /* first, middle, last */
        const struct job_field history = c.schema[0];
        c.schema[0] = c.schema[at];
        c.schema[at] = history;
        if (variant & 16) {
            c.schema[at].type = FIELD_IDS;
            c.schema[at].vocab = (char *)"item";
            c.schema[at].ids_max = 2;
        }
        c.floats = variant & 1 ? 2 : 0;
        c.n = variant % 12 == 11 ? 1 : variant % 12 == 10 ? 2 : 6;
        c.weights = variant % 5 == 0;
        c.attention[1] = 3;
        c.job.model.attention.used = variant % 4 == 3 ? 0 : variant % 4 == 2 ? 2 : 1;
        c.job.model.activation = variant & 4 ? JOB_RELU : JOB_DICE;
        c.job.model.attention_softmax = (variant & 8) != 0;
        c.job.model.batch_norm = (variant & 2) != 0;
        c.job.model.dropout = variant & 8 ? 0.3 : 0;
        c.empty = variant % 12 >= 9 ? 1 + at : 0;
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
        cmocka_unit_test(test_din),
        cmocka_unit_test(test_overfit),
        cmocka_unit_test(test_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
