/* base_options.c - the option table, on a little table of its own: values, units, bounds, errors, help. */
#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/options.h"

struct conf {
    bool flag;
    uint64_t count, any, room, wait;
    double rate, free_rate;
    char *text, *path;
    int kind;
    struct texts words, files;
    struct u64s widths;
};

#define AT(m) offsetof(struct conf, m)

static const struct option rows[] = {
    {"top", OPT_TEXT, AT(text), 0, 0, "plain", NULL, NULL, 0, "a text at the top"},
    {"train.flag", OPT_BOOL, AT(flag), 0, 0, "true", NULL, NULL, 0, "a switch"},
    {"train.batch", OPT_U64, AT(count), 1, 16e6, "25k", NULL, NULL, 0, "records a push"},
    {"train.seed", OPT_U64, AT(any), 0, 0, "1", NULL, NULL, OPTION_RESUME_FREE, "any number"},
    {"train.rate", OPT_F64, AT(rate), 0, 1, "1e-3", NULL, NULL, 0, "a bounded real"},
    {"train.free", OPT_F64, AT(free_rate), 0, 0, "-.5", NULL, NULL, 0, "any real"},
    {"model.kind", OPT_CHOICE, AT(kind), 0, 0, NULL, "lr|fm|mlp", NULL, 0, "the family"},
    {"model.deep.widths", OPT_U64S, AT(widths), 1, 1000, "[4, 5]", NULL, "model.kind=fm|mlp", 0,
     "layers"},
    {"data.path", OPT_PATH, AT(path), 0, 0, "", NULL, NULL, 0, "a path"},
    {"data.words", OPT_TEXTS, AT(words), 0, 0, "[\"\", NA, \"\\\\N\"]", NULL, NULL, 0, "words"},
    {"data.files", OPT_PATHS, AT(files), 0, 0, "", NULL, NULL, 0, "files"},
    {"cluster.room", OPT_BYTES, AT(room), 0, 0x1p50, "4G", NULL, NULL, 0, "memory"},
    {"cluster.wait", OPT_TIME, AT(wait), 1e3, 3.6e9, "10s", NULL, NULL, 0, "a deadline"},
};
enum { ROWS = sizeof rows / sizeof rows[0] };
static const struct option_table table = {rows, ROWS};

static struct conf conf;
static bool seen[ROWS];
static struct errbuf err;

static int fresh(void **state)
{
    (void)state;
    memset(&conf, 0, sizeof conf);
    memset(seen, 0, sizeof seen);
    options_defaults(&table, &conf);
    return 0;
}

static int release(void **state)
{
    (void)state;
    options_release(&table, &conf);
    assert_null(conf.text);
    assert_null(conf.words.item);
    return 0;
}

static enum status load(const char *text)
{
    struct yaml_node *node;
    err.text[0] = '\0';
    if (yaml_parse(text, strlen(text), "job.yaml", &node, &err) != ST_OK)
        fail_msg("%s", err.text);
    enum status st = options_load(&table, node, "job.yaml", "data.fields", &conf, seen, &err);
    yaml_tree_free(node);
    return st;
}

static void loads(const char *text)
{
    if (load(text) != ST_OK)
        fail_msg("%s", err.text);
}

static void refuses(const char *text, const char *why)
{
    assert_int_equal(load(text), ST_USAGE);
    assert_string_equal(err.text, why);
}

static void sets(const char *assignment)
{
    if (options_set(&table, assignment, &conf, seen, &err) != ST_OK)
        fail_msg("%s", err.text);
}

static void set_refused(const char *assignment, const char *why)
{
    assert_int_equal(options_set(&table, assignment, &conf, seen, &err), ST_USAGE);
    assert_string_equal(err.text, why);
}

static void test_defaults(void **state)
{
    (void)state;
    assert_string_equal(conf.text, "plain");
    assert_string_equal(conf.path, "");
    assert_true(conf.flag && conf.count == 25000 && conf.any == 1 && conf.rate == 1e-3);
    assert_true(conf.free_rate == -.5);
    assert_true(conf.room == (uint64_t)4 << 30 && conf.wait == 10000000);
    assert_int_equal(conf.widths.used, 2);
    assert_int_equal(conf.widths.item[1], 5);
    assert_int_equal(conf.words.used, 3);
    assert_string_equal(conf.words.item[0], "");
    assert_string_equal(conf.words.item[2], "\\N");
    assert_int_equal(conf.files.used, 0);
}

