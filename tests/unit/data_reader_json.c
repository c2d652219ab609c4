/* data_reader_json.c - JSON lines: dotted names, arrays as bags, and what is no JSON. */
#include "tests/unit/data_case.h"

#include "common/data/reader_json.h"

static const char *const NAMES[] = {"a", "u.id", "t", "t[1]", "i.id", "s"};
enum { A, U_ID, T, T1, I_ID, S, NAMES_USED };

static struct columns columns;
static struct reader_json *reader;
static struct named_record rec;

static void open_text_of(const char *text, size_t n)
{
    columns_init(&columns, NAMES, NAMES_USED);
    assert_int_equal(
        reader_json_open(case_write("in.json", text, n), 1 << 22, &columns, &reader, &err), ST_OK);
}

static int release(void **state)
{
    (void)state;
    reader_json_close(reader);
    reader = NULL;
    columns_release(&columns);
    return 0;
}

/* Values of a column with '|' between. */
static const char *all(size_t column)
{
    static char text[512];
    size_t used = 0;
    text[0] = 0;
    for (const struct value *v = columns_first(&columns, column); v != NULL;
         v = columns_next(&columns, v))
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%.*s", used > 0 ? "|" : "",
                                 (int)v->n, v->at);
    return text;
}

static void next(void)
{
    assert_int_equal(reader_json_next(reader, &rec, &err), ST_OK);
}

static void names_and_lists(void **state)
{
    static const char text[] =
        "{\"a\": 1.50, \"u\": {\"id\": \"x y\", \"a\": 9}, \"t\": [\"p\", \"q\", null, 3]}\n"
        "\n"
        "  {\"i\":[{\"id\":1},{\"id\":[2,3]},{}], \"a\": true, \"s\": false, \"t\":[]}  \r\n"
        "{\"s\": \"\\u00e9\\ud83d\\ude00\\n\\\"\\/\", \"u.id\": -0.1e+5, \"x\": [[{\"y\": []}]]}";
    (void)state;
    open_text_of(text, sizeof text - 1);
    next();
    assert_null(rec.fault);
    assert_string_equal(all(A), "1.50");
    assert_string_equal(all(U_ID), "x y");
    assert_string_equal(all(T), "p|q|3");
    assert_string_equal(all(T1), "q");
    assert_true(columns.set[T].list && !columns.set[A].list);
    next();
    assert_null(rec.fault);
    assert_int_equal(rec.line, 3);
    assert_string_equal(all(I_ID), "1|2|3");
    assert_string_equal(all(A), "1");
    assert_string_equal(all(S), "0");
    assert_true(columns.set[T].list && columns.set[T].n == 0);
    next();
    assert_null(rec.fault);
    assert_string_equal(all(S), "\xc3\xa9\xf0\x9f\x98\x80\n\"/");
    assert_string_equal(all(U_ID), "-0.1e+5");
    assert_int_equal(reader_json_next(reader, &rec, &err), ST_END);
}

static void faults(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"[1, 2]", "no JSON object"},
        {"42", "no JSON object"},
        {"{\"a\": 1", "not closed"},
        {"{\"a\": 1} x", "text behind"},
        {"{\"a\": 01}", "no value"},
        {"{\"a\": 1.}", "no value"},
        {"{\"a\": -}", "no value"},
        {"{\"a\": nul}", "no value"},
        {"{\"a\": NaN}", "no value"},
        {"{\"a\": }", "no value"},
        {"{\"a\" 1}", "no : behind"},
        {"{a: 1}", "no \"name\""},
        {"{\"a\": 1,}", "no \"name\""},
        {"{\"t\": [1,]}", "no value"},
        {"{\"t\": [1}", "array that is not closed"},
        {"{\"a\": \"x}", "string that is not closed"},
        {"{\"a\": \"\\x\"}", "an escape that is none"},
        {"{\"a\": \"\\u12g4\"}", "four hex digits"},
        {"{\"a\": \"\\ud800\"}", "surrogate"},
        {"{\"a\": \"\\udc00\"}", "surrogate"},
        {"{\"a\": \"\\u0000\"}", "NUL"},
        {"{\"a\": \"\t\"}", "control character"},
        {"{\"a\": 1, \"a\": 2}", "twice"},
        {"{\"t\": [1], \"t\": 2}", "twice"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        open_text_of(cases[i].text, strlen(cases[i].text));
        next();
        if (rec.fault == NULL || strstr(rec.fault, cases[i].why) == NULL)
            print_error("%s: %s\n", cases[i].text, rec.fault != NULL ? rec.fault : "no fault");
        assert_non_null(rec.fault);
        assert_non_null(strstr(rec.fault, cases[i].why));
        assert_null(columns_first(&columns, A));
        assert_int_equal(reader_json_next(reader, &rec, &err), ST_END);
        release(NULL);
    }
}

/* 64 levels are read, 65 are not, and a name too long to be wanted hurts nobody. */
static void bounds(void **state)
{
    char text[8192];
    size_t n = 0;
    (void)state;
    for (size_t levels = 64; levels <= 65; levels++) {
        n = (size_t)sprintf(text, "{\"t\":");
        for (size_t i = 1; i < levels; i++)
            text[n++] = '[';
        text[n++] = '1';
        for (size_t i = 1; i < levels; i++)
            text[n++] = ']';
        text[n++] = '}';
        open_text_of(text, n);
        next();
        assert_true((rec.fault != NULL) == (levels == 65));
        release(NULL);
    }
    n = (size_t)sprintf(text, "{\"");
    memset(text + n, 'k', 2000);
    n += 2000;
    n += (size_t)sprintf(text + n, "\": {\"a\": {\"b\": 1}}, \"a\": 2}");
    open_text_of(text, n);
    next();
    assert_null(rec.fault);
    assert_string_equal(all(A), "2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(names_and_lists, release),
        cmocka_unit_test_teardown(faults, release),
        cmocka_unit_test_teardown(bounds, release),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
