/* resume.c - death, anywhere, several times; fresh processes go on from disk, each record once.
 *
 * Everybody dies, or one alone, who may be started again as somebody else: then the run must end by itself,
 * with all its processes. Or TERM ends it. Every life has other numbers of shards and workers. Messages of the
 * dead are still on their way and reach those who live: they must be told apart by incarnation and boot.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "tests/support/sim_world.h"

enum { SEEDS = 120, STALE_SEEDS = 40 };

static void run(const char *name, struct sim_world *(*history)(uint64_t, bool), uint64_t or_else)
{
    uint64_t first, n, lives = 0, begun = clock_cpu_us();
    sim_seeds(or_else, &first, &n);
    for (uint64_t seed = first; seed < first + n; seed++) {
        struct sim_world *w = history(seed, false);
        assert_false(sim_report(w, "resume", seed));
        lives += w->life;
        sim_free(w);
    }
    fprintf(stderr, "# %s: %llu histories, %llu lives; %.0f histories/min of CPU\n", name,
            (unsigned long long)n, (unsigned long long)lives,
            60e6 * (double)n / (double)(clock_cpu_us() - begun));
}

static void each_record_once_over_any_number_of_lives(void **state)
{
    (void)state;
    run("resume", sim_history_resume, SEEDS);
}

static void what_the_dead_have_sent_does_no_harm(void **state)
{
    (void)state;
    run("stale", sim_history_stale, STALE_SEEDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_record_once_over_any_number_of_lives),
        cmocka_unit_test(what_the_dead_have_sent_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
