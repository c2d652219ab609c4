/* math_vec.c - the vector paths against plain C, and plain C against the definitions.
 *
 * Every function at every length from 0 to 70 (all tails of both vector widths) and at some hundreds, on
 * arrays that begin at odd addresses, with a guard behind the output that must stay untouched. Then
 * what the vectors approximate: exp, sigmoid, softplus, cross-entropy against double libm; and the
 * statistics of dropout's hash.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/math/vec.h"

#define ROOM  4096u
#define GUARD 123.25f

static float in_a[ROOM], in_b[ROOM], in_c[ROOM], in_d[ROOM]; /* what functions read */
static float out[2][2][ROOM];                                /* [path][which]: what they write */

static void fill_inputs(uint64_t seed)
{
    rng_normal_fill(seed, 0, in_a, ROOM);
    rng_normal_fill(seed, 1, in_b, ROOM);
    rng_normal_fill(seed, 2, in_c, ROOM);
    rng_normal_fill(seed, 3, in_d, ROOM);
}

static void expect_near(const float *x, const float *y, size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++) {
        const double size = fmax(1, fmax(fabs((double)x[i]), fabs((double)y[i])));
        if (!(fabs((double)x[i] - (double)y[i]) <= tolerance * size))
            fail_msg("[%zu] of %zu: %.9g, plain %.9g", i, n, (double)x[i], (double)y[i]);
    }
}

/* Run `call` on the plain path and on `path`, outputs prepared alike, and compare everything. */
typedef void call_fn(size_t n, float *y, float *z);

static void both(enum vec_path path, call_fn *call, size_t n, size_t written, double tolerance)
{
    for (int p = 0; p < 2; p++) {
        (void)vec_force(p ? path : VEC_PLAIN);
        for (size_t i = 0; i < ROOM; i++)
            out[p][0][i] = out[p][1][i] = i < written ? in_d[i] : GUARD;
        call(n, out[p][0], out[p][1]);
    }
    for (int w = 0; w < 2; w++) {
        expect_near(out[1][w], out[0][w], written, tolerance);
        for (size_t i = written; i < ROOM; i++)
            assert_true(out[1][w][i] == GUARD && out[0][w][i] == GUARD);
    }
}

static void call_arrays(size_t n, float *y, float *z)
{
    y[0] = vec_dot(in_a + 1, in_b + 2, n);
    y[1] = vec_sum(in_a + 1, n);
    vec_put(y + 8, in_a + 3, n, false);
    vec_put(y + 108, in_a + 3, n, true);
    vec_scaled(y + 208, 0.7f, in_b + 1, n, false);
    vec_scaled(y + 308, 0.7f, in_b + 1, n, true);
    vec_sum_to(y + 408, in_a + 1, in_b + 2, n);
    vec_mul(y + 508, in_a + 1, in_b + 2, n, false);
    vec_mul(y + 608, in_a + 1, in_b + 2, n, true);
    vec_mul_add(y + 708, in_a + 1, in_b + 2, in_c + 3, n);
    vec_exp(z + 8, in_a + 1, n);
    vec_sigmoid(z + 108, in_a + 1, n);
    vec_softplus(z + 208, in_a + 1, n);
    for (size_t i = 0; i < n; i++)
        z[308 + i] = in_b[i] > 0 ? 1 : 0;
    z[0] = (float)vec_bce(z + 408, in_a + 1, z + 308, n, 0.25f);
    vec_put(y + 708, y + 708, n, true); /* in place */
    vec_mul(z + 108, z + 108, z + 8, n, false);
}

static void call_softmax(size_t n, float *y, float *z)
{
    size_t above, same;
    vec_tanh(y + 8, in_a + 1, n);
    y[0] = n > 0 ? vec_max(in_a + 1, n) : vec_max(in_a, 0) < -3e38f;
    z[0] = vec_exp_sum(z + 8, in_a + 1, 1.5f, 0.25f, n);
    vec_softmax_back(y + 208, z + 8, in_b + 1, 0.3f, 0.7f, n);
    vec_put(y + 308, in_a + 1, n, false);
    for (size_t i = 0; i < n; i += 3)
        y[308 + i] = i % 2 ? -INFINITY : 0.5f;
    vec_rank(y + 308, n, 0.5f, &above, &same);
    assert_int_equal(same, (n + 5) / 6);
    y[1] = (float)above;
    z[1] = vec_exp_sum(y + 408, y + 308, 1, 3, n); /* -inf: exactly 0 */
    for (size_t i = 0; i < n; i++) {
        assert_true(y[308 + i] > -3e38f || y[408 + i] == 0);
        y[308 + i] = 0; /* what follows compares differences */
    }
}

