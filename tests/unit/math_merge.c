/* math_merge.c - sums over a tree whose leaves may be missing, against a recursion that says what they are.
 *
 * Values of all magnitudes, so that another order of the same sum has other bits; and zeros of both signs, so
 * that "nothing" and "zero" differ.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/math/merge.h"

enum { LISTS = 64, KEYS = 40, DIM_MAX = 600 };

static uint64_t keys[LISTS][KEYS];
static float rows[LISTS][KEYS * DIM_MAX];
static size_t used[LISTS];

static float some_float(struct rng *r)
{
    static const float scale[] = {1e-6f, 1e-3f, 1, 1e3f, 1e6f, 0, -0.0f};
    return (float)(rng_next_unit(r) - 0.5) * scale[rng_below(r, 7)];
}

/* Lists of random keys out of a small universe; some lists are empty. */
static void make(uint64_t seed, size_t lists, size_t dim)
{
    struct rng r = {.key = seed, .n = 0};
    for (size_t l = 0; l < lists; l++) {
        used[l] = 0;
        for (uint64_t key = 0; key < KEYS; key++) {
            if (rng_below(&r, 4) != 0 || (l + seed) % 5 == 0)
                continue;
            for (size_t d = 0; d < dim; d++)
                rows[l][used[l] * dim + d] = some_float(&r);
            keys[l][used[l]++] = key * 7919;
        }
    }
}

/* Leaves [lo, hi): false, there is nothing. */
static bool slow(uint64_t key, size_t lo, size_t hi, size_t dim, float *out)
{
    static float right[8][DIM_MAX];
    static size_t depth;
    if (hi - lo == 1) {
        for (size_t i = 0; i < used[lo]; i++) {
            if (keys[lo][i] == key) {
                memcpy(out, rows[lo] + i * dim, dim * sizeof *out);
                return true;
            }
        }
        return false;
    }
    float *r = right[depth++];
    bool a = slow(key, lo, lo + (hi - lo) / 2, dim, out);
    bool b = slow(key, lo + (hi - lo) / 2, hi, dim, r);
    for (size_t d = 0; d < dim && b; d++)
        out[d] = a ? out[d] + r[d] : r[d];
    depth--;
    return a || b;
}

static void lists_of(size_t from, size_t lists, const uint64_t **k, const float **v)
{
    for (size_t l = 0; l < lists; l++) {
        k[l] = keys[from + l];
        v[l] = rows[from + l];
    }
}

static void rows_are_the_tree_s(void **state)
{
    static float out[LISTS * KEYS * DIM_MAX / 8], want[DIM_MAX];
    const uint64_t *k[LISTS];
    const float *v[LISTS];
    const size_t dims[] = {1, 3, 16, 256, 300, DIM_MAX};
    struct merge m;
    (void)state;
    merge_init(&m);
    for (size_t c = 0; c < 6; c++) {
        for (size_t lists = 1; lists <= LISTS; lists *= 2) {
            make((uint64_t)c * 100 + lists, lists, dims[c]);
            lists_of(0, lists, k, v);
            merge_keys(&m, k, used, lists);
            merge_rows(&m, v, dims[c], out);
            size_t distinct = 0;
            for (uint64_t key = 0; key < KEYS; key++)
                distinct += slow(key * 7919, 0, lists, dims[c], want);
            assert_int_equal(m.n, distinct);
            for (size_t i = 0; i < m.n; i++) {
                assert_true(slow(m.keys[i], 0, lists, dims[c], want));
                assert_memory_equal(out + i * dims[c], want, dims[c] * sizeof(float));
            }
        }
    }
    merge_release(&m);
}

/* Whole arrays, some of them not there. */
static void arrays_are_the_tree_s(void **state)
{
    static float out[DIM_MAX], want[DIM_MAX];
    (void)state;
    for (size_t lists = 1; lists <= LISTS; lists *= 2) {
        const float *v[LISTS];
        struct rng r = {.key = lists, .n = 0};
        for (size_t l = 0; l < lists; l++) {
            used[l] = rng_below(&r, 3) != 0;
            keys[l][0] = 1;
            for (size_t d = 0; d < DIM_MAX; d++)
                rows[l][d] = some_float(&r);
            v[l] = used[l] ? rows[l] : NULL;
        }
        merge_arrays(v, lists, DIM_MAX, out);
        if (!slow(1, 0, lists, DIM_MAX, want))
            memset(want, 0, sizeof want);
        assert_memory_equal(out, want, sizeof want);
    }
}

/* The sum of 64 lists = the sum of W sums of 64 / W lists each: what bsp stands on. */
static void a_tree_of_trees_is_the_tree(void **state)
{
    enum { DIM = 5 };
    static float whole[KEYS * DIM], top[KEYS * DIM], part[LISTS][KEYS * DIM];
    const uint64_t *k[LISTS], *pk[LISTS];
    const float *v[LISTS], *pv[LISTS];
    size_t pn[LISTS];
    struct merge all, of[LISTS], up;
    (void)state;
    merge_init(&all);
    make(3, LISTS, DIM);
    lists_of(0, LISTS, k, v);
    merge_keys(&all, k, used, LISTS);
    merge_rows(&all, v, DIM, whole);
    for (size_t w = 1; w <= LISTS; w *= 2) {
        for (size_t r = 0; r < w; r++) {
            merge_init(&of[r]);
            lists_of(r * LISTS / w, LISTS / w, k, v);
            merge_keys(&of[r], k, used + r * LISTS / w, LISTS / w);
            merge_rows(&of[r], v, DIM, part[r]);
            pk[r] = of[r].keys;
            pv[r] = part[r];
            pn[r] = of[r].n;
        }
        merge_init(&up);
        merge_keys(&up, pk, pn, w);
        merge_rows(&up, pv, DIM, top);
        /* first sight over lists is first sight over sums of lists */
        assert_int_equal(up.n, all.n);
        assert_memory_equal(up.keys, all.keys, all.n * sizeof *all.keys);
        assert_memory_equal(top, whole, all.n * DIM * sizeof(float));
        for (size_t r = 0; r < w; r++)
            merge_release(&of[r]);
        merge_release(&up);
    }
    merge_release(&all);
}

static void nothing_at_all(void **state)
{
    float out[3] = {1, 2, 3};
    const float *none[2] = {NULL, NULL};
    const uint64_t *k[2] = {NULL, NULL};
    const size_t n[2] = {0, 0};
    struct merge m;
    (void)state;
    merge_arrays(none, 2, 3, out);
    assert_true(out[0] == 0 && out[1] == 0 && out[2] == 0);
    merge_init(&m);
    merge_keys(&m, k, n, 2);
    assert_int_equal(m.n, 0);
    merge_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_the_tree_s),
        cmocka_unit_test(arrays_are_the_tree_s),
        cmocka_unit_test(a_tree_of_trees_is_the_tree),
        cmocka_unit_test(nothing_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