static void test_load(void **state)
{
    (void)state;
    loads("top: 5\n"
          "train: {flag: no, batch: 1M, seed: 18446744073709551615, rate: .5, free: -1e300}\n"
          "model:\n  kind: mlp\n  deep:\n    widths: 7\n"
          "data:\n  path: a b\n  words: []\n  files: [x, 'y*']\n  fields: [whatever, {a: b}]\n"
          "cluster:\n");
    assert_string_equal(conf.text, "5");
    assert_false(conf.flag);
    assert_true(conf.count == 1000000 && conf.any == UINT64_MAX && conf.rate == .5);
    assert_true(conf.free_rate == -1e300);
    assert_int_equal(conf.kind, 2);
    assert_int_equal(conf.widths.used, 1);
    assert_int_equal(conf.widths.item[0], 7);
    assert_int_equal(conf.words.used, 0);
    assert_int_equal(conf.files.used, 2);
    assert_string_equal(conf.files.item[1], "y*");
    for (size_t i = 0; i < ROWS; i++)
        assert_int_equal(seen[i], i < 11); /* the cluster's rows were not given */
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t v;
    } counts[] = {{"1", 1},          {"25k", 25000}, {"25K", 25000}, {"16M", 16000000},
                  {"1.5M", 1500000}, {"1e3", 1000},  {"2.3k", 2300}, {"1e-3M", 1000},
                  {"+7", 7},         {"0008", 8},    {".5k", 500},   {"5.", 5}};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "train: {batch: %s}", counts[i].text);
        loads(text);
        assert_true(conf.count == counts[i].v);
        snprintf(text, sizeof text, "train.batch=%s", counts[i].text);
        conf.count = 0;
        sets(text);
        assert_true(conf.count == counts[i].v);
    }
    static const char *const bad[] = {
        "nan",
        "inf",
        "-1",
        "1e400",
        "12abc",
        "0x10",
        "1_000",
        "1 000",
        "k",
        ".",
        "-",
        "e5",
        "1.5",
        "1e-5",
        "1e30",
        "1kk",
        "1ki",
        "1MiB",
        "1s",
        "''",
        "~",
        "null",
        "true",
        "1e",
        "1e+",
        "1..2",
        "0x",
        "١",
        "1e99999999999999999999",
        "99999999999999999999",
        "18446744073709551616",
        "1111111111111111111111111111111111111111111111111111111111111111"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[160];
        uint64_t was = conf.count;
        snprintf(text, sizeof text, "train: {batch: %s}", bad[i]);
        if (load(text) != ST_USAGE)
            fail_msg("%s was taken", bad[i]);
        assert_memory_equal(err.text, "job.yaml:1:16: train.batch: ", 28);
        assert_true(conf.count == was);
    }
}

static void test_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t v;
    } bytes[] = {{"64", 64},       {"64B", 64},       {"64k", 65536},
                 {"64KiB", 65536}, {"64M", 64 << 20}, {"64MiB", 64 << 20},
                 {"1.5k", 1536},   {"0", 0},          {"2T", 2ull << 40}},
      times[] = {{"1ms", 1000},      {"1000us", 1000},  {".3s", 300000}, {"1m", 60000000},
                 {"1h", 3600000000}, {"1.5s", 1500000}, {"1e3us", 1000}};
    char text[64];
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        snprintf(text, sizeof text, "cluster.room=%s", bytes[i].text);
        sets(text);
        assert_true(conf.room == bytes[i].v);
    }
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        snprintf(text, sizeof text, "cluster.wait=%s", times[i].text);
        sets(text);
        assert_true(conf.wait == times[i].v);
    }
    set_refused("cluster.wait=10", "--set cluster.wait: 10 needs a unit: us, ms, s, m, h or d "
                                   "(allowed: 1ms to 1h)");
    set_refused("cluster.wait=0", "--set cluster.wait: 0 is below 1ms (allowed: 1ms to 1h)");
    set_refused("cluster.wait=2h", "--set cluster.wait: 2h is above 1h (allowed: 1ms to 1h)");
    set_refused("cluster.wait=.5us",
                "--set cluster.wait: .5us is not a whole number (allowed: 1ms to 1h)");
    set_refused("cluster.room=64MB",
                "--set cluster.room: 64MB is not a number (allowed: 0 to 1024T)");
    set_refused("cluster.room=17179869184G",
                "--set cluster.room: 17179869184G is too large (allowed: 0 to 1024T)");
    set_refused("train.rate=1e-400", "--set train.rate: 1e-400 is too small (allowed: 0 to 1)");
    set_refused("train.rate=-1e-9", "--set train.rate: -1e-9 is below 0 (allowed: 0 to 1)");
    set_refused("train.free=nan",
                "--set train.free: nan is not a number (allowed: any finite number)");
    set_refused("train.free=1e308T",
                "--set train.free: 1e308T is too large (allowed: any finite number)");
    sets("train.free=0e-400"); /* zero all the same */
    assert_true(conf.free_rate == 0);
}