static void call_dice(size_t n, float *y, float *z)
{
    const struct vec_gates d = {in_b + 1, in_c + 2, in_d + 3};
    vec_dice(y + 8, z + 8, in_a + 1, &d, n);
    vec_put(y + 108, in_c + 1, n, false);
    vec_put(z + 108, z + 8, n, false);
    vec_put(y + 208, in_b + 2, n, false);
    vec_dice_back(y + 108, z + 108, y + 208, in_a + 1, &d, n);
}

static void call_finish(size_t n, float *y, float *z)
{
    const struct vec_finish kinds[4] = {
        {.keep_scale = 1},
        {.relu = true, .keep_scale = 1},
        {.drop_below = 1u << 30, .keep_scale = 4.0f / 3},
        {.relu = true, .drop_below = 1u << 31, .keep_scale = 2},
    };
    for (size_t k = 0; k < 4; k++) {
        float *to = y + 300 * k;
        vec_finish(to, in_a + 1, NULL, NULL, n, &kinds[k], 7);
        vec_finish(to + 100, in_a + 1, NULL, in_b + 1, n, &kinds[k], 8 + (k << 40));
        vec_finish(to + 200, in_a + 1, in_c + 1, in_b + 1, n, &kinds[k], 9);
        vec_finish_back(z + 100 * k, in_b + 3, to + 200, n, &kinds[k], 9);
    }
}

/* n is the columns; rows go over every remainder of the blocks. */
static void call_columns(size_t n, float *y, float *z)
{
    static const size_t rows_of[] = {1, 2, 3, 5, 8, 15, 17, 35};
    const size_t ld = n + 3;
    for (size_t i = 0; i < 8 && n > 0; i++) {
        const struct vec_matrix m = {in_a + 1, ld, rows_of[i], n};
        vec_column_sums(y + 100 * i, &m, false);
        vec_column_sums(y + 100 * i, &m, true);
        vec_column_moments(y + 800 + 100 * i, z + 100 * i, &m, 0);
        for (size_t c = 0; c < n; c++)
            z[1000 + c] = 0.5f + 0.1f * in_c[c] * in_c[c];
        const struct vec_norm_back b = {40, in_b + 2, ld + 1, in_d + 5, z + 1000, in_c + 9};
        vec_norm_sums(y + 1600, z + 1100, &m, &b, false);
        vec_norm_sums(y + 1600, z + 1100, &m, &b, true);
        vec_norm_apply(z + 1200, n, y + 1600, z + 1100, &m, &b);
    }
}

static void call_layer_norm(size_t n, float *y, float *z)
{
    if (n == 0)
        return;
    vec_layer_norm(y + 8, in_a + 1, in_b + 1, in_c + 1, n, 1e-2f, y);
    vec_layer_norm_back(y + 108, z + 8, z + 108, in_c + 2, in_a + 1, in_b + 1, n, y);
    vec_layer_norm_back(y + 208, NULL, NULL, in_c + 2, in_a + 1, in_b + 1, n, y);
}

/* n is d. Bags: two, empty, three with a key twice, one. */
static void call_bags(size_t n, float *y, float *z)
{
    static const uint32_t offsets[] = {2, 4, 4, 7, 8}, index[] = {9, 9, 0, 3, 2, 2, 1, 0};
    for (int weighted = 0; weighted < 2; weighted++) {
        const struct vec_bags b = {offsets, index, weighted ? in_d + 20 : NULL, 4, n};
        float *to = y + 2000 * weighted, *grad = z + 2000 * weighted;
        vec_bags_sum(to, in_a + 1, &b);
        vec_bags_scatter(to + 400, in_b + 1, &b);
        to[1900] = vec_bags_squares(to + 800, in_a + 1, &b, false);
        to[1901] = vec_bags_squares(to + 800, in_a + 1, &b, true);
        vec_bags_fm_back(grad, in_a + 1, 0.3f, to + 800, &b);
        const struct vec_bags plain = {(const uint32_t[]){0, 3}, NULL, in_d, 1, n};
        to[1902] = vec_bags_squares(to + 1000, in_a + 1, &plain, false);
        vec_bags_fm_back(grad + 400, in_a + 1, 0.3f, to + 1000, &plain);
    }
}

