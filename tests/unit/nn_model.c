/* nn_model.c - the families as the worker sees them, in float: what they compute, and what they promise.
 *
 * What: logits against slow models written from the formulas (nn_slow.h), golden values of the double build,
 * on every vector path. Promises: the same bits again; nothing but views is read, everything is written;
 * records don't depend on their batch; dropout hangs on the record; batch norm reports what PyTorch
 * does; a step allocates nothing; errors leave the outputs alone.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/nn_case.h"
#include "tests/unit/nn_golden.h"
#include "tests/unit/nn_slow.h"

/* -- counting allocations: this program's malloc counts and hands on -- */

#ifndef __SANITIZE_ADDRESS__
#define COUNTS_MALLOC
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t each);
extern void *__libc_realloc(void *p, size_t n);
static size_t allocations;

void *malloc(size_t n)
{
    allocations++;
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t each)
{
    allocations++;
    return __libc_calloc(n, each);
}

void *realloc(void *p, size_t n)
{
    allocations++;
    return __libc_realloc(p, n);
}
#endif

static void open_case(struct nn_case *c)
{
    struct errbuf err = ERRBUF_INIT;
    if (case_open(c, &err) != ST_OK)
        fail_msg("%s", err.text);
}

/* The loss of these logits: each label that is there, by its task's weight, over the records. */
static double slow_loss(const struct nn_case *c, const double *z)
{
    double sum = 0;
    for (size_t i = 0; i < c->n * c->tasks; i++) {
        const double y = (double)c->in.labels[i], w = job_task_weight(&c->job, i / c->n);
        if (y >= 0)
            sum += w * (fmax(z[i], 0) - z[i] * y + log1p(exp(-fabs(z[i]))));
    }
    return sum / (double)c->n;
}

/* Training's and evaluation's logits, and the loss; opens and closes the case. */
static void formulas_hold(struct nn_case *c)
{
    open_case(c);
    double z[192];
    float scored[192];
    slow_logits(c, true, z);
    case_step(c);
    assert_true(fabs(c->loss - slow_loss(c, z)) < 2e-5 * fmax(1, c->loss));
    for (size_t i = 0; i < c->n * c->tasks; i++)
        assert_true(fabs((double)c->logits[i] - z[i]) < 2e-5 * fmax(1, fabs(z[i])));
    slow_logits(c, false, z);
    model_score(c->model, &c->in, &c->p, scored);
    for (size_t i = 0; i < c->n * c->tasks; i++)
        assert_true(fabs((double)scored[i] - z[i]) < 2e-5 * fmax(1, fabs(z[i])));
    case_close(c);
}

static void test_formulas(void **state)
{
    (void)state;
    for (int family = 0; family < JOB_CLICK_FAMILIES; family++) {
        for (unsigned variant = 0; variant < 8; variant++) {
            struct nn_case c = case_default(family);
            c.n = 37;
            c.unique = 30;
            c.hidden[0] = 33;
            c.floats = variant & 1 ? 3 : 0;
            c.weights = (variant & 2) != 0;
            c.job.model.batch_norm = (variant & 4) != 0;
            c.job.model.pooling = variant == 5 || variant == 2 ? JOB_POOL_MEAN : JOB_POOL_SUM;
            formulas_hold(&c);
        }
    }
}

/* The choices of single families. */
static void test_formulas_of_options(void **state)
{
    (void)state;
    static const int of[] = {JOB_DLRM, JOB_FINALMLP, JOB_FINALNET};
    for (unsigned variant = 0; variant < 24; variant++) {
        struct nn_case c = case_default(of[variant / 8]);
        c.n = 37;
        c.unique = 30;
        c.hidden[0] = 18;
        c.hidden[1] = 8;
        c.floats = variant & 1 ? 3 : 0;
        c.job.model.batch_norm = (variant & 2) != 0;
        c.job.model.dlrm.top = JOB_TOP_DOTS;
        c.job.model.dlrm.bottom.used = variant & 4 ? 0 : 1;
        c.job.model.finalmlp.gate = variant & 4 ? JOB_GATE_BIAS : JOB_GATE_FIELDS;
        c.job.model.finalmlp.heads = variant & 2 ? 4 : 1;
        c.job.model.finalnet.gate = variant & 4 ? JOB_FIELD_GATE_NONE : JOB_FIELD_GATE_CONCAT;
        c.job.model.finalnet.mix = variant & 2 ? JOB_MIX_SUM : JOB_MIX_CONCAT;
        c.job.model.second.hidden.used = of[variant / 8] == JOB_FINALNET && variant & 1 ? 0 : 1;
        formulas_hold(&c);
    }
}