static void test_mistakes_name_their_place(void **state)
{
    (void)state;
    refuses("train:\n  bacth: 5\n",
            "job.yaml:2:3: train.bacth: no such key; the nearest is train.batch");
    refuses("train:\n  batch: 0\n", "job.yaml:2:10: train.batch: 0 is below 1 (allowed: 1 to 16M)");
    refuses("batch: 5\n", "job.yaml:1:1: batch: no such key; the nearest is train.batch");
    refuses("trian:\n  batch: 5\n", "job.yaml:1:1: trian: no such key; the nearest is train");
    refuses("train: 5\n", "job.yaml:1:8: train: must be a map of keys");
    refuses("train: []\n", "job.yaml:1:8: train: must be a map of keys");
    refuses("- 1\n", "job.yaml:1:1: must be a map of keys");
    refuses("train.batch: 5\n", "job.yaml:1:1: train.batch: write each part on a level of its own");
    refuses("train: {batch: [5]}\n",
            "job.yaml:1:16: train.batch: a list is not allowed here (allowed: 1 to 16M)");
    refuses("train: {batch: {a: 5}}\n",
            "job.yaml:1:16: train.batch: a map is not allowed here (allowed: 1 to 16M)");
    refuses("train: {batch: \"5\"}\n",
            "job.yaml:1:16: train.batch: 5 in quotes is a text, not a number "
            "(allowed: 1 to 16M)");
    refuses("train: {batch: }\n",
            "job.yaml:1:16: train.batch: nothing stands here; an empty text is "
            "\"\" (allowed: 1 to 16M)");
    refuses("train: {flag: maybe}\n",
            "job.yaml:1:15: train.flag: maybe is not true or false (allowed: true or false)");
    refuses("train: {flag: 'yes'}\n",
            "job.yaml:1:15: train.flag: yes is not true or false (allowed: true or false)");
    refuses("model: {kind: lrr}\n",
            "job.yaml:1:15: model.kind: lrr is not one of the choices (allowed: lr, fm, mlp)");
    refuses("model: {kind: l}\n",
            "job.yaml:1:15: model.kind: l is not one of the choices (allowed: lr, fm, mlp)");
    refuses("model: {deep: {widths: [1, 2, 0, 3]}}\n",
            "job.yaml:1:31: model.deep.widths: 0 is below 1 (allowed: 1 to 1k)");
    refuses("data: {words: [a, [b]]}\n",
            "job.yaml:1:19: data.words: a list is not allowed inside the "
            "list (allowed: any list of texts)");
    refuses("data:\n  words:\n  - a\n  -\n",
            "job.yaml:4:4: data.words: nothing stands here; an empty text is \"\" "
            "(allowed: any list of texts)");
    char longest[400] = "train: {batch: ";
    memset(longest + 15, 'x', 300);
    strcpy(longest + 315, "}");
    assert_int_equal(load(longest), ST_USAGE);
    assert_non_null(
        strstr(err.text, "xxx... is not a number")); /* cut: junk is not printed whole */
    assert_true(strlen(err.text) < 160);
}

