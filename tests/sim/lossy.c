/* lossy.c - random clusters on a network that delays, reorders, doubles and loses everything.
 *
 * SEED=n runs that history alone, with its trace if it fails (TRACE=1: always); SEEDS=n so many from SEED.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "tests/support/sim_world.h"

enum { SEEDS = 250 };

static void every_record_is_counted_once(void **state)
{
    (void)state;
    uint64_t first, n;
    uint64_t steps = 0, messages = 0, holds = 0, commits = 0, abandoned = 0, begun = clock_cpu_us();
    sim_seeds(SEEDS, &first, &n);
    for (uint64_t seed = first; seed < first + n; seed++) {
        struct sim_world *w = sim_history_lossy(seed, false);
        assert_false(sim_report(w, "lossy", seed));
        steps += w->steps;
        messages += w->messages;
        holds += w->holds;
        commits += w->commits;
        abandoned += w->abandoned;
        sim_free(w);
    }
    double seconds = (double)(clock_cpu_us() - begun) / 1e6;
    fprintf(stderr,
            "# %llu histories, %llu steps, %llu messages, %llu holds, %llu cuts, %llu abandoned;"
            " %.0f histories/min of CPU\n",
            (unsigned long long)n, (unsigned long long)steps, (unsigned long long)messages,
            (unsigned long long)holds, (unsigned long long)commits, (unsigned long long)abandoned,
            60.0 * (double)n / seconds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_record_is_counted_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