/* DIN: Dice or relu, with softmax or as the net says, a deeper net or none, a longer history cut to its newest. */
static void test_formulas_of_din(void **state)
{
    (void)state;
    for (unsigned variant = 0; variant < 32; variant++) {
        struct nn_case c = case_default(JOB_DIN);
        c.n = variant == 17 ? 1 : 37;
        c.unique = 30;
        c.hidden[0] = 18;
        c.weights = variant % 5 == 0;
        c.floats = variant & 1 ? 3 : 0;
        c.job.model.batch_norm = (variant & 2) != 0;
        c.job.model.activation = variant & 4 ? JOB_RELU : JOB_DICE;
        c.job.model.attention_softmax = (variant & 8) != 0;
        c.attention[0] = 19;
        c.attention[1] = 5;
        c.job.model.attention.used = variant % 3;
        c.schema[0].max = variant & 16 ? 2 : 50;
        c.empty = variant == 22 ? 1 : 0;
        formulas_hold(&c);
    }
}

/* -- golden -- */

static void golden_on(enum vec_path path, bool own)
{
    for (size_t f = 0; f < GOLDEN_FAMILIES; f++) {
        struct nn_case c = golden_case(goldens[f].family);
        open_case(&c);
        (void)vec_force(path);
        (void)gemm_force(own);
        case_step(&c);
        assert_true(fabs(c.loss - goldens[f].loss) < 1e-5);
        for (size_t i = 0; i < GOLDEN_RECORDS; i++)
            assert_true(fabs((double)c.logits[i] - goldens[f].logits[i]) < 2e-5);
        for (size_t d = 0; d < GOLDEN_SLOPES; d++) {
            const double slope = case_slope(&c, c.dw, d, NULL);
            if (!(fabs(slope - goldens[f].slopes[d]) < 1e-4 * fabs(goldens[f].slopes[d]) + 1e-6))
                fail_msg("family %zu path %d slope %zu: %.9g, in double %.9g", f, (int)path, d,
                         slope, goldens[f].slopes[d]);
        }
        case_close(&c);
    }
}

static void test_golden(void **state)
{
    (void)state;
    golden_on(VEC_PLAIN, false);
    golden_on(VEC_AVX2, false);
    golden_on(VEC_AVX512, false);
    golden_on(VEC_AVX512, true);
}

/* -- promises -- */

static struct nn_case wide_case(int family)
{
    struct nn_case c = golden_case(family);
    c.n = 300;
    c.unique = 100;
    c.hidden[0] = 70;
    return c;
}

/* Twice in one model, and in another one; gradients full of NaN before. */
static void test_same_bits(void **state)
{
    (void)state;
    for (int family = 0; family < JOB_CLICK_FAMILIES; family++) {
        struct nn_case a = wide_case(family), b = wide_case(family);
        open_case(&a);
        open_case(&b);
        case_step(&a);
        const size_t n = a.n * a.tasks;
        float *dw = mem_array(a.used, sizeof(*dw)), *logits = mem_array(n, sizeof(*logits));
        memcpy(dw, a.dw, a.used * sizeof(*dw));
        memcpy(logits, a.logits, n * sizeof(*logits));
        const double loss = a.loss;
        model_score(a.model, &a.in, &a.p, a.logits); /* something else in between */
        memset(a.dw, 0xff, a.used * sizeof(*a.dw));
        memset(b.dw, 0xff, b.used * sizeof(*b.dw));
        case_step(&a);
        case_step(&b);
        assert_true(a.loss == loss && b.loss == loss);
        assert_memory_equal(a.dw, dw, a.used * sizeof(*dw));
        assert_memory_equal(b.dw, dw, a.used * sizeof(*dw));
        assert_memory_equal(a.logits, logits, n * sizeof(*logits));
        assert_memory_equal(b.logits, logits, n * sizeof(*logits));
        free(dw);
        free(logits);
        case_close(&a);
        case_close(&b);
    }
}

