/* data_parts.c - what a job does with records beside reading them: side files, folds, windows, folders, formats
 * with names through the whole first pass.
 */
#include "tests/unit/data_case.h"

#include "common/base/hash.h"
#include "common/data/convert.h"
#include "common/data/dataset.h"
#include "common/data/split.h"
#include "common/data/windows.h"

static struct job job;
static struct convert_result r;

static int release(void **state)
{
    (void)state;
    job_release(&job);
    memset(&job, 0, sizeof job);
    return 0;
}

static enum status convert(const char *cache)
{
    return convert_job(&job, case_path(cache), NULL, NULL, &r, &err);
}

static void must_convert(const char *cache)
{
    enum status st = convert(cache);
    if (st != ST_OK)
        print_error("%s\n", err.text);
    assert_int_equal(st, ST_OK);
}

/* The error of a conversion that must fail. */
static void refuses(const char *data, const char *why)
{
    case_job(&job, data);
    assert_true(convert("refused") != ST_OK);
    if (strstr(err.text, why) == NULL)
        print_error("%s\n", err.text);
    assert_non_null(strstr(err.text, why));
    release(NULL);
}

static struct dataset *open_part(const char *cache, enum part part)
{
    struct dataset *d;
    assert_int_equal(dataset_open(&job, case_path(cache), part, &d, &err), ST_OK);
    return d;
}

static void all_rows(struct dataset *d, struct batch *b)
{
    uint64_t rows[256];
    size_t n = (size_t)dataset_rows(d);
    assert_true(n <= 256);
    for (size_t i = 0; i < n; i++)
        rows[i] = i;
    batch_init(b, d, n);
    assert_int_equal(dataset_batch(d, rows, n, b, &err), ST_OK);
}

static uint64_t key(const char *vocab, const char *cell)
{
    return hash_bytes(cell, strlen(cell), hash_bytes(vocab, strlen(vocab), 0));
}

/* ---- side files --------------------------------------------------------------------------------- */

#define JOINED                                                                                     \
    "  fields:\n    - {name: y, type: label}\n    - {name: user, type: user}\n"                    \
    "    - {name: age, type: float}\n    - {name: tags, type: ids}\n"

static void joins(void **state)
{
    struct batch b;
    (void)state;
    case_text("log.csv", "y,user\n1,u1\n0, u2 \n1,u9\n0,\n");
    case_text("users.csv", "uid,age,tags,more\nu1,30,a|b,x\nu2,,\"c,d\",y\nu3,50,,z\n");
    case_job(&job, "  train: log.csv\n  bad_max: 0\n"
                   "  join: [{file: users.csv, on: user, key: uid}]\n" JOINED);
    must_convert("join");
    assert_int_equal(r.rows[PART_TRAIN], 4);
    assert_int_equal(r.joined, 3);
    assert_int_equal(r.not_joined, 1);
    struct dataset *d = open_part("join", PART_TRAIN);
    all_rows(d, &b);
    assert_true(b.floats[0] == 30 && b.floats[1] == 0 && b.floats[2] == 0);
    assert_int_equal(b.offsets[2] - b.offsets[1], 2);
    assert_true(b.keys[b.index[b.offsets[1]]] == key("tags", "a"));
    assert_true(b.keys[b.index[b.offsets[3]]] == key("tags", "c,d"));
    assert_int_equal(b.offsets[8] - b.offsets[4], 2); /* two users, no tags */
    batch_release(&b);
    dataset_close(d);
    must_convert("join");
    assert_true(r.reused);
    case_text("users.csv", "uid,age,tags,more\nu1,31,a|b,x\n");
    must_convert("join");
    assert_false(r.reused);
    release(NULL);
    /* The same for records whose cells have names. */
    case_text("log.json",
              "{\"y\": 1, \"who\": {\"id\": \"u1\"}}\n{\"y\": 0, \"who\": {\"id\": 7}}\n");
    case_job(&job, "  train: log.json\n  format: json\n"
                   "  join: [{file: users.csv, on: who.id, key: uid}]\n  fields:\n"
                   "    - {name: y, type: label}\n    - {name: age, type: float}\n"
                   "    - {name: user, type: user, column: who.id}\n");
    must_convert("join_json");
    assert_int_equal(r.not_joined, 1);
}

