/* metrics_experiment.c - experiment files: what loads, what each mistake is answered with, and who gets which variant.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/metrics/experiment.h"

static enum status parse(const char *text, struct experiment *e, struct errbuf *err)
{
    return experiment_parse(text, strlen(text), "exp.yaml", e, err);
}

static void load(const char *text, struct experiment *e)
{
    struct errbuf err = ERRBUF_INIT;
    const enum status st = parse(text, e, &err);
    if (st != ST_OK)
        print_message("%s\n", err.text);
    assert_int_equal(st, ST_OK);
}

static void test_least(void **state)
{
    (void)state;
    struct experiment e;
    load("name: x\nvariants: [{name: a}, {name: b, version: 3}, {name: c, stream: 's'}]\n", &e);
    assert_string_equal(e.seed, "x");
    assert_int_equal(e.hash, AB_HASH_V2);
    assert_true(e.coverage == 1 && e.alpha == .05 && e.n_star == 5000);
    assert_int_equal(e.window_us, UINT64_C(1800000000));
    assert_int_equal(e.users_max, 1000000);
    assert_int_equal(e.variants, 3);
    assert_int_equal(e.variant[0].source, SOURCE_LIVE);
    assert_int_equal(e.variant[1].source, SOURCE_VERSION);
    assert_int_equal(e.variant[1].version, 3);
    assert_int_equal(e.variant[2].source, SOURCE_STREAM);
    assert_true(e.variant[1].weight == 1 / 3.0);
    assert_int_equal(e.metrics, 2);
    assert_string_equal(e.metric[0].name, "ctr");
    assert_string_equal(e.metric[0].event, "click");
    assert_int_equal(e.metric[0].kind, AB_RATIO);
    assert_int_equal(e.metric[1].kind, AB_PROPORTION);
    experiment_release(&e);
}

static void test_example_file(void **state)
{
    (void)state;
    struct experiment e, again;
    struct errbuf err = ERRBUF_INIT;
    struct buffer one = BUFFER_INIT, two = BUFFER_INIT;
    assert_int_equal(experiment_read("launch/jobs/experiment.yaml", &e, &err), ST_OK);
    assert_int_equal(e.variants, 3);
    assert_int_equal(e.shown_used, 2);
    assert_true(e.variant[2].shadow && e.variant[2].version == 1200);
    assert_true(fabs(e.range[1].from - .6) < 1e-12 && fabs(e.range[1].to - .8) < 1e-12);
    assert_true(e.metric[2].amount && e.metric[2].cuped);
    experiment_dump(&e, &one);
    load(buffer_text(&one), &again);
    experiment_dump(&again, &two);
    assert_string_equal(buffer_text(&one), buffer_text(&two));
    assert_true(experiment_tag(&e, 1) == experiment_tag(&again, 1));
    assert_true(experiment_tag(&e, 1) != experiment_tag(&e, 2));
    buffer_release(&one);
    buffer_release(&two);
    experiment_release(&e);
    experiment_release(&again);
}

#define AB "variants: [{name: a}, {name: b}]\n"

static void test_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *text, *said;
    } m[] = {
        {"", "exp.yaml:1:1: name: is required"},
        {AB, "exp.yaml:1:1: name: is required"},
        {"name: x\n", "exp.yaml:1:1: variants: is required"},
        {"name: x y\n" AB, "exp.yaml:1:7: name: must be 1 to 64 letters"},
        {"name: x\ncoverag: .5\n" AB,
         "exp.yaml:2:1: coverag: no such key; the nearest is coverage"},
        {"name: x\ncoverage: 1.5\n" AB, "exp.yaml:2:11: coverage: 1.5 is above 1"},
        {"name: x\ncoverage: nan\n" AB, "exp.yaml:2:11: coverage: nan"},
        {"name: x\nhash: v3\n" AB, "exp.yaml:2:7: hash: v3 is not one of the choices"},
        {"name: x\nalpha: 0\n" AB, "exp.yaml:2:8: alpha: 0 is below"},
        {"name: x\nwindow: 30\n" AB, "exp.yaml:2:9: window: "},
        {"name: x\nnamespace: {name: n, from: .5, to: .5}\n" AB,
         "exp.yaml:2:12: namespace.to: must be above"},
        {"name: x\nnamespace: {from: .5}\n" AB, "exp.yaml:2:12: namespace.name: is required"},
        {"name: x\nvariants: 3\n", "exp.yaml:2:11: variants: must be a list of 2 to 16 maps"},
        {"name: x\nvariants: [{name: a}]\n", "variants: must be a list of 2 to 16 maps"},
        {"name: x\nvariants: [{name: a}, 7]\n",
         "exp.yaml:2:23: must be a map of keys (in variants[1])"},
        {"name: x\nvariants: [{name: a}, {weight: .5}]\n",
         "exp.yaml:2:23: variants[1].name: is required"},
        {"name: x\nvariants: [{name: a}, {name: a}]\n", "variants[1].name: another variant has"},
        {"name: x\nvariants: [{name: a}, {name: b, vers: 3}]\n",
         "vers: no such key; the nearest is version (in variants[1])"},
        {"name: x\nvariants: [{name: a}, {name: b, version: 3, stream: s}]\n",
         "variants[1]: give one of version, stream and settings"},
        {"name: x\nvariants: [{name: a}, {name: b, source: live, version: 3}]\n",
         "variants[1].version: does not apply here (it applies with source=version)"},
        {"name: x\nvariants: [{name: a}, {name: b, source: version}]\n",
         "variants[1].version: is required"},
        {"name: x\nvariants: [{name: a}, {name: b, version: 0}]\n", "version: 0 is below 1"},
        {"name: x\nvariants: [{name: a}, {name: b, stream: ''}]\n", "its stream is empty"},
        {"name: x\nvariants: [{name: a}, {name: b, settings: [k]}]\n", "must be KEY=VALUE"},
        {"name: x\nvariants: [{name: a, shadow: true}, {name: b}]\n",
         "variants[0].shadow: the first variant is the control"},
        {"name: x\nvariants: [{name: a}, {name: b, shadow: true, weight: .5}]\n",
         "variants[1].weight: does not apply here (it applies with shadow=false)"},
        {"name: x\nvariants: [{name: a, weight: .5}, {name: b}]\n",
         "give all shown variants a weight"},
        {"name: x\nvariants: [{name: a, weight: .5}, {name: b, weight: .4}]\n",
         "they sum to 0.9; must sum to 1"},
        {"name: x\n" AB "metrics: []\n", "exp.yaml:3:10: metrics: must be a list of 1 to 8 maps"},
        {"name: x\n" AB "metrics: [{name: m, kind: sum}]\n", "kind: sum is not one of the choices"},
        {"name: x\n" AB "metrics: [{name: m, kind: ratio, cuped: true}]\n",
         "metrics[0].cuped: does not apply here (it applies with kind=mean|proportion)"},
        {"name: x\n" AB "metrics: [{name: m}, {name: m}]\n", "another metric has this name"},
        {"name: x\n" AB "metrics: [{name: m, event: 'a b'}]\n", "metrics[].event: must be"},
        {"name: x\nname: y\n" AB, "exp.yaml:2:1: "},
    };
    for (size_t i = 0; i < sizeof m / sizeof m[0]; i++) {
        struct experiment e;
        struct errbuf err = ERRBUF_INIT;
        assert_int_equal(parse(m[i].text, &e, &err), ST_USAGE);
        if (strstr(err.text, m[i].said) == NULL)
            print_message("wanted \"%s\", got \"%s\"\n", m[i].said, err.text);
        assert_non_null(strstr(err.text, m[i].said));
        assert_int_equal(strncmp(err.text, "exp.yaml:", 9), 0);
    }
}

static void test_assign(void **state)
{
    (void)state;
    enum { USERS = 100000 };
    struct experiment e, other;
    load(
        "name: one\ncoverage: .5\nnamespace: {name: n, from: 0, to: .4}\n"
        "variants: [{name: a, weight: .25}, {name: s, shadow: true, version: 1}, {name: b, weight: "
        ".75}]\n",
        &e);
    load("name: two\nnamespace: {name: n, from: .4, to: 1}\n" AB, &other);
    unsigned count[3] = {0, 0, 0}, of_other = 0;
    for (int u = 0; u < USERS; u++) {
        char user[16];
        snprintf(user, sizeof user, "u%d", u);
        const int v = experiment_assign(&e, user), w = experiment_assign(&other, user);
        assert_true(v < 0 || w < 0); /* disjoint parts of one namespace */
        assert_true(v != 1);         /* nobody is shown a shadow */
        if (v >= 0)
            count[v]++;
        of_other += w >= 0;
    }
    assert_true(fabs(count[0] / (double)USERS - .4 * .5 * .25) < .005);
    assert_true(fabs(count[2] / (double)USERS - .4 * .5 * .75) < .005);
    assert_true(fabs(of_other / (double)USERS - .6) < .01);
    assert_int_equal(experiment_assign(&e, ""), -1);
    experiment_release(&e);
    experiment_release(&other);
    /* The published numbers, through a file: seed "seed" deals a .0505 and b .2696. */
    load("name: x\nseed: seed\nvariants: [{name: a, weight: .2}, {name: b, weight: .8}]\n", &e);
    assert_int_equal(experiment_assign(&e, "a"), 0);
    assert_int_equal(experiment_assign(&e, "b"), 1);
    experiment_release(&e);
}

static void test_files(void **state)
{
    (void)state;
    struct experiment e;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(experiment_read("nothere.yaml", &e, &err), ST_USAGE);
    assert_non_null(strstr(err.text, "the experiment file: nothere.yaml: No such file"));
    assert_int_equal(experiment_read("tests", &e, &err), ST_USAGE);
    assert_non_null(strstr(err.text, "is a folder"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least),    cmocka_unit_test(test_example_file),
        cmocka_unit_test(test_mistakes), cmocka_unit_test(test_assign),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
