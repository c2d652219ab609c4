/* wire_schedule.c - rates as a function of the step: warm-up, changes, the floor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/wire/schedule.h"

/* Bit for bit: exact replay computes old rates again. */
static void rate_is(const struct schedule *s, double base, uint64_t step, double want)
{
    double got = schedule_rate(s, base, step);
    if (got != want)
        fail_msg("step %llu: %.17g, not %.17g", (unsigned long long)step, got, want);
}

static void test_nothing_set(void **state)
{
    (void)state;
    const struct schedule s = {0};
    rate_is(&s, .001, 1, .001);
    rate_is(&s, .001, UINT64_MAX, .001);
    rate_is(&s, 0, 7, 0);
}

static void test_warmup(void **state)
{
    (void)state;
    const struct schedule s = {.warmup = 4};
    rate_is(&s, 1, 0, 0);
    rate_is(&s, 1, 1, .25);
    rate_is(&s, 1, 3, .75);
    rate_is(&s, 1, 4, 1);
    rate_is(&s, 1, 5, 1);
    const struct schedule huge = {.warmup = UINT64_MAX};
    assert_true(schedule_rate(&huge, 1, 1) > 0);
    const struct schedule one = {.warmup = 1};
    rate_is(&one, .5, 1, .5);
}

static void test_changes(void **state)
{
    (void)state;
    const struct schedule s = {
        .changes = 3,
        .change = {{.from_step = 10, .factor = .5}, {20, .25}, {30, 2}},
    };
    rate_is(&s, 1, 9, 1);
    rate_is(&s, 1, 10, .5); /* factors are of the base, not of each other */
    rate_is(&s, 1, 19, .5);
    rate_is(&s, 1, 20, .25);
    rate_is(&s, 1, 30, 2);
    rate_is(&s, 1, UINT64_MAX, 2);
}

static void test_first_step_changed(void **state)
{
    (void)state;
    const struct schedule s = {.changes = 1, .change = {{0, .5}}};
    rate_is(&s, 1, 0, .5);
    rate_is(&s, 1, 1, .5);
}

static void test_floor(void **state)
{
    (void)state;
    const struct schedule s = {
        .rate_min = .1,
        .changes = 2,
        .change = {{10, .01}, {20, 0}},
    };
    rate_is(&s, 1, 9, 1);
    rate_is(&s, 1, 10, .1); /* lowered to the floor, not below */
    rate_is(&s, 1, 20, .1); /* nor to nothing */
    rate_is(&s, .05, 9, .05);
    rate_is(&s, .05, 10, .05); /* a base below the floor is not lifted to it */
}

static void test_warmup_and_changes(void **state)
{
    (void)state;
    const struct schedule s = {
        .warmup = 100,
        .rate_min = .2,
        .changes = 1,
        .change = {{50, .5}},
    };
    rate_is(&s, 1, 10, .1); /* a warm-up below the floor stays */
    rate_is(&s, 1, 40, .4);
    rate_is(&s, 1, 60, .3); /* .6 ramp, halved */
    rate_is(&s, 1, 100, .5);
}

/* More changes than there is room for are never read past. */
static void test_count_is_bounded(void **state)
{
    (void)state;
    struct schedule s = {.changes = SCHEDULE_CHANGES_MAX};
    for (uint32_t i = 0; i < SCHEDULE_CHANGES_MAX; i++) {
        s.change[i].from_step = i + 1;
        s.change[i].factor = 1.0 / (i + 2);
    }
    rate_is(&s, 1, SCHEDULE_CHANGES_MAX, 1.0 / (SCHEDULE_CHANGES_MAX + 1));
    s.changes = UINT32_MAX;
    rate_is(&s, 1, UINT64_MAX, 1.0 / (SCHEDULE_CHANGES_MAX + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_set),
        cmocka_unit_test(test_warmup),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_first_step_changed),
        cmocka_unit_test(test_floor),
        cmocka_unit_test(test_warmup_and_changes),
        cmocka_unit_test(test_count_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
