/* launch_ab.c - `penstock ab calc` and `aa` below their command lines: published vectors through JSON, every mistake
 * named, and a thousand A/A tests looked at after every user.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/json.h"
#include "common/metrics/ab_calc.h"
#include "launch/ab_report.h"
#include "launch/ab_trials.h"

static enum status calc(const char *text, struct json **out, struct errbuf *err)
{
    struct json *in;
    assert_int_equal(json_parse(text, strlen(text), "in", &in, err), ST_OK);
    const enum status st = ab_calc(in, "in", out, err);
    json_free(in);
    return st;
}

static struct json *answer(const char *text)
{
    struct json *out = NULL;
    struct errbuf err = ERRBUF_INIT;
    if (calc(text, &out, &err) != ST_OK)
        print_message("%s\n", err.text);
    assert_non_null(out);
    return out;
}

static void expect(const struct json *j, const char *path, double want, double place)
{
    const double got = json_f64(j, path, NAN);
    if (!(fabs(got - want) <= place))
        print_message("%s: %.10g, wanted %.10g\n", path, got, want);
    assert_true(fabs(got - want) <= place);
}

#define MEANS(n)                                                                                   \
    "{\"name\":\"A\",\"n\":" n ",\"sum\":1396.87,\"sum_squares\":52377.9767},"                     \
    "{\"name\":\"B\",\"n\":3461,\"sum\":2422.7,\"sum_squares\":134698.29}"

static void test_vectors(void **state)
{
    (void)state;
    struct json *out = answer("{\"arms\":[" MEANS("3407") "]}");
    const struct json *c = json_at(json_get(out, "comparisons"), 0);
    assert_string_equal(json_str(c, "arm", ""), "B");
    assert_string_equal(json_str(c, "control", ""), "A");
    assert_null(json_get(c, "cuped"));
    expect(c, "relative.lift", .70732, 1e-5);
    expect(c, "relative.fixed.from", -.03526, 1e-5);
    expect(c, "relative.fixed.p", .06191, 1e-5);
    expect(c, "absolute.fixed.to", .53462, 1e-5);
    expect(c, "relative.sequential.rho", .03984007, 1e-8);
    json_free(out);
    out = answer("{\"test\":\"sequential\",\"n_star\":1000,\"arms\":[" MEANS("3000") "]}");
    c = json_at(json_get(out, "comparisons"), 0);
    expect(c, "relative.sequential.from", -.55844, 1e-5);
    expect(c, "relative.sequential.p", 1, 0);
    assert_null(json_get(c, "relative.fixed"));
    json_free(out);
    out = answer("{\"test\":\"fixed\",\"side\":\"greater\",\"arms\":[" MEANS("3000") "]}");
    c = json_at(json_get(out, "comparisons"), 0);
    expect(c, "relative.fixed.from", -.0451367, 1e-7);
    expect(c, "absolute.fixed.p", .0355427, 1e-7);
    assert_true(isnan(json_f64(c, "relative.fixed.to", NAN))); /* null: there is no upper end */
    assert_null(json_get(c, "relative.sequential"));
    json_free(out);
    out = answer(
        "{\"kind\":\"proportion\",\"arms\":[{\"n\":3000,\"sum\":1396},{\"n\":3461,\"sum\":2422}]}");
    c = json_at(json_get(out, "comparisons"), 0);
    expect(c, "relative.sequential.to", .60675, 1e-5);
    json_free(out);
}

