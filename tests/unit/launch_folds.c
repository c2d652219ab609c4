/* launch_folds.c - mean and deviation over folds, and the report that is made of theirs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "launch/folds.h"

static void mean_and_deviation(void **state)
{
    (void)state;
    const double v[] = {2, 4, 4, 4, 5, 5, 7, 9};
    double mean, sd;
    folds_mean_sd(v, 8, &mean, &sd);
    assert_true(mean == 5.0);
    assert_true(fabs(sd - sqrt(32.0 / 7.0)) < 1e-12);
    folds_mean_sd(v, 1, &mean, &sd);
    assert_true(mean == 2.0 && isnan(sd));
    folds_mean_sd(v, 0, &mean, &sd);
    assert_true(isnan(mean) && isnan(sd));
}

static void put(const char *dir, uint64_t fold, const char *text)
{
    struct errbuf err = ERRBUF_INIT;
    char *of_fold = folds_dir(dir, fold);
    char *path = file_join(of_fold, "report.json");
    assert_int_equal(file_mkdirs(of_fold, &err), ST_OK);
    assert_int_equal(file_write_atomic(path, text, strlen(text), &err), ST_OK);
    free(path);
    free(of_fold);
}

static void report(void **state)
{
    (void)state;
    char dir[] = "/tmp/penstock-folds.XXXXXX";
    struct errbuf err = ERRBUF_INIT;
    struct json *got = NULL;
    assert_non_null(mkdtemp(dir));
    put(dir, 0,
        "{\"stopped\": false, \"test\": {\"auc\": 0.5, \"logloss\": 1, \"accuracy\": 0.1}}");
    put(dir, 1,
        "{\"stopped\": true, \"test\": {\"auc\": 0.75, \"logloss\": 1, \"accuracy\": 0.1}}");
    assert_true(folds_done(dir, 0));
    assert_false(folds_done(dir, 1));
    assert_false(folds_done(dir, 2));
    assert_int_equal(folds_report(dir, "j", 3, true, &err), ST_NOT_FOUND);
    assert_int_equal(folds_report(dir, "j", 2, false, &err), ST_OK);
    char *path = file_join(dir, "report.json");
    assert_int_equal(json_read(path, 1u << 20, &got, &err), ST_OK);
    assert_true(json_f64(got, "test.auc.mean", 0) == .625);
    assert_true(fabs(json_f64(got, "test.auc.sd", 0) - .25 / sqrt(2)) < 1e-12);
    assert_true(json_f64(got, "test.logloss.sd", 1) == 0);
    assert_int_equal(json_len(json_get(got, "fold")), 2);
    json_free(got);
    free(path);
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(mean_and_deviation),
                                       cmocka_unit_test(report)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
