/* optim_rows.c - every optimizer against the same formulas in double, the fast paths against the plain one bit
 * for bit, and the promise that matters most: a lazy row is a dense one. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "ps/optim/kernels.h"
#include "ps/optim/optim.h"

#define DIM_MAX 257u

static const uint32_t dims[] = {1, 2, 7, 8, 10, 15, 16, 17, 24, 33, 64, 100, 256, DIM_MAX};
#define DIMS (sizeof dims / sizeof *dims)

static const int kinds[] = {JOB_SGD,          JOB_ADAGRAD,  JOB_ROWWISE_ADAGRAD, JOB_ADAM,
                            JOB_MOMENTUM,     JOB_NESTEROV, JOB_ADAMW,           JOB_AMSGRAD,
                            JOB_ROWWISE_ADAM, JOB_FTRL};
#define KINDS (sizeof kinds / sizeof *kinds)

static bool is_adam(int kind)
{
    return kind == JOB_ADAM || kind == JOB_ADAMW || kind == JOB_AMSGRAD || kind == JOB_ROWWISE_ADAM;
}

static struct plan_table table_of(int kind, uint32_t dim, double l2, int l2_mode)
{
    return (struct plan_table){.kind = PLAN_SPARSE,
                               .dim = dim,
                               .optim = {.kind = kind,
                                         .rate = is_adam(kind) ? 1e-3
                                                 : kind == JOB_MOMENTUM || kind == JOB_NESTEROV
                                                     ? 0.005
                                                     : 0.05,
                                         .l2 = l2,
                                         .l2_mode = l2_mode,
                                         .beta1 = .9,
                                         .beta2 = .999,
                                         .eps = 1e-8,
                                         .momentum = .9,
                                         .beta = 1,
                                         .l1 = kind == JOB_FTRL ? 0.01 : 0}};
}

/* Warm-up, a drop, a drop below the floor. */
static struct schedule schedule_of(uint64_t warmup)
{
    return (struct schedule){.warmup = warmup,
                             .rate_min = 2e-5,
                             .changes = 3,
                             .change = {{120, 0.1}, {300, 0.01}, {70000, 0.5}}};
}

struct row {
    float w[DIM_MAX], state[3 * DIM_MAX];
};

static void row_init(struct row *r, struct rng *rng, float scale)
{
    memset(r, 0, sizeof *r);
    for (size_t j = 0; j < DIM_MAX; j++)
        r->w[j] = scale * (float)rng_next_normal(rng);
}

static void grad_fill(float *g, struct rng *rng)
{
    const float scale = (float)pow(10, 4 * rng_next_unit(rng) - 4);
    for (size_t j = 0; j < DIM_MAX; j++)
        g[j] = scale * (float)rng_next_normal(rng);
}

/* -- the formulas in double, dense: every step, with g = 0 where there is none -- */

struct reference {
    double w[DIM_MAX], n[DIM_MAX], m[DIM_MAX], v[DIM_MAX], u[DIM_MAX];
};

/* One element, but for the kinds whose second moment is the row's: n[0], v[0] are up to date. */
static void reference_adagrad(const struct job_optim *o, struct reference *r, uint32_t j, double x,
                              double rate)
{
    const uint32_t at = o->kind == JOB_ADAGRAD ? j : 0;
    r->n[j] += o->kind == JOB_ADAGRAD ? x * x : 0;
    r->w[j] -= rate * x / (sqrt(r->n[at]) + o->eps);
}

static void reference_momentum(const struct job_optim *o, struct reference *r, uint32_t j, double x,
                               double rate)
{
    r->v[j] = o->momentum * r->v[j] + x;
    r->w[j] -= rate * (o->kind == JOB_NESTEROV ? x + o->momentum * r->v[j] : r->v[j]);
}

static void reference_adam(const struct job_optim *o, struct reference *r, uint32_t j, double x,
                           double rate, const double *correction)
{
    const uint32_t at = o->kind == JOB_ROWWISE_ADAM ? 0 : j;
    r->m[j] = o->beta1 * r->m[j] + (1 - o->beta1) * x;
    if (o->kind != JOB_ROWWISE_ADAM)
        r->v[j] = o->beta2 * r->v[j] + (1 - o->beta2) * x * x;
    r->u[at] = fmax(r->u[at], r->v[at]);
    const double m = r->m[j] / correction[0];
    const double v = (o->kind == JOB_AMSGRAD ? r->u[at] : r->v[at]) / correction[1];
    r->w[j] -= rate * m / (sqrt(v) + o->eps);
}

