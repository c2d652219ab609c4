/* nn_model.c - the families as the worker sees them, in float: what they compute, and what they promise.
 *
 * What: logits against a slow model written from the formulas (below), golden values of the double build,
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

#define FAMILIES 4
static const int families[FAMILIES] = {JOB_LR, JOB_FM, JOB_MLP, JOB_DCNV2};

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

/* -- a slow model, from the formulas of common/nn/README.md, in double -- */

static const float *tensor(const struct nn_case *c, const char *table, const char *name)
{
    const struct plan_table *t = &c->plan.tables[plan_find(&c->plan, table)];
    for (size_t i = 0; i < t->tensors_used; i++)
        if (strcmp(t->tensors[i].name, name) == 0)
            return (strcmp(table, "stat") == 0 ? c->stat : c->p.dense) +
                   t->tensors[i].block_first * DENSE_BLOCK;
    fail_msg("no tensor %s", name);
    return NULL;
}

static const float *named(const struct nn_case *c, const char *table, const char *fmt, size_t i)
{
    char name[PLAN_NAME_MAX];
    (void)snprintf(name, sizeof(name), fmt, i);
    return tensor(c, table, name);
}

static double weight_of(const struct nn_case *c, size_t o)
{
    return c->in.weight ? (double)c->in.weight[o] : 1;
}

/* b + sum of weights, + floats. */
static double slow_lr(const struct nn_case *c, size_t i)
{
    const float *rows = c->p.rows[plan_find(&c->plan, "linear")];
    double z = (double)*tensor(c, "dense", "linear.bias");
    for (size_t o = c->in.offsets[i * c->fields]; o < c->in.offsets[(i + 1) * c->fields]; o++)
        z += weight_of(c, o) * (double)rows[c->in.index[o]];
    for (size_t k = 0; k < c->floats; k++)
        z += (double)(c->in.floats[i * c->floats + k] * tensor(c, "dense", "linear.floats")[k]);
    return z;
}

/* sum over pairs i < j of x_i x_j <v_i, v_j>: the definition, not the trick. */
static double slow_fm(const struct nn_case *c, size_t i)
{
    const size_t d = (size_t)c->job.model.embedding, from = c->in.offsets[i * c->fields];
    const size_t ids = c->in.offsets[(i + 1) * c->fields] - from, all = ids + c->floats;
    const float *rows = c->p.rows[plan_find(&c->plan, "embedding")];
    double z = 0;
    for (size_t a = 0; a < all; a++) {
        for (size_t b = a + 1; b < all; b++) {
            const float *v[2];
            double x[2];
            for (int s = 0; s < 2; s++) {
                const size_t f = s ? b : a;
                v[s] = f < ids ? rows + c->in.index[from + f] * d
                               : tensor(c, "dense", "fm.floats") + (f - ids) * d;
                x[s] = f < ids ? weight_of(c, from + f)
                               : (double)c->in.floats[i * c->floats + f - ids];
            }
            for (size_t k = 0; k < d; k++)
                z += x[0] * x[1] * (double)v[0][k] * (double)v[1][k];
        }
    }
    return z;
}

#define SLOW_MAX 128

/* E of record i; returns its width. */
static size_t slow_features(const struct nn_case *c, size_t i, double *e)
{
    const size_t d = (size_t)c->job.model.embedding;
    const float *rows = c->p.rows[plan_find(&c->plan, "embedding")];
    for (size_t f = 0; f < c->fields; f++) {
        for (size_t k = 0; k < d; k++) {
            e[f * d + k] = 0;
            const uint32_t *offsets = c->in.offsets + i * c->fields + f;
            for (size_t o = offsets[0]; o < offsets[1]; o++)
                e[f * d + k] += weight_of(c, o) * (double)rows[c->in.index[o] * d + k];
        }
    }
    for (size_t k = 0; k < c->floats; k++)
        e[c->fields * d + k] = (double)c->in.floats[i * c->floats + k];
    return c->fields * d + c->floats;
}

static void slow_linear(const float *w, const float *b, const double *x, size_t in, double *y,
                        size_t out)
{
    for (size_t j = 0; j < out; j++) {
        y[j] = (double)b[j];
        for (size_t k = 0; k < in; k++)
            y[j] += (double)w[j * in + k] * x[k];
    }
}

/* Batch norm of column j of h (n, SLOW_MAX), in training by the batch, and relu. */
static void slow_norm(const struct nn_case *c, size_t layer, bool train, double (*h)[SLOW_MAX],
                      size_t j)
{
    double mean = (double)named(c, "stat", "mlp.%zu.bn.mean", layer)[j];
    double var = (double)named(c, "stat", "mlp.%zu.bn.var", layer)[j];
    if (train) {
        mean = var = 0;
        for (size_t i = 0; i < c->n; i++)
            mean += h[i][j] / (double)c->n;
        for (size_t i = 0; i < c->n; i++)
            var += (h[i][j] - mean) * (h[i][j] - mean) / (double)c->n;
    }
    for (size_t i = 0; i < c->n; i++)
        h[i][j] = (h[i][j] - mean) / sqrt(var + 1e-5) *
                      (double)named(c, "dense", "mlp.%zu.bn.weight", layer)[j] +
                  (double)named(c, "dense", "mlp.%zu.bn.bias", layer)[j];
}

