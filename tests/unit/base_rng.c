/* base_rng.c - Philox against its published vectors, and what is built on it against its statistics. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rng.h"

/* Random123's kat_vectors, philox4x32 10. */
static void test_philox_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint64_t a, b, key;
        uint32_t want[4];
    } kat[] = {
        {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x85a308d3243f6a88u,
         0x0370734413198a2eu,
         0x299f31d0a4093822u,
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < 3; i++) {
        uint32_t got[4];
        rng_philox(kat[i].key, kat[i].a, kat[i].b, got);
        assert_memory_equal(got, kat[i].want, sizeof got);
    }
}

static void test_normal_is_a_function_of_its_place(void **state)
{
    (void)state;
    float all[103], some[103];
    rng_normal_fill(5, 9, all, 103);
    for (size_t n = 1; n <= 103; n++) {
        memset(some, 0xff, sizeof some);
        rng_normal_fill(5, 9, some, n);
        assert_memory_equal(some, all, n * sizeof(float));
    }
    rng_normal_fill(5, 10, some, 103);
    assert_memory_not_equal(some, all, sizeof all);
    rng_normal_fill(6, 9, some, 103);
    assert_memory_not_equal(some, all, sizeof all);
    rng_uniform_fill(5, 9, all, 103);
    rng_uniform_fill(5, 9, some, 7);
    assert_memory_equal(some, all, 7 * sizeof(float));
}

/* The polynomials against libm, through the words that philox gives for (key 1, a 2). */
static void test_normal_is_box_muller(void **state)
{
    (void)state;
    float got[4000];
    rng_normal_fill(1, 2, got, 4000);
    for (uint64_t block = 0; block < 1000; block++) {
        uint32_t w[4];
        rng_philox(1, 2, block, w);
        for (size_t pair = 0; pair < 2; pair++) {
            double u = ((double)w[2 * pair] + .5) * 0x1p-32;
            double turn = 2 * M_PI * (double)w[2 * pair + 1] * 0x1p-32;
            double r = sqrt(-2 * log(u));
            assert_true(fabs(got[block * 4 + pair * 2] - r * cos(turn)) < 1e-6);
            assert_true(fabs(got[block * 4 + pair * 2 + 1] - r * sin(turn)) < 1e-6);
        }
    }
}

static void test_moments(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    float *v = malloc(N * sizeof *v);
    double m[5] = {0};
    rng_normal_fill(42, 0, v, N);
    for (size_t i = 0; i < N; i++)
        for (int p = 1; p <= 4; p++)
            m[p] += pow(v[i], p) / N;
    assert_true(fabs(m[1]) < .005);
    assert_true(fabs(m[2] - 1) < .01);
    assert_true(fabs(m[3]) < .02);
    assert_true(fabs(m[4] - 3) < .05);
    rng_uniform_fill(42, 0, v, N);
    double mean = 0, square = 0;
    for (size_t i = 0; i < N; i++) {
        assert_true(v[i] >= -1 && v[i] < 1);
        mean += v[i] / N;
        square += v[i] * v[i] / N;
    }
    assert_true(fabs(mean) < .005);
    assert_true(fabs(square - 1.0 / 3) < .005);
    free(v);
}