/* z in m. was: the rate of the step before, 0 = there is none. */
static void reference_ftrl(const struct job_optim *o, struct reference *r, uint32_t j, double g,
                           double was, double rate)
{
    const double h = was > 0 ? (o->beta + sqrt(r->n[j])) / was : 0;
    r->n[j] += g * g;
    const double own = (o->beta + sqrt(r->n[j])) / rate;
    r->m[j] += g - (own - h) * r->w[j];
    const double beyond = fabs(r->m[j]) - o->l1;
    r->w[j] = beyond <= 0 ? 0 : -copysign(beyond, r->m[j]) / (own + o->l2);
}

static void reference_step(const struct plan_table *t, const struct schedule *s,
                           struct reference *r, const float *g, uint64_t step)
{
    const struct job_optim *o = &t->optim;
    const bool in_gradient = o->kind != JOB_ADAMW && o->kind != JOB_FTRL;
    const double rate = schedule_rate(s, o->rate, step);
    const double was = step > 1 ? schedule_rate(s, o->rate, step - 1) : 0;
    const double correction[2] = {1 - pow(o->beta1, (double)step), 1 - pow(o->beta2, (double)step)};
    double x[DIM_MAX], mean = 0;
    for (uint32_t j = 0; j < t->dim; j++) {
        x[j] = (g != NULL ? (double)g[j] : 0) + (in_gradient ? o->l2 * r->w[j] : 0);
        mean += x[j] * x[j] / t->dim;
    }
    r->n[0] += o->kind == JOB_ROWWISE_ADAGRAD ? mean : 0;
    if (o->kind == JOB_ROWWISE_ADAM)
        r->v[0] = o->beta2 * r->v[0] + (1 - o->beta2) * mean;
    for (uint32_t j = 0; j < t->dim; j++) {
        switch (o->kind) {
        case JOB_SGD: r->w[j] -= rate * x[j]; break;
        case JOB_ADAGRAD:
        case JOB_ROWWISE_ADAGRAD: reference_adagrad(o, r, j, x[j], rate); break;
        case JOB_MOMENTUM:
        case JOB_NESTEROV: reference_momentum(o, r, j, x[j], rate); break;
        case JOB_FTRL: reference_ftrl(o, r, j, x[j], was, rate); break;
        case JOB_ADAMW: r->w[j] -= rate * o->l2 * r->w[j]; /* fallthrough */
        default: reference_adam(o, r, j, x[j], rate, correction);
        }
    }
}

static void reference_init(struct reference *r, const struct row *row)
{
    memset(r, 0, sizeof *r);
    for (size_t j = 0; j < DIM_MAX; j++)
        r->w[j] = (double)row->w[j];
}

static double furthest(const struct reference *r, const float *w, uint32_t dim)
{
    double far = 0;
    for (uint32_t j = 0; j < dim; j++)
        far = fmax(far, fabs(r->w[j] - (double)w[j]));
    return far;
}

/* A row touched at random steps, lazily, beside the dense reference. */
static double lazy_beside_dense(int kind, uint32_t dim, double l2, uint64_t steps, double touch)
{
    const struct plan_table t = table_of(kind, dim, l2, JOB_L2_EXACT);
    const struct schedule s = schedule_of(100);
    struct optim *o = optim_new(&t);
    struct rng rng = {.key = dim};
    struct row row;
    struct reference ref;
    float g[DIM_MAX];
    uint64_t last = 0;
    row_init(&row, &rng, 0.02f);
    reference_init(&ref, &row);
    optim_schedule(o, &s);
    for (uint64_t step = 1; step <= steps; step++) {
        const bool now = rng_next_unit(&rng) < touch;
        if (now)
            grad_fill(g, &rng);
        reference_step(&t, &s, &ref, now ? g : NULL, step);
        if (!now)
            continue;
        optim_apply(o, row.w, row.state, g, last, step);
        last = step;
    }
    optim_replay(o, row.w, row.state, last, steps);
    optim_free(o);
    return furthest(&ref, row.w, dim);
}

static void test_formulas(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++)
        for (size_t d = 0; d < DIMS; d++)
            for (int l2 = 0; l2 < 2; l2++)
                assert_true(lazy_beside_dense(kinds[k], dims[d], l2 * 0.01, 300, 1.0) < 2e-6);
}

