/* metrics_auc.c - the histogram AUC against hand-counted values, against sorting, and its bound. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/metrics/auc.h"

static struct auc_result histogram(const float *z, const float *y, size_t n)
{
    struct auc a;
    auc_init(&a);
    auc_add(&a, z, y, n);
    const struct auc_result r = auc_value(&a);
    auc_release(&a);
    return r;
}

static void expect(double got, double want)
{
    assert_true(fabs(got - want) < 1e-12);
}

static void test_by_hand(void **state)
{
    (void)state;
    /* Positives 3, 1; negatives 2, 0: of 4 pairs 3>2, 3>0, 1>0 are right. */
    const float z[] = {3, 1, 2, 0}, y[] = {1, 1, 0, 0};
    expect(auc_exact(z, y, 4), 0.75);
    expect(histogram(z, y, 4).auc, 0.75);
    expect(histogram(z, y, 4).bound, 0);
    assert_int_equal(histogram(z, y, 4).positives, 2);
    assert_int_equal(histogram(z, y, 4).negatives, 2);
    /* Ties by half: positives 1, 1; negatives 1, 0, -1: (1/2 + 1 + 1) twice of 6. */
    const float tied[] = {1, 1, 1, 0, -1}, half[] = {1, 1, 0, 0, 0};
    expect(auc_exact(tied, half, 5), 5.0 / 6);
    expect(histogram(tied, half, 5).auc, 5.0 / 6);
    expect(histogram(tied, half, 5).bound, 2.0 / (2 * 6));
    /* Signs, tiny and infinite scores keep their order; -0 is 0. */
    const float odd[] = {-INFINITY, -1e-30f, -0.0f, 0.0f, 1e-30f, INFINITY};
    const float up[] = {0, 0, 0, 1, 1, 1};
    expect(auc_exact(odd, up, 6), 8.5 / 9);
    expect(histogram(odd, up, 6).auc, 8.5 / 9);
}

static void test_degenerate(void **state)
{
    (void)state;
    const float z[] = {1, 2, 3}, one[] = {1, 1, 1}, zero[] = {0, 0, 0}, mixed[] = {1, 0, 1};
    expect(histogram(z, one, 3).auc, 0.5);
    expect(histogram(z, zero, 3).auc, 0.5);
    expect(histogram(z, zero, 0).auc, 0.5);
    expect(auc_exact(z, one, 3), 0.5);
    expect(auc_exact(z, zero, 0), 0.5);
    const float nan[] = {NAN, NAN, NAN};
    expect(histogram(nan, mixed, 3).auc, 0.5);
    expect(auc_exact(nan, mixed, 3), 0.5);
}

/* Brute force over all pairs. */
static double pairs(const float *z, const float *y, size_t n)
{
    double right = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            if (y[i] < 0.5f || y[j] > 0.5f)
                continue;
            right += z[i] > z[j] ? 1 : z[i] < z[j] ? 0 : 0.5;
            all++;
        }
    }
    return right / all;
}

/* Logits of two classes `apart`; rounded to steps so that ties are many, if steps > 0. */
static void draw(float *z, float *y, size_t n, double apart, double steps, uint64_t seed)
{
    struct rng rng = {.key = seed};
    for (size_t i = 0; i < n; i++) {
        y[i] = rng_next_unit(&rng) < 0.3 ? 1 : 0;
        const double x = rng_next_normal(&rng) + (y[i] > 0.5f ? apart : 0);
        z[i] = (float)(steps > 0 ? round(x * steps) / steps : x);
    }
}

static void test_sorting_is_exact(void **state)
{
    (void)state;
    float z[300], y[300];
    for (uint64_t seed = 0; seed < 20; seed++) {
        draw(z, y, 300, 1, seed % 2 ? 4 : 0, seed);
        expect(auc_exact(z, y, 300), pairs(z, y, 300));
    }
}

static void test_bound(void **state)
{
    (void)state;
    const size_t n = 200000;
    float *z = mem_array(n, sizeof(*z)), *y = mem_array(n, sizeof(*y));
    for (uint64_t seed = 0; seed < 4; seed++) {
        draw(z, y, n, 1, 0, seed);
        if (seed == 1)
            for (size_t i = 0; i < n; i++)
                z[i] += 1000; /* far from 0 the bins are coarse: half a unit */
        const struct auc_result r = histogram(z, y, n);
        const double exact = auc_exact(z, y, n);
        print_message("    exact %.9f, off by %.1e, bound %.1e\n", exact, r.auc - exact, r.bound);
        assert_true(fabs(r.auc - exact) <= r.bound);
        assert_true(r.bound > 0 && r.bound < (seed == 1 ? 0.1 : 3e-4));
    }
    draw(z, y, n, 1, 8, 9); /* multiples of 1/8: every bin is one score, the value exact */
    expect(histogram(z, y, n).auc, auc_exact(z, y, n));
    free(z);
    free(y);
}

static void test_merge_is_whole(void **state)
{
    (void)state;
    float z[1000], y[1000];
    draw(z, y, 1000, 0.5, 0, 5);
    struct auc whole, parts[3];
    auc_init(&whole);
    auc_add(&whole, z, y, 1000);
    const size_t from[] = {0, 10, 700, 1000};
    for (size_t i = 0; i < 3; i++) {
        auc_init(&parts[i]);
        auc_add(&parts[i], z, y, 7); /* and forget it again */
        auc_reset(&parts[i]);
        auc_add(&parts[i], z + from[i], y + from[i], from[i + 1] - from[i]);
    }
    auc_merge(&parts[2], &parts[0]);
    auc_merge(&parts[2], &parts[1]);
    const struct auc_result a = auc_value(&whole), b = auc_value(&parts[2]);
    assert_memory_equal(&a, &b, sizeof(a));
    auc_release(&whole);
    for (size_t i = 0; i < 3; i++)
        auc_release(&parts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),          cmocka_unit_test(test_degenerate),
        cmocka_unit_test(test_sorting_is_exact), cmocka_unit_test(test_bound),
        cmocka_unit_test(test_merge_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
