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

#include <cmocka.h>

#include "tests/support/sim_world.h"

enum { SEEDS = 100 };

static void any_number_of_workers_gets_the_same_bits(void **state)
{
    (void)state;
    assert_true(sim_lives("bsp", "bsp", sim_history_bsp, SEEDS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_number_of_workers_gets_the_same_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