/* n is d; vectors up to 11, rows over every remainder of the blocks. */
static void call_vectors(size_t n, float *y, float *z)
{
    static const size_t many[] = {1, 2, 5, 11}, rows_of[] = {1, 3, 16, 19};
    for (size_t i = 0; i < 4; i++) {
        const size_t V = many[i];
        const struct vec_mixing m = {V, n, in_b + 1, i % 2 ? in_c + 2 : NULL, i >= 2};
        vec_pairs(y + 60 * i, in_a + 1, V, n);
        vec_mix(y + 300, in_a + 1, &m, false);
        vec_mix(y + 1100, in_a + 1, &m, true);
        const struct vec_matrix dy = {in_a + 1, n * V + 1,
                                      rows_of[i] * V * n < 3000 ? rows_of[i] : 1, n * V};
        const struct vec_matrix x = {in_b + 3, n * V + 2, dy.rows, n * V};
        if (n > 0)
            vec_mix_weights(z + 200 * i, &dy, &x, V, false);
        if (n > 0)
            vec_mix_weights(z + 1000, &dy, &x, V, true);
    }
}

static void paths_agree(enum vec_path path)
{
    if (vec_force(path) != path) {
        print_message("    this CPU has no such path: skipped\n");
        return;
    }
    fill_inputs(3);
    for (size_t n = 0; n <= 70; n++) {
        both(path, call_arrays, n, ROOM - 10, 3e-6);
        both(path, call_softmax, n, ROOM - 10, 3e-6);
        both(path, call_dice, n, ROOM - 10, 3e-6);
        both(path, call_finish, n, ROOM - 10, 3e-6);
        both(path, call_columns, n, ROOM - 10, 2e-5);
        both(path, call_layer_norm, n, ROOM - 10, 1e-5);
        both(path, call_bags, n, ROOM - 10, 1e-5);
        both(path, call_vectors, n, ROOM - 10, 1e-4);
    }
}

static void test_avx2(void **state)
{
    (void)state;
    paths_agree(VEC_AVX2);
}

static void test_avx512(void **state)
{
    (void)state;
    paths_agree(VEC_AVX512);
}

/* -- guards: nothing is written past the end, exactly -- */

static void test_ends(void **state)
{
    (void)state;
    fill_inputs(4);
    const struct vec_finish f = {.relu = true, .drop_below = 1u << 30, .keep_scale = 1.5f};
    for (int p = VEC_PLAIN; p <= VEC_AVX512; p++) {
        (void)vec_force((enum vec_path)p);
        for (size_t n = 0; n <= 40; n++) {
            float y[64];
            for (size_t i = 0; i < 64; i++)
                y[i] = GUARD;
            vec_put(y, in_a, n, false);
            vec_mul(y, in_a, in_b, n, true);
            vec_exp(y, in_a, n);
            vec_tanh(y, in_a, n);
            (void)vec_exp_sum(y, in_a, 1, 0, n);
            vec_softmax_back(y, in_a, in_b, 0, 1, n);
            vec_finish(y, in_a, in_b, in_c, n, &f, 5);
            vec_finish_back(y, in_a, in_b, n, &f, 5);
            float gate[2][64] = {{0}};
            const struct vec_gates d = {in_b, in_c, in_d};
            vec_dice(y, gate[0], in_a, &d, n);
            vec_dice_back(y, gate[0], gate[1], in_a, &d, n);
            for (size_t i = n; i < 64; i++)
                assert_true(gate[0][i] == 0 && gate[1][i] == 0);
            const struct vec_matrix m = {in_a, n, 3, n};
            vec_column_sums(y, &m, false);
            for (size_t i = n; i < 64; i++)
                assert_true(y[i] == GUARD);
        }
    }
}

/* -- functions -- */

static double worst_exp, worst_sigmoid, worst_softplus, worst_tanh;

static void functions_at(const float *x, size_t n)
{
    float y[4][64];
    vec_tanh(y[3], x, n);
    vec_exp(y[0], x, n);
    vec_sigmoid(y[1], x, n);
    vec_softplus(y[2], x, n);
    for (size_t i = 0; i < n; i++) {
        const double v = (double)x[i];
        const double e = exp(v), s = 1 / (1 + exp(-v)), l = fmax(v, 0) + log1p(exp(-fabs(v)));
        worst_tanh = fmax(worst_tanh, fabs((double)y[3][i] - tanh(v)));
        if (e > 1.2e-38 && e < 3.4e38)
            worst_exp = fmax(worst_exp, fabs((double)y[0][i] / e - 1));
        if (s > 1.2e-38)
            worst_sigmoid = fmax(worst_sigmoid, fabs((double)y[1][i] / s - 1));
        if (l > 1.2e-38)
            worst_softplus = fmax(worst_softplus, fabs((double)y[2][i] / l - 1));
    }
}

