/* resume.c - death, anywhere, several times; fresh processes go on from disk, each record once.
 *
 * Everybody dies, or one alone, who may be started again as somebody else: then the run must end by itself,
 * with all its processes. Or TERM ends it. Every life has other numbers of shards and workers. Messages of the
 * dead are still on their way and reach those who live: they must be told apart by incarnation and boot.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/sim_world.h"

enum { SEEDS = 120, STALE_SEEDS = 40 };

static void each_record_once_over_any_number_of_lives(void **state)
{
    (void)state;
    assert_true(sim_lives("resume", "resume", sim_history_resume, SEEDS));
}

static void what_the_dead_have_sent_does_no_harm(void **state)
{
    (void)state;
    assert_true(sim_lives("resume", "stale", sim_history_stale, STALE_SEEDS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_record_once_over_any_number_of_lives),
        cmocka_unit_test(what_the_dead_have_sent_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