static void test_cuped_and_srm(void **state)
{
    (void)state;
    struct json *out = answer(
        "{\"arms\":[{\"n\":3000,\"sum\":1396.87,\"sum_squares\":52377.9767,\"covariate_sum\":16.87,"
        "\"covariate_sum_squares\":527.9767,\"cross_sum\":1},{\"n\":3461,\"sum\":2422.7,"
        "\"sum_squares\":134698.29,\"covariate_sum\":22.7,\"covariate_sum_squares\":1348.29,"
        "\"cross_sum\":1}]}");
    const struct json *c = json_at(json_get(out, "comparisons"), 0);
    expect(c, "cuped.theta", -.0114032, 1e-7);
    expect(c, "relative.lift", .503383996, 1e-9);
    expect(c, "relative.sequential.to", 1.516462091, 1e-9);
    json_free(out);
    out =
        answer("{\"kind\":\"proportion\",\"arms\":[{\"n\":500,\"sum\":5},{\"n\":600,\"sum\":6}]}");
    expect(out, "srm.chi_square", 9.0909, 1e-4);
    expect(out, "srm.p", .0025688, 1e-7);
    expect(out, "srm.sequential_p", .6714507265, 1e-10);
    json_free(out);
    out = answer(
        "{\"kind\":\"proportion\",\"periods\":[[50,450],[50,450]],\"arms\":[{\"n\":100,\"sum\":5},"
        "{\"n\":900,\"sum\":6}]}");
    expect(out, "srm.sequential_p", 2.3678998e-13, 1e-20);
    json_free(out);
    /* Three arms, weights of any sum: 25 : 35 : 40 */
    out =
        answer("{\"kind\":\"proportion\",\"arms\":[{\"n\":120,\"sum\":5,\"weight\":25},{\"n\":160,"
               "\"sum\":6,\"weight\":35},{\"n\":220,\"sum\":9,\"weight\":40}]}");
    expect(out, "srm.p", exp(-(.2 + 225. / 175 + 2) / 2), 1e-12);
    assert_int_equal(json_len(json_get(out, "comparisons")), 2);
    json_free(out);
}

static void test_ratio(void **state)
{
    (void)state;
    /* Two users: 1 of 2 and 2 of 10 clicks; the other arm twice that many clicks. r = 3/12; residuals y - r d are .5
     * and -.5, so the variance is .5 / 6^2. */
    struct json *out = answer(
        "{\"kind\":\"ratio\",\"arms\":[{\"n\":2,\"sum\":3,\"sum_squares\":5,\"denominator_sum\":12,"
        "\"denominator_sum_squares\":104,\"denominator_cross_sum\":22},{\"n\":2,\"sum\":6,"
        "\"sum_squares\":20,\"denominator_sum\":12,\"denominator_sum_squares\":104,"
        "\"denominator_cross_sum\":44}]}");
    const struct json *a = json_at(json_get(out, "arms"), 0),
                      *c = json_at(json_get(out, "comparisons"), 0);
    expect(a, "mean", .25, 1e-15);
    expect(a, "sd", sqrt(.5 / 36), 1e-12);
    expect(c, "relative.lift", 1, 1e-12);
    expect(c, "absolute.se", sqrt(.5 / 36 / 2 * 5), 1e-12);
    json_free(out);
}

static void test_not_enough_data(void **state)
{
    (void)state;
    struct json *out =
        answer("{\"kind\":\"proportion\",\"arms\":[{\"n\":0,\"sum\":0},{\"n\":0,\"sum\":0}]}");
    char *text = json_text(out, 0);
    assert_non_null(strstr(text, "\"srm\": null"));
    assert_non_null(strstr(text, "\"absolute\": null"));
    assert_non_null(strstr(text, "\"mean\": null"));
    free(text);
    json_free(out);
    out = answer(
        "{\"arms\":[{\"n\":5,\"sum\":5,\"sum_squares\":5},{\"n\":5,\"sum\":5,\"sum_squares\":6}]}");
    assert_int_equal(json_len(json_get(out, "comparisons")), 1);
    text = json_text(out, 0);
    assert_non_null(strstr(text, "\"relative\": null"));
    free(text);
    json_free(out);
}

#define TWO "\"arms\":[{\"n\":5,\"sum\":1,\"sum_squares\":1},{\"n\":5,\"sum\":2,\"sum_squares\":2}]"

