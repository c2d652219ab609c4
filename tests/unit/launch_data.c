/* launch_data.c - `penstock data` as a function of its words: what it prints, where, and with which exit code.
 *
 * The real program, its interrupts and its files: tests/cluster/data_cmd.sh. Here every answer to a wrong call, and
 * the three commands once, so that SAN=address sees them.
 */
#include "tests/unit/data_case.h"

#include "common/base/mem.h"
#include "launch/cmd_data.h"

struct answer {
    int code;
    char *out, *err; /* owned */
};

/* What fd 1 or 2 says until end_capture goes into a file. */
static int begin_capture(int fd, const char *name)
{
    int saved = dup(fd);
    assert_non_null(freopen(case_path(name), "w", fd == 1 ? stdout : stderr));
    return saved;
}

static char *end_capture(int fd, int saved, const char *name)
{
    char *text;
    size_t n;
    fflush(fd == 1 ? stdout : stderr);
    dup2(saved, fd);
    close(saved);
    assert_int_equal(file_read(case_path(name), 1 << 20, &text, &n, &err), ST_OK);
    return text;
}

/* words: "data" and what stands behind it, NULL at the end. */
static struct answer ask(const char *const *words)
{
    char *argv[16] = {NULL};
    int argc = 0;
    struct answer a;
    for (; words[argc] != NULL; argc++)
        argv[argc] = mem_strdup(words[argc]);
    int out = begin_capture(1, "stdout"), errors = begin_capture(2, "stderr");
    a.code = cmd_data(argc, argv);
    a.err = end_capture(2, errors, "stderr");
    a.out = end_capture(1, out, "stdout");
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return a;
}

static void expect(const char *const *words, int code, const char *out, const char *errors)
{
    struct answer a = ask(words);
    if (a.code != code || strstr(a.out, out) == NULL || strstr(a.err, errors) == NULL)
        fail_msg("%s %s: code %d (not %d), out \"%s\" (\"%s\"), err \"%s\" (\"%s\")",
                 words[1] != NULL ? words[1] : "", words[1] != NULL && words[2] ? words[2] : "",
                 a.code, code, a.out, out, a.err, errors);
    if (code == 2)
        assert_string_equal(a.out, ""); /* a wrong call says nothing on standard output */
    free(a.out);
    free(a.err);
}

#define CALL(...)                                                                                  \
    (const char *const[])                                                                          \
    {                                                                                              \
        "data", __VA_ARGS__, NULL                                                                  \
    }
#define WRONG(e, ...) expect(CALL(__VA_ARGS__), 2, "", e)

static void test_wrong_calls(void **state)
{
    (void)state;
    char *job = mem_strdup(case_text("job.yaml", "data: {train: x.csv}\nmodel: {family: lr}\n"));
    expect((const char *const[]){"data", NULL}, 2, "", "a word is missing");
    WRONG("data: convret: no such command", "convret");
    WRONG("data inspect: an argument is missing; usage: penstock data inspect FILE", "inspect");
    WRONG("data inspect: b: one argument too many", "inspect", "a", "b");
    WRONG("--json: no such flag", "inspect", "a", "--json");
    WRONG("data convert: an argument is missing", "convert");
    WRONG("--out: needs a DIR", "convert", job, "--out");
    WRONG("--out: needs a DIR", "convert", job, "--out=");
    WRONG("--outt=x: no such flag; the nearest is --out", "convert", job, "--outt=x");
    WRONG("nothere.yaml: No such file or directory", "convert", "nothere.yaml");
    WRONG("data.trian: no such key; the nearest is data.train", "convert", job, "--set",
          "data.trian=x");
    WRONG("data synth: an argument is missing", "synth");
    WRONG("mall: there is only one kind: shop", "synth", "mall", "--out", "x");
    WRONG("--out DIR is missing", "synth", "shop");
    WRONG("--users: 1e9x is not a number (allowed: whole numbers from 0)", "synth", "shop",
          "--users", "1e9x");
    WRONG("--users must be from 10", "synth", "shop", "--out", "x", "--users", "9");
    WRONG("--items must be from", "synth", "shop", "--out", "x", "--items", "1");
    WRONG("--events must be from", "synth", "shop", "--out", "x", "--events", "1");
    assert_false(file_exists("x"));
    free(job);
}

static void test_help(void **state)
{
    (void)state;
    expect(CALL("--help"), 0, "usage: penstock data inspect FILE", "");
    expect(CALL("inspect", "--help"), 0, "usage: penstock data inspect FILE", "");
    expect(CALL("convert", "-h"), 0, "--set key=value", "");
    expect(CALL("synth", "--help"), 0, "--events", "");
    expect(CALL("convert", "--help=bad_max"), 0, "data.bad_max", "");
}

static void test_inspect(void **state)
{
    (void)state;
    char *log = mem_strdup(case_text("log.csv", "user,price,click\n1,2.5,0\n2,3.5,1\n3,4.5,0\n"));
    expect(CALL("inspect", log), 0, "all 3 rows", "");
    expect(CALL("inspect", log), 0, "{name: \"click\", type: label}", "");
    expect(CALL("inspect", case_path("absent.csv")), 3, "", "absent.csv: No such file");
    expect(CALL("inspect", case_dir()), 3, "", "is a folder");
    expect(CALL("inspect", case_text("empty.csv", "")), 3, "", "empty.csv:1: no line in it");
    free(log);
}

static void test_convert(void **state)
{
    char text[2000];
    (void)state;
    case_text("few.csv", "user,click\n1,0\n2,1\n3,0\n4,1\n5\n6,0\n7,1\n8,0\n9,1\n10,0\n");
    snprintf(text, sizeof text,
             "data:\n  root: %s\n  train: few.csv\n  bad_max: .2\n  fields:\n"
             "    - {name: click, type: label}\n    - {name: user, type: user}\n"
             "model: {family: lr}\n",
             case_dir());
    char *job = mem_strdup(case_text("few.yaml", text)), *cache = mem_strdup(case_path("cache"));
    expect(CALL("convert", job, "--out", cache), 0, "quarantine.tsv", "");
    expect(CALL("convert", job, "--out", cache), 0, "unchanged, used again", "");
    expect(CALL("convert", job, "--out", cache, "--set", "data.bad_max=.05"), 3, "",
           "1 of 10 lines are bad, more than data.bad_max: 0.05 allows");
    expect(CALL("convert", job, "--out", cache, "--set", "data.train=absent.csv"), 3, "",
           "data.train: ");
    case_text("file", "x");
    expect(CALL("convert", job, "--out", case_path("file")), 1, "", "file");
    free(job);
    free(cache);
}

static void test_synth(void **state)
{
    (void)state;
    char *out = mem_strdup(case_path("shop"));
    expect(CALL("synth", "shop", "--users", "20", "--items", "60", "--events", "1k", "--out", out),
           0, "best AUC", "");
    assert_true(file_exists(case_path("shop/train.csv")));
    assert_true(file_exists(case_path("shop/truth.json")));
    expect(CALL("inspect", case_path("shop/test.csv")), 0, "with a header", "");
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_calls), cmocka_unit_test(test_help),
        cmocka_unit_test(test_inspect),     cmocka_unit_test(test_convert),
        cmocka_unit_test(test_synth),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
