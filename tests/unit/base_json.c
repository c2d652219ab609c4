/* base_json.c - JSON: what goes in comes out, and what is foreign is refused with a place. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <cmocka.h>

#include "common/base/bytes.h"
#include "common/base/json.h"

static struct json *parse(const char *text)
{
    struct json *j = NULL;
    struct errbuf err = ERRBUF_INIT;
    enum status st = json_parse(text, strlen(text), "t", &j, &err);
    if (st != ST_OK)
        fail_msg("%s", err.text);
    return j;
}

static void refused(const char *text, const char *why)
{
    struct json *j = NULL;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(json_parse(text, strlen(text), "f.json", &j, &err), ST_BAD_DATA);
    assert_memory_equal(err.text, "f.json:", 7);
    if (strstr(err.text, why) == NULL)
        fail_msg("%s lacks %s", err.text, why);
    assert_null(j);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct json *j = json_object();
    json_set_str(j, "z", "first \"quoted\"\n");
    json_set_u64(j, "small", 7);
    json_set_u64(j, "edge", INT64_MAX);
    json_set_u64(j, "big", UINT64_MAX);
    json_set_f64(j, "third", 1.0 / 3);
    json_set_f64(j, "tiny", 5e-324);
    json_set_f64(j, "nan", NAN);
    json_set_f64(j, "inf", INFINITY);
    json_set_bool(j, "yes", true);
    json_set_null(j, "nothing");
    struct json *list = json_array();
    json_add_u64(list, UINT64_MAX);
    json_add_f64(list, 2.5);
    json_add_str(list, "s");
    json_add(list, json_object());
    json_set(j, "a", list);
    json_set_u64(j, "small", 8); /* replaced in place */
    for (int indent = 0; indent <= 2; indent += 2) {
        char *text = json_text(j, indent);
        assert_int_equal(strchr(text, '\n') != NULL, indent > 0);
        struct json *k = parse(text);
        assert_string_equal(json_str(k, "z", ""), "first \"quoted\"\n");
        assert_true(json_u64(k, "small", 0) == 8);
        assert_true(json_u64(k, "edge", 0) == INT64_MAX);
        assert_true(json_u64(k, "big", 0) == UINT64_MAX);
        assert_true(json_f64(k, "third", 0) == 1.0 / 3);
        assert_true(json_f64(k, "tiny", 0) == 5e-324);
        assert_true(json_f64(k, "nan", 3) == 3);
        assert_true(json_f64(k, "inf", 3) == 3);
        assert_true(json_bool(k, "yes", false));
        assert_int_equal(json_len(json_get(k, "a")), 4);
        assert_true(json_u64(json_at(json_get(k, "a"), 0), NULL, 0) == UINT64_MAX);
        assert_true(json_f64(json_at(json_get(k, "a"), 1), "", 0) == 2.5);
        assert_null(json_at(json_get(k, "a"), 4));
        free(text);
        json_free(k);
    }
    json_free(j);
    json_free(NULL);
}

static void test_order_is_kept(void **state)
{
    (void)state;
    struct json *j = parse("{\"z\": 1, \"a\": 2, \"m\": {\"q\": 3, \"b\": 4}}");
    char *text = json_text(j, 0);
    assert_string_equal(text, "{\"z\": 1, \"a\": 2, \"m\": {\"q\": 3, \"b\": 4}}");
    free(text);
    const char *key;
    const struct json *v;
    assert_true(json_item(j, 1, &key, &v));
    assert_string_equal(key, "a");
    assert_true(json_u64(v, NULL, 0) == 2);
    assert_false(json_item(j, 3, &key, &v));
    assert_false(json_item(json_get(j, "a"), 0, &key, &v));
    json_free(j);
}

