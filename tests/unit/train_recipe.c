/* train_recipe.c - after each epoch: the rate, the best cut, the early stop; and the same again from its text. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ps/train/recipe.h"

static struct job job_with(double factor, double delta, uint64_t first, uint64_t patience)
{
    struct job job;
    memset(&job, 0, sizeof job);
    job.train.plateau.factor = factor;
    job.train.plateau.delta = delta;
    job.train.plateau.first = first;
    job.train.plateau.patience = patience;
    job.train.plateau.rate_min = 1e-6;
    return job;
}

/* Epoch by epoch; 100 steps each, cut numbers 10, 20, 30 ... */
static void epochs(struct recipe *r, const struct job *job, const double *auc, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct recipe_epoch result = {.auc = auc[i], .logloss = 0.5, .accuracy = 0.7};
        uint64_t epoch = r->epochs + 1;
        recipe_epoch_done(r, job, epoch, 100 * epoch, 10 * epoch, &result, true);
    }
}

static void better_is_best(void **state)
{
    struct job job = job_with(0.1, 1e-3, 0, 2);
    struct recipe r;
    (void)state;
    recipe_init(&r, &job);
    epochs(&r, &job, (double[]){0.6, 0.7, 0.71}, 3);
    assert_int_equal(r.best_epoch, 3);
    assert_int_equal(r.best_cut, 30);
    assert_true(r.best_value == 0.71);
    assert_int_equal(r.stalls, 0);
    assert_int_equal(r.schedule.changes, 0);
    assert_false(r.stopped);
    recipe_release(&r);
}

/* Better by less than delta is no better; by delta exactly it is. The doubles are chosen to be exact. */
static void delta_decides(void **state)
{
    struct job job = job_with(0.5, 0.0625, 0, 10);
    struct recipe r;
    (void)state;
    recipe_init(&r, &job);
    epochs(&r, &job, (double[]){0.5, 0.5625}, 2);
    assert_int_equal(r.best_epoch, 2);
    epochs(&r, &job, (double[]){0.5625 + 0.03125}, 1);
    assert_int_equal(r.best_epoch, 2);
    assert_true(r.best_value == 0.5625);
    assert_int_equal(r.stalls, 1);
    /* measured against the best, not against the last */
    epochs(&r, &job, (double[]){0.625}, 1);
    assert_int_equal(r.best_epoch, 4);
    assert_int_equal(r.stalls, 0);
    recipe_release(&r);
}

static void a_stall_lowers_the_rate_from_the_next_step_on(void **state)
{
    struct job job = job_with(0.1, 1e-6, 0, 10);
    struct recipe r;
    (void)state;
    recipe_init(&r, &job);
    epochs(&r, &job, (double[]){0.7, 0.6, 0.6, 0.8, 0.7}, 5);
    assert_int_equal(r.schedule.changes, 3);
    assert_int_equal(r.schedule.change[0].from_step, 201);
    assert_int_equal(r.schedule.change[1].from_step, 301);
    assert_int_equal(r.schedule.change[2].from_step, 501);
    assert_true(fabs(schedule_rate(&r.schedule, 1.0, 200) - 1.0) < 1e-15);
    assert_true(fabs(schedule_rate(&r.schedule, 1.0, 201) - 0.1) < 1e-15);
    /* better once does not give the rate back */
    assert_true(fabs(schedule_rate(&r.schedule, 1.0, 450) - 0.01) < 1e-15);
    assert_true(fabs(schedule_rate(&r.schedule, 1.0, 501) - 0.001) < 1e-15);
    /* what each epoch was trained with */
    assert_true(r.epoch[0].factor == 1.0 && r.epoch[1].factor == 1.0);
    assert_true(fabs(r.epoch[2].factor - 0.1) < 1e-15);
    recipe_release(&r);
}

static void the_rate_has_a_floor_and_the_list_an_end(void **state)
{
    struct job job = job_with(0.1, 1e-6, 0, 0);
    struct recipe r;
    (void)state;
    recipe_init(&r, &job);
    for (int i = 0; i < SCHEDULE_CHANGES_MAX + 10; i++)
        epochs(&r, &job, (double[]){0.5}, 1);
    assert_int_equal(r.schedule.changes, SCHEDULE_CHANGES_MAX);
    assert_true(schedule_rate(&r.schedule, 1e-3, 1000000) == 1e-6);
    assert_true(schedule_rate(&r.schedule, 1e-7, 1000000) == 1e-7); /* never lifted by the floor */
    assert_false(r.stopped);                                        /* patience 0: never */
    recipe_release(&r);
}