static void test_functions(void **state)
{
    (void)state;
    for (int p = VEC_PLAIN; p <= VEC_AVX512; p++) {
        (void)vec_force((enum vec_path)p);
        worst_exp = worst_sigmoid = worst_softplus = worst_tanh = 0;
        float x[64];
        for (int block = -1500; block < 1500; block++) {
            for (int i = 0; i < 64; i++)
                x[i] = (float)(block * 64 + i) * (90.0f / 96000) * (block % 7 ? 1 : 0.01f);
            functions_at(x, 64);
        }
        print_message("    path %d, relative error: exp %.1e sigmoid %.1e softplus %.1e\n", p,
                      worst_exp, worst_sigmoid, worst_softplus);
        assert_true(worst_tanh < 2e-7);
        assert_true(worst_exp < 2.5e-7 && worst_sigmoid < 4e-7 && worst_softplus < 4e-7);
    }
}

static void test_extremes(void **state)
{
    (void)state;
    for (int p = VEC_PLAIN; p <= VEC_AVX512; p++) {
        (void)vec_force((enum vec_path)p);
        const float x[] = {-1e4f, 1e4f, -INFINITY, INFINITY, NAN, 0, 88.72f, -87.3f, -200, 200};
        float y[10];
        vec_exp(y, x, 10);
        assert_true(y[0] == 0 && isinf(y[1]) && y[2] == 0 && isinf(y[3]) && isnan(y[4]));
        assert_true(y[5] == 1 && isfinite(y[6]) && y[7] > 0 && y[8] == 0 && isinf(y[9]));
        vec_sigmoid(y, x, 10);
        assert_true(y[0] == 0 && y[1] == 1 && y[2] == 0 && y[3] == 1 && isnan(y[4]) &&
                    y[5] == 0.5f);
        vec_softplus(y, x, 10);
        assert_true(y[0] == 0 && y[1] == 1e4f && y[2] == 0 && isinf(y[3]) && isnan(y[4]));
        const float z[] = {1e4f, -1e4f, 1e4f, -1e4f}, l[] = {1, 0, 0, 1};
        assert_true(vec_bce(y, z, l, 2, 1) == 0 && y[0] == 0 && y[1] == 0);
        assert_true(vec_bce(y, z + 2, l + 2, 2, 0.5f) == 2e4 && y[0] == 0.5f && y[1] == -0.5f);
        const struct vec_finish relu = {.relu = true, .keep_scale = 1};
        vec_finish(y, x, NULL, NULL, 10, &relu, 0);
        assert_true(y[0] == 0 && y[1] == 1e4f && y[2] == 0 && isinf(y[3]) && isnan(y[4]));
    }
}

/* A mean of 1e4 with a deviation of 1: the naive sum of squares would lose all of it. */
static void test_moments_far_from_zero(void **state)
{
    (void)state;
    fill_inputs(5);
    for (size_t i = 0; i < ROOM; i++)
        in_a[i] += 1e4f;
    for (int p = VEC_PLAIN; p <= VEC_AVX512; p++) {
        (void)vec_force((enum vec_path)p);
        float mean[16], m2[16];
        double worst = 0;
        const struct vec_matrix m = {in_a, 16, ROOM / 16, 16};
        vec_column_moments(mean, m2, &m, 0);
        vec_put(mean, in_a, 16, true);
        for (size_t c = 0; c < 16; c++) {
            double sum = 0, squares = 0;
            for (size_t r = 0; r < ROOM / 16; r++)
                sum += (double)in_a[r * 16 + c];
            for (size_t r = 0; r < ROOM / 16; r++)
                squares += pow((double)in_a[r * 16 + c] - sum / (ROOM / 16), 2);
            assert_true(fabs((double)mean[c] - sum / (ROOM / 16)) < 2e-3);
            worst = fmax(worst, fabs((double)m2[c] / squares - 1));
        }
        /* The numbers themselves are only good to 1e-3 there. */
        print_message("    path %d: variance off by %.1e\n", p, worst);
        assert_true(worst < 1e-3);
    }
}

/* -- dropout's hash -- */

