/* metrics_ab_stats.c - effects, CUPED and confidence sequences against the published vectors of gbstats, which
 * give as many digits as are compared here; then what has no vector: few users, no variance, a trillion users.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/metrics/ab_cuped.h"
#include "common/metrics/ab_effect.h"
#include "common/metrics/ab_sequence.h"
#include "common/metrics/ab_sums.h"
#include "tests/unit/metrics_case.h"

static const struct ab_sums A = {.n = 3407, .sum = 1396.87, .square_sum = 52377.9767};
static const struct ab_sums A3000 = {.n = 3000, .sum = 1396.87, .square_sum = 52377.9767};
static const struct ab_sums B = {.n = 3461, .sum = 2422.7, .square_sum = 134698.29};

static struct ab_effect effect(const struct ab_sums *a, const struct ab_sums *b, enum ab_kind kind,
                               enum ab_lift lift)
{
    struct ab_arm arm_a, arm_b;
    struct ab_effect e;
    assert_true(ab_arm_from(a, kind, &arm_a) && ab_arm_from(b, kind, &arm_b));
    assert_true(ab_effect_between(&arm_a, &arm_b, lift, &e));
    return e;
}

static void test_fixed_two_sided(void **state)
{
    (void)state;
    struct ab_effect e = effect(&A, &B, AB_MEAN, AB_RELATIVE);
    struct ab_interval i = ab_effect_fixed(&e, AB_TWO_SIDED, .05);
    assert_true(near(e.lift, .70732, 1e-5) && near(e.se, .37879, 1e-5));
    assert_true(near(i.from, -.03526, 1e-5) && near(i.to, 1.44989, 1e-5) &&
                near(i.p, .06191, 1e-5));
    e = effect(&A, &B, AB_MEAN, AB_ABSOLUTE);
    i = ab_effect_fixed(&e, AB_TWO_SIDED, .05);
    assert_true(near(e.lift, .29, 1e-5) && near(e.se, .12478, 1e-5));
    assert_true(near(i.from, .04538, 1e-5) && near(i.to, .53462, 1e-5) && near(i.p, .02016, 1e-5));
}

static void test_fixed_proportions(void **state)
{
    (void)state;
    const struct ab_sums a = {.n = 28, .sum = 14}, b = {.n = 30, .sum = 16};
    const struct ab_effect e = effect(&a, &b, AB_PROPORTION, AB_RELATIVE);
    const struct ab_interval i = ab_effect_fixed(&e, AB_TWO_SIDED, .05);
    assert_true(near(e.lift, .06667, 1e-5) && near(e.se, .2717, 1e-5));
    assert_true(near(i.from, -.47767, 1e-5) && near(i.to, .61101, 1e-5) && near(i.p, .80707, 1e-5));
}

static void test_fixed_one_sided(void **state)
{
    (void)state;
    struct ab_effect e = effect(&A3000, &B, AB_MEAN, AB_RELATIVE);
    struct ab_interval i = ab_effect_fixed(&e, AB_GREATER, .05);
    assert_true(near(e.lift, .5033611, 1e-7) && near(e.se, .3334122, 1e-7));
    assert_true(near(i.from, -.0451367, 1e-7) && near(i.p, .0655826, 1e-7));
    assert_true(isinf(i.to));
    e = effect(&A3000, &B, AB_MEAN, AB_ABSOLUTE);
    i = ab_effect_fixed(&e, AB_GREATER, .05);
    assert_true(near(e.lift, .2343767, 1e-7) && near(e.se, .1298308, 1e-7));
    assert_true(near(i.from, .0207915, 1e-7) && near(i.p, .0355427, 1e-7));
}

static void test_cuped(void **state)
{
    (void)state;
    struct ab_sums a = A3000, b = B;
    struct ab_arm arm_a, arm_b;
    struct ab_cuped c;
    struct ab_effect e;
    a.x_sum = 16.87, a.x_square_sum = 527.9767, a.xy_sum = 1;
    b.x_sum = 22.7, b.x_square_sum = 1348.29, b.xy_sum = 1;
    assert_true(ab_arm_from(&a, AB_MEAN, &arm_a) && ab_arm_from(&b, AB_MEAN, &arm_b));
    assert_true(ab_cuped_adjust(&a, &b, &arm_a, &arm_b, &c));
    assert_true(near(c.theta, -.0114032, 1e-7));
    assert_true(ab_effect_between(&arm_a, &arm_b, AB_RELATIVE, &e));
    assert_true(near(e.lift, .503383996, 1e-9) && near(e.se, .333411967, 1e-9));
    const struct ab_interval i = ab_sequence_at(&e, AB_TWO_SIDED, .05, 5000);
    assert_true(near(i.from, -.509694100, 1e-9) && near(i.to, 1.516462091, 1e-9));
}

static void test_sequence_rho(void **state)
{
    (void)state;
    assert_true(near(ab_sequence_rho(.05, 5000, AB_TWO_SIDED), .03984007, 1e-8));
    assert_true(near(ab_sequence_rho(.05, 1000, AB_TWO_SIDED), .08908510, 1e-8));
    assert_true(near(ab_sequence_rho(.05, 5000, AB_GREATER), .03557769, 1e-8));
}

static void test_sequence_proportions(void **state)
{
    (void)state;
    const struct ab_sums a = {.n = 3000, .sum = 1396}, b = {.n = 3461, .sum = 2422};
    const struct ab_effect e = effect(&a, &b, AB_PROPORTION, AB_RELATIVE);
    const struct ab_interval i = ab_sequence_at(&e, AB_TWO_SIDED, .05, 5000);
    assert_true(near(e.lift, .50386, 1e-5) && near(e.se, .03386, 1e-5));
    assert_true(near(i.from, .40098, 1e-5) && near(i.to, .60675, 1e-5));
    assert_true(near(i.p * 1e44, 5.17, 1e-2));
}

static void test_sequence_means(void **state)
{
    (void)state;
    const struct ab_effect e = effect(&A3000, &B, AB_MEAN, AB_RELATIVE);
    const struct ab_interval i = ab_sequence_at(&e, AB_TWO_SIDED, .05, 1000);
    assert_true(near(e.lift, .50336, 1e-5) && near(e.se, .33341, 1e-5));
    assert_true(near(i.from, -.55844, 1e-5) && near(i.to, 1.56516, 1e-5) && i.p == 1);
}

static void test_sequence_one_sided(void **state)
{
    (void)state;
    struct ab_effect e = effect(&A3000, &B, AB_MEAN, AB_RELATIVE);
    struct ab_interval i = ab_sequence_at(&e, AB_GREATER, .05, 5000);
    assert_true(near(i.from, -.4235645, 1e-7) && near(e.lift + i.half, 1.4302867, 1e-7));
    assert_true(near(i.p, .4999, 1e-7));
    e = effect(&A3000, &B, AB_MEAN, AB_ABSOLUTE);
    i = ab_sequence_at(&e, AB_GREATER, .05, 5000);
    assert_true(near(i.from, -.1265684, 1e-7));
    /* The published .4631649 is 3795/4096 of the way through [1e-5, .4999]: a bisection that stopped after twelve
     * halvings. Ours goes on: within that step, and there the bound is 0. */
    assert_true(fabs(i.p - .4631649) < .49989 / 4096);
    assert_true(
        fabs(ab_sequence_with(&e, AB_GREATER, i.p, ab_sequence_rho(.05, 5000, AB_GREATER)).from) <
        1e-12);
}

