/* metrics_logloss.c - cross-entropy, accuracy and calibration by hand; extremes stay finite. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/metrics/logloss.h"

static void expect(double got, double want)
{
    assert_true(fabs(got - want) <= 1e-12 * fmax(1, fabs(want)));
}

static void test_by_hand(void **state)
{
    (void)state;
    const float z[] = {0, 2, -1, -3}, y[] = {1, 1, 1, 0};
    struct logloss l = {0};
    logloss_add(&l, z, y, 4);
    expect(l.loss, log(2) + log(1 + exp(-2)) + log(1 + exp(1)) + log(1 + exp(-3)));
    expect(logloss_mean(&l), l.loss / 4);
    expect(l.predicted, 0.5 + 1 / (1 + exp(-2)) + 1 / (1 + exp(1)) + 1 / (1 + exp(3)));
    assert_int_equal(l.count, 4);
    assert_int_equal(l.positives, 3);
    assert_int_equal(l.correct, 2); /* 2 and -3; a logit of 0 says "no" */
    expect(logloss_accuracy(&l), 0.5);
}

static void test_extremes(void **state)
{
    (void)state;
    const float z[] = {1e4f, -1e4f, 1e4f, -1e4f}, y[] = {1, 0, 0, 1};
    struct logloss l = {0};
    logloss_add(&l, z, y, 2);
    assert_true(l.loss == 0);
    logloss_add(&l, z + 2, y + 2, 2);
    expect(l.loss, 2e4);
    expect(logloss_mean(&l), 5e3);
    expect(l.predicted, 2);
    assert_int_equal(l.correct, 2);
    const float broken[] = {NAN}, one[] = {1};
    logloss_add(&l, broken, one, 1);
    assert_true(isnan(logloss_mean(&l)));
    assert_int_equal(l.correct, 2);
}

static void test_merge_and_empty(void **state)
{
    (void)state;
    struct logloss empty = {0};
    expect(logloss_mean(&empty), 0);
    expect(logloss_accuracy(&empty), 0);
    const float z[] = {0.5f, -2, 3, 0.25f, -0.125f}, y[] = {1, 0, 0, 1, 0};
    struct logloss whole = {0}, a = {0}, b = {0};
    logloss_add(&whole, z, y, 5);
    logloss_add(&a, z, y, 2);
    logloss_add(&b, z + 2, y + 2, 3);
    logloss_merge(&a, &b);
    logloss_merge(&a, &empty);
    expect(a.loss, whole.loss);
    expect(a.predicted, whole.predicted);
    assert_int_equal(a.count, whole.count);
    assert_int_equal(a.correct, whole.correct);
    assert_int_equal(a.positives, whole.positives);
}

/* A float sum would stop at 2^24 records; this one goes on. */
static void test_many(void **state)
{
    (void)state;
    static float z[1 << 16], y[1 << 16];
    struct logloss l = {0};
    for (size_t i = 0; i < (1 << 16); i++)
        y[i] = 1; /* logit 0: log 2 each */
    for (int i = 0; i < 300; i++)
        logloss_add(&l, z, y, 1 << 16);
    assert_true(fabs(logloss_mean(&l) - log(2)) < 1e-9);
    assert_int_equal(l.count, 300u << 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_merge_and_empty),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
