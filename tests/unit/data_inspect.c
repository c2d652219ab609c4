/* data_inspect.c - guesses about small logs, and that a guessed job reads the log it was guessed from. */
#include "tests/unit/data_case.h"

#include "common/data/convert.h"
#include "common/data/inspect.h"

static struct inspect in;

static int release(void **state)
{
    (void)state;
    inspect_release(&in);
    return 0;
}

static void look(const char *name, const char *text)
{
    enum status st = inspect_file(case_text(name, text), &in, &err);
    if (st != ST_OK)
        print_error("%s\n", err.text);
    assert_int_equal(st, ST_OK);
}

static int type_of(const char *column)
{
    for (size_t c = 0; c < in.columns_used; c++)
        if (strcmp(in.column[c].name, column) == 0)
            return in.column[c].type;
    return -1;
}

/* The skeleton is a job, and all lines of the log are good under it. */
static void job_works(uint64_t rows)
{
    struct buffer text = BUFFER_INIT;
    struct job job;
    struct convert_result r;
    inspect_job(&in, &text);
    enum status st =
        job_parse(buffer_text(&text), text.used, "guess.yaml", case_dir(), NULL, 0, &job, &err);
    if (st == ST_OK)
        st = convert_job(&job, case_path("guess"), NULL, NULL, &r, &err);
    if (st != ST_OK)
        print_error("%s\n%s\n", err.text, buffer_text(&text));
    assert_int_equal(st, ST_OK);
    assert_int_equal(r.rows[0] + r.rows[1] + r.rows[2], rows);
    job_release(&job);
    buffer_reset(&text);
    inspect_text(&in, &text);
    assert_true(text.used > 50);
    buffer_release(&text);
}

static void a_csv(void **state)
{
    char text[8000];
    size_t n = (size_t)sprintf(text, "time,user_id,item_id,price,tags,note,click,buy\n");
    (void)state;
    for (int i = 0; i < 120; i++)
        n += (size_t)sprintf(text + n,
                             "2024-01-01 00:%02d:00,%d,%d,%d.5,a|b%d,\"x, \"\"y\"\"\",%d,%d\n",
                             i % 60, i % 9, i % 30, i * 3, i % 4, i % 3 == 0, i % 6 == 0);
    look("a.csv", text);
    assert_string_equal(in.delimiter, ",");
    assert_true(in.header && in.whole && !in.libsvm);
    assert_int_equal(in.rows, 120);
    assert_int_equal(type_of("time"), FIELD_TIME);
    assert_int_equal(type_of("user_id"), FIELD_USER);
    assert_int_equal(type_of("item_id"), FIELD_ITEM);
    assert_int_equal(type_of("price"), FIELD_FLOAT);
    assert_int_equal(type_of("tags"), FIELD_IDS);
    assert_int_equal(type_of("note"), FIELD_ID);
    assert_int_equal(type_of("click"), FIELD_LABEL);
    assert_int_equal(type_of("buy"), FIELD_SKIP);
    assert_int_equal(in.column[1].distinct, 9);
    job_works(120);
}

static void tabs_without_names(void **state)
{
    char text[4000];
    size_t n = 0;
    (void)state;
    for (int i = 0; i < 100; i++)
        n += (size_t)sprintf(text + n, "%d\t%d\t%d\t%d\r\n", i % 7, i % 11, i % 5 + 1,
                             881250949 + i);
    look("u.data", text);
    assert_string_equal(in.delimiter, "\t");
    assert_false(in.header);
    assert_int_equal(type_of("c2"), FIELD_LABEL);
    assert_int_equal(type_of("c3"), FIELD_TIME);
    job_works(100);
}

static void double_colons(void **state)
{
    (void)state;
    look("r.dat",
         "1::Toy Story (1995)::Comedy|Drama::1\n2::Heat, The::Action::0\n3::X::Drama|War::1\n");
    assert_string_equal(in.delimiter, "::");
    assert_false(in.header);
    assert_int_equal(type_of("c2"), FIELD_IDS);
    assert_int_equal(type_of("c3"), FIELD_LABEL);
    job_works(3);
}

static void names_that_are_numbers(void **state)
{
    (void)state;
    look("n.csv", "click,101,205,109_14\n0,5,6,1\n1,5,7,1\n0,6,6,2\n");
    assert_true(in.header);
    assert_int_equal(type_of("click"), FIELD_LABEL);
    assert_int_equal(type_of("205"), FIELD_ID);
    job_works(3);
}

static void equal_names(void **state)
{
    (void)state;
    look("e.csv", "y,tag,tag\n0,5,6\n1,5,7\n0,6,6\n");
    job_works(3);
}