/* The product's claim: 500 steps, random touches, warm-up, changed rates, L2 as the reference recipes have it:
 * Adam to 1e-6 of dense Adam in double. What is left is the rounding of 500 float updates, which dense float
 * training has too (test_lazy_is_dense_to_the_bit); larger rates, and a decay at each step, leave more of it. */
static void test_lazy_is_dense(void **state)
{
    (void)state;
    const double l2[] = {0, 1e-6, 1e-3, 0.05, 0.5};
    for (size_t k = 0; k < KINDS; k++)
        for (size_t d = 0; d < DIMS; d++)
            for (size_t i = 0; i < 5; i++)
                for (double touch = 0.01; touch < 1; touch *= 5) {
                    const double far = lazy_beside_dense(kinds[k], dims[d], l2[i], 500, touch);
                    assert_true(far < (kinds[k] == JOB_ADAM ? 1e-6 : 5e-6));
                }
}

/* -- bit for bit -- */

/* Values a row may have, the nasty ones too. */
static float nasty(struct rng *rng)
{
    static const float some[] = {0.0f,  -0.0f,  FLT_TRUE_MIN, -FLT_TRUE_MIN, 1e-40f, FLT_MIN, 1.0f,
                                 -1e6f, 1e-20f, 3e-8f,        FLT_EPSILON,   123.4f, -1e-30f};
    if (rng_below(rng, 3) == 0)
        return some[rng_below(rng, sizeof some / sizeof *some)];
    return (float)(pow(10, -12 * rng_next_unit(rng)) * rng_next_normal(rng));
}

static void nasty_row(struct row *r, struct rng *rng, enum optim_kind kind, uint32_t dim)
{
    memset(r, 0, sizeof *r);
    for (uint32_t j = 0; j < dim; j++)
        r->w[j] = nasty(rng);
    const bool first_is_signed =
        kind != OPTIM_SGD && kind != OPTIM_ADAGRAD && kind != OPTIM_ROWWISE;
    for (uint32_t j = 0; j < 3 * dim; j++) {
        const float x = nasty(rng);
        r->state[j] = first_is_signed && j < dim ? x : fabsf(x);
    }
}

static uint64_t some_gap(struct rng *rng)
{
    static const uint64_t most[] = {1, 2, 10, 70, 500, 3000};
    return 1 + rng_below(rng, most[rng_below(rng, 6)]);
}

static void plain_is_fast(enum optim_path path, const struct plan_table *t, uint64_t warmup,
                          struct rng *rng, int touches)
{
    const struct schedule s = schedule_of(warmup);
    struct optim *o;
    struct row plain, fast;
    float g[DIM_MAX] = {0};
    (void)optim_force(path);
    o = optim_new(t);
    optim_schedule(o, &s);
    nasty_row(&plain, rng, o->kind, t->dim);
    fast = plain;
    uint64_t last = rng_below(rng, 2) == 0 ? 0 : rng_below(rng, 80000);
    for (int i = 0; i < touches; i++) {
        const bool again = last > 0 && rng_below(rng, 5) == 0; /* a further one of the same step */
        const uint64_t step = last + (again ? 0 : some_gap(rng));
        for (uint32_t j = 0; j < t->dim; j++)
            g[j] = nasty(rng);
        optim_apply(o, fast.w, fast.state, g, last, step);
        optim_apply_plain(o, plain.w, plain.state, g, last, step);
        assert_memory_equal(&fast, &plain, sizeof plain);
        last = step;
    }
    optim_free(o);
    (void)optim_force(OPTIM_AVX512);
}

static void path_is_plain(enum optim_path path)
{
    struct rng rng = {.key = 5};
    const double l2[] = {0, 0, 1e-9, 1e-3, 0.3};
    const enum optim_path got = optim_force(path);
    (void)optim_force(OPTIM_AVX512);
    if (got != path)
        skip(); /* not on this CPU */
    for (int i = 0; i < 1000; i++) {
        struct plan_table t = table_of(kinds[(size_t)i % KINDS], dims[rng_below(&rng, DIMS)],
                                       l2[rng_below(&rng, 5)], JOB_L2_EXACT);
        t.optim.l1 *= (double)rng_below(&rng, 2);
        if (rng_below(&rng, 5) == 0)
            t.optim.l2_mode = JOB_L2_TOUCHED;
        plain_is_fast(path, &t, rng_below(&rng, 2) * 200, &rng, t.dim > 24 ? 1 : 4);
    }
    for (size_t d = 0; d < DIMS; d++) {
        struct plan_table t = table_of(JOB_SGD, dims[d], 0, JOB_L2_EXACT);
        t.kind = PLAN_STAT;
        plain_is_fast(path, &t, 0, &rng, 5);
    }
}

