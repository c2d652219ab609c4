/* data_samples.c - a few lines of each log as others publish them: rows, positives and bad lines counted.
 *
 * Each test skips where its file is not at hand. What they assert was counted by hand with awk and python.
 */
#include "tests/unit/data_case.h"
#include "tests/unit/data_duckdb.h"

#include "common/base/hash.h"
#include "common/data/convert.h"
#include "common/data/dataset.h"

static struct job job;
static struct convert_result r;

static int release(void **state)
{
    (void)state;
    job_release(&job);
    memset(&job, 0, sizeof job);
    return 0;
}

struct want {
    uint64_t rows, bad, positives;
    size_t fields, floats;
};

/* data: what follows `train: FILE` in the job. */
static void reads(const char *name, const char *data, const struct want *want)
{
    char text[PATH_MAX + 4096], path[PATH_MAX];
    struct dataset *d;
    if (!case_real(name, path))
        skip();
    snprintf(text, sizeof text, "  train: %s\n  bad_max: 0\n%s", path, data);
    case_job(&job, text);
    enum status st = convert_job(&job, case_path("cache"), NULL, NULL, &r, &err);
    if (st != ST_OK)
        print_error("%s\n", err.text);
    assert_int_equal(st, ST_OK);
    assert_int_equal(r.rows[PART_TRAIN], want->rows);
    assert_int_equal(r.bad[PART_TRAIN], want->bad);
    assert_int_equal(r.positives[PART_TRAIN], want->positives);
    assert_int_equal(dataset_open(&job, case_path("cache"), PART_TRAIN, &d, &err), ST_OK);
    assert_int_equal(dataset_fields(d), want->fields);
    assert_int_equal(dataset_floats(d), want->floats);
    dataset_close(d);
}

/* The first n records in one batch. */
static void first(size_t n, struct batch *b)
{
    struct dataset *d;
    uint64_t rows[64];
    assert_int_equal(dataset_open(&job, case_path("cache"), PART_TRAIN, &d, &err), ST_OK);
    for (size_t i = 0; i < n; i++)
        rows[i] = i;
    batch_init(b, d, n);
    assert_int_equal(dataset_batch(d, rows, n, b, &err), ST_OK);
    dataset_close(d);
}

static uint64_t key(const char *vocab, const char *cell)
{
    return hash_bytes(cell, strlen(cell), hash_bytes(vocab, strlen(vocab), 0));
}

static void criteo_preset(void **state)
{
    struct batch b;
    (void)state;
    reads("samples/criteo.csv", "  format: criteo\n", &(struct want){200, 0, 49, 26, 13});
    first(1, &b);
    assert_true(b.keys[b.index[0]] == key("C1", "05db9164"));
    batch_release(&b);
}

/* As it was published: tabs, no header. The same records must come out. */
static void criteo_tabs(void **state)
{
    struct batch a, b;
    char command[2400];
    (void)state;
    reads("samples/criteo.csv", "  format: criteo\n", &(struct want){200, 0, 49, 26, 13});
    first(50, &a);
    snprintf(command, sizeof command, "sed 1d '%s' | tr , '\\t' | gzip >'%s'",
             job.data.train.item[0], case_path("day_0.gz"));
    assert_int_equal(system(command), 0);
    release(NULL);
    case_job(&job, "  train: day_0.gz\n  format: criteo\n  bad_max: 0\n");
    assert_int_equal(convert_job(&job, case_path("cache"), NULL, NULL, &r, &err), ST_OK);
    assert_int_equal(r.rows[PART_TRAIN], 200);
    first(50, &b);
    assert_int_equal(a.unique, b.unique);
    assert_memory_equal(a.keys, b.keys, a.unique * sizeof *a.keys);
    assert_memory_equal(a.floats, b.floats, a.n * 13 * sizeof *a.floats);
    assert_memory_equal(a.labels, b.labels, a.n * sizeof *a.labels);
    batch_release(&a);
    batch_release(&b);
}

