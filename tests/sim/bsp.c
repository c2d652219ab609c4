/* bsp.c - all workers make each step together, and the bits don't depend on how many they are.
 *
 * Histories of several lives, each with another number of shards and of workers (1, 2 or 4, at four slices a
 * step), on a network that delays, loses and doubles, with cuts at any moment, deaths and stops. All
 * invariants are checked as in lossy.c and resume.c; and what is in the last cut must be, bit for bit, what one
 * worker learns undisturbed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "tests/support/sim_world.h"

enum { SEEDS = 100 };

static void any_number_of_workers_gets_the_same_bits(void **state)
{
    (void)state;
    uint64_t first, n, lives = 0, commits = 0, holds = 0, begun = clock_cpu_us();
    sim_seeds(SEEDS, &first, &n);
    for (uint64_t seed = first; seed < first + n; seed++) {
        struct sim_world *w = sim_history_bsp(seed, false);
        assert_false(sim_report(w, "bsp", seed));
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_number_of_workers_gets_the_same_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
