/* data_labels.c - several labels and whose a record is: from text to batches, with cells that are empty. */
#include "tests/unit/data_case.h"

#include "common/data/baselines.h"
#include "common/data/convert.h"
#include "common/data/dataset.h"

static const char LOG[] = "user,item,click,cart,buy\n"
                          "u1,a,1,0,0\n"
                          "u2,b,1,,\n"
                          "u1,a,,1,0\n"
                          "u3,c,,,\n" /* says nothing: a bad line */
                          ",d,0,0,1\n"
                          "u2,a,0,,1\n"
                          "u9,a,x,1,1\n"; /* no number: bad */

/* hash: 1 keeps users out of the model, and a batch knows them all the same. */
#define FIELDS                                                                                     \
    "  train: log.csv\n  bad_max: 1\n  fields:\n"                                                  \
    "    - {name: click, type: label}\n    - {name: user, type: user, hash: 1}\n"                  \
    "    - {name: item, type: item}\n    - {name: cart, type: label}\n"                            \
    "    - {name: buy, type: label}\n"

static void check_batch(const struct batch *b)
{
    static const float want[3][5] = {{1, 1, -1, 0, 0}, {0, -1, 1, 0, -1}, {0, -1, 0, 1, 1}};
    assert_int_equal(b->labels_used, 3);
    for (size_t t = 0; t < 3; t++)
        for (size_t i = 0; i < b->n; i++)
            assert_true(b->labels[t * b->n + i] == want[t][b->record[i]]);
    for (size_t i = 0; i < b->n; i++) {
        static const int who[5] = {1, 2, 1, 0, 2};
        assert_true((b->users[i] == 0) == (who[b->record[i]] == 0));
        for (size_t j = 0; j < b->n; j++)
            assert_true((b->users[i] == b->users[j]) == (who[b->record[i]] == who[b->record[j]]));
    }
}

static void labels_and_users(void **state)
{
    struct job job;
    struct convert_result r;
    struct dataset *d = NULL;
    struct batch b;
    (void)state;
    case_text("log.csv", LOG);
    case_job(&job, FIELDS);
    assert_int_equal(convert_job(&job, case_path("labels"), NULL, NULL, &r, &err), ST_OK);
    assert_int_equal(r.rows[PART_TRAIN], 5);
    assert_int_equal(r.bad[PART_TRAIN], 2);
    assert_int_equal(r.positives[PART_TRAIN], 2); /* of the first label */
    assert_int_equal(dataset_open(&job, case_path("labels"), PART_TRAIN, &d, &err), ST_OK);
    assert_true(dataset_users(d));
    batch_init(&b, d, 5);
    static const uint64_t orders[][5] = {{0, 1, 2, 3, 4}, {4, 2, 0, 1, 3}, {3, 0, 0, 0, 0}};
    for (size_t o = 0; o < 3; o++) { /* the last: a batch that is not full */
        assert_int_equal(dataset_batch(d, orders[o], o == 2 ? 1 : 5, &b, &err), ST_OK);
        check_batch(&b);
    }
    batch_release(&b);
    dataset_close(d);
    job_release(&job);
}

/* Rows that wait for their place keep labels and users: a split by time, a history. */
static void dealt(void **state)
{
    struct job job;
    struct convert_result r;
    struct dataset *d = NULL;
    struct batch b;
    static const uint64_t all[] = {0, 1, 2, 3, 4};
    (void)state;
    case_text("log.csv", "user,item,click,cart,buy,at\nu1,a,1,0,0,10\nu2,b,1,,,20\nu1,a,,1,0,30\n"
                         ",d,0,0,1,40\nu2,a,0,,1,50\n");
    case_job(&job, FIELDS "    - {name: at, type: time}\n"
                          "    - {name: before, type: history, of: item, when: positive}\n"
                          "  split: {by: time, valid: 0, test: 0}\n");
    assert_int_equal(convert_job(&job, case_path("dealt"), NULL, NULL, &r, &err), ST_OK);
    assert_int_equal(dataset_open(&job, case_path("dealt"), PART_TRAIN, &d, &err), ST_OK);
    batch_init(&b, d, 5);
    assert_int_equal(dataset_batch(d, all, 5, &b, &err), ST_OK);
    check_batch(&b);
    static const uint32_t history[] = {0, 0, 1, 0, 1}; /* clicked before: the first label says it */
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(b.offsets[i * 3 + 3] - b.offsets[i * 3 + 2], history[i]);
    batch_release(&b);
    dataset_close(d);
    job_release(&job);
}

/* A label that is missing does not count for the item's popularity. */
static void popularity(void **state)
{
    struct job job;
    struct convert_result r;
    struct baselines got, again;
    (void)state;
    const char *fields = "  fields:\n    - {name: y, type: label}\n    - {name: z, type: label}\n"
                         "    - {name: item, type: item}\n  bad_max: 1\n";
    char data[600];
    case_text("few.csv", "y,z,item\n1,1,a\n0,1,b\n1,1,a\n0,1,b\n");
    case_text("more.csv", "y,z,item\n1,1,a\n0,1,b\n,1,b\n,0,b\n1,1,a\n0,1,b\n,1,c\n");
    for (int more = 0; more < 2; more++) {
        const char *file = more ? "more.csv" : "few.csv", *dir = more ? "pop1" : "pop0";
        snprintf(data, sizeof data, "  train: %s\n  test: %s\n%s", file, file, fields);
        case_job(&job, data);
        assert_int_equal(convert_job(&job, case_path(dir), NULL, NULL, &r, &err), ST_OK);
        assert_int_equal(
            baselines_of(&job, case_path(dir), PART_TEST, NULL, more ? &again : &got, &err), ST_OK);
        job_release(&job);
    }
    const struct baseline *a = &got.of[BASELINE_POPULARITY], *b = &again.of[BASELINE_POPULARITY];
    assert_true(a->auc == b->auc && a->logloss == b->logloss && a->auc == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_and_users),
        cmocka_unit_test(dealt),
        cmocka_unit_test(popularity),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
