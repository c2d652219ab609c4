/* data_reader_libsvm.c - libsvm lines, good and bad. */
#include "tests/unit/data_case.h"

#include "common/data/reader_libsvm.h"

static const char *all_of(const char *bytes, size_t n)
{
    static char out[1 << 14];
    size_t used = 0;
    struct reader_libsvm *r;
    struct libsvm_record rec;
    enum status st = reader_libsvm_open(case_write("in.svm", bytes, n), 1 << 20, &r, &err);
    assert_int_equal(st, ST_OK);
    while ((st = reader_libsvm_next(r, &rec, &err)) == ST_OK) {
        used += (size_t)snprintf(out + used, sizeof out - used, "%d@%d", (int)rec.line,
                                 (int)rec.offset);
        if (rec.fault != NULL)
            used += (size_t)snprintf(out + used, sizeof out - used, "!%s", rec.fault);
        else
            used += (size_t)snprintf(out + used, sizeof out - used, "=%g", rec.label);
        for (size_t i = 0; i < rec.n; i++)
            used += (size_t)snprintf(out + used, sizeof out - used, " %llu:%g",
                                     (unsigned long long)rec.id[i], (double)rec.value[i]);
        used += (size_t)snprintf(out + used, sizeof out - used, "\n");
    }
    assert_int_equal(st, ST_END);
    out[used] = 0;
    reader_libsvm_close(r);
    return out;
}

static const char *text(const char *bytes)
{
    return all_of(bytes, strlen(bytes));
}

static void good_lines(void **state)
{
    (void)state;
    assert_string_equal(text("-1 3:1 11:.5\n+1 0:-2e1\r\n0\n"),
                        "1@0=-1 3:1 11:0.5\n2@13=1 0:-20\n3@24=0\n");
    assert_string_equal(text("1 qid:7 1:2\n"), "1@0=1 1:2\n");
    assert_string_equal(text("  1\t5:1   7 9:3  \n"), "1@0=1 5:1 7:1 9:3\n");
    assert_string_equal(text("1 18446744073709551615:1"), "1@0=1 18446744073709551615:1\n");
    assert_string_equal(text("1 5:1 5:2\n"), "1@0=1 5:1 5:2\n");
    assert_string_equal(text("2.5 1:0\n"), "1@0=2.5 1:0\n");
}

static void comments_and_blanks(void **state)
{
    (void)state;
    assert_string_equal(text("# head\n\n   \n1 2:3 # why 4:5\n  # x\n"), "4@12=1 2:3\n");
}

static void bad_lines(void **state)
{
    static const char *const lines[] = {"x 1:1",
                                        "nan 1:1",
                                        "1e31 1:1",
                                        "1 a:1",
                                        "1 -1:1",
                                        "1 1:x",
                                        "1 1:nan",
                                        "1 1:",
                                        "1 :1",
                                        "1 1:1e38",
                                        "1 18446744073709551616:1",
                                        "1 1:1:1",
                                        "1 1.5:1"};
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char both[100];
        snprintf(both, sizeof both, "%s\n1 6:7\n", lines[i]);
        const char *got = text(both);
        if (strncmp(got, "1@0!", 4) != 0)
            print_error("%s gave %s\n", lines[i], got);
        assert_memory_equal(got, "1@0!", 4);
        assert_non_null(strstr(got, "=1 6:7\n"));
    }
    assert_string_equal(all_of("1 2\0:3\n1\n", 9), "1@0!a NUL byte (a binary file?)\n2@7=1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_lines),
        cmocka_unit_test(comments_and_blanks),
        cmocka_unit_test(bad_lines),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
