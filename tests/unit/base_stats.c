/* base_stats.c - histograms, and the figures and lines people see. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/progress.h"
#include "common/base/stats.h"

static void test_small_values_are_exact(void **state)
{
    (void)state;
    struct histogram h = {0};
    assert_int_equal(histogram_quantile(&h, .5), 0);
    assert_true(histogram_mean(&h) == 0);
    for (uint64_t v = 0; v < 8; v++)
        histogram_add(&h, v);
    for (uint64_t v = 0; v < 8; v++)
        assert_int_equal(histogram_quantile(&h, ((double)v + 1) / 8), v);
    assert_true(histogram_mean(&h) == 3.5);
    assert_int_equal(histogram_quantile(&h, 0), 0);
    assert_int_equal(histogram_quantile(&h, 1), 7);
}

static unsigned bins_used(const struct histogram *h)
{
    unsigned used = 0;
    for (unsigned i = 0; i < HISTOGRAM_BINS; i++)
        used += h->bin[i] > 0;
    return used;
}

static void test_bins_over_the_whole_range(void **state)
{
    (void)state;
    for (unsigned e = 3; e < 64; e++) {
        for (uint64_t part = 0; part < 4; part++) {
            uint64_t low = ((uint64_t)1 << e) + (part << (e - 2));
            uint64_t high = low + ((uint64_t)1 << (e - 2)) - 1;
            struct histogram h = {0};
            histogram_add(&h, low);
            histogram_add(&h, high);
            assert_int_equal(bins_used(&h), 1); /* one bin holds [low, high] ... */
            histogram_add(&h, low - 1);
            assert_int_equal(bins_used(&h), 2); /* ... and nothing below, so nothing above either */
            histogram_add(&h, UINT64_MAX);
            histogram_add(&h, UINT64_MAX);
            assert_true(histogram_quantile(&h, .6) == high);
        }
    }
}

static void test_quantiles_and_merge(void **state)
{
    (void)state;
    struct histogram all = {0}, odd = {0}, even = {0};
    for (uint64_t v = 1; v <= 10000; v++) {
        histogram_add(&all, v);
        histogram_add(v % 2 ? &odd : &even, v);
    }
    histogram_merge(&odd, &even);
    assert_memory_equal(&odd, &all, sizeof all);
    assert_true(fabs(histogram_mean(&all) - 5000.5) < 1e-9);
    for (double q = .01; q < 1; q += .01) {
        double got = (double)histogram_quantile(&all, q);
        assert_true(got >= q * 10000 && got <= q * 10000 * 1.25 + 1);
    }
    assert_int_equal(histogram_quantile(&all, 1), 10000); /* not above the maximum */
}

static void check_count(double v, const char *want)
{
    char got[16];
    progress_count(got, v);
    assert_string_equal(got, want);
    assert_true(strlen(got) <= 7);
}

static void test_counts(void **state)
{
    (void)state;
    check_count(0, "0");
    check_count(7, "7");
    check_count(999, "999");
    check_count(999.7, "1.00k");
    check_count(1000, "1.00k");
    check_count(25000, "25.0k");
    check_count(999499, "999k");
    check_count(999500, "1.00M");
    check_count(1350000, "1.35M");
    check_count(9995000, "10.0M");
    check_count(2.5e9, "2.50G");
    check_count(1e12, "1.00T");
    check_count(.25, "0.25");
    check_count(12.34, "12.3");
    check_count(-1500, "-1.50k");
    check_count(-123456, "-123k");
    check_count(1e30, ">999P");
    check_count(NAN, "?");
}

static void check_time(double v, const char *want)
{
    char got[16];
    progress_time(got, v);
    assert_string_equal(got, want);
}

static void test_times(void **state)
{
    (void)state;
    check_time(0, "0s");
    check_time(12.4, "12s");
    check_time(59.6, "1m00s");
    check_time(185, "3m05s");
    check_time(3599.7, "1h00m");
    check_time(7800, "2h10m");
    check_time(360000, "100h00m");
    check_time(-1, "?");
    check_time(NAN, "?");
    check_time(INFINITY, "?");
}

static void check_bar(double part, const char *want)
{
    char got[16];
    memset(got, 'x', sizeof got);
    progress_bar(got, 10, part);
    assert_string_equal(got, want);
    assert_int_equal(got[13], 'x'); /* width + 3 bytes and no more */
}

static void test_bars(void **state)
{
    (void)state;
    check_bar(0, "[..........]");
    check_bar(.55, "[=====>....]");
    check_bar(1, "[==========]");
    check_bar(7, "[==========]");
    check_bar(-1, "[..........]");
    check_bar(NAN, "[..........]");
}

static void test_plain_lines(void **state)
{
    (void)state;
    FILE *out = tmpfile();
    struct progress p;
    progress_init(&p, out);
    assert_false(p.terminal);
    p.plain_every_us = 1000;
    progress_show(&p, 5000, "a %d", 1);
    progress_show(&p, 5500, "too early");
    progress_show(&p, 6000, "b");
    progress_done(&p, "end");
    char text[100] = "";
    rewind(out);
    text[fread(text, 1, sizeof text - 1, out)] = '\0';
    assert_string_equal(text, "a 1\nb\nend\n");
    fclose(out);
}

static void test_living_line(void **state)
{
    (void)state;
    FILE *out = tmpfile();
    struct progress p;
    progress_init(&p, out);
    p.terminal = true; /* as if; the window then has 80 columns */
    progress_show(&p, 1000000, "longer");
    progress_show(&p, 1050000, "too early");
    progress_show(&p, 1100000, "no");
    char wide[200];
    memset(wide, 'w', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    progress_show(&p, 1300000, "%s", wide);
    progress_done(&p, "end");
    char text[600] = "";
    rewind(out);
    text[fread(text, 1, sizeof text - 1, out)] = '\0';
    assert_memory_equal(text, "\rlonger\rno    \rwww", 18); /* what was longer is wiped */
    const char *line = strstr(text, "\rw");
    assert_int_equal(strspn(line + 1, "w"), 79); /* never wraps */
    assert_string_equal(text + strlen(text) - 1, "\n");
    fclose(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_values_are_exact),
        cmocka_unit_test(test_bins_over_the_whole_range),
        cmocka_unit_test(test_quantiles_and_merge),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_bars),
        cmocka_unit_test(test_plain_lines),
        cmocka_unit_test(test_living_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