static void test_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *text, *said;
    } m[] = {
        {"[]", "in: arms must be a list of 2 to 16"},
        {"{}", "in: arms must be a list of 2 to 16"},
        {"{\"alfa\":1," TWO "}", "in: alfa: no such key here; there are kind, test, side, alpha"},
        {"{\"alpha\":0," TWO "}", "in: alpha: 0 must be from 1e-09 to 0.999"},
        {"{\"alpha\":\"x\"," TWO "}", "in: alpha is not a number"},
        {"{\"side\":\"greater\",\"alpha\":0.6," TWO "}",
         "in: alpha: 0.6 must be from 1e-09 to 0.499"},
        {"{\"n_star\":0," TWO "}", "in: n_star: 0 must be"},
        {"{\"kind\":\"sum\"," TWO "}", "in: kind must be one of mean, proportion, ratio"},
        {"{\"test\":7," TWO "}", "in: test must be one of both, sequential, fixed"},
        {"{\"arms\":[{},{}]}", "in: arms[0].n is missing"},
        {"{\"arms\":[7,8]}", "in: arms[0].n is missing"},
        {"{\"arms\":[{\"n\":5,\"sum\":1},{}]}", "in: arms[0].sum_squares is missing"},
        {"{\"arms\":[{\"n\":-5,\"sum\":1},{}]}", "in: arms[0].n: -5 must be from 0"},
        {"{\"arms\":[{\"n\":1.5,\"sum\":1,\"sum_squares\":1},{}]}",
         "arms[0].n must be a whole number"},
        {"{\"arms\":[{\"n\":5,\"sum\":1e200,\"sum_squares\":1},{}]}",
         "arms[0].sum: 1e+200 must be"},
        {"{\"arms\":[{\"n\":5,\"sum\":10,\"sum_squares\":10},{}]}",
         "arms[0].sum_squares is below sum^2 / n: no numbers have these sums"},
        {"{\"arms\":[{\"n\":5,\"sum\":1,\"sum_squares\":1,\"cross\":1},{}]}",
         "arms[0].cross: no such key"},
        {"{\"arms\":[{\"n\":5,\"sum\":1,\"sum_squares\":1,\"cross_sum\":1},{}]}",
         "arms[0].covariate_sum is missing"},
        {"{\"arms\":[{\"n\":5,\"sum\":1,\"sum_squares\":1,\"cross_sum\":1,\"covariate_sum\":1,"
         "\"covariate_sum_squares\":1},{\"n\":5,\"sum\":1,\"sum_squares\":1}]}",
         "arms[1]: covariates must be in all arms or in none"},
        {"{\"arms\":[{\"n\":5,\"sum\":1,\"sum_squares\":1,\"denominator_sum\":1},{}]}",
         "arms[0].denominator_sum: only with kind ratio"},
        {"{\"kind\":\"ratio\"," TWO "}", "arms[0].denominator_sum is missing"},
        {"{\"kind\":\"proportion\",\"arms\":[{\"n\":5,\"sum\":6},{}]}",
         "arms[0].sum of a proportion must be from 0 to n"},
        {"{\"periods\":3," TWO "}", "in: periods must be a list"},
        {"{\"periods\":[[1,2],[1]]," TWO "}", "in: periods[1] must be 2 counts, one an arm"},
        {"{\"periods\":[[1,-2]]," TWO "}", "in: periods[0] must be 2 counts"},
    };
    for (size_t i = 0; i < sizeof m / sizeof m[0]; i++) {
        struct json *out = NULL;
        struct errbuf err = ERRBUF_INIT;
        assert_int_equal(calc(m[i].text, &out, &err), ST_USAGE);
        if (strstr(err.text, m[i].said) == NULL)
            print_message("wanted \"%s\", got \"%s\"\n", m[i].said, err.text);
        assert_non_null(strstr(err.text, m[i].said));
        assert_null(out);
    }
}

/* -- trials -- */

static struct ab_trials run(uint64_t tests, enum ab_kind kind, enum ab_lift effect, double rate,
                            double lift)
{
    const struct ab_trials_config c = {.tests = tests,
                                       .users = 2000,
                                       .seed = 1,
                                       .kind = kind,
                                       .effect = effect,
                                       .rate = rate,
                                       .lift = lift,
                                       .alpha = .05,
                                       .n_star = 2000};
    const struct ab_trials r = ab_trials_run(&c);
    print_message(
        "    %s, %s, rate %g, lift %g: sequence %llu, t at every look %llu, once %llu, SRM "
        "%llu of %llu\n",
        kind == AB_MEAN ? "mean" : "proportion", effect == AB_RELATIVE ? "relative" : "absolute",
        rate, lift, (unsigned long long)r.sequence, (unsigned long long)r.peeked,
        (unsigned long long)r.once, (unsigned long long)r.srm, (unsigned long long)tests);
    return r;
}

