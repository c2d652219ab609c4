/* rollback.c - every way back of a shard leads to the base, bit for bit: tests/support/sim_script.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/support/sim_world.h"

enum { SEEDS = 60 };

static void every_way_back_leads_to_the_base(void **state)
{
    (void)state;
    uint64_t first, n, by_undo = 0, by_files = 0;
    sim_seeds(SEEDS, &first, &n);
    for (uint64_t seed = first; seed < first + n; seed++) {
        struct sim_script_result r;
        sim_script(seed, &r);
        if (r.failed)
            fprintf(stderr, "%s\nagain: SEED=%llu build/tests/sim/rollback\n", r.why,
                    (unsigned long long)seed);
        assert_false(r.failed);
        by_undo += r.by_undo;
        by_files += r.by_files;
    }
    fprintf(stderr, "# %llu histories: %llu ways back by undo, %llu by files\n",
            (unsigned long long)n, (unsigned long long)by_undo, (unsigned long long)by_files);
    assert_true(n < SEEDS || (by_undo > n && by_files > n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_way_back_leads_to_the_base)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