static void criteo_tfrecord(void **state)
{
    struct batch b;
    (void)state;
    reads("samples/criteo.tfrecord",
          "  format: tfrecord\n  fields:\n    - {name: label, type: label}\n"
          "    - {name: I1, type: float}\n    - {name: I5, type: float}\n"
          "    - {name: C1, type: id}\n    - {name: C13, type: ids}\n",
          &(struct want){160, 0, 37, 2, 2});
    first(1, &b);
    assert_true(b.keys[b.index[0]] == key("C1", "11") && b.keys[b.index[1]] == key("C13", "153"));
    assert_true(b.floats[0] == 0 && b.floats[1] > .0057f && b.floats[1] < .0058f);
    batch_release(&b);
}

static void slots_dense(void **state)
{
    struct batch b;
    (void)state;
    reads(
        "samples/paddle_slots_ffm.txt",
        "  format: slots\n  fields:\n    - {name: click, type: label}\n"
        "    - {name: first, type: float, column: \"dense_feature[0]\"}\n"
        "    - {name: last, type: float, column: \"dense_feature[12]\"}\n"
        "    - {name: s1, type: id, column: \"1\"}\n    - {name: s26, type: id, column: \"26\"}\n",
        &(struct want){80, 0, 23, 2, 2});
    first(1, &b);
    assert_true(b.floats[0] == 0 && b.floats[1] == .08f);
    assert_true(b.keys[b.index[0]] == key("s1", "737395"));
    assert_true(b.keys[b.index[1]] == key("s26", "306163"));
    batch_release(&b);
}

static void slots_bags(void **state)
{
    (void)state;
    reads("samples/paddle_slots_lr.txt",
          "  format: slots\n  fields:\n    - {name: label, type: label}\n"
          "    - {name: feat_idx, type: ids}\n"
          "    - {name: v0, type: float, column: \"feat_value[0]\"}\n",
          &(struct want){100, 0, 22, 1, 1});
}

/* 64-bit unsigned signs before the slot; the label is slot 1. */
static void slots_feasign(void **state)
{
    struct batch b;
    (void)state;
    reads("samples/slots_feasign.txt",
          "  format: slots\n  slot_last: true\n  fields:\n"
          "    - {name: click, type: label, column: \"1\"}\n"
          "    - {name: s3, type: id, column: \"3\"}\n"
          "    - {name: s29, type: ids, column: \"29\"}\n",
          &(struct want){10, 0, 4, 2, 0});
    first(1, &b);
    assert_true(b.keys[b.index[0]] == key("s3", "4351255118977467729"));
    assert_true(b.keys[b.index[1]] == key("s29", "16543128959394097760"));
    batch_release(&b);
}

/* Commas between, and three cells without a slot before. */
static void slots_esmm(void **state)
{
    struct batch b;
    (void)state;
    reads("samples/ali_ccp_esmm_slots.txt",
          "  format: slots\n  fields:\n    - {name: click, type: label, column: \"@1\"}\n"
          "    - {name: s216, type: id, column: \"216\"}\n"
          "    - {name: s210, type: ids, column: \"210\"}\n",
          &(struct want){10, 0, 2, 2, 0});
    first(1, &b);
    assert_true(b.keys[b.index[0]] == key("s216", "4"));
    assert_int_equal(b.offsets[2] - b.offsets[1], 3);
    batch_release(&b);
}