static void expect_honest(struct ab_trials r)
{
    assert_true(r.sequence <= 50);
    assert_true(r.srm <= 50);
    assert_true(r.peeked > 200);
    assert_true(r.once > 25 && r.once < 75);
}

/* The promise: however often one looks, at most 5% of A/A tests say "different"; and what looking does to a t-test. */
static void test_aa_with_peeking(void **state)
{
    (void)state;
    expect_honest(run(1000, AB_MEAN, AB_ABSOLUTE, .1, 0));
    expect_honest(run(1000, AB_PROPORTION, AB_ABSOLUTE, .02, 0));
    expect_honest(run(1000, AB_PROPORTION, AB_ABSOLUTE, .3, 0));
}

/* Why decisions are made by the absolute effect: the delta method breaks the promise where few buy. */
static void test_delta_method_is_too_sure(void **state)
{
    (void)state;
    assert_true(run(300, AB_PROPORTION, AB_RELATIVE, .02, 0).sequence > 30);
}

static void test_power(void **state)
{
    (void)state;
    const struct ab_trials small = run(100, AB_PROPORTION, AB_ABSOLUTE, .2, .2),
                           large = run(100, AB_PROPORTION, AB_ABSOLUTE, .2, .5);
    assert_true(large.sequence > 85 && large.once > 95);
    assert_true(small.sequence > 5 && small.sequence < large.sequence);
    assert_true(large.users_median > 0 && large.users_median < 2000);
    const struct ab_trials again = run(100, AB_PROPORTION, AB_ABSOLUTE, .2, .5);
    assert_memory_equal(&again, &large, sizeof again);
    assert_true(run(100, AB_PROPORTION, AB_ABSOLUTE, .2, -.5).sequence > 85);
}

/* ---- the verdict of a report -------------------------------------------------------------------- */

/* Two arms of n users each but for `lost` of B, of whom so many bought. */
static void verdict(double n, double lost, double bought_a, double bought_b, const char *want)
{
    char text[400], said[4096];
    struct errbuf err = ERRBUF_INIT;
    struct json *in, *out, *figures = json_object(), *metric = json_object(), *list = json_array();
    snprintf(text, sizeof text,
             "{\"kind\": \"proportion\", \"test\": \"sequential\", \"arms\": "
             "[{\"name\": \"live\", \"n\": %g, \"sum\": %g}, {\"name\": \"new\", \"n\": %g, "
             "\"sum\": %g}]}",
             n, bought_a, n - lost, bought_b);
    assert_int_equal(json_parse(text, strlen(text), "in", &in, &err), ST_OK);
    assert_int_equal(ab_calc(in, "in", &out, &err), ST_OK);
    json_set_f64(figures, "alpha", .05);
    json_set_str(metric, "metric", "buyers");
    json_set(metric, "statistics", out);
    json_add(list, metric);
    json_set(figures, "metrics", list);
    ab_report_verdict(figures, said, sizeof said);
    if (strncmp(said, want, strlen(want)) != 0)
        fail_msg("%s; not %s", said, want);
    json_free(figures);
    json_free(in);
}

static void test_verdict(void **state)
{
    (void)state;
    verdict(5000, 0, 500, 900, "new is better than live by buyers.");
    verdict(5000, 0, 900, 500, "new is worse than live by buyers.");
    verdict(5000, 0, 500, 510, "No difference between new and live yet.");
    verdict(1, 0, 0, 0, "There is not enough data about new yet.");
    /* However good it looks: */
    verdict(5000, 500, 500, 900, "The split is broken");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_cuped_and_srm),
        cmocka_unit_test(test_ratio),
        cmocka_unit_test(test_not_enough_data),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_aa_with_peeking),
        cmocka_unit_test(test_delta_method_is_too_sure),
        cmocka_unit_test(test_power),
        cmocka_unit_test(test_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