static void joins_refused(void **state)
{
    (void)state;
    case_text("log.csv", "y,user,age\n1,u1,3\n0,u2,4\n");
    case_text("plain.csv", "y,user\n1,u1\n0,u2\n");
    case_text("users.csv", "user,age,tags\nu1,30,a\nu2,40,b\n");
    case_text("twice.csv", "user,age,tags\nu1,30,a\nu2,40,b\n u1 ,50,c\n");
    case_text("dirty.csv", "user,age,tags\nu1,30,a\nu2,40\n");
    refuses("  train: plain.csv\n  join: [{file: twice.csv, on: user}]\n" JOINED,
            "twice.csv:4: user u1 stands in line 2 already");
    refuses("  train: plain.csv\n  join: [{file: users.csv, on: user, key: id}]\n" JOINED,
            "no column \"id\" (data.join); it has 3: user, age, tags");
    refuses("  train: plain.csv\n  join: [{file: users.csv, on: user, fields: [height]}]\n" JOINED,
            "no column \"height\" (data.join)");
    refuses("  train: plain.csv\n  join: [{file: users.csv, on: id}]\n" JOINED,
            "no column \"id\" (data.join)");
    refuses("  train: log.csv\n  join: [{file: users.csv, on: user}]\n" JOINED,
            "its column age stands in");
    refuses("  train: plain.csv\n  join: [{file: dirty.csv, on: user}]\n" JOINED,
            "1 of 2 lines are bad");
    refuses("  train: plain.csv\n  join: [{file: nobody.csv, on: user}]\n" JOINED, "nobody.csv");
    refuses("  train: plain.csv\n  join:\n    - {file: users.csv, on: user}\n"
            "    - {file: log.csv, on: user}\n" JOINED,
            "both have a column age");
    /* Said which: taken from the side file. */
    case_job(
        &job,
        "  train: log.csv\n  join: [{file: users.csv, on: user, fields: [age, tags]}]\n" JOINED);
    must_convert("said");
    release(NULL);
    /* Without a header. */
    case_text("users.dat", "u1::30::a\nu2::40::b\n");
    case_job(&job,
             "  train: plain.csv\n  join:\n    - {file: users.dat, on: user, delimiter: \"::\","
             " columns: [user, age, tags]}\n" JOINED);
    must_convert("bare");
    assert_int_equal(r.not_joined, 0);
}

/* ---- folds -------------------------------------------------------------------------------------- */

/* Over all folds each record is test once, and a user's records stand together. */
static void folds(void **state)
{
    FILE *f = fopen(case_path("folds.csv"), "w");
    uint64_t tested = 0;
    (void)state;
    for (int i = 0; i < 200; i++)
        fprintf(f, "%d,u%d,%d\n", i % 2, i % 40, i);
    fclose(f);
    for (int k = 0; k < 4; k++) {
        char data[512];
        struct batch train, test;
        snprintf(data, sizeof data,
                 "  train: folds.csv\n  header: false\n"
                 "  split: {by: fold, folds: 4, fold: %d, valid: .2}\n  fields:\n"
                 "    - {name: y, type: label}\n    - {name: u, type: user}\n"
                 "    - {name: x, type: float}\n",
                 k);
        case_job(&job, data);
        must_convert("folds");
        assert_int_equal(r.rows[0] + r.rows[1] + r.rows[2], 200);
        assert_true(r.rows[PART_VALID] > 0 && r.rows[PART_VALID] % 5 == 0);
        tested += r.rows[PART_TEST];
        struct dataset *a = open_part("folds", PART_TRAIN), *b = open_part("folds", PART_TEST);
        all_rows(a, &train);
        all_rows(b, &test);
        for (size_t i = 0; i < train.unique; i++)
            for (size_t j = 0; j < test.unique; j++)
                assert_true(train.keys[i] != test.keys[j]);
        batch_release(&train);
        batch_release(&test);
        dataset_close(a);
        dataset_close(b);
        release(NULL);
    }
    assert_int_equal(tested, 200);
    assert_int_equal(split_by_fold("u7", 2, 4, hash_bytes("u7", 2, 0) % 4, 1, 0), PART_TEST);
}

/* ---- windows ------------------------------------------------------------------------------------ */