static void test_padding(void **state)
{
    (void)state;
    for (int family = 0; family < JOB_CLICK_FAMILIES; family++) {
        struct nn_case c = wide_case(family);
        open_case(&c);
        memset(c.dw, 0xff, c.used * sizeof(*c.dw));
        case_step(&c);
        for (size_t i = 0; i < c.used; i++)
            assert_true(isfinite(c.dw[i]));
        for (size_t t = 0; t < c.plan.tables_used; t++) {
            const struct plan_table *table = &c.plan.tables[t];
            const float *g = table->kind == PLAN_STAT ? c.dstat : c.g.dense;
            for (size_t k = 0; k < table->tensors_used; k++) {
                const struct plan_tensor *x = &table->tensors[k];
                for (size_t j = x->shape[0] * x->shape[1]; j < x->blocks * DENSE_BLOCK; j++)
                    assert_true(g[x->block_first * DENSE_BLOCK + j] == 0);
            }
        }
        case_close(&c);
    }
}

/* The batch with its records in another order: record i of it is record order[i] of c's. */
struct shuffled {
    struct model_input in;
    uint32_t offsets[4096], index[8192];
    float weight[8192], floats[2048], labels[1024];
    uint64_t record[1024];
};

static void shuffle(const struct nn_case *c, struct shuffled *s, const size_t *order, size_t n)
{
    uint32_t used = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t f = 0; f < c->fields; f++) {
            const uint32_t *offsets = c->in.offsets + order[i] * c->fields + f;
            for (size_t o = offsets[0]; o < offsets[1]; o++, used++) {
                s->index[used] = c->in.index[o];
                s->weight[used] = c->in.weight ? c->in.weight[o] : 1;
            }
            s->offsets[i * c->fields + f + 1] = used;
        }
        memcpy(s->floats + i * c->floats, c->in.floats + order[i] * c->floats,
               c->floats * sizeof(float));
        for (size_t t = 0; t < c->tasks; t++)
            s->labels[t * n + i] = c->in.labels[t * c->n + order[i]];
        s->record[i] = c->in.record[order[i]];
    }
    s->in = c->in;
    s->in.n = n;
    s->in.offsets = s->offsets;
    s->in.index = s->index;
    s->in.weight = s->weight;
    s->in.floats = s->floats;
    s->in.labels = s->labels;
    s->in.record = s->record;
}

static void random_order(size_t *order, size_t n)
{
    for (size_t i = 0; i < n; i++)
        order[i] = (size_t)rng_permute(5, n, i);
}

/* A score does not depend on the batch: exactly on our own path, by rounding for a few records. */
static void test_score_in_any_batch(void **state)
{
    (void)state;
    static struct shuffled s;
    for (int family = 0; family < JOB_CLICK_FAMILIES; family++) {
        struct nn_case c = wide_case(family);
        open_case(&c);
        const bool own = gemm_force(true);
        float whole[900], part[900]; /* (T, n) */
        size_t order[300];
        model_score(c.model, &c.in, &c.p, whole);
        random_order(order, 300);
        const size_t sizes[] = {300, 150, 9, 3, 1};
        for (size_t k = 0; k < 5; k++) {
            for (size_t from = 0; from + sizes[k] <= 300; from += sizes[k]) {
                shuffle(&c, &s, order + from, sizes[k]);
                model_score(c.model, &s.in, &c.p, part);
                for (size_t i = 0; i < sizes[k] * c.tasks; i++) {
                    const size_t record = order[from + i % sizes[k]], task = i / sizes[k];
                    const float want = whole[task * 300 + record];
                    assert_true(fabsf(part[i] - want) <= 1e-5f * fmaxf(1, fabsf(want)));
                    assert_true(part[i] == want || sizes[k] < 8 || !own);
                }
            }
        }
        case_close(&c);
    }
}

