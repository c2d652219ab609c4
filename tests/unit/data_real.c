/* data_real.c - logs as they are in the world: each test skips where its log is not at hand. */
#include "tests/unit/data_case.h"

#include "common/base/hash.h"
#include "common/data/baselines.h"
#include "common/data/convert.h"
#include "common/data/dataset.h"

static struct job job;
static struct convert_result r;

/* Convert a log of the collection; data has one %s for each of its files. False: not at hand. */
static void convert(const char *cache, const char *name, const char *other, const char *data)
{
    char path[2][PATH_MAX], text[2 * PATH_MAX + 4096];
    if (!case_real(name, path[0]) || !case_real(other != NULL ? other : name, path[1]))
        skip();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof text, data, path[0], path[1]);
#pragma GCC diagnostic pop
    case_job(&job, text);
    enum status st = convert_job(&job, case_path(cache), NULL, NULL, &r, &err);
    if (st != ST_OK)
        print_error("%s\n", err.text);
    assert_int_equal(st, ST_OK);
}

static int release(void **state)
{
    (void)state;
    job_release(&job);
    memset(&job, 0, sizeof job);
    return 0;
}

/* All records of a part in one batch. */
static void whole(const char *cache, enum part part, struct batch *b)
{
    struct dataset *d;
    assert_int_equal(dataset_open(&job, case_path(cache), part, &d, &err), ST_OK);
    size_t n = (size_t)dataset_rows(d);
    uint64_t *rows = malloc(n * sizeof *rows);
    for (size_t i = 0; i < n; i++)
        rows[i] = i;
    batch_init(b, d, n);
    assert_int_equal(dataset_batch(d, rows, n, b, &err), ST_OK);
    free(rows);
    dataset_close(d);
}

static uint64_t key(const char *vocab, const char *cell)
{
    return hash_bytes(cell, strlen(cell), hash_bytes(vocab, strlen(vocab), 0));
}

static void frappe(void **state)
{
    struct batch b;
    struct baselines p;
    (void)state;
    convert("frappe", "frappe_x1/train.csv", "frappe_x1/valid.csv",
            "  train: %s\n  valid: %s\n  bad_max: 0\n  fields:\n    - {name: label, type: label}\n"
            "    - {name: user, type: user}\n    - {name: item, type: item}\n"
            "    - {name: daytime, type: id}\n    - {name: weekday, type: id}\n"
            "    - {name: isweekend, type: id}\n    - {name: homework, type: id}\n"
            "    - {name: cost, type: id}\n    - {name: weather, type: id}\n"
            "    - {name: country, type: id}\n    - {name: city, type: id}\n");
    assert_int_equal(r.rows[PART_TRAIN], 202027);
    assert_int_equal(r.rows[PART_VALID], 57722);
    whole("frappe", PART_TRAIN, &b);
    assert_int_equal(b.fields, 10);
    assert_int_equal(b.offsets[b.n * 10], 2020270);
    assert_in_range(b.unique, 5000, 5382);
    assert_true(b.labels[0] == 1 && b.keys[b.index[0]] == key("user", "34"));
    assert_true(b.keys[b.index[9]] == key("city", "5149")); /* and no CR behind it */
    batch_release(&b);
    assert_int_equal(baselines_of(&job, case_path("frappe"), PART_VALID, NULL, &p, &err), ST_OK);
    assert_true(p.of[BASELINE_POPULARITY].auc > .91 && p.of[BASELINE_POPULARITY].auc < .94);
}

static void a9a(void **state)
{
    struct batch b;
    (void)state;
    convert("a9a", "a9a/a9a.train.libsvm", "a9a/a9a.test.libsvm",
            "  train: %s\n  test: %s\n  bad_max: 0\n  format: libsvm\n");
    assert_int_equal(r.rows[PART_TRAIN], 32561);
    assert_int_equal(r.rows[PART_TEST], 16281);
    assert_int_equal(r.positives[PART_TRAIN], 7841);
    whole("a9a", PART_TRAIN, &b);
    assert_int_equal(b.unique, 123);
    assert_true(b.keys[0] == hash_u64(3 ^ hash_bytes("features", 8, 0)));
    for (size_t i = 0; i < b.offsets[b.n]; i++)
        assert_true(b.weight[i] == 1);
    batch_release(&b);
}

static void criteo(void **state)
{
    struct batch b;
    (void)state;
    convert(
        "criteo", "samples/criteo.csv", NULL,
        "  train: %s\n  bad_max: 0\n  fields:\n    - {name: label, type: label}\n"
        "    - {name: I1, type: float, norm: log}\n    - {name: I2, type: float, norm: standard}\n"
        "    - {name: C1, type: id}\n    - {name: C20, type: id, min_count: 2}\n");
    assert_int_equal(r.rows[PART_TRAIN], 200);
    whole("criteo", PART_TRAIN, &b);
    assert_true(b.floats[0] == 0); /* I1 of the first line is missing */
    assert_true(b.keys[b.index[0]] == key("C1", "05db9164"));
    batch_release(&b);
}

static void avazu(void **state)
{
    (void)state;
    convert("avazu", "samples/avazu.csv", NULL,
            "  train: %s\n  bad_max: 0\n  fields:\n    - {name: click, type: label}\n"
            "    - {name: hour, type: time}\n    - {name: site_id, type: item}\n"
            "    - {name: C20, type: id}\n    - {name: id, type: id, hash: 1000}\n");
    assert_int_equal(r.rows[PART_TRAIN], 100);
}

