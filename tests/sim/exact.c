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

#include "ps/train/recipe.h"
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

/* What the run left: all rows, and the recipe's text. */
struct outcome {
    struct sim_rows rows;
    uint64_t step, applied;
    char *recipe;
};

static void look(struct sim_world *w, struct outcome *o)
{
    struct manifest m;
    if (w->failed) {
        sim_print_tail(w, 80);
        fprintf(stderr, "%s\n", w->why);
    }
    assert_false(w->failed);
    struct store *store = sim_load(w, 0, &m);
    memset(o, 0, sizeof *o);
    sim_rows_take(&o->rows, store);
    o->step = m.step;
    o->applied = m.applied;
    o->recipe = strdup(m.recipe);
    store_free(store);
    manifest_release(&m);
}

static void finish(struct sim_conf conf, struct outcome *o)
{
    struct sim_world *w = sim_new(&conf, NULL);
    sim_run(w);
    if (w->head.code != 0)
        sim_fail(w, "end", "%s", w->head.text);
    look(w, o);
    sim_free(w);
}

static void release(struct outcome *o)
{
    sim_rows_release(&o->rows);
    free(o->recipe);
}

/* The recipe names cut numbers, which may differ; its decisions and results may not. */
static void same_recipe(const struct outcome *a, const struct outcome *b)
{
    struct recipe x, y;
    assert_int_equal(recipe_parse(a->recipe, &x, NULL), ST_OK);
    assert_int_equal(recipe_parse(b->recipe, &y, NULL), ST_OK);
    assert_int_equal(x.best_epoch, y.best_epoch);
    assert_memory_equal(&x.best_value, &y.best_value, sizeof x.best_value);
    assert_memory_equal(&x.schedule, &y.schedule, sizeof x.schedule);
    assert_int_equal(x.epochs, y.epochs);
    for (size_t i = 0; i < x.epochs; i++)
        assert_memory_equal(&x.epoch[i].auc, &y.epoch[i].auc, sizeof x.epoch[i].auc);
    recipe_release(&x);
    recipe_release(&y);
}

static void same(const struct outcome *a, const struct outcome *b)
{
    static const size_t floats[4] = {2, 3 + 3, 256, 256}; /* Adagrad; Adam has 3 more */
    assert_int_equal(a->step, b->step);
    assert_int_equal(a->applied, b->applied);
    for (size_t t = 0; t < 4; t++) {
        assert_int_equal(a->rows.n[t], b->rows.n[t]);
        assert_memory_equal(a->rows.key[t], b->rows.key[t], a->rows.n[t] * sizeof(uint64_t));
        assert_memory_equal(a->rows.record[t], b->rows.record[t],
                            a->rows.n[t] * (sizeof(struct row_meta) + 4 * floats[t]));
    }
    same_recipe(a, b);
}

static void cuts_change_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct sim_conf conf = one_worker(seed);
        struct outcome many, few;
        conf.cut_every_us = 4000;
        finish(conf, &many);
        conf.cut_every_us = 1000000000;
        finish(conf, &few);
        same(&many, &few);
        release(&many);
        release(&few);
    }
}

static void the_network_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct sim_conf conf = one_worker(seed);
        struct outcome good, bad;
        finish(conf, &good);
        conf.in_order = false;
        conf.delay_us = 1500;
        conf.loss = conf.twice = 0.15;
        conf.late = 0.02;
        conf.handle_bytes_max = 500;
        conf.disk_fail = 0.05;
        finish(conf, &bad);
        same(&good, &bad);
        release(&good);
        release(&bad);
    }
}

static void the_number_of_shards_changes_nothing(void **state)
{
    (void)state;
    struct outcome one, many;
    struct sim_conf conf = one_worker(3);
    conf.shards = 1;
    finish(conf, &one);
    for (conf.shards = 2; conf.shards <= 5; conf.shards++) {
        finish(conf, &many);
        same(&one, &many);
        release(&many);
    }
    release(&one);
}

/* Two epochs = one epoch, the end, --resume with one more. */
static void an_epoch_more_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct sim_conf conf = one_worker(seed);
        struct outcome straight, resumed;
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
        release(&straight);
        release(&resumed);
    }
}

/* Stopped by TERM, or killed, anywhere, twice; other numbers of shards. */
static void interrupted(bool kill)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct sim_conf conf = one_worker(seed);
        struct rng r = {.key = seed, .n = 0};
        struct outcome straight, resumed;
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
        release(&straight);
        release(&resumed);
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