static void test_avx2_is_plain(void **state)
{
    (void)state;
    path_is_plain(OPTIM_AVX2);
}

static void test_avx512_is_plain(void **state)
{
    (void)state;
    path_is_plain(OPTIM_AVX512);
}

/* So long that everything which can end early does: rows stand still, momentum dies, v dies. */
static void test_long_gaps_are_plain(void **state)
{
    (void)state;
    struct rng rng = {.key = 6};
    for (size_t i = 0; i < 6 * KINDS; i++) {
        const struct plan_table t = table_of(kinds[i % KINDS], 3,
                                             i < 2 * KINDS   ? 0
                                             : i < 4 * KINDS ? 1e-9
                                                             : 1e-2,
                                             JOB_L2_EXACT);
        struct optim *o = optim_new(&t);
        const struct schedule s = schedule_of(i / KINDS % 2 == 0 ? 0 : 50);
        struct row plain, fast;
        const float g[3] = {0.1f, 0, -1e-12f};
        nasty_row(&plain, &rng, o->kind, t.dim);
        fast = plain;
        optim_schedule(o, &s);
        const uint64_t last = i % 3 == 0 ? 0 : 69000, step = last + 200000;
        optim_apply(o, fast.w, fast.state, g, last, step);
        optim_apply_plain(o, plain.w, plain.state, g, last, step);
        assert_memory_equal(&fast, &plain, sizeof plain);
        optim_free(o);
    }
}

static void test_replay_in_parts(void **state)
{
    (void)state;
    struct rng rng = {.key = 7};
    for (size_t i = 0; i < 1000; i++) {
        const struct plan_table t = table_of(kinds[i % KINDS], dims[rng_below(&rng, DIMS)],
                                             i % 3 == 0 ? 0 : 0.02, JOB_L2_EXACT);
        const struct schedule s = schedule_of(rng_below(&rng, 2) * 150);
        struct optim *o = optim_new(&t);
        struct row whole, parts;
        const uint64_t from = rng_below(&rng, 2) * 69900, to = from + 1 + rng_below(&rng, 1500);
        optim_schedule(o, &s);
        nasty_row(&whole, &rng, o->kind, t.dim);
        parts = whole;
        optim_replay(o, whole.w, whole.state, from, to);
        for (uint64_t at = from; at < to;) {
            const uint64_t next = at + 1 + rng_below(&rng, to - at);
            optim_replay(o, parts.w, parts.state, at, next);
            at = next;
        }
        assert_memory_equal(&whole, &parts, sizeof whole);
        optim_free(o);
    }
}

/* A step without a gradient is a touch with a zero one: dense training by the same code. */
static void test_lazy_is_dense_to_the_bit(void **state)
{
    (void)state;
    struct rng rng = {.key = 8};
    for (size_t i = 0; i < 300; i++) {
        const struct plan_table t = table_of(kinds[i % KINDS], dims[rng_below(&rng, DIMS)],
                                             i % 3 == 0 ? 0 : 0.05, JOB_L2_EXACT);
        const struct schedule s = schedule_of(40);
        const float none[DIM_MAX] = {0};
        struct optim *o = optim_new(&t);
        struct row lazy, dense;
        float g[DIM_MAX];
        uint64_t last = 0;
        optim_schedule(o, &s);
        row_init(&lazy, &rng, 0.1f);
        dense = lazy;
        for (uint64_t step = 1; step <= 400; step++) {
            const bool now = rng_below(&rng, 20) == 0 || step == 400;
            if (now)
                grad_fill(g, &rng);
            optim_apply(o, dense.w, dense.state, now ? g : none, step - 1, step);
            if (!now)
                continue;
            optim_apply(o, lazy.w, lazy.state, g, last, step);
            last = step;
        }
        assert_memory_equal(&lazy, &dense, sizeof lazy);
        optim_free(o);
    }
}

static void test_touched_mode(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        const struct plan_table t = table_of(kinds[k], 5, 0.1, JOB_L2_TOUCHED);
        const struct schedule none = {.changes = 0};
        struct optim *o = optim_new(&t);
        struct rng rng = {.key = 9};
        struct row row, same;
        struct reference ref;
        const float g[5] = {1, -1, 0, 0.5f, 2};
        row_init(&row, &rng, 1);
        reference_init(&ref, &row);
        same = row;
        assert_false(optim_replays(o));
        optim_replay(o, row.w, row.state, 0, 1000);
        assert_memory_equal(&row, &same, sizeof row);
        optim_apply(o, row.w, row.state, g, 0, 700); /* nothing of the 699 steps before */
        reference_step(&t, &none, &ref, g, kinds[k] == JOB_FTRL ? 1 : 700); /* ftrl: its first */
        assert_true(furthest(&ref, row.w, 5) < 1e-6);
        optim_free(o);
    }
}

