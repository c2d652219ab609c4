/* metrics_gauc.c - AUC by user: vectors made by hand, ties, users of one class, parts that are brought together. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/metrics/auc.h"
#include "common/metrics/gauc.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void near(double a, double b)
{
    if (!(fabs(a - b) < 1e-12))
        fail_msg("%.17g, wanted %.17g", a, b);
}

/* User 7: pairs (.9 > .1), (.2 > .1): 1 of 1 each, AUC 1; user 9: half a pair by a tie, AUC 1/2; user 5 one class. */
static void test_by_hand(void **state)
{
    (void)state;
    static const uint64_t users[] = {7, 9, 7, 5, 9, 7, 5, 0};
    static const float z[] = {.9f, .3f, .1f, 4, .3f, .2f, -1, 8};
    static const float y[] = {1, 1, 0, 1, 0, 1, 1, 1};
    struct gauc g = {0};
    gauc_add(&g, users, z, y, COUNT(users));
    const struct gauc_sum s = gauc_sum(&g);
    near(gauc_value(&s), (3 * 1 + 2 * .5) / 5);
    assert_int_equal(s.users, 2);
    assert_int_equal(s.records, 5);
    assert_int_equal(s.left_users, 1);
    assert_int_equal(s.left_records, 2);
    assert_int_equal(s.unknown, 1);
    gauc_release(&g);
}

/* Ties over more than two: scores 1 1 1 0, labels 1 0 0 1: of 4 pairs two are halves, two are lost. */
static void test_ties(void **state)
{
    (void)state;
    static const uint64_t users[] = {3, 3, 3, 3};
    static const float z[] = {1, 1, 1, 0}, y[] = {1, 0, 0, 1};
    static const float signs[] = {0.0f, -0.0f, 0.0f, -0.0f}; /* one score, whatever its sign */
    struct gauc g = {0};
    gauc_add(&g, users, z, y, 4);
    struct gauc_sum s = gauc_sum(&g);
    near(gauc_value(&s), .25);
    gauc_reset(&g);
    gauc_add(&g, users, signs, y, 4);
    s = gauc_sum(&g);
    near(gauc_value(&s), .5);
    gauc_release(&g);
}

/* Weighted by records, not by users: and no label is no record. */
static void test_weights_and_missing(void **state)
{
    (void)state;
    static const uint64_t users[] = {1, 1, 2, 2, 2, 2, 2, 2};
    static const float z[] = {1, 0, 0, 1, 2, 3, 9, 9}, y[] = {1, 0, 1, 1, 0, 0, -1, -1};
    struct gauc g = {0};
    gauc_add(&g, users, z, y, COUNT(users));
    const struct gauc_sum s = gauc_sum(&g);
    near(gauc_value(&s), (2 * 1.0 + 4 * 0.0) / 6);
    assert_int_equal(s.records, 6);
    gauc_release(&g);
}

static void test_nothing(void **state)
{
    (void)state;
    static const uint64_t users[] = {1, 1};
    static const float z[] = {1, 0}, y[] = {1, 1};
    struct gauc g = {0};
    struct gauc_sum s = gauc_sum(&g);
    assert_true(isnan(gauc_value(&s)) && s.users == 0);
    gauc_add(&g, users, z, y, 2);
    s = gauc_sum(&g);
    assert_true(isnan(gauc_value(&s)) && s.left_users == 1);
    gauc_release(&g);
}

/* A model that is no number: all its scores tie, below all that are. */
static void test_nan(void **state)
{
    (void)state;
    static const uint64_t users[] = {1, 1, 2, 2};
    static const float z[] = {NAN, NAN, NAN, -100}, y[] = {1, 0, 1, 0};
    struct gauc g = {0};
    gauc_add(&g, users, z, y, 4);
    const struct gauc_sum s = gauc_sum(&g);
    near(gauc_value(&s), (2 * .5 + 2 * 0.0) / 4);
    gauc_release(&g);
}

static void add_sum(struct gauc_sum *into, const struct gauc_sum *from)
{
    into->weighted += from->weighted;
    into->records += from->records;
    into->users += from->users;
    into->left_records += from->left_records;
    into->left_users += from->left_users;
    into->unknown += from->unknown;
}

/* Random records, users over several parts: who owns a user judges it whole, and sums add to what one has alone.
 * And each user's AUC is the exact one of the same records. */
static void test_parts(void **state)
{
    (void)state;
    enum { N = 3000, USERS = 40, PARTS_N = 3 };
    static uint64_t users[N];
    static float z[N], y[N];
    struct gauc whole = {0}, part[PARTS_N] = {{0}};
    double slow = 0, records = 0;
    for (size_t i = 0; i < N; i++) {
        users[i] = rng_u64(1, (uint64_t)(rng_unit(2, i, 0) * USERS), 0) | 1;
        z[i] = (float)(int)(rng_unit(3, i, 0) * 20) / 4 - 2; /* many ties */
        y[i] = rng_unit(4, i, 0) < 1 / (1 + exp(-(double)z[i]));
    }
    gauc_add(&whole, users, z, y, N);
    for (size_t i = 0; i < N; i++)
        gauc_add(&part[gauc_owner(users[i], PARTS_N)], users + i, z + i, y + i, 1);
    struct gauc_sum sum = {0}, all = gauc_sum(&whole);
    for (size_t p = 0; p < PARTS_N; p++) {
        assert_true(part[p].used > N / 10);
        const struct gauc_sum s = gauc_sum(&part[p]);
        add_sum(&sum, &s);
        gauc_release(&part[p]);
    }
    for (uint64_t u = 0; u < USERS; u++) {
        float scores[N], labels[N];
        size_t n = 0, positives = 0;
        for (size_t i = 0; i < N; i++) {
            if (users[i] != (rng_u64(1, u, 0) | 1))
                continue;
            scores[n] = z[i];
            positives += y[i] > 0;
            labels[n++] = y[i];
        }
        if (positives == 0 || positives == n)
            continue;
        slow += (double)n * auc_exact(scores, labels, n);
        records += (double)n;
    }
    near(gauc_value(&sum), gauc_value(&all));
    near(gauc_value(&all), slow / records);
    assert_int_equal(sum.users, all.users);
    assert_int_equal(sum.records, (uint64_t)records);
    gauc_release(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_weights_and_missing),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_nan),
        cmocka_unit_test(test_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
