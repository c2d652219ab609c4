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
#include <stdio.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "tests/support/sim_world.h"

enum { SEEDS = 120 };

static void nobody_is_far_ahead_and_each_record_counts_once(void **state)
{
    (void)state;
    uint64_t first, n, lives = 0, commits = 0, holds = 0, begun = clock_cpu_us();
    sim_seeds(SEEDS, &first, &n);
    for (uint64_t seed = first; seed < first + n; seed++) {
        struct sim_world *w = sim_history_ssp(seed, false);
        assert_false(sim_report(w, "ssp", seed));
        lives += w->life;
        commits += w->commits;
        holds += w->holds;
        sim_free(w);
    }
    fprintf(stderr,
            "# %llu histories, %llu lives, %llu holds, %llu cuts; %.0f histories/min of CPU\n",
            (unsigned long long)n, (unsigned long long)lives, (unsigned long long)holds,
            (unsigned long long)commits, 60e6 * (double)n / (double)(clock_cpu_us() - begun));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_far_ahead_and_each_record_counts_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
