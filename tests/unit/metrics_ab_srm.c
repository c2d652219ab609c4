/* metrics_ab_srm.c - sample ratio mismatch: published vectors, a lost percent is found, a sound split is left in
 * peace however often one looks.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/metrics/ab_srm.h"
#include "tests/unit/metrics_case.h"

static const double half[] = {.5, .5};

static void test_chi_square_vectors(void **state)
{
    (void)state;
    struct ab_srm_result r;
    assert_true(ab_srm_chi_square((double[]){500, 600}, half, 2, &r));
    assert_true(near(r.chi_square, 9.0909, 1e-4) && near(r.p, .0025688, 1e-7));
    assert_true(ab_srm_chi_square((double[]){502, 498}, half, 2, &r));
    assert_true(near(r.p, .899, 1e-3));
    /* Weights of any sum; three arms: 2 degrees, so p = exp(-X/2). */
    assert_true(ab_srm_chi_square((double[]){500, 600}, (double[]){3, 3}, 2, &r));
    assert_true(near(r.p, .0025688, 1e-7));
    assert_true(ab_srm_chi_square((double[]){120, 160, 220}, (double[]){.25, .35, .4}, 3, &r));
    const double x = 25. / 125 + 15. * 15 / 175 + 20. * 20 / 200;
    assert_true(close_to(r.chi_square, x, 1e-12) && close_to(r.p, exp(-x / 2), 1e-12));
}

static void test_sequential_vectors(void **state)
{
    (void)state;
    struct ab_srm s;
    assert_true(ab_srm_init(&s, half, 2));
    assert_true(near(ab_srm_look(&s, (double[]){500, 600}), .6714507265, 1e-10));
    assert_true(ab_srm_init(&s, half, 2));
    assert_true(near(ab_srm_look(&s, (double[]){100, 900}) * 1e13, 2.3678998, 1e-7));
    assert_true(ab_srm_init(&s, half, 2));
    assert_true(ab_srm_look(&s, (double[]){500, 500}) == 1);
    assert_true(ab_srm_init(&s, half, 2));
    assert_true(near(ab_srm_look(&s, (double[]){50, 450}) * 1e4, 5.0184389, 1e-7));
    assert_true(near(ab_srm_look(&s, (double[]){50, 450}) * 1e13, 2.3678998, 1e-7));
}

/* The formula as it is written, period by period, against ours from the totals. */
static void test_periods_telescope(void **state)
{
    (void)state;
    const double w[] = {.2, .3, .5};
    double a[3], m1 = 0, m0 = 0, p = 1, x[3];
    struct ab_srm s;
    struct rng rng = {.key = 3};
    assert_true(ab_srm_init(&s, w, 3));
    for (int i = 0; i < 3; i++)
        a[i] = AB_SRM_PRIOR * w[i];
    for (int t = 0; t < 200; t++) {
        double n = 0, all = 0;
        for (int i = 0; i < 3; i++) {
            x[i] = (double)rng_below(&rng, (uint64_t)(100 * w[i]) + (t > 100 && i == 0 ? 20 : 1));
            n += x[i];
            all += a[i];
        }
        m1 += lgamma(n + 1) + lgamma(all) - lgamma(all + n);
        m0 += lgamma(n + 1);
        for (int i = 0; i < 3; i++) {
            m1 += lgamma(a[i] + x[i]) - lgamma(a[i]) - lgamma(x[i] + 1);
            m0 += x[i] * log(w[i]) - lgamma(x[i] + 1);
            a[i] += x[i];
        }
        p = fmin(p, exp(m0 - m1));
        assert_true(close_to(ab_srm_look(&s, x), p, 1e-6));
    }
    assert_true(p < 1e-3); /* so the comparison was about something */
}