/* -- ftrl -- */

/* McMahan's algorithm as printed: a constant rate, from zero, w made of z and n anew at each step. */
static void test_ftrl_is_the_textbook(void **state)
{
    (void)state;
    for (int l = 0; l < 4; l++) {
        struct plan_table t = table_of(JOB_FTRL, 7, l % 2 == 0 ? 0 : 0.3, JOB_L2_EXACT);
        const struct job_optim *c = &t.optim;
        struct optim *o;
        struct rng rng = {.key = 12};
        struct row row;
        double z[7] = {0}, n[7] = {0};
        float g[DIM_MAX];
        size_t zeros = 0;
        uint64_t last = 0;
        t.optim.l1 = l < 2 ? 0 : 0.5;
        o = optim_new(&t);
        memset(&row, 0, sizeof row);
        for (uint64_t step = 1; step <= 200; step++) {
            if (rng_below(&rng, 3) == 0)
                continue; /* not touched: textbook and row stand still */
            grad_fill(g, &rng);
            optim_apply(o, row.w, row.state, g, last, step);
            last = step;
            for (uint32_t j = 0; j < 7; j++) {
                const double b = (c->beta + sqrt(n[j])) / c->rate + c->l2, x = (double)g[j];
                const double w =
                    fabs(z[j]) <= c->l1 || (n[j] == 0) ? 0 : -(z[j] - copysign(c->l1, z[j])) / b;
                z[j] += x - (sqrt(n[j] + x * x) - sqrt(n[j])) / c->rate * w;
                n[j] += x * x;
                const double after = fabs(z[j]) <= c->l1
                                         ? 0
                                         : -(z[j] - copysign(c->l1, z[j])) /
                                               ((c->beta + sqrt(n[j])) / c->rate + c->l2);
                assert_true(fabs(after - (double)row.w[j]) < 1e-6);
                assert_true(c->l1 == 0 || after != 0 || row.w[j] == 0); /* zeros are zeros */
                zeros += row.w[j] == 0;
            }
        }
        assert_int_equal(zeros > 0, c->l1 > 0);
        optim_free(o);
    }
}

/* A plateau divides the rate by ten: weights stay where they are, whoever makes up for it, and when. */
static void test_ftrl_keeps_weights_when_the_rate_falls(void **state)
{
    (void)state;
    for (int mode = 0; mode < 2; mode++) {
        struct plan_table t = table_of(JOB_FTRL, 20, 0, mode == 0 ? JOB_L2_EXACT : JOB_L2_TOUCHED);
        const struct schedule s = {.rate_min = 1e-9, .changes = 1, .change = {{50, 0.1}}};
        struct rng rng = {.key = 13};
        struct row row, was;
        const float none[DIM_MAX] = {0};
        float g[DIM_MAX];
        t.optim.l1 = 0;
        struct optim *o = optim_new(&t);
        optim_schedule(o, &s);
        row_init(&row, &rng, 0.5f);
        for (uint64_t step = 1; step < 40; step++) {
            grad_fill(g, &rng);
            optim_apply(o, row.w, row.state, g, step - 1, step);
        }
        was = row;
        optim_apply(o, row.w, row.state, none, 39, 60);
        for (size_t j = 0; j < 20; j++)
            assert_true(fabs((double)(row.w[j] - was.w[j])) < 2e-7);
        assert_int_equal(optim_replays(o), mode == 0);
        optim_free(o);
    }
}

/* -- stale gradients -- */