/* Without batch norm a training logit, too, is its record's own: so the dropout mask is. */
static void test_dropout_hangs_on_record(void **state)
{
    (void)state;
    static struct shuffled s;
    for (int family = JOB_MLP; family < JOB_CLICK_FAMILIES; family++) {
        struct nn_case c = wide_case(family);
        c.job.model.batch_norm = false;
        c.job.model.activation = JOB_RELU;
        c.job.model.dropout = 0.5;
        open_case(&c);
        float first[900], other[900]; /* (T, n); the first task is looked at */
        struct model_loss loss;
        size_t order[300];
        model_step(c.model, &c.in, &c.p, &c.g, first, &loss);
        random_order(order, 300);
        shuffle(&c, &s, order, 300);
        model_step(c.model, &s.in, &c.p, &c.g, other, &loss);
        for (size_t i = 0; i < 300; i++)
            assert_true(fabsf(other[i] - first[order[i]]) < 1e-5f * fmaxf(1, fabsf(other[i])));
        struct model_input in = c.in;
        in.epoch++; /* another epoch: other masks */
        model_step(c.model, &in, &c.p, &c.g, other, &loss);
        size_t same = 0;
        for (size_t i = 0; i < 300; i++)
            same += other[i] == first[i];
        assert_true(same < 5);
        model_score(c.model, &c.in, &c.p, other); /* and none in evaluation */
        in = c.in;
        in.epoch = 99;
        in.record = NULL;
        model_score(c.model, &in, &c.p, first);
        assert_memory_equal(first, other, 300 * c.tasks * sizeof(*first));
        case_close(&c);
    }
}

/* Gradients of two parts of a batch, weighed by their sizes, are the gradient of the whole. */
static void test_parts_are_the_whole(void **state)
{
    (void)state;
    static struct shuffled s;
    for (int family = 0; family < JOB_CLICK_FAMILIES; family++) {
        struct nn_case c = wide_case(family);
        c.job.model.batch_norm = false;
        c.job.model.activation = JOB_RELU; /* Dice, too, is the batch's */
        open_case(&c);
        case_step(&c);
        float *whole = mem_array(c.used, sizeof(*whole));
        double *sum = mem_array(c.used, sizeof(*sum)), losses = 0;
        struct model_loss loss;
        memcpy(whole, c.dw, c.used * sizeof(*whole));
        size_t order[300];
        random_order(order, 300);
        const size_t from[] = {0, 1, 100, 300};
        for (size_t k = 0; k < 3; k++) {
            const size_t n = from[k + 1] - from[k];
            shuffle(&c, &s, order + from[k], n);
            model_step(c.model, &s.in, &c.p, &c.g, c.logits, &loss);
            losses += loss.sum;
            for (size_t i = 0; i < c.used; i++)
                sum[i] += (double)c.dw[i] * (double)n / 300;
        }
        assert_true(fabs(losses / 300 - c.loss) < 1e-6);
        for (size_t i = 0; i < c.used; i++)
            assert_true(fabs(sum[i] - (double)whole[i]) < 1e-6 + 1e-4 * fabs(sum[i]));
        free(whole);
        free(sum);
        case_close(&c);
    }
}