/* h (n, SLOW_MAX) holds E; becomes the last hidden layer. Returns its width. */
static size_t slow_hidden(const struct nn_case *c, bool train, double (*h)[SLOW_MAX], size_t width)
{
    for (size_t l = 0; l < c->job.model.hidden.used; l++) {
        const size_t out = (size_t)c->hidden[l];
        for (size_t i = 0; i < c->n; i++) {
            double y[SLOW_MAX];
            slow_linear(named(c, "dense", "mlp.%zu.weight", l),
                        named(c, "dense", "mlp.%zu.bias", l), h[i], width, y, out);
            memcpy(h[i], y, out * sizeof(*y));
        }
        for (size_t j = 0; j < out; j++) {
            if (c->job.model.batch_norm)
                slow_norm(c, l, train, h, j);
            for (size_t i = 0; i < c->n; i++)
                h[i][j] = h[i][j] > 0 ? h[i][j] : 0;
        }
        width = out;
    }
    return width;
}

static void slow_cross(const struct nn_case *c, const double *e, size_t width, double *x)
{
    memcpy(x, e, width * sizeof(*x));
    for (size_t l = 0; l < c->job.model.cross; l++) {
        double u[SLOW_MAX];
        slow_linear(named(c, "dense", "cross.%zu.weight", l),
                    named(c, "dense", "cross.%zu.bias", l), x, width, u, width);
        for (size_t k = 0; k < width; k++)
            x[k] += e[k] * u[k];
    }
}

static void slow_logits(const struct nn_case *c, bool train, double *z)
{
    static double h[64][SLOW_MAX], e[64][SLOW_MAX], both[SLOW_MAX];
    const int family = c->job.model.family;
    size_t width = 0, deep = 0;
    for (size_t i = 0; i < c->n && family != JOB_LR && family != JOB_FM; i++) {
        width = slow_features(c, i, e[i]);
        memcpy(h[i], e[i], sizeof(h[i]));
    }
    if (width)
        deep = slow_hidden(c, train, h, width);
    for (size_t i = 0; i < c->n; i++) {
        const bool crossed = family == JOB_DCNV2;
        if (!width) {
            z[i] = slow_lr(c, i) + (family == JOB_FM ? slow_fm(c, i) : 0);
            continue;
        }
        if (crossed)
            slow_cross(c, e[i], width, both);
        memcpy(both + (crossed ? width : 0), h[i], deep * sizeof(*both));
        slow_linear(tensor(c, "dense", "out.weight"), tensor(c, "dense", "out.bias"), both,
                    deep + (crossed ? width : 0), &z[i], 1);
    }
}

static void open_case(struct nn_case *c)
{
    struct errbuf err = ERRBUF_INIT;
    if (case_open(c, &err) != ST_OK)
        fail_msg("%s", err.text);
}

