/* feature_number.c - numbers and times out of cells: exact, bounded, nothing but decimal. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/feature/number.h"

static double good(const char *text)
{
    double v = -12345;
    const char *wrong = number_parse(text, strlen(text), &v);
    if (wrong != NULL)
        print_error("\"%s\": %s\n", text, wrong);
    assert_null(wrong);
    return v;
}

static void bad(const char *text)
{
    double v = 77;
    if (number_parse(text, strlen(text), &v) == NULL)
        print_error("\"%s\" was taken as %g\n", text, v);
    assert_non_null(number_parse(text, strlen(text), &v));
    assert_true(v == 77);
}

static void same_as_strtod(void **state)
{
    static const char *const texts[] = {"0",
                                        "-0",
                                        "1",
                                        "+1",
                                        "1.",
                                        ".5",
                                        "-.5",
                                        "1e3",
                                        "1E-3",
                                        "1e+3",
                                        "00012.500",
                                        "260.0",
                                        "9007199254740992",
                                        "9007199254740993",
                                        "18446744073709551615",
                                        "0.1",
                                        "0.30000000000000004",
                                        "123456789012345678901234567890",
                                        "1e22",
                                        "1e23",
                                        "1e-22",
                                        "1e-23",
                                        "4.9e-324",
                                        "1e-400",
                                        "0.000000000000000000000000000001",
                                        "2.2250738585072011e-308",
                                        "1e30",
                                        "-1e30",
                                        "8.5070591730234616e37e-9"};
    (void)state;
    for (size_t i = 0; i + 1 < sizeof texts / sizeof texts[0]; i++) {
        double want = strtod(texts[i], NULL), got = good(texts[i]);
        assert_memory_equal(&got, &want, sizeof got);
    }
    bad(texts[sizeof texts / sizeof texts[0] - 1]);
}

static void random_texts(void **state)
{
    struct rng r = {7, 0};
    (void)state;
    for (int i = 0; i < 200000; i++) {
        char text[64];
        uint64_t bits = rng_next(&r);
        double v;
        memcpy(&v, &bits, sizeof v);
        if (i % 3 == 0)
            snprintf(text, sizeof text, "%.17g", v);
        else if (i % 3 == 1)
            snprintf(text, sizeof text, "%.*f", (int)(bits % 9), (double)(int64_t)bits / 1e12);
        else
            snprintf(text, sizeof text, "%llue%d", (unsigned long long)(bits >> (bits % 60)),
                     (int)(bits % 60) - 30);
        double want = strtod(text, NULL), got = 0;
        const char *wrong = number_parse(text, strlen(text), &got);
        if (!isfinite(want) || fabs(want) > NUMBER_MAX) {
            assert_non_null(wrong);
        } else {
            assert_null(wrong);
            assert_memory_equal(&got, &want, sizeof got);
        }
    }
}

static void not_numbers(void **state)
{
    static const char *const texts[] = {
        "",     "-",     "+",    ".",       "e5",       "1e",  "1e+", "nan", "NaN",
        "-nan", "inf",   "-Inf", "0x10",    "1_000",    "1,5", " 1",  "1 ",  "1.2.3",
        "--1",  "1e400", "1e31", "-1.1e30", "infinity", "12a", "1e5x"};
    char text[600];
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        bad(texts[i]);
    memset(text, '1', sizeof text);
    text[NUMBER_TEXT_MAX + 1] = 0;
    bad(text);
    double v;
    assert_non_null(strstr(number_parse("nan", 3, &v), "finite"));
    assert_non_null(strstr(number_parse("1e99", 4, &v), "1e30"));
}

/* A cell is bytes and a length: what stands behind it is not looked at. */
static void ends_where_it_ends(void **state)
{
    double v;
    uint64_t u;
    (void)state;
    assert_null(number_parse("1234", 2, &v));
    assert_true(v == 12);
    assert_null(number_parse("1e22222", 4, &v));
    assert_true(v == 1e22);
    assert_true(number_parse_u64("987", 1, &u));
    assert_int_equal(u, 9);
}

static void whole_numbers(void **state)
{
    uint64_t u = 5;
    (void)state;
    assert_true(number_parse_u64("18446744073709551615", 20, &u));
    assert_true(u == UINT64_MAX);
    assert_true(number_parse_u64("0000000000000000000000012", 25, &u));
    assert_int_equal(u, 12);
    assert_false(number_parse_u64("18446744073709551616", 20, &u));
    assert_false(number_parse_u64("184467440737095516150", 21, &u));
    assert_false(number_parse_u64("", 0, &u));
    assert_false(number_parse_u64("-1", 2, &u));
    assert_false(number_parse_u64("1.0", 3, &u));
    assert_int_equal(u, 12);
}

static int64_t time_of(const char *text)
{
    int64_t us = 1;
    const char *wrong = number_parse_time(text, strlen(text), &us);
    if (wrong != NULL)
        print_error("\"%s\": %s\n", text, wrong);
    assert_null(wrong);
    return us;
}

static void times(void **state)
{
    int64_t us;
    (void)state;
    assert_true(time_of("0") == 0);
    assert_true(time_of("1494028800") == 1494028800000000);
    assert_true(time_of("1494028800.5") == 1494028800500000);
    assert_true(time_of("1494028800123") == 1494028800123000);
    assert_true(time_of("1494028800123456") == 1494028800123456);
    assert_true(time_of("1494028800123456789") == 1494028800123456);
    assert_true(time_of("1970-01-01") == 0);
    assert_true(time_of("1969-12-31") == -86400000000);
    assert_true(time_of("2017-05-06 00:00:01") == 1494028801000000);
    assert_true(time_of("2017-05-06T00:00:01Z") == 1494028801000000);
    assert_true(time_of("2017-05-06T02:00:01+02:00") == 1494028801000000);
    assert_true(time_of("2017-05-05 22:00:01-0200") == 1494028801000000);
    assert_true(time_of("2017-05-06 00:00") == 1494028800000000);
    assert_true(time_of("2017-05-06 00:00:00.250") == 1494028800250000);
    assert_true(time_of("2000-02-29") == 951782400000000);
    static const char *const wrong[] = {"",
                                        "yesterday",
                                        "2017-13-01",
                                        "2017-00-10",
                                        "2017-05-32",
                                        "2017-5-6",
                                        "2017-05-06 25:00",
                                        "2017-05-06x",
                                        "2017-05-06 10",
                                        "10:00",
                                        "2017-05-06 10:00:00 PM",
                                        "nan"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_non_null(number_parse_time(wrong[i], strlen(wrong[i]), &us));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_strtod), cmocka_unit_test(random_texts),
        cmocka_unit_test(not_numbers),    cmocka_unit_test(ends_where_it_ends),
        cmocka_unit_test(whole_numbers),  cmocka_unit_test(times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
