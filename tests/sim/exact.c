/* exact.c - bit for bit: with one worker the parameters are a function of the log alone.
 *
 * Not of when cuts were made, of what the network did, of being stopped or killed and going on, or of the
 * number of shards. Compared are all records (meta, weights, optimizer state) of the last cut, read back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/sim_world.h"

static struct sim_conf one_worker(uint64_t seed)
{
    struct sim_conf c = sim_conf_quiet(seed);
    c.workers = 1;
    c.permits = 1;
    c.epochs = 2;
    c.records = 200;
    c.has_valid = true;
    c.plateau_factor = 0.5;
    c.replay = seed % 2;
    c.check_all = false;
    return c;
}

static void look(struct sim_world *w, struct sim_outcome *o)
{
    if (w->failed) {
        sim_print_tail(w, 80);
        fprintf(stderr, "%s\n", w->why);
    }
    assert_false(w->failed);
    sim_outcome_take(w, o);
}

static void finish(struct sim_conf conf, struct sim_outcome *o)
{
    struct sim_world *w = sim_new(&conf, NULL);
    sim_run(w);
    if (w->head.code != 0)
        sim_fail(w, "end", "%s", w->head.text);
    look(w, o);
    sim_free(w);
}

static void same(const struct sim_outcome *a, const struct sim_outcome *b)
{
    const char *what = sim_outcome_differs(a, b);
    if (what != NULL)
        fprintf(stderr, "%s differs\n", what);
    assert_null(what);
}

static void cuts_change_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct sim_conf conf = one_worker(seed);
        struct sim_outcome many, few;
        conf.cut_every_us = 4000;
        finish(conf, &many);
        conf.cut_every_us = 1000000000;
        finish(conf, &few);
        same(&many, &few);
        sim_outcome_release(&many);
        sim_outcome_release(&few);
    }
}

static void the_network_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct sim_conf conf = one_worker(seed);
        struct sim_outcome good, bad;
        finish(conf, &good);
        conf.in_order = false;
        conf.delay_us = 1500;
        conf.loss = conf.twice = 0.15;
        conf.late = 0.02;
        conf.handle_bytes_max = 500;
        conf.disk_fail = 0.05;
        finish(conf, &bad);
        same(&good, &bad);
        sim_outcome_release(&good);
        sim_outcome_release(&bad);
    }
}

static void the_number_of_shards_changes_nothing(void **state)
{
    (void)state;
    struct sim_outcome one, many;
    struct sim_conf conf = one_worker(3);
    conf.shards = 1;
    finish(conf, &one);
    for (conf.shards = 2; conf.shards <= 5; conf.shards++) {
        finish(conf, &many);
        same(&one, &many);
        sim_outcome_release(&many);
    }
    sim_outcome_release(&one);
}

/* Two epochs = one epoch, the end, --resume with one more. */
static void an_epoch_more_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct sim_conf conf = one_worker(seed);
        struct sim_outcome straight, resumed;
        finish(conf, &straight);
        conf.epochs = 1;
        struct sim_world *w = sim_new(&conf, NULL);
        sim_run(w);
        assert_int_equal(w->head.code, 0);
        conf.epochs = 2;
        conf.shards = 1 + (uint32_t)seed % 3;
        sim_restart(w, &conf);
        sim_run(w);
        look(w, &resumed);
        sim_free(w);
        same(&straight, &resumed);
        sim_outcome_release(&straight);
        sim_outcome_release(&resumed);
    }
}

/* Stopped by TERM, or killed, anywhere, twice; other numbers of shards. */
static void interrupted(bool kill)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct sim_conf conf = one_worker(seed);
        struct rng r = {.key = seed, .n = 0};
        struct sim_outcome straight, resumed;
        finish(conf, &straight);
        struct sim_conf part = conf;
        struct sim_world *w = NULL;
        for (int life = 0; life < 3; life++) {
            uint64_t at = 12000 + rng_below(&r, 60000);
            part.kill_us = kill && life < 2 ? at : 0;
            part.stop_us = !kill && life < 2 ? at : 0;
            if (w == NULL)
                w = sim_new(&part, NULL);
            else
                sim_restart(w, &part);
            sim_run(w);
            part.shards = 1 + (uint32_t)rng_below(&r, 4);
        }
        assert_int_equal(w->head.code, 0);
        look(w, &resumed);
        sim_free(w);
        same(&straight, &resumed);
        sim_outcome_release(&straight);
        sim_outcome_release(&resumed);
    }
}

static void being_stopped_changes_nothing(void **state)
{
    (void)state;
    interrupted(false);
}

static void being_killed_changes_nothing(void **state)
{
    (void)state;
    interrupted(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_change_nothing),
        cmocka_unit_test(the_network_changes_nothing),
        cmocka_unit_test(the_number_of_shards_changes_nothing),
        cmocka_unit_test(an_epoch_more_changes_nothing),
        cmocka_unit_test(being_stopped_changes_nothing),
        cmocka_unit_test(being_killed_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