/* "Less" is "greater" seen from the other side. */
static void test_less_mirrors_greater(void **state)
{
    (void)state;
    const struct ab_effect up = effect(&A, &B, AB_MEAN, AB_ABSOLUTE),
                           down = effect(&B, &A, AB_MEAN, AB_ABSOLUTE);
    struct ab_interval g = ab_effect_fixed(&up, AB_GREATER, .05);
    struct ab_interval l = ab_effect_fixed(&down, AB_LESS, .05);
    assert_true(close_to(l.to, -g.from, 1e-12) && close_to(l.p, g.p, 1e-12) && isinf(l.from));
    g = ab_sequence_at(&up, AB_GREATER, .05, 5000);
    l = ab_sequence_at(&down, AB_LESS, .05, 5000);
    assert_true(close_to(l.to, -g.from, 1e-12) && close_to(l.p, g.p, 1e-12) && isinf(l.from));
    assert_true(ab_sequence_at(&up, AB_LESS, .05, 5000).p == .4999);
}

/* p < alpha exactly where the interval leaves 0 out: two formulas, one test. */
static void test_p_agrees_with_interval(void **state)
{
    (void)state;
    struct ab_effect e = {.se = .01, .n = 4000, .degrees = 3998};
    for (int side = AB_TWO_SIDED; side <= AB_LESS; side++)
        for (e.lift = -.06; e.lift < .06; e.lift += .00037) {
            struct ab_interval i = ab_sequence_at(&e, (enum ab_side)side, .05, 5000);
            assert_int_equal(i.p<.05, i.from> 0 || i.to < 0);
            i = ab_effect_fixed(&e, (enum ab_side)side, .05);
            assert_int_equal(i.p<.05, i.from> 0 || i.to < 0);
        }
}

