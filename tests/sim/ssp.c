/* ssp.c - each worker has a part of each step, and nobody is far ahead of another.
 *
 * Histories of several lives as in resume.c, each with another number of shards, workers and permits, on a network
 * that delays, loses and doubles, with cuts at any moment, deaths and stops. Beside all other invariants: no worker
 * gets rows that miss a push older than the staleness allows, no pull waits longer than for that, and each record
 * is in the last cut once, whoever had which part of it in which life.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/sim_world.h"

enum { SEEDS = 120 };

static void nobody_is_far_ahead_and_each_record_counts_once(void **state)
{
    (void)state;
    assert_true(sim_lives("ssp", "ssp", sim_history_ssp, SEEDS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_far_ahead_and_each_record_counts_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