/* The batch's mean and unbiased variance of the first layer's z; of one record, what was there before. */
static void test_batch_norm_reports(void **state)
{
    (void)state;
    struct nn_case c = wide_case(JOB_MLP);
    open_case(&c);
    memset(c.dstat, 0xff, DENSE_BLOCK * sizeof(float));
    case_step(&c);
    const float *mean = c.dstat + (tensor(&c, "stat", "mlp.0.bn.mean") - c.stat);
    const float *var = c.dstat + (tensor(&c, "stat", "mlp.0.bn.var") - c.stat);
    for (size_t j = 0; j < 70; j++) {
        double z[300], sum = 0, squares = 0, e[SLOW_MAX];
        for (size_t i = 0; i < 300; i++) {
            const size_t width = slow_features(&c, i, e);
            slow_linear(tensor(&c, "dense", "mlp.0.weight") + j * width,
                        tensor(&c, "dense", "mlp.0.bias") + j, e, width, &z[i], 1);
            sum += z[i];
        }
        for (size_t i = 0; i < 300; i++)
            squares += (z[i] - sum / 300) * (z[i] - sum / 300);
        assert_true(fabs((double)mean[j] - sum / 300) < 1e-5);
        assert_true(fabs((double)var[j] / (squares / 299) - 1) < 1e-5);
    }
    c.in.n = 1;
    struct model_loss loss;
    model_step(c.model, &c.in, &c.p, &c.g, c.logits, &loss);
    assert_true(isfinite(loss.sum));
    assert_memory_equal(mean, tensor(&c, "stat", "mlp.0.bn.mean"), 70 * sizeof(float));
    assert_memory_equal(var, tensor(&c, "stat", "mlp.0.bn.var"), 70 * sizeof(float));
    case_close(&c);
}

/* Logits of +-1e4 and more: loss and gradients stay finite. */
static void test_extreme_logits(void **state)
{
    (void)state;
    for (int family = 0; family < JOB_CLICK_FAMILIES; family++) {
        struct nn_case c = wide_case(family);
        open_case(&c);
        float *bias = c.w + (tensor(&c, "dense",
                                    family == JOB_MULTITASK ? "task2.out.bias"
                                    : is_deep(family)       ? "out.bias"
                                                            : "linear.bias") -
                             c.w);
        for (int sign = -1; sign <= 1; sign += 2) {
            *bias = 1e4f * (float)sign;
            case_step(&c);
            assert_true(isfinite(c.loss) && c.loss > 1e3);
            for (size_t i = 0; i < c.used; i++)
                assert_true(isfinite(c.dw[i]));
        }
        case_close(&c);
    }
}

/* Plain SGD in float learns one batch by heart. */
static void test_learns(void **state)
{
    (void)state;
    for (int family = 0; family < JOB_CLICK_FAMILIES; family++) {
        struct nn_case c = case_default(family);
        c.n = 16;
        c.unique = 60;
        c.hidden[0] = 32;
        c.hidden[1] = 16; /* few relus die all at once */
        c.job.model.embedding = 8;
        open_case(&c);
        const double rate = !is_deep(family) ? 2 : family < JOB_DLRM ? 0.3 : 0.1;
        for (int t = 0; t < 3000; t++) {
            case_step(&c);
            for (size_t i = 0; i < c.used; i++)
                c.w[i] -= (float)(rate * (double)c.dw[i]);
        }
        print_message("    %s: loss %.1e\n", job_family_name(family), c.loss);
        assert_true(c.loss < 1e-2);
        case_close(&c);
    }
}

static void test_no_allocation(void **state)
{
    (void)state;
#ifdef COUNTS_MALLOC
    for (int family = 0; family < JOB_CLICK_FAMILIES; family++) {
        struct nn_case c = wide_case(family);
        open_case(&c);
        struct model_loss loss;
        for (int own = 0; own < 2; own++) {
            (void)gemm_force(own);
            model_step(c.model, &c.in, &c.p, &c.g, c.logits, &loss);
            const size_t before = allocations;
            model_step(c.model, &c.in, &c.p, &c.g, c.logits, &loss);
            model_score(c.model, &c.in, &c.p, c.logits);
            assert_int_equal(allocations, before);
        }
        case_close(&c);
    }
#else
    skip();
#endif
}

/* -- building -- */