/* The mSPRT, L = sqrt(V/(V + n tau^2)) exp(n^2 tau^2 d^2 / (2 V (V + n tau^2))) with V = SE^2 n, is 1 / p. */
static void test_msprt_is_the_same_family(void **state)
{
    (void)state;
    const double tau = .02, d = .03;
    const struct ab_effect e = {.lift = d, .se = .008, .n = 7000, .degrees = 6998};
    const double v = e.se * e.se * e.n, n = e.n, t2 = tau * tau;
    const double ratio = sqrt(v / (v + n * t2)) * exp(n * n * t2 * d * d / (2 * v * (v + n * t2)));
    const double p = ab_sequence_with(&e, AB_TWO_SIDED, .05, sqrt(t2 / v)).p;
    assert_true(close_to(p, 1 / ratio, 1e-12));
}

static void test_running_intersection(void **state)
{
    (void)state;
    struct ab_sequence s;
    ab_sequence_init(&s);
    ab_sequence_look(&s, &(struct ab_interval){-1, 2, 1.5, .6});
    ab_sequence_look(&s, &(struct ab_interval){-2, 1, 1.5, .9});
    assert_true(s.from == -1 && s.to == 1 && s.p == .6 && !s.empty);
    ab_sequence_look(&s, &(struct ab_interval){-.5, 3, 1.5, .04});
    assert_true(s.from == -.5 && s.to == 1 && s.p == .04 && !s.empty);
    ab_sequence_look(&s, &(struct ab_interval){1.5, 2, .25, .01});
    assert_true(s.from == -.5 && s.to == 1 && s.p == .01 && s.empty);
}

/* A ratio's variance against the same thing computed user by user: the variance of (y - r d) / mean d. */
static void test_ratio_variance(void **state)
{
    (void)state;
    enum { N = 5000 };
    static double y[N], d[N];
    struct rng rng = {.key = 4};
    struct ab_sums s = {.n = N};
    struct ab_arm arm;
    for (int i = 0; i < N; i++) {
        d[i] = 1 + (double)rng_below(&rng, 30);
        y[i] = 0;
        for (int k = 0; k < (int)d[i]; k++)
            y[i] += rng_next_unit(&rng) < .1;
        s.sum += y[i], s.square_sum += y[i] * y[i];
        s.d_sum += d[i], s.d_square_sum += d[i] * d[i], s.yd_sum += y[i] * d[i];
    }
    const double r = s.sum / s.d_sum;
    double residual = 0;
    for (int i = 0; i < N; i++)
        residual += (y[i] - r * d[i]) * (y[i] - r * d[i]);
    assert_true(ab_arm_from(&s, AB_RATIO, &arm));
    assert_true(close_to(arm.mean, r, 1e-12) && close_to(arm.base, r, 1e-12));
    const double per_d = s.d_sum / N;
    assert_true(close_to(arm.var, residual / (N - 1) / (per_d * per_d), 1e-9));
}

