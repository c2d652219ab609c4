/* resume.c - everything dies, anywhere, several times; fresh processes go on from disk, each record once.
 *
 * Every life has other numbers of shards and workers. Messages of the dead are still on their way and reach
 * those who live: they must be told apart by incarnation and boot. Some lives end by TERM instead.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/options.h"
#include "tests/support/sim_world.h"

enum { SEEDS = 120, LIVES = 4 };

static uint64_t number(const char *name, uint64_t or_else)
{
    const char *text = option_env(name);
    return text == NULL ? or_else : strtoull(text, NULL, 10);
}

static void next_life(struct sim_conf *c, struct rng *r, bool last)
{
    uint64_t at = 5000 + rng_below(r, 120000);
    bool stop = rng_below(r, 3) == 0;
    c->shards = 1 + (uint32_t)rng_below(r, 4);
    c->workers = 1 + (uint32_t)rng_below(r, 4);
    c->permits = 1 + (uint32_t)rng_below(r, 3);
    c->kill_us = last || stop ? 0 : at;
    c->stop_us = last || !stop ? 0 : at;
}

static uint64_t history(uint64_t seed)
{
    struct rng r = {.key = rng_mix(seed, 3), .n = 0};
    struct sim_conf conf = sim_conf_lossy(seed);
    uint64_t lives = 1;
    next_life(&conf, &r, false);
    struct sim_world *w = sim_new(&conf, NULL);
    for (;;) {
        bool killed = sim_run(w);
        if (w->failed || (!killed && conf.stop_us == 0))
            break;
        if (!killed && w->head.code != 0) {
            sim_fail(w, "I10", "TERM ended with code %d: %s", w->head.code, w->head.text);
            break;
        }
        next_life(&conf, &r, ++lives == LIVES);
        sim_restart(w, &conf);
    }
    sim_check_end(w);
    if (w->failed) {
        sim_print_tail(w, 150);
        fprintf(stderr, "%s\nagain: SEED=%llu\n", w->why, (unsigned long long)seed);
    }
    assert_false(w->failed);
    sim_free(w);
    return lives;
}

static void each_record_once_over_any_number_of_lives(void **state)
{
    (void)state;
    uint64_t first = number("SEED", 1), n = number("SEEDS", option_env("SEED") != NULL ? 1 : SEEDS);
    uint64_t lives = 0, begun = clock_cpu_us();
    for (uint64_t seed = first; seed < first + n; seed++)
        lives += history(seed);
    fprintf(stderr, "# %llu histories, %llu lives; %.0f histories/min of CPU\n",
            (unsigned long long)n, (unsigned long long)lives,
            60e6 * (double)n / (double)(clock_cpu_us() - begun));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_record_once_over_any_number_of_lives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
