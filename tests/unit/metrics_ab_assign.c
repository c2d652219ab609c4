/* metrics_ab_assign.c - assignment against the published vectors of GrowthBook and Optimizely, and what follows
 * from them: even, independent of other seeds, and nobody moves when coverage rises.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/metrics/ab_assign.h"
#include "tests/unit/metrics_case.h"

static void test_fnv_and_murmur(void **state)
{
    (void)state;
    assert_int_equal(ab_fnv1a32("", 0), 0x811C9DC5);
    assert_int_equal(ab_fnv1a32("a", 1), 0xE40C292C);
    assert_int_equal(ab_fnv1a32("foobar", 6), 0xBF9CF968);
    assert_int_equal(ab_murmur3("", 0, 0), 0);
    assert_int_equal(ab_murmur3("", 0, 1), 0x514E28B7);
    assert_int_equal(ab_murmur3("\xff\xff\xff\xff", 4, 0), 0x76293B50);
    assert_int_equal(ab_murmur3("\x21\x43\x65\x87", 4, 0x5082EDEE), 0x2362F9DE);
    assert_int_equal(ab_murmur3("\x21\x43\x65", 3, 0), 0x7E4A8634);
    assert_int_equal(ab_murmur3("\x21\x43", 2, 0), 0xA0F7B07A);
    assert_int_equal(ab_murmur3("\x21", 1, 0), 0x72661CF4);
}

static void test_growthbook_v1(void **state)
{
    (void)state;
    static const struct {
        const char *seed, *value;
        double n;
    } v[] = {{"", "a", .22},
             {"", "b", .077},
             {"b", "a", .946},
             {"ef", "d", .652},
             {"asdf", "8952klfjas09ujk", .549},
             {"", "123", .011},
             {"", "___)((*\":&", .563}};
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
        assert_true(ab_number(AB_HASH_V1, v[i].seed, v[i].value) == v[i].n);
}

static void test_growthbook_v2(void **state)
{
    (void)state;
    static const struct {
        const char *seed, *value;
        double n;
    } v[] = {{"seed", "a", .0505},
             {"seed", "b", .2696},
             {"foo", "ab", .2575},
             {"foo", "def", .2019},
             {"89123klj", "8952klfjas09ujkasdf", .124},
             {"90850943850283058242805", "123", .7516},
             {"()**(%$##$%#$#", "___)((*\":&", .0128}};
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
        assert_true(ab_number(AB_HASH_V2, v[i].seed, v[i].value) == v[i].n);
}

static void test_optimizely_murmur3(void **state)
{
    (void)state;
    char longest[128] = "a";
    for (int i = 0; i < 15; i++)
        strcat(longest, " very");
    strcat(longest, " long ppd string");
    assert_true(ab_number(AB_HASH_MURMUR3, "1886780721", "ppid1") == .5254);
    assert_true(ab_number(AB_HASH_MURMUR3, "1886780721", "ppid2") == .4299);
    assert_true(ab_number(AB_HASH_MURMUR3, "1886780722", "ppid2") == .2434);
    assert_true(ab_number(AB_HASH_MURMUR3, "1886780721", "ppid3") == .5439);
    assert_true(ab_number(AB_HASH_MURMUR3, "1886780721", longest) == .6128);
}

static void expect_ranges(size_t k, double coverage, const double *weights, size_t n,
                          const double *want)
{
    struct ab_range r[AB_VARIANTS_MAX];
    ab_ranges(k, coverage, weights, n, r);
    for (size_t i = 0; i < k; i++) {
        assert_true(fabs(r[i].from - want[2 * i]) < 1e-12);
        assert_true(fabs(r[i].to - want[2 * i + 1]) < 1e-12);
    }
}

static void test_ranges(void **state)
{
    (void)state;
    const double w3[] = {.2, .3, .5}, w2[] = {.4, .6}, low[] = {.2, .1}, high[] = {.7, .6};
    const double almost[] = {.4, .595};
    expect_ranges(2, .5, NULL, 0, (double[]){0, .25, .5, .75});
    expect_ranges(3, .2, w3, 3, (double[]){0, .04, .2, .26, .5, .6});
    expect_ranges(2, 1, NULL, 0, (double[]){0, .5, .5, 1});
    expect_ranges(2, 1, w2, 2, (double[]){0, .4, .4, 1});
    expect_ranges(2, 1, almost, 2, (double[]){0, .4, .4, .995}); /* within a hundredth: as given */
    /* Clamped coverage; weights of another number or another sum are equal ones. */
    expect_ranges(2, -.2, NULL, 0, (double[]){0, 0, .5, .5});
    expect_ranges(2, NAN, NULL, 0, (double[]){0, 0, .5, .5});
    expect_ranges(2, 1.5, NULL, 0, (double[]){0, .5, .5, 1});
    expect_ranges(2, 1, w3, 3, (double[]){0, .5, .5, 1});
    expect_ranges(2, 1, low, 2, (double[]){0, .5, .5, 1});
    expect_ranges(2, 1, high, 2, (double[]){0, .5, .5, 1});
    expect_ranges(4, 1, NULL, 0, (double[]){0, .25, .25, .5, .5, .75, .75, 1});
}