static void test_stream(void **state)
{
    (void)state;
    struct rng a = {7, 0}, b = {7, 0};
    for (int i = 0; i < 100; i++)
        assert_true(rng_next(&a) == rng_next(&b));
    struct rng c = {7, 50}; /* a stream can be entered anywhere */
    b.n = 50;
    assert_true(rng_next(&b) == rng_next(&c));
    unsigned count[7] = {0};
    for (int i = 0; i < 70000; i++)
        count[rng_below(&a, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_true(count[i] > 9500 && count[i] < 10500);
    assert_true(rng_below(&a, 1) == 0);
    double mean = 0, normal = 0;
    for (int i = 0; i < 20000; i++) {
        double u = rng_next_unit(&a);
        assert_true(u >= 0 && u < 1);
        mean += u / 20000;
        normal += rng_next_normal(&a) / 20000;
    }
    assert_true(fabs(mean - .5) < .02);
    assert_true(fabs(normal) < .04);
}

static void test_mix(void **state)
{
    (void)state;
    assert_true(rng_mix(1, 2) != rng_mix(2, 1));
    assert_true(rng_mix(0, 0) != 0);
    /* One flipped bit in either value flips about half of the result. */
    double flipped = 0;
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t base = rng_mix(123, 456), one = (uint64_t)1 << bit;
        int a = __builtin_popcountll(base ^ rng_mix(123 ^ one, 456));
        int b = __builtin_popcountll(base ^ rng_mix(123, 456 ^ one));
        assert_true(a > 10 && a < 54 && b > 10 && b < 54);
        flipped += a + b;
    }
    assert_true(fabs(flipped / 128 - 32) < 2);
}

static void test_permute_is_a_bijection(void **state)
{
    (void)state;
    uint8_t *seen = malloc(100003);
    for (uint64_t n = 1; n <= 2000; n++) {
        memset(seen, 0, n);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t p = rng_permute(n * 31, n, i);
            assert_true(p < n);
            assert_int_equal(seen[p]++, 0);
        }
    }
    static const uint64_t big[] = {4095, 4096, 4097, 65536, 65537, 100003};
    for (size_t b = 0; b < sizeof big / sizeof big[0]; b++) {
        memset(seen, 0, big[b]);
        for (uint64_t i = 0; i < big[b]; i++) {
            uint64_t p = rng_permute(b, big[b], i);
            assert_true(p < big[b]);
            assert_int_equal(seen[p]++, 0);
        }
    }
    free(seen);
    static const uint64_t huge[] = {(1ull << 32) + 1, 1ull << 63, UINT64_MAX};
    for (size_t b = 0; b < 3; b++) {
        uint64_t last = rng_permute(1, huge[b], 0);
        for (uint64_t i = 1; i < 1000; i++) {
            uint64_t p = rng_permute(1, huge[b], i);
            assert_true(p < huge[b] && p != last);
            last = p;
        }
        assert_true(rng_permute(1, huge[b], huge[b] - 1) < huge[b]);
    }
}

/* A shuffle must not only be a bijection: each place receives each item about equally often. */
static void test_permute_mixes(void **state)
{
    (void)state;
    enum { N = 12, KEYS = 24000 };
    static unsigned count[N][N];
    memset(count, 0, sizeof count);
    for (uint64_t key = 0; key < KEYS; key++)
        for (uint64_t i = 0; i < N; i++)
            count[i][rng_permute(key, N, i)]++;
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            assert_true(count[i][j] > 1750 && count[i][j] < 2250);
    /* Where two neighbours land, jointly: 131 degrees of freedom, deviation .12. */
    static unsigned pair[N][N];
    double expected = 20000.0 / (N * (N - 1)), chi = 0;
    memset(pair, 0, sizeof pair);
    for (uint64_t key = 0; key < 20000; key++)
        pair[rng_permute(key, N, 0)][rng_permute(key, N, 1)]++;
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            chi += i == j ? 0 : pow(pair[i][j] - expected, 2) / expected;
    assert_true(chi / (N * (N - 1) - 1) < 1.6);
    size_t same = 0, next = 0;
    for (uint64_t i = 0; i + 1 < 100000; i++) {
        same += rng_permute(1, 100000, i) == rng_permute(2, 100000, i);
        next += rng_permute(1, 100000, i) + 1 == rng_permute(1, 100000, i + 1);
    }
    assert_true(same < 10);
    assert_true(next < 10);
}

static void test_os(void **state)
{
    (void)state;
    assert_true(rng_os_u64() != rng_os_u64());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_known_answers),
        cmocka_unit_test(test_normal_is_a_function_of_its_place),
        cmocka_unit_test(test_normal_is_box_muller),
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_mix),
        cmocka_unit_test(test_permute_is_a_bijection),
        cmocka_unit_test(test_permute_mixes),
        cmocka_unit_test(test_os),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