static void test_paths_and_types(void **state)
{
    (void)state;
    struct json *j = parse("{\"a\": {\"b\": {\"c\": 5, \"s\": \"x\", \"f\": 1.5, \"neg\": -1}},"
                           " \"n\": \"18446744073709551616\", \"pad\": \"007\", \"ok\": \"12\"}");
    assert_true(json_u64(j, "a.b.c", 0) == 5);
    assert_true(json_f64(j, "a.b.c", 0) == 5);
    assert_true(json_u64(j, "a.b.f", 9) == 9);
    assert_true(json_u64(j, "a.b.neg", 9) == 9);
    assert_true(json_u64(j, "n", 9) == 9); /* 2^64 */
    assert_true(json_u64(j, "pad", 9) == 9);
    assert_true(json_u64(j, "ok", 9) == 12);
    assert_true(json_u64(j, "a.b", 9) == 9);
    assert_true(json_u64(j, "a.b.c.d", 9) == 9);
    assert_true(json_u64(j, "x.y", 9) == 9);
    assert_null(json_get(j, "a.x"));
    assert_true(json_get(j, NULL) == j && json_get(j, "") == j);
    assert_string_equal(json_str(j, "a.b.c", "other"), "other");
    assert_int_equal(json_len(j), 0);
    assert_true(json_bool(j, "a", true));

    struct errbuf err = ERRBUF_INIT;
    uint64_t u = 1;
    double f = 1;
    const char *s = "s";
    assert_int_equal(json_need_u64(j, "a.b.c", &u, &err), ST_OK);
    assert_true(u == 5);
    assert_int_equal(json_need_u64(j, "a.b.neg", &u, &err), ST_BAD_DATA);
    assert_string_equal(err.text, "a.b.neg is not a whole number from 0 to 2^64-1");
    assert_int_equal(json_need_u64(j, "a.q", &u, &err), ST_BAD_DATA);
    assert_string_equal(err.text, "a.q is missing");
    assert_int_equal(json_need_f64(j, "a.b.s", &f, &err), ST_BAD_DATA);
    assert_int_equal(json_need_str(j, "a.b.f", &s, &err), ST_BAD_DATA);
    assert_true(u == 5 && f == 1 && strcmp(s, "s") == 0);
    assert_int_equal(json_need_str(j, "a.b.s", &s, &err), ST_OK);
    assert_string_equal(s, "x");
    assert_int_equal(json_need_f64(NULL, "a", &f, &err), ST_BAD_DATA);
    json_free(j);
}

static void test_foreign_text(void **state)
{
    (void)state;
    refused("", "");
    refused("{\"a\": 1, \"a\": 2}", "duplicate");
    refused("{\"a\": 1} x", "end of file");
    refused("{\"a\": 1e400}", "");
    refused("{\"a\": 99999999999999999999}", "");
    refused("{\"a\": \"\\u0000\"}", "");
    refused("{\"a\": \"\xff\"}", "decode");
    refused("{\"a\": nan}", "");
    refused("{\"a\": [1, 2", "");
    char deep[200];
    memset(deep, '[', 100);
    memset(deep + 100, ']', 100);
    struct json *j = NULL;
    struct errbuf err;
    assert_int_equal(json_parse(deep, 200, "d", &j, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "deeper than 64"));
    assert_int_equal(json_parse(deep + 36, 128, "d", &j, &err), ST_OK); /* exactly 64 */
    json_free(j);
    j = NULL;
    const char *quoted =
        "[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\"]";
    assert_int_equal(json_parse(quoted, strlen(quoted), "q", &j, &err), ST_OK);
    json_free(j);
}

static void test_bad_utf8_is_written_anyway(void **state)
{
    (void)state;
    struct json *j = json_object();
    json_set_str(j, "path", "/data/\xff\xc3\xa9\xc3");
    json_set_str(j, "null", NULL);
    assert_string_equal(json_str(j, "path", ""), "/data/?\xc3\xa9?");
    assert_string_equal(json_str(j, "null", "none"), "none");
    json_free(j);
}

static void test_read(void **state)
{
    (void)state;
    struct json *j = NULL;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(json_read("/no/such/file.json", 100, &j, &err), ST_NOT_FOUND);
    assert_non_null(strstr(err.text, "/no/such/file.json"));
    assert_int_equal(json_read("/proc/self/status", 1 << 20, &j, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "/proc/self/status:1:"));
    assert_null(j);
}

/* Our writer against jansson's own, letter by letter. */
static void same_as_jansson(json_t *j)
{
    for (size_t indent = 0; indent < 3; indent++) {
        char *theirs =
            json_dumps(j, JSON_INDENT(indent) | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY);
        char *ours = json_text((const struct json *)j, (int)indent);
        if (strcmp(ours, theirs) != 0)
            fail_msg("\"%s\", not \"%s\"", ours, theirs);
        free(theirs);
        free(ours);
    }
    json_decref(j);
}

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
    return *x;
}