static void test_formulas(void **state)
{
    (void)state;
    for (size_t f = 0; f < FAMILIES; f++) {
        for (unsigned variant = 0; variant < 8; variant++) {
            struct nn_case c = case_default(families[f]);
            c.n = 37;
            c.unique = 30;
            c.hidden[0] = 33;
            c.floats = variant & 1 ? 3 : 0;
            c.weights = (variant & 2) != 0;
            c.job.model.batch_norm = (variant & 4) != 0;
            open_case(&c);
            double z[64];
            float scored[64];
            slow_logits(&c, true, z);
            case_step(&c);
            for (size_t i = 0; i < c.n; i++)
                assert_true(fabs((double)c.logits[i] - z[i]) < 2e-5 * fmax(1, fabs(z[i])));
            slow_logits(&c, false, z);
            model_score(c.model, &c.in, &c.p, scored);
            for (size_t i = 0; i < c.n; i++)
                assert_true(fabs((double)scored[i] - z[i]) < 2e-5 * fmax(1, fabs(z[i])));
            case_close(&c);
        }
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
    for (size_t f = 0; f < FAMILIES; f++) {
        struct nn_case a = wide_case(families[f]), b = wide_case(families[f]);
        open_case(&a);
        open_case(&b);
        case_step(&a);
        float *dw = mem_array(a.used, sizeof(*dw)), *logits = mem_array(a.n, sizeof(*logits));
        memcpy(dw, a.dw, a.used * sizeof(*dw));
        memcpy(logits, a.logits, a.n * sizeof(*logits));
        const double loss = a.loss;
        model_score(a.model, &a.in, &a.p, a.logits); /* something else in between */
        memset(a.dw, 0xff, a.used * sizeof(*a.dw));
        memset(b.dw, 0xff, b.used * sizeof(*b.dw));
        case_step(&a);
        case_step(&b);
        assert_true(a.loss == loss && b.loss == loss);
        assert_memory_equal(a.dw, dw, a.used * sizeof(*dw));
        assert_memory_equal(b.dw, dw, a.used * sizeof(*dw));
        assert_memory_equal(a.logits, logits, a.n * sizeof(*logits));
        assert_memory_equal(b.logits, logits, a.n * sizeof(*logits));
        free(dw);
        free(logits);
        case_close(&a);
        case_close(&b);
    }
}

static void test_padding(void **state)
{
    (void)state;
    for (size_t f = 0; f < FAMILIES; f++) {
        struct nn_case c = wide_case(families[f]);
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
        s->labels[i] = c->in.labels[order[i]];
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
    for (size_t f = 0; f < FAMILIES; f++) {
        struct nn_case c = wide_case(families[f]);
        open_case(&c);
        const bool own = gemm_force(true);
        float whole[300], part[300];
        size_t order[300];
        model_score(c.model, &c.in, &c.p, whole);
        random_order(order, 300);
        const size_t sizes[] = {300, 150, 9, 3, 1};
        for (size_t k = 0; k < 5; k++) {
            for (size_t from = 0; from + sizes[k] <= 300; from += sizes[k]) {
                shuffle(&c, &s, order + from, sizes[k]);
                model_score(c.model, &s.in, &c.p, part);
                for (size_t i = 0; i < sizes[k]; i++) {
                    const float want = whole[order[from + i]];
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
    for (size_t f = 2; f < FAMILIES; f++) {
        struct nn_case c = wide_case(families[f]);
        c.job.model.batch_norm = false;
        c.job.model.dropout = 0.5;
        open_case(&c);
        float first[300], other[300];
        double loss;
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
        assert_memory_equal(first, other, sizeof(first));
        case_close(&c);
    }
}

/* Gradients of two parts of a batch, weighed by their sizes, are the gradient of the whole. */
static void test_parts_are_the_whole(void **state)
{
    (void)state;
    static struct shuffled s;
    for (size_t f = 0; f < FAMILIES; f++) {
        struct nn_case c = wide_case(families[f]);
        c.job.model.batch_norm = false;
        open_case(&c);
        case_step(&c);
        float *whole = mem_array(c.used, sizeof(*whole));
        double *sum = mem_array(c.used, sizeof(*sum)), loss, losses = 0;
        memcpy(whole, c.dw, c.used * sizeof(*whole));
        size_t order[300];
        random_order(order, 300);
        const size_t from[] = {0, 1, 100, 300};
        for (size_t k = 0; k < 3; k++) {
            const size_t n = from[k + 1] - from[k];
            shuffle(&c, &s, order + from[k], n);
            model_step(c.model, &s.in, &c.p, &c.g, c.logits, &loss);
            losses += loss;
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
    double loss;
    model_step(c.model, &c.in, &c.p, &c.g, c.logits, &loss);
    assert_true(isfinite(loss));
    assert_memory_equal(mean, tensor(&c, "stat", "mlp.0.bn.mean"), 70 * sizeof(float));
    assert_memory_equal(var, tensor(&c, "stat", "mlp.0.bn.var"), 70 * sizeof(float));
    case_close(&c);
}

/* Logits of +-1e4 and more: loss and gradients stay finite. */
static void test_extreme_logits(void **state)
{
    (void)state;
    for (size_t f = 0; f < FAMILIES; f++) {
        struct nn_case c = wide_case(families[f]);
        open_case(&c);
        float *bias = c.w + (tensor(&c, "dense", f < 2 ? "linear.bias" : "out.bias") - c.w);
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
    for (size_t f = 0; f < FAMILIES; f++) {
        struct nn_case c = case_default(families[f]);
        c.n = 16;
        c.unique = 60;
        c.hidden[0] = 32;
        c.job.model.embedding = 8;
        open_case(&c);
        const double rate = f < 2 ? 2 : 0.3;
        for (int t = 0; t < 3000; t++) {
            case_step(&c);
            for (size_t i = 0; i < c.used; i++)
                c.w[i] -= (float)(rate * (double)c.dw[i]);
        }
        print_message("    %s: loss %.1e\n", job_family_name(families[f]), c.loss);
        assert_true(c.loss < 1e-2);
        case_close(&c);
    }
}

static void test_no_allocation(void **state)
{
    (void)state;
#ifdef COUNTS_MALLOC
    for (size_t f = 0; f < FAMILIES; f++) {
        struct nn_case c = wide_case(families[f]);
        open_case(&c);
        double loss;
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
    for (size_t f = 0; f < FAMILIES; f++) {
        struct nn_case c = case_default(families[f]);
        c.job.model.hidden.item = c.hidden;
        assert_int_equal(model_new(&c.job, 0, 0, 8, &m, &plan, &err), ST_USAGE);
        assert_non_null(strstr(err.text, "data.fields"));
    }
    struct nn_case c = case_default(JOB_FM);
    c.job.model.hidden.item = c.hidden;
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
        cmocka_unit_test(test_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