static void test_choose(void **state)
{
    (void)state;
    const struct ab_range even[] = {{0, .5}, {.5, 1}}, gap[] = {{0, .25}, {.5, .75}};
    const struct ab_range none[] = {{0, 0}, {.5, .5}}, over[] = {{0, .6}, {.4, 1}};
    assert_int_equal(ab_choose(0, even, 2), 0);
    assert_int_equal(ab_choose(.2, even, 2), 0);
    assert_int_equal(ab_choose(.5, even, 2), 1); /* ends are open, beginnings closed */
    assert_int_equal(ab_choose(.9999, even, 2), 1);
    assert_int_equal(ab_choose(.25, gap, 2), -1);
    assert_int_equal(ab_choose(.75, gap, 2), -1);
    assert_int_equal(ab_choose(.6, gap, 2), 1);
    assert_int_equal(ab_choose(0, none, 2), -1);
    assert_int_equal(ab_choose(.5, none, 2), -1);
    assert_int_equal(ab_choose(.5, over, 2), 0); /* the first */
    assert_int_equal(ab_choose(.3, even, 0), -1);
}

static void test_namespaces(void **state)
{
    (void)state;
    static const struct {
        const char *user;
        double one, two;
    } v[] = {{"1", .68, .537}, {"2", .669, .812}, {"3", .954, .335}, {"4", .471, .09}};
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
        assert_true(ab_namespace_number("namespace1", v[i].user) == v[i].one);
        assert_true(ab_namespace_number("namespace2", v[i].user) == v[i].two);
        const struct ab_range low = {0, v[i].one}, high = {v[i].one, 1};
        assert_false(ab_namespace_holds("namespace1", low, v[i].user));
        assert_true(ab_namespace_holds("namespace1", high, v[i].user));
    }
}

enum { USERS = 200000 };

static double number_of(enum ab_hash hash, const char *seed, unsigned user)
{
    char name[16];
    snprintf(name, sizeof name, "user-%u", user);
    return ab_number(hash, seed, name);
}

/* Even over 100 cells (chi-square, 99 degrees, p about 1e-6 at 200), and two seeds know nothing of each other. */
static void test_even_and_independent(void **state)
{
    (void)state;
    static const enum ab_hash hashes[] = {AB_HASH_V2, AB_HASH_MURMUR3};
    for (size_t h = 0; h < 2; h++) {
        static unsigned cell[10][10];
        double x = 0;
        memset(cell, 0, sizeof cell);
        for (unsigned u = 0; u < USERS; u++) {
            const double a = number_of(hashes[h], "one", u), b = number_of(hashes[h], "two", u);
            cell[(int)(a * 10)][(int)(b * 10)]++;
        }
        for (int i = 0; i < 100; i++) {
            const double off = cell[i / 10][i % 10] - USERS / 100.0;
            x += off * off / (USERS / 100.0);
        }
        print_message("    chi-square over 100 cells: %.1f\n", x);
        assert_true(x < 200);
    }
}

static void test_coverage_moves_nobody(void **state)
{
    (void)state;
    const double weights[] = {.2, .3, .5};
    struct ab_range few[3], many[3];
    ab_ranges(3, .1, weights, 3, few);
    ab_ranges(3, .7, weights, 3, many);
    unsigned in_few = 0, in_many = 0;
    for (unsigned u = 0; u < USERS; u++) {
        const double n = number_of(AB_HASH_V2, "exp", u);
        const int a = ab_choose(n, few, 3), b = ab_choose(n, many, 3);
        assert_true(a < 0 || a == b);
        in_few += a >= 0;
        in_many += b >= 0;
    }
    assert_true(fabs(in_few / (double)USERS - .1) < .005);
    assert_true(fabs(in_many / (double)USERS - .7) < .01);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fnv_and_murmur),
        cmocka_unit_test(test_growthbook_v1),
        cmocka_unit_test(test_growthbook_v2),
        cmocka_unit_test(test_optimizely_murmur3),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_choose),
        cmocka_unit_test(test_namespaces),
        cmocka_unit_test(test_even_and_independent),
        cmocka_unit_test(test_coverage_moves_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
