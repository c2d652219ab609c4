/* metrics_special.c - tails and quantiles against closed forms and published tables. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/metrics/special.h"
#include "tests/unit/metrics_case.h"

/* With 2 degrees exp(-x/2), with 1 erfc(sqrt(x/2)), with 4 exp(-x/2)(1 + x/2); series and fraction both. */
static void test_chi_square_closed_forms(void **state)
{
    (void)state;
    for (double x = 1e-6; x < 1200; x *= 1.3) {
        assert_true(close_to(special_chi_square_tail(x, 2), exp(-x / 2), 1e-11));
        assert_true(close_to(special_chi_square_tail(x, 1), erfc(sqrt(x / 2)), 1e-10));
        assert_true(close_to(special_chi_square_tail(x, 4), exp(-x / 2) * (1 + x / 2), 1e-11));
    }
    assert_true(special_chi_square_tail(0, 3) == 1);
    assert_true(special_chi_square_tail(INFINITY, 3) == 0);
    assert_true(special_chi_square_tail(1e12, 15) == 0);
    assert_true(near(special_chi_square_tail(18.307, 10), 0.05, 1e-5)); /* the table */
    assert_true(near(special_chi_square_tail(124.342, 100), 0.05, 1e-5));
}

/* 1 degree is Cauchy, 2 degrees algebraic, infinitely many normal. */
static void test_t_closed_forms(void **state)
{
    (void)state;
    for (double t = 1e-4; t < 1e6; t *= 1.7) {
        assert_true(close_to(special_t_tail(t, 1), atan(1 / t) / M_PI, 1e-11));
        const double root = sqrt(2 + t * t);
        assert_true(close_to(special_t_tail(t, 2), 1 / (root * (root + t)), 1e-11));
        assert_true(close_to(special_t_tail(-t, 2), 1 - special_t_tail(t, 2), 1e-13));
    }
    for (double t = 0.1; t < 6; t += 0.5) {
        assert_true(close_to(special_t_tail(t, 9.9e6), special_normal_tail(t), 1e-4));
        assert_true(close_to(special_t_tail(t, 1e12), special_normal_tail(t), 1e-12));
    }
    assert_true(special_t_tail(0, 7) == 0.5);
    assert_true(special_t_tail(INFINITY, 7) == 0 && special_t_tail(-INFINITY, 7) == 1);
}

static void test_t_quantiles(void **state)
{
    (void)state;
    assert_true(near(special_t_quantile(0.025, 1), 12.7062, 1e-4)); /* the table */
    assert_true(near(special_t_quantile(0.025, 10), 2.2281, 1e-4));
    assert_true(near(special_t_quantile(0.05, 30), 1.6973, 1e-4));
    assert_true(near(special_t_quantile(0.025, 1e12), 1.959964, 1e-6));
    assert_true(near(special_t_quantile(0.5, 3), 0, 1e-9));
    assert_true(near(special_t_quantile(0.975, 10), -2.2281, 1e-4));
    for (double tail = 1e-9; tail < 0.5; tail *= 2)
        for (double degrees = 0.7; degrees < 1e5; degrees *= 3)
            assert_true(
                close_to(special_t_tail(special_t_quantile(tail, degrees), degrees), tail, 1e-9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chi_square_closed_forms),
        cmocka_unit_test(test_t_closed_forms),
        cmocka_unit_test(test_t_quantiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