static void test_masks_agree(void **state)
{
    (void)state;
    float ones[500], y[3][500];
    for (size_t i = 0; i < 500; i++)
        ones[i] = 1;
    const struct vec_finish f = {.drop_below = 858993459u, .keep_scale = 1.25f};
    for (uint64_t row = 0; row < 50; row++) {
        const uint64_t key = rng_mix(9, row);
        for (int p = VEC_PLAIN; p <= VEC_AVX512; p++) {
            (void)vec_force((enum vec_path)p);
            vec_finish(y[p], ones, NULL, NULL, 500, &f, key);
        }
        assert_memory_equal(y[0], y[1], sizeof(y[0]));
        assert_memory_equal(y[0], y[2], sizeof(y[0]));
        for (uint32_t c = 0; c < 500; c++)
            assert_true((y[0][c] == 0) == (vec_drop_hash(key, c) < f.drop_below));
    }
}

enum { ROWS = 4000, COLS = 128 };

/* z-score of a count of `hits` out of n with probability p. */
static double score(double hits, double n, double p)
{
    return (hits - n * p) / sqrt(n * p * (1 - p));
}

/* Drop flags of ROWS rows and COLS columns at p = .2; rows' keys as the epilogue makes them. */
static void draw_flags(uint8_t *flags, uint64_t seed, uint64_t epoch, uint64_t layer,
                       uint64_t first)
{
    const uint64_t base = rng_mix(rng_mix(seed, epoch), layer);
    for (uint64_t r = 0; r < ROWS; r++)
        for (uint32_t c = 0; c < COLS; c++)
            flags[r * COLS + c] = vec_drop_hash(rng_mix(base, first + r), c) < 858993459u;
}

/* Largest |z| over all pairs of columns, and over neighbouring rows, of "both are dropped". */
static double worst_pair(const uint8_t *flags)
{
    double worst = 0;
    for (size_t a = 0; a < COLS; a++) {
        for (size_t b = a + 1; b < COLS; b++) {
            double both = 0;
            for (size_t r = 0; r < ROWS; r++)
                both += flags[r * COLS + a] & flags[r * COLS + b];
            worst = fmax(worst, fabs(score(both, ROWS, 0.04)));
        }
    }
    return worst;
}

static void test_hash_statistics(void **state)
{
    (void)state;
    uint8_t *x = mem_alloc(ROWS * COLS), *y = mem_alloc(ROWS * COLS);
    draw_flags(x, 1, 0, 0, 0);
    double all = 0, worst_column = 0, worst_row = 0;
    for (size_t c = 0; c < COLS; c++) {
        double dropped = 0;
        for (size_t r = 0; r < ROWS; r++)
            dropped += x[r * COLS + c];
        all += dropped;
        worst_column = fmax(worst_column, fabs(score(dropped, ROWS, 0.2)));
    }
    for (size_t r = 0; r < ROWS; r++) {
        double dropped = 0;
        for (size_t c = 0; c < COLS; c++)
            dropped += x[r * COLS + c];
        worst_row = fmax(worst_row, fabs(score(dropped, COLS, 0.2)));
    }
    const double pair = worst_pair(x);
    print_message(
        "    |z|: all %.2f, worst of 128 columns %.2f, of 4000 rows %.2f, of 8128 pairs %.2f\n",
        fabs(score(all, ROWS * COLS, 0.2)), worst_column, worst_row, pair);
    assert_true(fabs(score(all, ROWS * COLS, 0.2)) < 4);
    assert_true(worst_column < 4.5 && worst_row < 5.5 && pair < 5.5);
    /* Another seed, epoch or layer, or the next record: independent masks. */
    const uint64_t other[4][4] = {{2, 0, 0, 0}, {1, 1, 0, 0}, {1, 0, 1, 0}, {1, 0, 0, 1}};
    for (size_t k = 0; k < 4; k++) {
        draw_flags(y, other[k][0], other[k][1], other[k][2], other[k][3]);
        double both = 0;
        for (size_t i = 0; i < ROWS * COLS; i++)
            both += x[i] & y[i];
        assert_true(fabs(score(both, ROWS * COLS, 0.04)) < 4);
    }
    free(x);
    free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_avx2),        cmocka_unit_test(test_avx512),
        cmocka_unit_test(test_ends),        cmocka_unit_test(test_functions),
        cmocka_unit_test(test_extremes),    cmocka_unit_test(test_moments_far_from_zero),
        cmocka_unit_test(test_masks_agree), cmocka_unit_test(test_hash_statistics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