static void test_set(void **state)
{
    (void)state;
    sets("train.batch=5");
    assert_true(seen[2] && !seen[1]);
    sets("top=a=b"); /* the first = parts */
    assert_string_equal(conf.text, "a=b");
    sets("top=");
    assert_string_equal(conf.text, "");
    sets("top=\"a\\tb\"");
    assert_string_equal(conf.text, "a\tb");
    sets("top=\"");
    assert_string_equal(conf.text, "\"");
    sets("model.deep.widths=[1, 2, 3]");
    assert_int_equal(conf.widths.used, 3);
    sets("model.deep.widths=9");
    assert_int_equal(conf.widths.used, 1);
    sets("data.files=a.csv");
    assert_int_equal(conf.files.used, 1);
    sets("data.files=");
    assert_int_equal(conf.files.used, 0);
    sets("data.words=");
    assert_int_equal(conf.words.used, 1);
    set_refused("train.batch", "--set train.batch: must be KEY=VALUE");
    set_refused("=5", "--set =5: must be KEY=VALUE");
    set_refused("train.bacth=5", "--set train.bacth: no such key; the nearest is train.batch");
    set_refused("train=5", "--set train: is a group of keys, not a key");
    set_refused("train.batch=", "--set train.batch: nothing stands here; an empty text is \"\" "
                                "(allowed: 1 to 16M)");
    set_refused("top=\xff", "--set top: a text that is not UTF-8 (allowed: any text)");
    assert_int_equal(options_set(&table, "model.deep.widths=[1,", &conf, seen, &err), ST_USAGE);
    assert_memory_equal(err.text, "--set model.deep.widths: ", 25);
    assert_int_equal(conf.widths.used, 1);
}

static void test_dump_loads_again(void **state)
{
    (void)state;
    sets("model.kind=fm");
    sets("top=\"\\t\\\"\\\\ \\u2028 \\u0085\\uFEFF\\n\xf0\x9f\x98\x80\"");
    sets("data.words=['', 'null', 'true', '5', '-', 'a: b', '#', ' x ', \"it's\", '*', ~, N/A]");
    sets("train.rate=0.1");
    sets("train.free=-1.7976931348623157e308");
    sets("cluster.wait=1500us");
    struct buffer a = BUFFER_INIT, b = BUFFER_INIT;
    options_dump(&table, 0, table.rows_used, &conf, 0, &a);
    struct conf first = conf;
    memset(&conf, 0, sizeof conf);
    options_defaults(&table, &conf);
    loads(buffer_text(&a));
    options_dump(&table, 0, table.rows_used, &conf, 0, &b);
    assert_string_equal(buffer_text(&a), buffer_text(&b));
    assert_string_equal(first.text, conf.text);
    assert_int_equal(conf.words.used, 12);
    for (size_t i = 0; i < 12; i++)
        assert_string_equal(first.words.item[i], conf.words.item[i]);
    assert_true(conf.free_rate == -DBL_MAX && conf.rate == .1);
    options_release(&table, &first);
    buffer_release(&a);
    buffer_release(&b);
}

static void test_dump_text(void **state)
{
    (void)state;
    struct buffer b = BUFFER_INIT;
    options_dump(&table, 0, table.rows_used, &conf, 2, &b); /* kind is lr: widths don't apply */
    assert_string_equal(buffer_text(&b), "  top: plain\n"
                                         "  train:\n"
                                         "    flag: true\n"
                                         "    batch: 25000\n"
                                         "    seed: 1\n"
                                         "    rate: 0.001\n"
                                         "    free: -0.5\n"
                                         "  model:\n"
                                         "    kind: lr\n"
                                         "    deep:\n"
                                         "      # widths: [4, 5]  (model.kind=fm|mlp)\n"
                                         "  data:\n"
                                         "    path: \"\"\n"
                                         "    words: [\"\", NA, \"\\\\N\"]\n"
                                         "    files: []\n"
                                         "  cluster:\n"
                                         "    room: 4G\n"
                                         "    wait: 10s\n");
    buffer_release(&b);
    assert_false(options_applies(&table, options_find(&table, "model.deep.widths"), &conf));
    conf.kind = 2;
    assert_true(options_applies(&table, options_find(&table, "model.deep.widths"), &conf));
    options_default(options_find(&table, "train.batch"), &conf);
    assert_true(conf.count == 25000);
}