/* What is damped is the step: w moves by that part of what it would have moved, the state is the same. */
static void test_damping(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        const struct plan_table t = table_of(kinds[k], 33, 0.01, JOB_L2_TOUCHED);
        struct optim *o = optim_new(&t);
        struct rng rng = {.key = 14};
        struct row whole, damped, plain;
        float g[DIM_MAX], w[DIM_MAX];
        if (kinds[k] == JOB_FTRL) {
            optim_free(o);
            continue;
        }
        row_init(&whole, &rng, 1);
        grad_fill(g, &rng);
        optim_apply(o, whole.w, whole.state, g, 0, 1); /* some state */
        memcpy(w, whole.w, sizeof w);
        damped = plain = whole;
        optim_apply(o, whole.w, whole.state, g, 1, 9);
        optim_damp(o, 0.25f);
        optim_apply(o, damped.w, damped.state, g, 1, 9);
        optim_apply_plain(o, plain.w, plain.state, g, 1, 9);
        assert_memory_equal(&damped, &plain, sizeof plain);
        assert_memory_equal(damped.state, whole.state, sizeof whole.state);
        for (uint32_t j = 0; j < t.dim; j++) {
            assert_true(whole.w[j] != w[j]);
            assert_true(fabs((double)(damped.w[j] - w[j]) - 0.25 * (double)(whole.w[j] - w[j])) <
                        3e-7 * fabs((double)w[j]) + 1e-9);
        }
        optim_free(o);
    }
}

static void test_who_replays(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct plan_table t = table_of(kinds[k], 4, 0, JOB_L2_EXACT);
        static const uint32_t floats[] = {0, 4, 1, 8, 4, 4, 8, 12, 5, 8};
        struct optim *o = optim_new(&t);
        assert_int_equal(optim_state_floats(&t), floats[k]);
        assert_int_equal(optim_replays(o), k >= 3); /* momentum goes on; ftrl's rate may change */
        optim_free(o);
        t.kind = PLAN_STAT;
        o = optim_new(&t);
        assert_int_equal(optim_state_floats(&t), 0);
        assert_false(optim_replays(o));
        optim_free(o);
    }
}

static void test_schedule(void **state)
{
    (void)state;
    const struct schedule s = {
        .warmup = 10, .rate_min = 1e-4, .changes = 2, .change = {{5, 0.5}, {100, 1e-6}}};
    assert_true(schedule_rate(&s, 0.01, 1) == 0.01 * 0.1);
    assert_true(schedule_rate(&s, 0.01, 4) == 0.01 * 0.4);
    assert_true(schedule_rate(&s, 0.01, 5) == 0.01 * 0.5 * 0.5);
    assert_true(schedule_rate(&s, 0.01, 10) == 0.01 * 0.5);
    assert_true(schedule_rate(&s, 0.01, 99) == 0.01 * 0.5);
    assert_true(schedule_rate(&s, 0.01, 100) == 1e-4);
    assert_true(schedule_rate(&s, 5e-5, 100) == 5e-5); /* the floor lifts nothing */
    const struct schedule none = {.changes = 0};
    assert_true(schedule_rate(&none, 0.25, 1) == 0.25);
}

/* A cache grown in any order gives the closed form, before and after a schedule is replaced. */
static void test_scalars(void **state)
{
    (void)state;
    const struct plan_table t = table_of(JOB_ADAM, 4, 0, JOB_L2_EXACT);
    struct optim *o = optim_new(&t);
    struct rng rng = {.key = 10};
    for (int i = 0; i < 20000; i++) {
        if (i % 5000 == 0) {
            const struct schedule s = schedule_of((uint64_t)i / 10);
            optim_schedule(o, &s);
        }
        const uint64_t s = 1 + rng_below(&rng, i % 2 == 0 ? 200 : 100000);
        const uint64_t to = s + rng_below(&rng, 3000);
        const struct run r = steps_run(&o->steps, s, to);
        assert_in_range(r.steps, 1, to - s + 1);
        const uint64_t j = rng_below(&rng, r.steps);
        const struct scalars want = steps_scalars(&o->steps, s + j);
        assert_memory_equal(&r.at[j * r.stride], &want, sizeof want);
        assert_true(want.a <= o->steps.a_max);
    }
    optim_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formulas),
        cmocka_unit_test(test_lazy_is_dense),
        cmocka_unit_test(test_avx2_is_plain),
        cmocka_unit_test(test_avx512_is_plain),
        cmocka_unit_test(test_long_gaps_are_plain),
        cmocka_unit_test(test_replay_in_parts),
        cmocka_unit_test(test_lazy_is_dense_to_the_bit),
        cmocka_unit_test(test_touched_mode),
        cmocka_unit_test(test_who_replays),
        cmocka_unit_test(test_ftrl_is_the_textbook),
        cmocka_unit_test(test_ftrl_keeps_weights_when_the_rate_falls),
        cmocka_unit_test(test_damping),
        cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_scalars),
    };
    return cmocka_run_group_tests_name("optim_rows", tests, NULL, NULL);
}
