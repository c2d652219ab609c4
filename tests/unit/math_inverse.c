/* math_inverse.c - a matrix times its inverse is the identity; only one half is read; what has no inverse is said. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/math/inverse.h"

/* G'G + I of a G that is different everywhere; the half that need not be read is foul. */
static void make(float *whole, float *half, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = i == j;
            for (size_t k = 0; k < n; k++)
                sum += sin((double)(k * n + i)) * sin((double)(k * n + j));
            whole[i * n + j] = (float)sum;
            half[i * n + j] = j >= i ? (float)sum : NAN;
        }
    }
}

static void check_identity(const float *a, const float *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++)
                sum += (double)a[i * n + k] * (double)p[k * n + j];
            assert_true(fabs(sum - (i == j)) < 1e-3);
            assert_true(p[i * n + j] == p[j * n + i]);
        }
    }
}

static void test_times_inverse(void **state)
{
    static const size_t sizes[] = {1, 2, 37, 150};
    (void)state;
    for (size_t s = 0; s < 4; s++) {
        const size_t n = sizes[s];
        float *a = calloc(n * n, sizeof *a), *p = calloc(n * n, sizeof *p);
        make(a, p, n);
        assert_true(inverse_symmetric(p, n));
        check_identity(a, p, n);
        free(a);
        free(p);
    }
}

static void test_none(void **state)
{
    (void)state;
    float half[] = {4}, saddle[] = {1, 2, 2, 1}; /* its eigenvalues are 3 and -1 */
    assert_true(inverse_symmetric(NULL, 0));
    assert_true(inverse_symmetric(half, 1) && half[0] == .25f);
    assert_false(inverse_symmetric((float[]){0}, 1));
    assert_false(inverse_symmetric((float[]){-2}, 1));
    assert_false(inverse_symmetric((float[]){NAN}, 1));
    assert_false(inverse_symmetric(saddle, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times_inverse),
        cmocka_unit_test(test_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