static void patience_in_a_row_stops(void **state)
{
    struct job job = job_with(0.5, 1e-6, 0, 2);
    struct recipe r;
    (void)state;
    recipe_init(&r, &job);
    epochs(&r, &job, (double[]){0.5, 0.4, 0.6, 0.5}, 4);
    assert_int_equal(r.stalls, 1);
    assert_false(r.stopped);
    epochs(&r, &job, (double[]){0.6}, 1);
    assert_true(r.stopped);
    assert_int_equal(r.best_epoch, 3);
    assert_int_equal(r.best_cut, 30);
    recipe_release(&r);
}

static void before_the_first_epoch_nothing_is_held_against_it(void **state)
{
    struct job job = job_with(0.1, 1e-6, 4, 1);
    struct recipe r;
    (void)state;
    recipe_init(&r, &job);
    epochs(&r, &job, (double[]){0.7, 0.6, 0.5}, 3);
    assert_int_equal(r.stalls, 0);
    assert_int_equal(r.schedule.changes, 0);
    assert_false(r.stopped);
    assert_int_equal(r.best_epoch, 1);
    epochs(&r, &job, (double[]){0.6}, 1);
    assert_int_equal(r.stalls, 1);
    assert_true(r.stopped);
    recipe_release(&r);
}

static void a_factor_of_one_keeps_the_rate(void **state)
{
    struct job job = job_with(1.0, 1e-6, 0, 3);
    struct recipe r;
    (void)state;
    recipe_init(&r, &job);
    epochs(&r, &job, (double[]){0.7, 0.6, 0.6}, 3);
    assert_int_equal(r.schedule.changes, 0);
    assert_int_equal(r.stalls, 2);
    recipe_release(&r);
}

/* AUC of a part with one class only: no number. It is nobody's best for long, and no crash. */
static void no_number_is_no_improvement(void **state)
{
    struct job job = job_with(0.5, 1e-6, 0, 5);
    struct recipe r;
    (void)state;
    recipe_init(&r, &job);
    epochs(&r, &job, (double[]){NAN, 0.6, NAN}, 3);
    assert_int_equal(r.best_epoch, 2);
    assert_int_equal(r.stalls, 1);
    assert_true(isnan(r.epoch[2].auc));
    recipe_release(&r);
}

static void without_a_valid_part_the_last_is_best(void **state)
{
    struct job job = job_with(0.1, 1e-6, 0, 1);
    struct recipe_epoch result = {.auc = NAN, .logloss = NAN, .accuracy = NAN};
    struct recipe r;
    (void)state;
    recipe_init(&r, &job);
    for (uint64_t epoch = 1; epoch <= 5; epoch++)
        recipe_epoch_done(&r, &job, epoch, epoch * 7, epoch + 2, &result, false);
    assert_int_equal(r.best_epoch, 5);
    assert_int_equal(r.best_cut, 7);
    assert_int_equal(r.schedule.changes, 0);
    assert_false(r.stopped);
    recipe_release(&r);
}

static void warm_up_is_a_ramp(void **state)
{
    struct job job = job_with(0.5, 1e-6, 0, 5);
    struct recipe r;
    (void)state;
    job.train.warmup = 10;
    recipe_init(&r, &job);
    for (uint64_t step = 1; step < 10; step++)
        assert_true(schedule_rate(&r.schedule, 0.2, step) == 0.2 * ((double)step / 10));
    assert_true(schedule_rate(&r.schedule, 0.2, 10) == 0.2);
    assert_true(schedule_rate(&r.schedule, 0.2, 11) == 0.2);
    recipe_release(&r);
}

static void same(const struct recipe *a, const struct recipe *b)
{
    assert_memory_equal(&a->best_value, &b->best_value, sizeof a->best_value);
    assert_int_equal(a->best_epoch, b->best_epoch);
    assert_int_equal(a->best_cut, b->best_cut);
    assert_int_equal(a->stalls, b->stalls);
    assert_int_equal(a->stopped, b->stopped);
    assert_int_equal(a->schedule.warmup, b->schedule.warmup);
    assert_int_equal(a->schedule.changes, b->schedule.changes);
    for (uint32_t i = 0; i < a->schedule.changes; i++) {
        assert_int_equal(a->schedule.change[i].from_step, b->schedule.change[i].from_step);
        assert_memory_equal(&a->schedule.change[i].factor, &b->schedule.change[i].factor,
                            sizeof(double));
    }
    assert_int_equal(a->epochs, b->epochs);
    for (size_t i = 0; i < a->epochs; i++) {
        assert_true(a->epoch[i].auc == b->epoch[i].auc ||
                    (isnan(a->epoch[i].auc) && isnan(b->epoch[i].auc)));
        assert_true(a->epoch[i].ndcg10 == b->epoch[i].ndcg10 ||
                    (isnan(a->epoch[i].ndcg10) && isnan(b->epoch[i].ndcg10)));
        assert_true(a->epoch[i].factor == b->epoch[i].factor);
    }
}