static void test_not_enough_data(void **state)
{
    (void)state;
    struct ab_srm_result r = {-1, -1};
    struct ab_srm s;
    double many[AB_VARIANTS_MAX + 1];
    for (size_t i = 0; i <= AB_VARIANTS_MAX; i++)
        many[i] = 1;
    assert_false(ab_srm_chi_square((double[]){0, 0}, half, 2, &r));
    assert_false(ab_srm_chi_square((double[]){5}, half, 1, &r));
    assert_false(ab_srm_chi_square((double[]){5, 5}, (double[]){1, 0}, 2, &r));
    assert_false(ab_srm_chi_square((double[]){5, 5}, (double[]){1, NAN}, 2, &r));
    assert_false(ab_srm_chi_square(many, many, AB_VARIANTS_MAX + 1, &r));
    assert_true(r.p == -1);
    assert_false(ab_srm_init(&s, (double[]){1, 0}, 2));
    assert_false(ab_srm_init(&s, half, 1));
    assert_false(ab_srm_init(&s, many, AB_VARIANTS_MAX + 1));
    assert_true(ab_srm_init(&s, half, 2));
    assert_true(near(ab_srm_look(&s, (double[]){0, 0}), 1, 1e-12));
}

/* At a trillion users: log odds from Stirling's closed form for a half and half split that is off by d:
 * about 2 d^2 / n - ln(n / c) / 2. */
static void test_a_trillion_users(void **state)
{
    (void)state;
    struct ab_srm s;
    const double n = 1e12, d = 4e6;
    assert_true(ab_srm_init(&s, half, 2));
    const double p = ab_srm_look(&s, (double[]){n / 2 + d, n / 2 - d});
    const double log_odds = 2 * d * d / n - log((n + AB_SRM_PRIOR) / AB_SRM_PRIOR) / 2;
    assert_true(close_to(-log(p), log_odds, 1e-4));
    assert_true(ab_srm_init(&s, half, 2));
    assert_true(ab_srm_look(&s, (double[]){n, 0}) == 0);
    struct ab_srm_result r;
    assert_true(ab_srm_chi_square((double[]){n, 0}, half, 2, &r) && r.p == 0);
}

/* One in a hundred of B's users is lost on the way: both tests ring, and neither does without the loss. */
static void test_one_percent_lost(void **state)
{
    (void)state;
    for (int lose = 0; lose <= 1; lose++) {
        struct rng rng = {.key = 77};
        struct ab_srm s;
        struct ab_srm_result r;
        double rung = 0;
        assert_true(ab_srm_init(&s, half, 2));
        for (int step = 0; step < 4000; step++) {
            double x[2] = {0, 0};
            for (int u = 0; u < 1000; u++) {
                const uint64_t v = rng_next(&rng);
                const int b = (int)(v & 1);
                x[b] += !(lose && b && (v >> 1) % 100 == 0);
            }
            if (ab_srm_look(&s, x) < AB_SRM_ALARM && rung == 0)
                rung = s.count[0] + s.count[1];
        }
        assert_true(ab_srm_chi_square(s.count, half, 2, &r));
        print_message("    %s: sequential p %.2g%s (first after %.0f users), chi-square p %.2g\n",
                      lose ? "1% lost" : "nothing lost", s.p, rung > 0 ? " rings" : "", rung, r.p);
        assert_int_equal(rung > 0, lose);
        assert_int_equal(r.p < AB_SRM_ALARM, lose);
    }
}

/* 1000 sound splits, looked at 1000 times each: p falls below .05 in at most 5% of them. */
static void test_looking_is_free(void **state)
{
    (void)state;
    int alarms = 0, naive = 0;
    for (uint64_t t = 0; t < 1000; t++) {
        struct rng rng = {.key = rng_mix(5, t)};
        struct ab_srm s;
        struct ab_srm_result r;
        int chi = 0;
        assert_true(ab_srm_init(&s, half, 2));
        for (int step = 0; step < 1000; step++) {
            const double ones = (double)__builtin_popcountll(rng_next(&rng));
            (void)ab_srm_look(&s, (double[]){ones, 64 - ones});
            chi |= ab_srm_chi_square(s.count, half, 2, &r) && r.p < .05;
        }
        alarms += s.p < .05;
        naive += chi;
    }
    print_message("    of 1000 sound splits: %d sequential alarms at .05, %d by chi-square\n",
                  alarms, naive);
    assert_true(alarms <= 50);
    assert_true(naive > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chi_square_vectors), cmocka_unit_test(test_sequential_vectors),
        cmocka_unit_test(test_periods_telescope),  cmocka_unit_test(test_not_enough_data),
        cmocka_unit_test(test_a_trillion_users),   cmocka_unit_test(test_one_percent_lost),
        cmocka_unit_test(test_looking_is_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