/* Where X explains most of Y the interval shrinks as 1 - correlation^2 says, and the estimate stays. */
static void test_cuped_reduces(void **state)
{
    (void)state;
    struct rng rng = {.key = 11};
    struct ab_sums s[2];
    struct ab_arm arm[2], plain[2];
    struct ab_cuped c;
    memset(s, 0, sizeof s);
    for (int i = 0; i < 40000; i++) {
        struct ab_sums *to = &s[i % 2];
        const double x = rng_next_normal(&rng) + 3,
                     y = x + rng_next_normal(&rng) * .5 + (i % 2) * .01;
        to->n += 1, to->sum += y, to->square_sum += y * y;
        to->x_sum += x, to->x_square_sum += x * x, to->xy_sum += x * y;
    }
    for (int k = 0; k < 2; k++) {
        assert_true(ab_arm_from(&s[k], AB_MEAN, &arm[k]));
        plain[k] = arm[k];
    }
    assert_true(ab_cuped_adjust(&s[0], &s[1], &arm[0], &arm[1], &c));
    assert_true(close_to(c.theta, 1, .02));
    assert_true(close_to(c.reduction, .8, .02)); /* correlation^2 = 1 / 1.25 */
    assert_true(close_to(arm[0].var / plain[0].var, .2, .05));
    assert_true(arm[0].base == plain[0].base && arm[0].mean != plain[0].mean);
    assert_true(fabs(arm[1].mean - arm[0].mean - .01) < 4 * .5 / sqrt(10000));
}

static void test_not_enough_data(void **state)
{
    (void)state;
    const struct ab_arm before = {-1, -1, -1, -1};
    struct ab_arm arm = before;
    static const struct {
        enum ab_kind kind;
        struct ab_sums s;
    } few[] = {
        {AB_MEAN, {.n = 0}},
        {AB_PROPORTION, {.n = 0}},
        {AB_RATIO, {.n = 0}},
        {AB_MEAN, {.n = 1, .sum = 5, .square_sum = 25}},
        {AB_PROPORTION, {.n = 1, .sum = 1}},
        {AB_MEAN, {.n = 10, .sum = 30, .square_sum = 90}},                  /* all 3 */
        {AB_MEAN, {.n = 1000}},                                             /* all 0 */
        {AB_MEAN, {.n = 1e6, .sum = 1e5, .square_sum = 1e4 * (1 + 1e-15)}}, /* all .1, rounded */
        {AB_MEAN, {.n = 10, .sum = 30, .square_sum = 80}},                  /* no such users */
        {AB_PROPORTION, {.n = 10, .sum = 10}},
        {AB_PROPORTION, {.n = 10, .sum = 11}},
        {AB_RATIO, {.n = 10, .sum = 3, .square_sum = 3}}, /* nothing below the line */
        {AB_RATIO, {10, 5, 2.5 + 2, 10, 18, 9, 0, 0, 0}}, /* y = d / 2 for each */
        {AB_MEAN, {.n = INFINITY, .sum = 1, .square_sum = 1}},
        {AB_MEAN, {.n = NAN, .sum = 1, .square_sum = 1}},
        {AB_MEAN, {.n = 5, .sum = NAN, .square_sum = 1}},
        {AB_MEAN, {.n = 5, .sum = 1, .square_sum = INFINITY}},
    };
    for (size_t i = 0; i < sizeof few / sizeof few[0]; i++) {
        assert_false(ab_arm_from(&few[i].s, few[i].kind, &arm));
        assert_memory_equal(&arm, &before, sizeof arm);
    }
    struct ab_effect e;
    const struct ab_sums zero_mean = {.n = 2, .sum = 0, .square_sum = 2};
    assert_true(ab_arm_from(&zero_mean, AB_MEAN, &arm));
    assert_false(ab_effect_between(&arm, &arm, AB_RELATIVE, &e));
    assert_true(ab_effect_between(&arm, &arm, AB_ABSOLUTE, &e));
    struct ab_arm a, b;
    struct ab_cuped c;
    assert_true(ab_arm_from(&A, AB_MEAN, &a) && ab_arm_from(&B, AB_MEAN, &b));
    const struct ab_arm was = a;
    assert_false(ab_cuped_adjust(&A, &B, &a, &b, &c)); /* no covariate */
    struct ab_sums all_one = A, all_one_b = B;
    all_one.x_sum = all_one.x_square_sum = all_one.n, all_one.xy_sum = all_one.sum;
    all_one_b.x_sum = all_one_b.x_square_sum = all_one_b.n, all_one_b.xy_sum = all_one_b.sum;
    assert_false(ab_cuped_adjust(&all_one, &all_one_b, &a, &b, &c)); /* no variance in it */
    assert_memory_equal(&a, &was, sizeof a);
}