static void test_numbers_as_jansson_writes_them(void **state)
{
    (void)state;
    static const double odd[] = {0,
                                 -0.0,
                                 1,
                                 -1,
                                 .1,
                                 .5,
                                 1e-4,
                                 9.9999999999999999e-5,
                                 1.0000000000000002e-4,
                                 1e15,
                                 1e16,
                                 9999999999999998,
                                 1e17,
                                 123456789,
                                 1e22,
                                 1e23,
                                 5e-324,
                                 1.7976931348623157e308,
                                 .3,
                                 2.5,
                                 1e-5,
                                 4503599627370496.5,
                                 0.1f,
                                 3.4028234663852886e38,
                                 99999999999999.99};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        same_as_jansson(json_real(odd[i]));
        same_as_jansson(json_real(-odd[i]));
    }
    uint64_t x = 88172645463325252ull;
    for (int i = 0; i < 300000; i++) {
        union {
            uint64_t bits;
            double d;
        } u = {next_random(&x)};
        if (i % 3 != 0) /* where the fast way goes: 1e-5 to 1e18 */
            u.bits = (u.bits & 0x800fffffffffffffull) | ((1023 - 17 + u.bits % 77) << 52);
        if (i % 3 == 2)
            u.d = (float)u.d;
        if (isfinite(u.d))
            same_as_jansson(json_real(u.d));
    }
    for (int e = -6; e < 19; e++) { /* beside powers of ten, where digits are counted */
        double p = pow(10, e);
        for (int k = -40; k <= 40; k++) {
            same_as_jansson(json_real(p));
            p = k < 0 ? nextafter(p, 0) : k == 0 ? pow(10, e) : nextafter(p, INFINITY);
        }
    }
    static const json_int_t whole[] = {0, 1, -1, 10, 123456789, INT64_MAX, INT64_MIN, -10};
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++)
        same_as_jansson(json_integer(whole[i]));
}

static void test_trees_as_jansson_writes_them(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}",
        "[]",
        "[[]]",
        "{\"a\": {}}",
        "[1, 2.5, null, true, false, \"x\"]",
        "{\"z\": 1, \"a\": [1, {\"b\": []}, [2]], \"\": \"\"}",
        "[\"\\u0001\\u001f\\b\\f\\n\\r\\t\\\"\\\\/\\u007f\\u00e4\\u20ac\\ud83d\\ude00\"]"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        same_as_jansson((json_t *)parse(texts[i]));
}

static void cell_is(const char *text, enum json_kind kind, const char *want)
{
    struct json *j;
    struct errbuf err = ERRBUF_INIT;
    char room[JSON_CELL_ROOM], whole[64];
    size_t n = 0;
    snprintf(whole, sizeof whole, "{\"a\": %s}", text);
    assert_int_equal(json_parse(whole, strlen(whole), "t", &j, &err), ST_OK);
    assert_int_equal(json_kind(json_get(j, "a")), kind);
    const char *cell = json_cell(json_get(j, "a"), room, &n);
    if (want == NULL) {
        assert_null(cell);
    } else {
        assert_int_equal(n, strlen(want));
        assert_memory_equal(cell, want, n);
    }
    json_free(j);
}

static void cells_as_a_log_has_them(void **state)
{
    (void)state;
    cell_is("\"12 x\"", JSON_TEXT, "12 x");
    cell_is("-9223372036854775808", JSON_WHOLE, "-9223372036854775808");
    cell_is("0.1", JSON_FRACTION, "0.10000000000000001");
    cell_is("-1.7976931348623157e308", JSON_FRACTION, "-1.7976931348623157e+308");
    cell_is("true", JSON_BOOL, "1");
    cell_is("false", JSON_BOOL, "0");
    cell_is("null", JSON_NIL, NULL);
    cell_is("[1]", JSON_LIST, NULL);
    cell_is("{}", JSON_MAP, NULL);
    assert_int_equal(json_kind(NULL), JSON_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_order_is_kept),
        cmocka_unit_test(test_paths_and_types),
        cmocka_unit_test(test_foreign_text),
        cmocka_unit_test(test_bad_utf8_is_written_anyway),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_numbers_as_jansson_writes_them),
        cmocka_unit_test(test_trees_as_jansson_writes_them),
        cmocka_unit_test(cells_as_a_log_has_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