/* Next-item models are judged by NDCG@10, which is better when it is more; logloss is when it is less. */
static void the_metric_decides(void **state)
{
    static const struct {
        int family, metric;
        uint64_t best;
    } cases[] = {
        {JOB_LR, JOB_METRIC_AUTO, 3},    {JOB_LR, JOB_METRIC_AUC, 3},
        {JOB_LR, JOB_METRIC_LOGLOSS, 2}, {JOB_SASREC, JOB_METRIC_AUTO, 1},
        {JOB_GRU, JOB_METRIC_NDCG, 1},   {JOB_SASREC, JOB_METRIC_LOGLOSS, 2},
        {JOB_LSTM, JOB_METRIC_NDCG, 1},
    };
    static const struct recipe_epoch epoch[] = {
        {.auc = .6, .logloss = .5, .ndcg10 = .05, .hr10 = .1, .mrr = .04},
        {.auc = .5, .logloss = .3, .ndcg10 = .04, .hr10 = .1, .mrr = .04},
        {.auc = .7, .logloss = INFINITY, .ndcg10 = NAN, .hr10 = NAN, .mrr = NAN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct job job = job_with(1, 1e-6, 0, 9);
        struct errbuf err = ERRBUF_INIT;
        struct recipe r, again;
        job.model.family = cases[i].family;
        job.train.metric = cases[i].metric;
        recipe_init(&r, &job);
        for (uint64_t e = 0; e < 3; e++)
            recipe_epoch_done(&r, &job, e + 1, 10 * e, e + 1, &epoch[e], true);
        assert_int_equal(r.best_epoch, cases[i].best);
        char *text = recipe_text(&r);
        assert_int_equal(recipe_parse(text, &again, &err), ST_OK);
        same(&r, &again);
        assert_true(again.epoch[0].hr10 == .1 && isnan(again.epoch[2].mrr));
        free(text);
        recipe_release(&r);
        recipe_release(&again);
    }
}

/* A first epoch that is no number at all: the worst there is, and a text that can be read again. */
static void no_number_at_first(void **state)
{
    struct job job = job_with(1, 1e-6, 0, 9);
    struct errbuf err = ERRBUF_INIT;
    struct recipe r, again;
    (void)state;
    job.train.metric = JOB_METRIC_LOGLOSS;
    recipe_init(&r, &job);
    recipe_epoch_done(&r, &job, 1, 5, 1, &(struct recipe_epoch){.logloss = NAN}, true);
    char *text = recipe_text(&r);
    assert_int_equal(recipe_parse(text, &again, &err), ST_OK);
    free(text);
    recipe_epoch_done(&again, &job, 2, 9, 2, &(struct recipe_epoch){.logloss = 3}, true);
    assert_int_equal(again.best_epoch, 2);
    assert_true(again.best_value == 3);
    recipe_release(&r);
    recipe_release(&again);
}

/* A manifest from before there was a choice. */
static void an_older_text(void **state)
{
    static const char text[] = "{\"best_auc\":0.75,\"best_epoch\":1,\"best_cut\":4,\"stalls\":0,"
                               "\"warmup\":0,\"rate_min\":0,\"history\":[{\"auc\":0.75}]}";
    struct errbuf err = ERRBUF_INIT;
    struct recipe r;
    (void)state;
    assert_int_equal(recipe_parse(text, &r, &err), ST_OK);
    assert_true(r.best_value == .75 && r.epoch[0].auc == .75 && isnan(r.epoch[0].ndcg10));
    recipe_release(&r);
}

/* An epoch without a step (a tiny log, resumed): two decisions at one step leave the later one. */
static void two_decisions_at_one_step(void **state)
{
    struct job job = job_with(0.5, 1e-6, 0, 9);
    struct recipe_epoch bad = {.auc = 0.1};
    struct recipe r;
    (void)state;
    recipe_init(&r, &job);
    recipe_epoch_done(&r, &job, 1, 50, 1, &(struct recipe_epoch){.auc = 0.5}, true);
    recipe_epoch_done(&r, &job, 2, 50, 2, &bad, true);
    recipe_epoch_done(&r, &job, 3, 50, 3, &bad, true);
    assert_int_equal(r.schedule.changes, 1);
    assert_int_equal(r.schedule.change[0].from_step, 51);
    assert_true(r.schedule.change[0].factor == 0.25);
    recipe_release(&r);
}

/* Bit for bit: after each epoch, out of its text again, and from there the same decisions. */
static void its_text_brings_all_of_it_back(void **state)
{
    static const double auc[] = {0.1, 1.0 / 3, 0.3, NAN, 2.0 / 3, 0.6, 0.65, 0.7, 0.5};
    struct job job = job_with(1.0 / 3, 1e-6, 0, 3);
    struct errbuf err = ERRBUF_INIT;
    struct recipe straight, again;
    (void)state;
    job.train.warmup = 17;
    recipe_init(&straight, &job);
    recipe_init(&again, &job);
    for (size_t i = 0; i < sizeof auc / sizeof auc[0]; i++) {
        epochs(&straight, &job, &auc[i], 1);
        epochs(&again, &job, &auc[i], 1);
        char *text = recipe_text(&again);
        recipe_release(&again);
        assert_int_equal(recipe_parse(text, &again, &err), ST_OK);
        free(text);
        same(&straight, &again);
    }
    recipe_release(&straight);
    recipe_release(&again);
}

static void foul_texts_are_refused(void **state)
{
    static const char *const foul[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"best_auc\": 1}",
        "{\"best_auc\":0,\"best_epoch\":1,\"best_cut\":1,\"stalls\":5000000000,\"warmup\":0,"
        "\"rate_min\":0}",
        "{\"best_auc\":0,\"best_epoch\":1,\"best_cut\":1,\"stalls\":0,\"warmup\":0,"
        "\"rate_min\":-1}",
        "{\"best_auc\":0,\"best_epoch\":1,\"best_cut\":1,\"stalls\":0,\"warmup\":0,\"rate_min\":0,"
        "\"changes\":[{\"from_step\":5,\"factor\":0.5},{\"from_step\":5,\"factor\":0.2}]}",
        "{\"best_auc\":0,\"best_epoch\":1,\"best_cut\":1,\"stalls\":0,\"warmup\":0,\"rate_min\":0,"
        "\"changes\":[{\"from_step\":5,\"factor\":-0.5}]}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof foul / sizeof foul[0]; i++) {
        struct errbuf err = ERRBUF_INIT;
        struct recipe r = {.best_epoch = 77};
        assert_int_not_equal(recipe_parse(foul[i], &r, &err), ST_OK);
        assert_int_equal(r.best_epoch, 77);
        assert_string_not_equal(err.text, "");
    }
    struct errbuf err = ERRBUF_INIT;
    struct recipe r;
    assert_int_not_equal(recipe_parse(NULL, &r, &err), ST_OK);
}

/* Means by record, of what could be judged; the last ones in order; and all of it back from the text, the segment under
 * way with it. */
static void test_live(void **state)
{
    struct live l = {.from = 3}, back;
    struct errbuf err = ERRBUF_INIT;
    double auc, logloss;
    (void)state;
    for (uint64_t n = 1; n <= 40; n++) {
        l.now = (struct live_segment){.number = n,
                                      .records = n,
                                      .auc = n % 2 == 0 ? NAN : (double)n / 100,
                                      .logloss = (double)n / 10,
                                      .accuracy = .5};
        live_done(&l, .1);
    }
    l.now =
        (struct live_segment){.number = 41, .records = 9, .auc = .25, .logloss = .5, .accuracy = 1};
    struct json *j = live_json(&l);
    assert_int_equal(live_parse(j, &back, &err), ST_OK);
    json_free(j);
    assert_int_equal(back.from, 3);
    assert_int_equal(back.segments, 40);
    assert_int_equal(back.records, 820);
    assert_int_equal(back.auc_records, 400);
    assert_true(fabs(back.auc - 106.6 / 400) < 1e-12); /* sum of odd n n / 100 */
    assert_true(fabs(back.logloss - 2214. / 820) < 1e-12);
    assert_int_equal(back.now.number, 41);
    assert_true(back.now.auc == .25);
    live_recent(&back, &auc, &logloss);
    assert_true(fabs(auc - (25 * .25 + 27 * .27 + 29 * .29 + 31 * .31 + 33 * .33 + 35 * .35 +
                            37 * .37 + 39 * .39) /
                               256) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(better_is_best),
        cmocka_unit_test(delta_decides),
        cmocka_unit_test(the_metric_decides),
        cmocka_unit_test(no_number_at_first),
        cmocka_unit_test(an_older_text),
        cmocka_unit_test(a_stall_lowers_the_rate_from_the_next_step_on),
        cmocka_unit_test(the_rate_has_a_floor_and_the_list_an_end),
        cmocka_unit_test(patience_in_a_row_stops),
        cmocka_unit_test(before_the_first_epoch_nothing_is_held_against_it),
        cmocka_unit_test(a_factor_of_one_keeps_the_rate),
        cmocka_unit_test(no_number_is_no_improvement),
        cmocka_unit_test(without_a_valid_part_the_last_is_best),
        cmocka_unit_test(warm_up_is_a_ramp),
        cmocka_unit_test(two_decisions_at_one_step),
        cmocka_unit_test(its_text_brings_all_of_it_back),
        cmocka_unit_test(foul_texts_are_refused),
        cmocka_unit_test(test_live),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
