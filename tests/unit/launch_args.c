/* Command lines as users type them: order, "=", repeats, mistakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "launch/args.h"

struct call {
    const char *out;
    uint64_t n;
    bool json;
    struct args_list sets, rest;
};

static enum status parse(struct call *c, int argc, char **argv, struct errbuf *err)
{
    const struct args_flag flags[] = {
        {"--out", ARGS_TEXT, &c->out, "DIR", "x"},
        {"--number", ARGS_U64, &c->n, "N", "x"},
        {"--json", ARGS_SWITCH, &c->json, NULL, "x"},
        {"--set", ARGS_LIST, &c->sets, "K=V", "x"},
    };
    const struct args_spec spec = {"try JOB [--out DIR]", "about", flags, 4, 1, 1};
    memset(c, 0, sizeof(*c));
    return args_parse(&spec, argc, argv, &c->rest, err);
}

static void test_order_does_not_matter(void **state)
{
    (void)state;
    char *argv[] = {"try",    "--set",     "a=1",      "job.yaml", "--out=run",
                    "--json", "--set=b=2", "--number", "3k"};
    struct call c;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(parse(&c, 9, argv, &err), ST_OK);
    assert_string_equal(c.rest.item[0], "job.yaml");
    assert_string_equal(c.out, "run");
    assert_true(c.json);
    assert_int_equal(c.n, 3000);
    assert_int_equal(c.sets.used, 2);
    assert_string_equal(c.sets.item[1], "b=2");
}

static void assert_refused(int argc, char **argv, const char *says)
{
    struct call c;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(parse(&c, argc, argv, &err), ST_USAGE);
    if (strstr(err.text, says) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, says);
    }
}

static void test_mistakes_are_named(void **state)
{
    (void)state;
    char *missing[] = {"try"};
    char *unknown[] = {"try", "job", "--outt", "x"};
    char *no_value[] = {"try", "job", "--out"};
    char *empty[] = {"try", "job", "--out="};
    char *switch_value[] = {"try", "job", "--json=1"};
    char *many[] = {"try", "job", "job2"};
    char *number[] = {"try", "job", "--number", "12abc"};
    assert_refused(1, missing, "missing");
    assert_refused(4, unknown, "nearest is --out");
    assert_refused(3, no_value, "needs a DIR");
    assert_refused(3, empty, "needs a DIR");
    assert_refused(3, switch_value, "takes no value");
    assert_refused(3, many, "one argument too many");
    assert_refused(4, number, "--number");
}

static void test_double_dash_ends_flags(void **state)
{
    (void)state;
    char *argv[] = {"try", "--", "--out"};
    struct call c;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(parse(&c, 3, argv, &err), ST_OK);
    assert_string_equal(c.rest.item[0], "--out");
    assert_null(c.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_does_not_matter),
        cmocka_unit_test(test_mistakes_are_named),
        cmocka_unit_test(test_double_dash_ends_flags),
    };
    return cmocka_run_group_tests_name("launch_args", tests, NULL, NULL);
}
