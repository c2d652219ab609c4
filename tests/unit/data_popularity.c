/* data_popularity.c - the popularity baseline against its definition, record by record. */
#include "tests/unit/data_case.h"

#include <math.h>

#include "common/base/rng.h"
#include "common/data/baselines.h"
#include "common/data/convert.h"

static double auc_slow(const double *score, const int *y, size_t n)
{
    double pairs = 0, good = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (y[i] && !y[j]) {
                pairs++;
                good += score[i] > score[j] ? 1 : score[i] == score[j] ? .5 : 0;
            }
    return good / pairs;
}

enum { TRAIN = 2000, TEST = 700, ITEMS = 40 };

static void log_of(const char *name, uint64_t from, size_t n, int *item, int *y)
{
    char *text = malloc(1 << 18);
    size_t used = (size_t)sprintf(text, "y,item,line,half\n");
    for (size_t i = 0; i < n; i++) {
        item[i] = (int)(rng_u64(1, from + i, 0) % ITEMS);
        y[i] = rng_unit(2, from + i, 0) < .1 + .8 * item[i] / ITEMS;
        used += (size_t)sprintf(text + used, "%d,i%d,%d,%d\n", y[i], item[i], (int)(from + i),
                                item[i] / 20);
    }
    case_write(name, text, used);
    free(text);
}

static void popularity(void **state)
{
    static int item[TRAIN], y[TRAIN], test_item[TEST], test_y[TEST];
    static double score[TEST];
    double all[ITEMS + 5] = {0}, positive[ITEMS + 5] = {0}, sum = 0, loss = 0;
    struct job job;
    struct convert_result r;
    struct baselines got;
    (void)state;
    log_of("ptrain.csv", 0, TRAIN, item, y);
    log_of("ptest.csv", 5000, TEST, test_item, test_y);
    for (size_t i = 0; i < TRAIN; i++) {
        all[item[i]]++;
        positive[item[i]] += y[i];
        sum += y[i];
    }
    for (size_t i = 0; i < TEST; i++) {
        score[i] = (positive[test_item[i]] + 10 * sum / TRAIN) / (all[test_item[i]] + 10);
        loss -= test_y[i] ? log(score[i]) : log(1 - score[i]);
    }
    /* With a field of type item; without, the one that ranks best: not the line's number, though in
     * train it is unique, and not the coarse half. */
    for (int named = 0; named < 2; named++) {
        char data[300];
        snprintf(data, sizeof data,
                 "  train: ptrain.csv\n  test: ptest.csv\n  fields:\n    - {name: y, type: label}\n"
                 "    - {name: line, type: id}\n    - {name: half, type: id}\n"
                 "    - {name: item, type: %s}\n",
                 named ? "item" : "id");
        case_job(&job, data);
        assert_int_equal(convert_job(&job, case_path("pop"), NULL, NULL, &r, &err), ST_OK);
        assert_int_equal(baselines_of(&job, case_path("pop"), PART_TEST, NULL, &got, &err), ST_OK);
        assert_string_equal(got.field, "item");
        assert_true(fabs(got.of[BASELINE_POPULARITY].auc - auc_slow(score, test_y, TEST)) < 1e-12);
        assert_true(fabs(got.of[BASELINE_POPULARITY].logloss - loss / TEST) < 1e-12);
        assert_int_equal(baselines_of(&job, case_path("pop"), PART_VALID, NULL, &got, &err),
                         ST_NOT_FOUND);
        job_release(&job);
    }
}

static void nothing_to_be_popular(void **state)
{
    struct job job;
    struct convert_result r;
    struct baselines got;
    (void)state;
    case_text("p.svm", "1 1:1\n0 2:1\n");
    case_job(&job, "  train: p.svm\n  test: p.svm\n  format: libsvm\n");
    assert_int_equal(convert_job(&job, case_path("psvm"), NULL, NULL, &r, &err), ST_OK);
    assert_int_equal(baselines_of(&job, case_path("psvm"), PART_TEST, NULL, &got, &err),
                     ST_NOT_FOUND);
    job_release(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(popularity),
        cmocka_unit_test(nothing_to_be_popular),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