static void windows(void **state)
{
    struct windows w;
    struct batch b;
    (void)state;
    case_text("w.csv", "y,t,x\n1,172800,0\n0,5,1\n1,86399,2\n0,5,3\n1,,4\n0,432000,5\n1,90000,6\n");
    case_job(&job, "  train: w.csv\n  bad_max: .5\n  split: {by: window, window: 1d}\n  fields:\n"
                   "    - {name: y, type: label}\n    - {name: t, type: time}\n"
                   "    - {name: x, type: float}\n    - {name: i, type: id, column: x}\n");
    must_convert("windows");
    assert_int_equal(r.rows[PART_TRAIN], 6);
    assert_int_equal(r.bad[PART_TRAIN], 1);
    assert_int_equal(r.lines[PART_TRAIN], 7);
    struct dataset *d = open_part("windows", PART_TRAIN);
    static const float ORDER[] = {1, 3, 2, 6, 0, 5};
    all_rows(d, &b);
    for (size_t i = 0; i < 6; i++)
        assert_true(b.floats[i] == ORDER[i]);
    assert_int_equal(windows_find(d, 86400ull * 1000000, &w, &err), ST_OK);
    static const uint64_t FIRST[] = {0, 3, 4, 5, 6};
    assert_int_equal(w.used, 4);
    assert_memory_equal(w.first, FIRST, sizeof FIRST);
    assert_true(w.from[0] == 0 && w.from[3] == 432000ll * 1000000);
    windows_release(&w);
    batch_release(&b);
    dataset_close(d);
    release(NULL);
    /* What is learned is of the first window: a mean, and which ids are known. */
    case_text("wf.csv", "y,t,x,i\n1,100000,7,new\n0,5,1,a\n1,9,2,a\n0,6,3,b\n1,100001,7,new\n");
    case_job(
        &job,
        "  train: wf.csv\n  split: {by: window, window: 1d}\n  fields:\n"
        "    - {name: y, type: label}\n    - {name: t, type: time}\n"
        "    - {name: x, type: float, norm: minmax}\n    - {name: i, type: id, min_count: 2}\n");
    must_convert("windows_fit");
    d = open_part("windows_fit", PART_TRAIN);
    all_rows(d, &b);
    static const float SCALED[] = {0, 1, .5f};
    for (size_t i = 0; i < 3; i++)
        assert_true(b.floats[i] == SCALED[i]);
    assert_true(b.index[0] == b.index[2]); /* a, twice there */
    assert_true(b.index[1] == b.index[3] &&
                b.index[1] != b.index[0]); /* b is rare, new is unknown */
    assert_true(b.index[3] == b.index[4]);
    batch_release(&b);
    dataset_close(d);
    release(NULL);
    /* Another split has no windows. */
    case_job(&job, "  train: w.csv\n  bad_max: .5\n  fields:\n    - {name: y, type: label}\n"
                   "    - {name: t, type: time}\n    - {name: i, type: id, column: x}\n");
    must_convert("no_windows");
    d = open_part("no_windows", PART_TRAIN);
    assert_int_equal(windows_find(d, 1000, &w, &err), ST_BAD_DATA);
    dataset_close(d);
}

/* Against a sort that is slow and obvious. */
static void time_order(void **state)
{
    int64_t times[500];
    (void)state;
    for (size_t i = 0; i < 500; i++)
        times[i] = (int64_t)(hash_u64(i / 3) % 97) * (i % 2 ? 1ll << 40 : -70000);
    uint64_t *order = split_time_order(times, 500);
    for (size_t i = 1; i < 500; i++) {
        int64_t a = times[order[i - 1]], b = times[order[i]];
        assert_true(a < b || (a == b && order[i - 1] < order[i]));
    }
    free(order);
}

/* ---- sources ------------------------------------------------------------------------------------ */

static void folder(void **state)
{
    (void)state;
    mkdir(case_path("logs"), 0755);
    mkdir(case_path("logs/deeper"), 0755);
    case_text("logs/b.csv", "y,a\n1,1\n");
    case_text("logs/a.csv", "y,a\n0,2\n0,3\n");
    case_text("logs/_SUCCESS", "");
    case_text("logs/.hidden", "");
    case_job(&job, "  train: logs\n  fields: [{name: y, type: label}, {name: a, type: id}]\n");
    must_convert("folder");
    assert_int_equal(r.rows[PART_TRAIN], 3);
    struct dataset *d = open_part("folder", PART_TRAIN);
    const char *path;
    uint64_t offset;
    dataset_source(d, 0, &path, &offset);
    assert_non_null(strstr(path, "logs/a.csv"));
    dataset_close(d);
    release(NULL);
    mkdir(case_path("empty"), 0755);
    refuses("  train: empty\n  fields: [{name: y, type: label}, {name: a, type: id}]\n",
            "a folder without files");
    refuses("  train: [\"-\", \"-\"]\n  fields: [{name: y, type: label}, {name: a, type: id}]\n",
            "can be read only once");
}

