/* metrics_ranking.c - HR, NDCG and MRR by hand; ties by half; parts add up to the whole. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/metrics/ranking.h"

static void expect(double got, double want)
{
    assert_true(fabs(got - want) <= 1e-12 * fmax(1, fabs(want)));
}

static struct ranking of(const double *ranks, size_t n)
{
    struct ranking r = {.count = 0};
    for (size_t i = 0; i < n; i++)
        ranking_add(&r, ranks[i]);
    return r;
}

static void test_by_hand(void **state)
{
    (void)state;
    const double ranks[] = {1, 3, 7, 15, 100};
    const struct ranking sum = of(ranks, 5), v = ranking_value(&sum);
    assert_int_equal(v.count, 5);
    expect(v.hr[RANKING_5], 2. / 5);
    expect(v.hr[RANKING_10], 3. / 5);
    expect(v.hr[RANKING_20], 4. / 5);
    expect(v.ndcg[RANKING_5], (1 + 1. / 2) / 5);
    expect(v.ndcg[RANKING_10], (1 + 1. / 2 + 1. / 3) / 5);
    expect(v.ndcg[RANKING_20], (1 + 1. / 2 + 1. / 3 + 1. / 4) / 5);
    expect(v.mrr, (1 + 1. / 3 + 1. / 7 + 1. / 15 + 1. / 100) / 5);
}

static void test_edges(void **state)
{
    (void)state;
    const double ranks[] = {5,    5.5, 10,
                            10.5, 20,  20.5}; /* the last within each cut, and just not */
    const struct ranking r = of(ranks, 6);
    expect(r.hr[RANKING_5], 1);
    expect(r.hr[RANKING_10], 3);
    expect(r.hr[RANKING_20], 5);
    expect(r.ndcg[RANKING_5], 1 / log2(6));
    expect(r.mrr, 1 / 5. + 1 / 5.5 + 1 / 10. + 1 / 10.5 + 1 / 20. + 1 / 20.5);
}

static void test_no_number(void **state)
{
    (void)state;
    const double ranks[] = {NAN, 0, INFINITY, 1};
    const struct ranking sum = of(ranks, 4), v = ranking_value(&sum);
    expect(v.hr[RANKING_20], 1. / 4);
    expect(v.ndcg[RANKING_20], 1. / 4);
    expect(v.mrr, 1. / 4);
}

static void test_merge_and_empty(void **state)
{
    (void)state;
    const double ranks[] = {2, 9, 40, 1, 12.5, 6};
    const struct ranking nothing = {.count = 0}, zero = ranking_value(&nothing);
    struct ranking whole = of(ranks, 6), a = of(ranks, 2), b = of(ranks + 2, 4);
    expect(zero.hr[RANKING_10] + zero.ndcg[RANKING_10] + zero.mrr, 0);
    ranking_merge(&a, &b);
    ranking_merge(&a, &nothing);
    assert_int_equal(a.count, 6);
    for (int k = 0; k < RANKING_CUTS; k++) {
        assert_true(a.hr[k] == whole.hr[k]);
        expect(a.ndcg[k], whole.ndcg[k]);
    }
    expect(a.mrr, whole.mrr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_no_number),
        cmocka_unit_test(test_merge_and_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