/* Two users an arm are enough for a number, and it is a finite one on every path. */
static void test_two_users_are_finite(void **state)
{
    (void)state;
    const struct ab_sums a = {.n = 2, .sum = 1, .square_sum = 1},
                         b = {.n = 2, .sum = 3, .square_sum = 5};
    for (int lift = AB_RELATIVE; lift <= AB_ABSOLUTE; lift++)
        for (int side = AB_TWO_SIDED; side <= AB_LESS; side++) {
            const struct ab_effect e = effect(&a, &b, AB_MEAN, (enum ab_lift)lift);
            struct ab_interval i = ab_effect_fixed(&e, (enum ab_side)side, .05);
            assert_true(isfinite(i.half) && i.p > 0 && i.p <= 1);
            i = ab_sequence_at(&e, (enum ab_side)side, .05, 5000);
            assert_true(isfinite(i.half) && i.half > 0 && i.p > 0 && i.p <= 1);
        }
}

/* A trillion users an arm, rate .01 against .0100001: z = .71 from the closed form, and nothing overflows. */
static void test_a_trillion_users(void **state)
{
    (void)state;
    const double n = 1e12, base = .01, more = .0100001;
    const struct ab_sums a = {.n = n, .sum = n * base, .square_sum = n * base};
    const struct ab_sums b = {.n = n, .sum = n * more, .square_sum = n * more};
    const double se = sqrt((base * (1 - base) + more * (1 - more)) / n);
    const enum ab_kind kinds[] = {AB_MEAN, AB_PROPORTION};
    for (int k = 0; k < 2; k++) {
        const struct ab_effect e = effect(&a, &b, kinds[k], AB_ABSOLUTE);
        assert_true(close_to(e.lift, 1e-7, 1e-9) && close_to(e.se, se, 1e-9));
        const struct ab_interval f = ab_effect_fixed(&e, AB_TWO_SIDED, .05);
        assert_true(close_to(f.p, erfc(1e-7 / se / sqrt(2)), 1e-6));
        const struct ab_interval i = ab_sequence_at(&e, AB_TWO_SIDED, .05, 5000);
        assert_true(isfinite(i.half) && i.half > f.half && i.half < 10 * f.half);
        assert_true(i.p >= 0 && i.p <= 1);
    }
    /* Mean a thousand times the deviation: six of sixteen digits are gone, ten are left. */
    const struct ab_sums far = {.n = n, .sum = n * 1000, .square_sum = n * (1e6 + 1)};
    struct ab_arm arm;
    assert_true(ab_arm_from(&far, AB_MEAN, &arm) && close_to(arm.var, 1, 1e-4));
}

/* Leaves 0 out exactly when the absolute interval does; near the delta method's where users are many; unbounded, said
 * to be so, where A's mean may be 0. */