static void test_refusals(void **state)
{
    (void)state;
    struct model *m = (struct model *)1;
    static struct plan plan;
    struct errbuf err = ERRBUF_INIT;
    for (int family = 0; family < JOB_CLICK_FAMILIES; family++) {
        struct nn_case c = case_default(family);
        case_lists(&c);
        assert_int_equal(model_new(&c.job, 0, 0, 8, &m, &plan, &err), ST_USAGE);
        assert_non_null(strstr(err.text, "data.fields"));
    }
    struct nn_case c = case_default(JOB_FM);
    case_lists(&c);
    assert_int_equal(model_new(&c.job, 0, 3, 8, &m, &plan, &err), ST_USAGE);
    assert_non_null(strstr(err.text, "fm"));
    c.job.model.family = JOB_MLP;
    assert_int_equal(model_new(&c.job, 3, 0, (size_t)1 << 45, &m, &plan, &err), ST_NO_MEMORY);
    c.job.model.hidden.used = 1000;
    assert_int_equal(model_new(&c.job, 3, 0, 8, &m, &plan, &err), ST_USAGE);
    c.job.model.family = 99;
    c.job.model.hidden.used = 0;
    assert_int_equal(model_new(&c.job, 3, 0, 8, &m, &plan, &err), ST_INTERNAL);
    assert_true(m == (struct model *)1 && plan.tables_used == 0);
}

/* A job of `family`, changed by `change`, over `fields` and `floats`, says `why`. */
static void refuses(int family, size_t fields, size_t floats, void (*change)(struct nn_case *c),
                    const char *why)
{
    struct model *m = (struct model *)1;
    static struct plan plan;
    struct errbuf err = ERRBUF_INIT;
    struct nn_case c = case_default(family);
    c.fields = fields;
    case_lists(&c);
    if (change)
        change(&c);
    assert_int_equal(model_new(&c.job, fields, floats, 8, &m, &plan, &err), ST_USAGE);
    assert_string_equal(err.text, why);
    assert_true(m == (struct model *)1 && plan.tables_used == 0);
}

static void seven_heads(struct nn_case *c)
{
    c->job.model.finalmlp.heads = 7;
}

static void heads_of_the_second(struct nn_case *c)
{
    c->second[0] = 3;
}

static void no_layer(struct nn_case *c)
{
    c->job.model.hidden.used = 0;
}

static void no_second_layer(struct nn_case *c)
{
    c->job.model.second.hidden.used = 0;
}

static void fields_gate(struct nn_case *c)
{
    c->job.model.finalmlp.gate = JOB_GATE_FIELDS;
}

static void odd_halves(struct nn_case *c)
{
    c->job.model.finalnet.mix = JOB_MIX_CONCAT;
}

static void no_item(struct nn_case *c)
{
    c->schema[1].type = FIELD_ID;
}

static void no_history(struct nn_case *c)
{
    c->schema[0].type = FIELD_ID;
}

static void history_of_another(struct nn_case *c)
{
    c->schema[0].of = (char *)"user";
}

static void bag_of_another(struct nn_case *c)
{
    c->schema[0].type = FIELD_IDS;
    c->schema[0].vocab = (char *)"user";
}

static void test_refusals_of_families(void **state)
{
    (void)state;
    refuses(JOB_DEEPFM, 0, 2, NULL, "model.family: deepfm needs at least one id field");
    const char *const pairs =
        "model.family: dlrm needs pairs: two id fields, or one and float fields";
    refuses(JOB_DLRM, 1, 0, NULL, pairs);
    refuses(JOB_DLRM, 0, 5, NULL, pairs);
    refuses(JOB_FINALMLP, 3, 0, seven_heads,
            "model.finalmlp.heads: 7 does not divide 4, the last width of model.hidden");
    refuses(JOB_FINALMLP, 3, 0, heads_of_the_second,
            "model.finalmlp.heads: 2 does not divide 3, the last width of model.second.hidden");
    refuses(JOB_FINALMLP, 3, 0, no_layer, "model.hidden: finalmlp needs at least one layer");
    refuses(JOB_FINALMLP, 3, 0, no_second_layer,
            "model.second.hidden: finalmlp needs at least one layer");
    refuses(JOB_FINALMLP, 2, 0, fields_gate,
            "model.finalmlp.gate: fields needs a field of type user and one of type item");
    const char *const pair =
        "model.family: din needs a field of type item and its history (a field of type history "
        "that is of it, or of type ids with its vocab)";
    refuses(JOB_DIN, 3, 0, no_item, pair);
    refuses(JOB_DIN, 3, 0, no_history, pair);
    refuses(JOB_DIN, 3, 0, history_of_another, pair);
    refuses(JOB_DIN, 3, 0, bag_of_another, pair);
    refuses(JOB_FINALNET, 3, 0, odd_halves,
            "model.hidden: 5 is odd; model.finalnet.mix=concat halves each layer");
}