static void recbole_joined(void **state)
{
    struct batch b;
    char data[2 * PATH_MAX + 2048], user[PATH_MAX], item[PATH_MAX];
    (void)state;
    if (!case_real("ml-100k/ml-100k.user", user) || !case_real("ml-100k/ml-100k.item", item))
        skip();
    snprintf(data, sizeof data,
             "  format: recbole\n  label_above: 3.5\n  join:\n    - {file: %s, on: user_id}\n"
             "    - {file: %s, on: item_id, fields: [class, release_year]}\n  fields:\n"
             "    - {name: user_id, type: user}\n    - {name: item_id, type: item}\n"
             "    - {name: rating, type: label}\n    - {name: timestamp, type: time}\n"
             "    - {name: age, type: float}\n    - {name: occupation, type: id}\n"
             "    - {name: class, type: ids, sep: \" \"}\n",
             user, item);
    reads("ml-100k/ml-100k.inter", data, &(struct want){100000, 0, 55375, 4, 1});
    assert_int_equal(r.joined, 200000);
    assert_int_equal(r.not_joined, 0);
    first(1, &b); /* user 196: 49 M writer; item 242: Comedy */
    assert_true(b.floats[0] == 49 && b.keys[b.index[2]] == key("occupation", "writer"));
    assert_int_equal(b.offsets[4] - b.offsets[3], 1);
    assert_true(b.keys[b.index[3]] == key("class", "Comedy"));
    batch_release(&b);
}

static void delimited(void **state)
{
    (void)state;
    reads("samples/ml-1m_joined.csv",
          "  label_above: 3.5\n  fields:\n    - {name: user_id, type: user}\n"
          "    - {name: rating, type: label}\n    - {name: genres, type: ids}\n",
          &(struct want){100, 0, 73, 2, 0});
    release(NULL);
    reads("samples/amazon_electronics_sample.csv",
          "  label_above: 0\n  fields:\n    - {name: user_id, type: user}\n"
          "    - {name: item_id, type: item}\n    - {name: cate_id, type: label}\n",
          &(struct want){100, 0, 100, 2, 0});
    release(NULL);
    reads("samples/diginetica_views.csv",
          "  delimiter: \";\"\n  label_above: 0\n  fields:\n"
          "    - {name: userId, type: user}\n    - {name: itemId, type: item}\n"
          "    - {name: timeframe, type: label}\n    - {name: eventdate, type: time}\n",
          &(struct want){500, 0, 500, 2, 0});
    release(NULL);
    reads("samples/avazu.csv",
          "  fields:\n    - {name: click, type: label}\n    - {name: site_id, type: item}\n",
          &(struct want){100, 0, 20, 1, 0});
    release(NULL);
    reads(
        "samples/ali_ccp.csv",
        "  fields:\n    - {name: click, type: label}\n    - {name: i, type: id, column: \"205\"}\n",
        &(struct want){100, 0, 7, 1, 0});
}

/* Fifty columns of one name: they are told apart by their numbers. */
static void alimama(void **state)
{
    (void)state;
    reads(
        "samples/alimama.csv",
        "  fields:\n    - {name: target, type: label}\n    - {name: h0, type: id, column: \"0\"}\n"
        "    - {name: h1, type: id, column: \"1\"}\n",
        &(struct want){99, 0, 2, 2, 0});
}

/* Ids were made numbers from 1 before it was written: the clicks are the same, the ids are others. */
static void parquet(void **state)
{
    (void)state;
    NEED_DUCKDB();
    reads("samples/fuxictr_tiny.csv",
          "  fields:\n    - {name: clk, type: label}\n    - {name: adgroup_id, type: item}\n"
          "    - {name: click_sequence, type: ids, sep: \"^\"}\n    - {name: price, type: float}\n",
          &(struct want){100, 0, 4, 2, 1});
    release(NULL);
    reads("samples/fuxictr_tiny.parquet",
          "  format: parquet\n  fields:\n    - {name: clk, type: label}\n"
          "    - {name: adgroup_id, type: item}\n    - {name: brand, type: id}\n",
          &(struct want){100, 0, 4, 2, 0});
}

int main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, release)
    const struct CMUnitTest tests[] = {
        TEST(criteo_preset), TEST(criteo_tabs),   TEST(criteo_tfrecord), TEST(slots_dense),
        TEST(slots_bags),    TEST(slots_feasign), TEST(slots_esmm),      TEST(recbole_joined),
        TEST(delimited),     TEST(alimama),       TEST(parquet),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