static void standard_input(void **state)
{
    int kept = dup(0);
    (void)state;
    assert_non_null(freopen(case_text("in.csv", "y,a\n1,1\n0,2\n"), "r", stdin));
    case_job(&job, "  train: \"-\"\n  fields: [{name: y, type: label}, {name: a, type: id}]\n");
    assert_string_equal(job.data.train.item[0], "-");
    must_convert("stdin");
    assert_int_equal(r.rows[PART_TRAIN], 2);
    dup2(kept, 0);
    close(kept);
}

/* ---- formats through the first pass ------------------------------------------------------------- */

static void json_lines(void **state)
{
    struct batch b;
    (void)state;
    case_text("j.json",
              "{\"click\": true, \"user\": {\"id\": 7}, \"tags\": [\"a\", \"b|c\"], \"x\": 2}\n"
              "not json\n"
              "{\"click\": false, \"user\": {\"id\": 8}, \"tags\": \"p|q|r\", \"x\": null}\n"
              "{\"click\": false, \"user\": {\"id\": [8, 9]}, \"tags\": [], \"x\": 1}\n"
              "{\"click\": null, \"user\": {}}\n");
    case_job(&job,
             "  train: j.json\n  format: json\n  bad_max: .9\n  fields:\n"
             "    - {name: click, type: label}\n    - {name: user, type: user, column: user.id}\n"
             "    - {name: tags, type: ids}\n    - {name: x, type: float}\n");
    must_convert("json");
    assert_int_equal(r.rows[PART_TRAIN], 2);
    assert_int_equal(r.bad[PART_TRAIN], 3);
    struct dataset *d = open_part("json", PART_TRAIN);
    all_rows(d, &b);
    assert_true(b.keys[b.index[0]] == key("user", "7") && b.floats[0] == 2 && b.floats[1] == 0);
    assert_int_equal(b.offsets[2] - b.offsets[1], 2); /* a list is not cut further, */
    assert_true(b.keys[b.index[b.offsets[1] + 1]] == key("tags", "b|c"));
    assert_int_equal(b.offsets[4] - b.offsets[3], 3); /* one text is */
    batch_release(&b);
    dataset_close(d);
    char *text;
    size_t n;
    assert_int_equal(file_read(case_path("json/quarantine.tsv"), 4096, &text, &n, &err), ST_OK);
    assert_non_null(strstr(text, "j.json\t2\ta line that is no JSON object"));
    assert_non_null(strstr(text, "j.json\t4\tuser: 2 values where one is expected"));
    assert_non_null(strstr(text, "j.json\t5\tclick: no label"));
    free(text);
    release(NULL);
    refuses("  train: j.json\n  format: json\n  bad_max: .9\n  fields:\n"
            "    - {name: click, type: label}\n    - {name: u, type: user, column: user.uid}\n",
            "no record has a value named \"user.uid\" (field u of data.fields)");
}

static void libffm(void **state)
{
    struct batch b;
    (void)state;
    case_text("f.ffm", "1 0:5:0.5 1:7:2 1:8:3\n0 0:6:1\n0 0:6:x\n");
    case_job(&job, "  train: f.ffm\n  format: libffm\n  bad_max: .5\n  fields:\n"
                   "    - {name: label, type: label}\n    - {name: a, type: id, column: \"0\"}\n"
                   "    - {name: b, type: ids, column: \"1\"}\n");
    must_convert("ffm");
    assert_int_equal(r.rows[PART_TRAIN], 2);
    assert_int_equal(r.bad[PART_TRAIN], 1);
    struct dataset *d = open_part("ffm", PART_TRAIN);
    all_rows(d, &b);
    static const float WEIGHT[] = {.5f, 2, 3, 1};
    assert_non_null(b.weight);
    assert_int_equal(b.offsets[4], 4);
    assert_memory_equal(b.weight, WEIGHT, sizeof WEIGHT);
    assert_true(b.keys[b.index[0]] == key("a", "5") && b.keys[b.index[2]] == key("b", "8"));
    batch_release(&b);
    dataset_close(d);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, release)
    const struct CMUnitTest tests[] = {
        TEST(joins),  TEST(joins_refused),  TEST(folds),      TEST(windows), TEST(time_order),
        TEST(folder), TEST(standard_input), TEST(json_lines), TEST(libffm),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