static void test_fieller_agrees_with_absolute(void **state)
{
    (void)state;
    struct ab_arm a = {100, .1, .09, .1}, b = {120, .1, .09, .1};
    struct ab_interval lift;
    struct ab_effect e;
    int out = 0;
    assert_false(ab_sequence_lift(&a, &b, AB_TWO_SIDED, .05, 5000, &lift));
    a.n = 3000, b.n = 3200;
    for (int side = AB_TWO_SIDED; side <= AB_LESS; side++)
        for (b.mean = .03; b.mean < .2; b.mean += .0007) {
            b.base = b.mean, b.var = b.mean * (1 - b.mean);
            assert_true(ab_effect_between(&a, &b, AB_ABSOLUTE, &e));
            const struct ab_interval abs = ab_sequence_at(&e, (enum ab_side)side, .05, 5000);
            assert_true(ab_sequence_lift(&a, &b, (enum ab_side)side, .05, 5000, &lift));
            assert_int_equal(lift.from > 0, abs.from > 0);
            assert_int_equal(lift.to < 0, abs.to < 0);
            assert_true(lift.p == abs.p && lift.from < b.mean / .1 - 1 &&
                        lift.to > b.mean / .1 - 1);
            out += lift.from > 0 || lift.to < 0;
        }
    assert_true(out > 100);
    a.n = b.n = 1e9;
    b.mean = b.base = .11, b.var = .11 * .89;
    assert_true(ab_effect_between(&a, &b, AB_RELATIVE, &e));
    const struct ab_interval delta = ab_sequence_at(&e, AB_TWO_SIDED, .05, 5000);
    assert_true(ab_sequence_lift(&a, &b, AB_TWO_SIDED, .05, 5000, &lift));
    assert_true(close_to(lift.from, delta.from, 1e-4) && close_to(lift.to, delta.to, 1e-4));
}

/* The true lift, .5, stays inside at every one of 1500 looks in at least 95% of 1000 tests with few buyers. */
static void test_fieller_covers(void **state)
{
    (void)state;
    int left_out = 0;
    for (uint64_t t = 0; t < 1000; t++) {
        struct rng rng = {.key = rng_mix(21, t)};
        struct ab_sums s[2];
        int missed = 0;
        memset(s, 0, sizeof s);
        for (int u = 0; u < 3000 && !missed; u++) {
            struct ab_sums *to = &s[u % 2];
            struct ab_arm a, b;
            struct ab_interval lift;
            to->n += 1;
            to->sum += rng_next_unit(&rng) < (u % 2 ? .06 : .04);
            if (u % 2 && ab_arm_from(&s[0], AB_PROPORTION, &a) &&
                ab_arm_from(&s[1], AB_PROPORTION, &b) &&
                ab_sequence_lift(&a, &b, AB_TWO_SIDED, .05, 3000, &lift))
                missed = lift.from > .5 || lift.to < .5;
        }
        left_out += missed;
    }
    print_message("    the true lift was left out in %d of 1000 tests\n", left_out);
    assert_true(left_out <= 50);
}

static void test_sums_add(void **state)
{
    (void)state;
    struct ab_sums s = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    const struct ab_sums more = {10, 20, 30, 40, 50, 60, 70, 80, 90},
                         both = {11, 22, 33, 44, 55, 66, 77, 88, 99};
    ab_sums_add(&s, &more);
    assert_memory_equal(&s, &both, sizeof s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed_two_sided),
        cmocka_unit_test(test_fixed_proportions),
        cmocka_unit_test(test_fixed_one_sided),
        cmocka_unit_test(test_cuped),
        cmocka_unit_test(test_sequence_rho),
        cmocka_unit_test(test_sequence_proportions),
        cmocka_unit_test(test_sequence_means),
        cmocka_unit_test(test_sequence_one_sided),
        cmocka_unit_test(test_less_mirrors_greater),
        cmocka_unit_test(test_p_agrees_with_interval),
        cmocka_unit_test(test_msprt_is_the_same_family),
        cmocka_unit_test(test_running_intersection),
        cmocka_unit_test(test_ratio_variance),
        cmocka_unit_test(test_cuped_reduces),
        cmocka_unit_test(test_not_enough_data),
        cmocka_unit_test(test_two_users_are_finite),
        cmocka_unit_test(test_a_trillion_users),
        cmocka_unit_test(test_fieller_agrees_with_absolute),
        cmocka_unit_test(test_fieller_covers),
        cmocka_unit_test(test_sums_add),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
