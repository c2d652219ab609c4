/* data_reader_pairs.c - slots in both orders, libffm, and lines that are neither. */
#include "tests/unit/data_case.h"

#include "common/data/reader_pairs.h"

static const char *const NAMES[] = {"label", "7", "7[1]", "@0", "@1"};
enum { LABEL, SEVEN, SEVEN_1, PLACE_0, PLACE_1, NAMES_USED };

static struct columns columns;
static struct reader_pairs *reader;
static struct named_record rec;

static void open_text_of(const char *text, enum pairs_kind kind)
{
    columns_init(&columns, NAMES, NAMES_USED);
    assert_int_equal(
        reader_pairs_open(case_text("in.txt", text), 1 << 20, kind, &columns, &reader, &err),
        ST_OK);
}

static int release(void **state)
{
    (void)state;
    reader_pairs_close(reader);
    reader = NULL;
    columns_release(&columns);
    return 0;
}

static void is(size_t column, const char *want)
{
    char text[512] = "";
    size_t used = 0;
    for (const struct value *v = columns_first(&columns, column); v != NULL;
         v = columns_next(&columns, v))
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%.*s", used > 0 ? "|" : "",
                                 (int)v->n, v->at);
    assert_string_equal(text, want);
}

static void next(void)
{
    assert_int_equal(reader_pairs_next(reader, &rec, &err), ST_OK);
}

static void slots(void **state)
{
    (void)state;
    open_text_of("label:1 7:18446744073709551615 8:2\t7:a:b\r\n\n , \n1,0,7:5,,7:6",
                 PAIRS_SLOT_FIRST);
    next();
    assert_null(rec.fault);
    is(LABEL, "1");
    is(SEVEN, "18446744073709551615|a:b");
    is(SEVEN_1, "a:b");
    next();
    assert_int_equal(rec.line, 4);
    is(PLACE_0, "1");
    is(PLACE_1, "0");
    is(SEVEN, "5|6");
    assert_true(columns.set[SEVEN].list && !columns.set[PLACE_0].list);
    assert_int_equal(reader_pairs_next(reader, &rec, &err), ST_END);
}

static void slot_last(void **state)
{
    (void)state;
    open_text_of("0:label 11450961880964427561:7 a:b:7", PAIRS_SLOT_LAST);
    next();
    is(LABEL, "0");
    is(SEVEN, "11450961880964427561|a:b");
}

static void libffm(void **state)
{
    (void)state;
    open_text_of("1 7:17:0.5 3:9:1 7:x\n-1\n", PAIRS_LIBFFM);
    next();
    assert_null(rec.fault);
    is(LABEL, "1");
    is(SEVEN, "17|x");
    assert_true(columns_first(&columns, SEVEN)->weight == .5f);
    assert_true(columns_next(&columns, columns_first(&columns, SEVEN))->weight == 1);
    next();
    assert_null(rec.fault);
    is(LABEL, "-1");
    is(SEVEN, "");
}

static void faults(void **state)
{
    static const struct {
        const char *text;
        enum pairs_kind kind;
        const char *why;
    } cases[] = {
        {":5", PAIRS_SLOT_FIRST, "without a slot"},
        {"7:", PAIRS_SLOT_FIRST, "without a value"},
        {":7", PAIRS_SLOT_LAST, "without a value"},
        {"5:", PAIRS_SLOT_LAST, "without a slot"},
        {"7:1:1 1", PAIRS_LIBFFM, "where the label should be"},
        {"1 7", PAIRS_LIBFFM, "no field:feature:value"},
        {"1 7:", PAIRS_LIBFFM, "no field:feature:value"},
        {"1 7::1", PAIRS_LIBFFM, "no field:feature:value"},
        {"1 :1:1", PAIRS_LIBFFM, "no field:feature:value"},
        {"1 7:1:", PAIRS_LIBFFM, "finite number"},
        {"1 7:1:nan", PAIRS_LIBFFM, "finite number"},
        {"1 7:1:1:1", PAIRS_LIBFFM, "finite number"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        open_text_of(cases[i].text, cases[i].kind);
        next();
        assert_non_null(rec.fault);
        assert_non_null(strstr(rec.fault, cases[i].why));
        is(SEVEN, "");
        assert_int_equal(reader_pairs_next(reader, &rec, &err), ST_END);
        release(NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(slots, release),
        cmocka_unit_test_teardown(slot_last, release),
        cmocka_unit_test_teardown(libffm, release),
        cmocka_unit_test_teardown(faults, release),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