static void test_reals_are_written_exactly(void **state)
{
    (void)state;
    static const double values[] = {
        0,      1,       10,   1e6,  .1,   1.0 / 3,       1e-8,
        5e-324, DBL_MAX, 1e15, 1e16, -2.5, 123456789.123, 4503599627370497.5};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct buffer b = BUFFER_INIT;
        char text[64];
        conf.free_rate = values[i];
        options_value_text(options_find(&table, "train.free"), &conf, &b);
        snprintf(text, sizeof text, "train.free=%s", buffer_text(&b));
        conf.free_rate = 99;
        sets(text);
        assert_true(conf.free_rate == values[i]);
        buffer_release(&b);
    }
}

static void test_nearest(void **state)
{
    (void)state;
    assert_string_equal(options_nearest(&table, "train.batch"), "train.batch");
    assert_string_equal(options_nearest(&table, "train.abtch"), "train.batch");
    assert_string_equal(options_nearest(&table, "train.sede"), "train.seed");
    assert_string_equal(options_nearest(&table, "model.widths"), "model.deep.widths");
    assert_string_equal(options_nearest(&table, "model.rate"), "train.rate");
    assert_non_null(options_nearest(&table, ""));
    char longest[1000];
    memset(longest, 'a', 999);
    longest[999] = '\0';
    assert_non_null(options_nearest(&table, longest));
    assert_null(options_find(&table, "train"));
    static const struct option two[] = {{"acyy", OPT_U64, 0, 0, 0, "", NULL, NULL, 0, ""},
                                        {"abcd", OPT_U64, 0, 0, 0, "", NULL, NULL, 0, ""}};
    struct option_table swaps = {two, 2};
    assert_string_equal(options_nearest(&swaps, "acbd"), "abcd"); /* one swap is one mistake */
}

static void test_help(void **state)
{
    (void)state;
    FILE *out = tmpfile();
    char text[4096] = "";
    assert_int_equal(options_help(&table, NULL, NULL), ROWS);
    assert_int_equal(options_help(&table, "BATCH", out), 1);
    assert_int_equal(options_help(&table, "deadline", out), 1); /* in a help */
    assert_int_equal(options_help(&table, "nothing like it", out), 0);
    rewind(out);
    text[fread(text, 1, sizeof text - 1, out)] = '\0';
    assert_string_equal(text, "  train.batch\n      records a push\n"
                              "      count: 1 to 16M; default 25k\n"
                              "  cluster.wait\n      a deadline\n"
                              "      time: 1ms to 1h; default 10s\n");
    fclose(out);
}

static void test_command_line_numbers(void **state)
{
    (void)state;
    uint64_t v = 3;
    assert_int_equal(option_parse_u64("25k", "--servers", 1, 100000, &v, &err), ST_OK);
    assert_true(v == 25000);
    assert_int_equal(option_parse_u64("0", "--servers", 1, 9, &v, &err), ST_USAGE);
    assert_string_equal(err.text, "--servers: 0 is too small (allowed: 1 to 9)");
    assert_int_equal(option_parse_u64("10", "--servers", 1, 9, &v, &err), ST_USAGE);
    assert_int_equal(option_parse_u64("", "--servers", 1, 9, &v, &err), ST_USAGE);
    assert_int_equal(option_parse_u64("x", "--servers", 1, 9, &v, &err), ST_USAGE);
    assert_int_equal(option_parse_u64("18446744073709551615", "s", 0, UINT64_MAX, &v, &err), ST_OK);
    assert_true(v == UINT64_MAX);
}

static void test_env(void **state)
{
    (void)state;
    setenv("PENSTOCK_TEST", "", 1);
    assert_null(option_env("PENSTOCK_TEST"));
    setenv("PENSTOCK_TEST", "x", 1);
    assert_string_equal(option_env("PENSTOCK_TEST"), "x");
    unsetenv("PENSTOCK_TEST");
    assert_null(option_env("PENSTOCK_TEST"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh, release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_load),
        TEST(test_numbers),
        TEST(test_units),
        TEST(test_mistakes_name_their_place),
        TEST(test_set),
        TEST(test_dump_loads_again),
        TEST(test_dump_text),
        TEST(test_reals_are_written_exactly),
        TEST(test_nearest),
        TEST(test_help),
        TEST(test_command_line_numbers),
        TEST(test_env),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