static void ali_ccp(void **state)
{
    struct batch b;
    (void)state;
    convert("ali", "samples/ali_ccp.csv", NULL,
            "  train: %s\n  bad_max: 0\n  fields:\n    - {name: click, type: label}\n"
            "    - {name: user, type: user, column: \"101\"}\n"
            "    - {name: item, type: item, column: \"205\"}\n"
            "    - {name: crossed, type: id, column: 109_14}\n"
            "    - {name: D109_14, type: float}\n");
    assert_int_equal(r.rows[PART_TRAIN], 100);
    whole("ali", PART_TRAIN, &b);
    assert_true(b.floats[0] == .4734f);
    assert_true(b.keys[b.index[1]] == key("item", "0")); /* column 205 is the name of the 14th */
    batch_release(&b);
}

static void movielens(void **state)
{
    struct batch b;
    (void)state;
    convert("movies", "samples/movielens.csv", NULL,
            "  train: %s\n  bad_max: 0\n  label_above: 3.5\n  fields:\n"
            "    - {name: rating, type: label}\n    - {name: user_id, type: user}\n"
            "    - {name: movie_id, type: item}\n    - {name: timestamp, type: time}\n"
            "    - {name: genres, type: ids}\n    - {name: title, type: id}\n");
    assert_int_equal(r.rows[PART_TRAIN], 200);
    whole("movies", PART_TRAIN, &b);
    assert_true(b.labels[0] == 1);
    assert_int_equal(b.offsets[3] - b.offsets[2], 2);
    assert_true(b.keys[b.index[b.offsets[2]]] == key("genres", "Comedy"));
    assert_true(b.keys[b.index[b.offsets[3]]] == key("title", "Ed Wood (1994)"));
    batch_release(&b);
}

static void fuxictr_sequences(void **state)
{
    struct batch b;
    (void)state;
    convert("fux", "samples/fuxictr_tiny.csv", NULL,
            "  train: %s\n  bad_max: 0\n  split: {by: time, valid: 0, test: .1}\n  fields:\n"
            "    - {name: clk, type: label}\n    - {name: time_stamp, type: time}\n"
            "    - {name: adgroup_id, type: item, vocab: ad}\n"
            "    - {name: click_sequence, type: ids, sep: \"^\", vocab: ad}\n"
            "    - {name: price, type: float, norm: log}\n");
    assert_int_equal(r.rows[PART_TRAIN] + r.rows[PART_TEST], 100);
    whole("fux", PART_TRAIN, &b);
    assert_true(b.keys[b.index[0]] == key("ad", "172298"));
    assert_int_equal(b.offsets[2] - b.offsets[1], 2);
    assert_true(b.keys[b.index[1]] == key("ad", "170301"));
    batch_release(&b);
}

/* 541,909 dirty lines in a gzip: quoted commas, missing customers, negative quantities. */
static void online_retail(void **state)
{
    struct batch b;
    (void)state;
    convert(
        "retail", "online_retail/online_retail.csv.gz", NULL,
        "  train: %s\n  bad_max: 0\n  label_above: 0\n  split: {by: time, valid: .1, test: .1}\n"
        "  fields:\n    - {name: Quantity, type: label}\n    - {name: CustomerID, type: user}\n"
        "    - {name: StockCode, type: item}\n    - {name: Description, type: id}\n"
        "    - {name: InvoiceDate, type: time}\n    - {name: Country, type: id}\n"
        "    - {name: UnitPrice, type: float, norm: log}\n");
    assert_int_equal(r.rows[0] + r.rows[1] + r.rows[2], 541909);
    assert_in_range(r.rows[PART_TEST], 54190, 56000);
    whole("retail", PART_TRAIN, &b);
    assert_true(b.keys[b.index[2]] == key("Description", "WHITE HANGING HEART T-LIGHT HOLDER"));
    batch_release(&b);
}

static void tabs_and_double_colons(void **state)
{
    struct batch b;
    (void)state;
    convert("ml", "ml-100k/u.data", NULL,
            "  train: %s\n  bad_max: 0\n  header: false\n  delimiter: \"\\t\"\n  label_above: 3.5\n"
            "  fields:\n    - {name: user, type: user}\n    - {name: item, type: item}\n"
            "    - {name: rating, type: label}\n    - {name: time, type: time}\n");
    assert_int_equal(r.rows[PART_TRAIN], 100000);
    assert_int_equal(r.positives[PART_TRAIN], 55375);
    release(NULL);
    convert("users", "ml-1m/users.dat", NULL,
            "  train: %s\n  bad_max: 0\n  header: false\n  delimiter: \"::\"\n  label_above: 30\n"
            "  fields:\n    - {name: user, type: user}\n    - {name: gender, type: id}\n"
            "    - {name: age, type: label}\n    - {name: job, type: id}\n    - {name: zip, type: "
            "id}\n");
    assert_int_equal(r.rows[PART_TRAIN], 6040);
    whole("users", PART_TRAIN, &b);
    assert_true(b.keys[b.index[3]] == key("zip", "48067"));
    batch_release(&b);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, release)
    const struct CMUnitTest tests[] = {
        TEST(frappe),
        TEST(a9a),
        TEST(criteo),
        TEST(avazu),
        TEST(ali_ccp),
        TEST(movielens),
        TEST(fuxictr_sequences),
        TEST(online_retail),
        TEST(tabs_and_double_colons),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