static void test_plan(void **state)
{
    (void)state;
    uint64_t hidden[] = {400, 400, 400};
    struct job job = {0};
    job.model.family = JOB_DCNV2;
    job.model.embedding = 10;
    job.model.embedding_init = 1e-4;
    job.model.hidden.item = hidden;
    job.model.hidden.used = 3;
    job.model.batch_norm = true;
    job.model.cross = 4;
    job.train.seed = 9;
    job.optimizer.embedding.rate = 0.5;
    job.optimizer.dense.rate = 0.25;
    struct model *m;
    static struct plan plan;
    assert_int_equal(model_new(&job, 10, 0, 256, &m, &plan, NULL), ST_OK);
    assert_int_equal(plan.seed, 9);
    assert_int_equal(plan.tables_used, 3);
    assert_string_equal(plan.tables[0].name, "embedding");
    assert_int_equal(plan.tables[0].dim, 10);
    assert_int_equal(plan.tables[0].init, PLAN_NORMAL);
    assert_true(plan.tables[0].init_a == 1e-4 && plan.tables[0].optim.rate == 0.5);
    const struct plan_table *dense = &plan.tables[1], *stat = &plan.tables[2];
    assert_string_equal(dense->name, "dense");
    assert_string_equal(stat->name, "stat");
    assert_true(dense->optim.rate == 0.25);
    assert_int_equal(dense->tensors_used, 4 * 2 + 3 * 4 + 2);
    assert_string_equal(dense->tensors[0].name, "cross.0.weight");
    const struct plan_tensor *w = &dense->tensors[8 + 4];
    assert_string_equal(w->name, "mlp.1.weight");
    assert_true(w->dims == 2 && w->shape[0] == 400 && w->shape[1] == 400);
    assert_true(fabs(w->init_a - sqrt(2.0 / 800)) < 1e-12 && w->init == PLAN_NORMAL);
    assert_string_equal(dense->tensors[8 + 6].name, "mlp.1.bn.weight");
    assert_int_equal(dense->tensors[8 + 6].init, PLAN_ONE);
    assert_string_equal(dense->tensors[8 + 12].name, "out.weight");
    assert_true(dense->tensors[8 + 12].dims == 2 && dense->tensors[8 + 12].shape[1] == 500);
    assert_int_equal(stat->tensors_used, 6);
    assert_string_equal(stat->tensors[1].name, "mlp.0.bn.var");
    assert_int_equal(stat->tensors[1].init, PLAN_ONE);
    /* Products only: E is 100 wide; 4 cross layers, three hidden, the logit over 500. */
    assert_int_equal(model_flops(m), 4 * (20000 + 300) + 2 * (40000 + 2 * 160000) + 2 * 500);
    assert_true(model_bytes(m) > 256 * 400 * 6 * sizeof(float));
    assert_true(model_bytes(m) < 256 * 400 * 16 * sizeof(float));
    model_free(m);
    plan_release(&plan);
    model_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formulas),
        cmocka_unit_test(test_formulas_of_options),
        cmocka_unit_test(test_formulas_of_din),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_score_in_any_batch),
        cmocka_unit_test(test_dropout_hangs_on_record),
        cmocka_unit_test(test_parts_are_the_whole),
        cmocka_unit_test(test_batch_norm_reports),
        cmocka_unit_test(test_extreme_logits),
        cmocka_unit_test(test_learns),
        cmocka_unit_test(test_no_allocation),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refusals_of_families),
        cmocka_unit_test(test_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