static void a_libsvm(void **state)
{
    (void)state;
    look("x.svm", "+1 1:1 7:2\n-1 3:1 99:.5\n");
    assert_true(in.libsvm);
    assert_int_equal(in.id_min, 1);
    assert_int_equal(in.id_max, 99);
    job_works(2);
}

static void nothing_to_guess(void **state)
{
    struct inspect other;
    (void)state;
    look("ok.csv", "a,b\n1,2\n"); /* for the teardown */
    assert_int_equal(inspect_file(case_text("none.csv", ""), &other, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "none.csv"));
    assert_int_equal(inspect_file(case_text("blank.csv", "\n\n"), &other, &err), ST_BAD_DATA);
    assert_int_equal(inspect_file(case_write("bin", "\0\1\2\3", 4), &other, &err), ST_BAD_DATA);
    assert_int_not_equal(inspect_file(case_path("absent"), &other, &err), ST_OK);
    const char *title = case_text("title.csv", "Sales of May\na,b\n1,2\n3,4\n5,6\n");
    assert_int_equal(inspect_file(title, &other, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "4 of 4 lines don't have the 1 columns"));
    const char *braces = case_text("braces.txt", "{begin}\n{\"a\": 1}\n{end}\n");
    assert_int_equal(inspect_file(braces, &other, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "begins as json does, but 2 of 3 records can't be read"));
}

/* Names that are no UTF-8 or are doubled are columns by number; nothing of a log moves a terminal's cursor. */
static void odd_names(void **state)
{
    struct buffer text = BUFFER_INIT;
    (void)state;
    look("odd.csv", "pr\xe9nom,x,x,,\x1b[2Jesc,click\n1,2,3,4,5\x07,0\n2,3,4,5,6,1\n");
    assert_int_equal(in.columns_used, 6);
    job_works(2);
    inspect_text(&in, &text);
    for (size_t i = 0; i < text.used; i++)
        assert_true(text.data[i] == '\n' || (text.data[i] >= 0x20 && text.data[i] < 0x7f));
    assert_non_null(strstr(buffer_text(&text), "?[2Jesc"));
    buffer_release(&text);
}

/* Formats whose cells have names, and the presets: each is told, and its job reads all lines. */
static void other_formats(void **state)
{
    static const struct {
        const char *text;
        int format;
        uint64_t rows;
    } cases[] = {
        {"{\"click\": true, \"user\": {\"id\": 1}, \"v\": [0.5, 1.5], \"tags\": [\"a\"]}\n"
         "{\"click\": false, \"user\": {\"id\": 2}, \"v\": [2.5, 3]}\n"
         "{\"click\": false, \"user\": {\"id\": 2}, \"v\": [2, 3], \"tags\": []}\n",
         JOB_JSON, 3},
        {"1 0:3:1 1:4:.5\n0 0:3:1 1:5:.25\n", JOB_LIBFFM, 2},
        {"click:1 7:81 8:90\nclick:0 7:82 8:91\nclick:0 7:83 8:92 8:93\n", JOB_SLOTS, 3},
        {"1:click 81:7 90:8\n0:click 82:7 91:8\n1:click 83:7 92:8 93:8 94:8\n", JOB_SLOTS, 3},
        {"user_id:token\titem_id:token\trating:float\ttimestamp:float\tkind:token_seq\n"
         "1\t7\t3\t881250949\ta b\n2\t8\t5\t881250950\tb\n",
         JOB_RECBOLE, 2},
        {"0\t1\t1\t5\t0\t1382\t4\t15\t2\t181\t1\t2\t\t2\t68fd1e64\t80e26c9b\tfb936136\t7b4723c4\t"
         "25c83c98\t7e0ccccf\tde7995b8\t1f89b562\ta73ee510\ta8cd5504\tb2cb9c98\t37c9c164\t2824a5f6"
         "\t"
         "1adce6ef\t8ba8b39a\t891b62e7\te5ba7672\tf54016b9\t21ddcdc9\tb1252a9d\t07b5194c\t\t3a171ec"
         "b\t"
         "c5c50484\te8b83407\t9727dd16\n",
         JOB_CRITEO, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        look("other.log", cases[i].text);
        assert_int_equal(in.format, cases[i].format);
        assert_int_equal(in.rows, cases[i].rows);
        assert_true(in.slot_last == (i == 3));
        job_works(cases[i].rows);
        if (i + 1 < sizeof cases / sizeof cases[0])
            inspect_release(&in);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, release)
    const struct CMUnitTest tests[] = {
        TEST(a_csv),         TEST(tabs_without_names),
        TEST(double_colons), TEST(names_that_are_numbers),
        TEST(equal_names),   TEST(odd_names),
        TEST(a_libsvm),      TEST(nothing_to_guess),
        TEST(other_formats),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
