/* worker_pipeline.c - feeder, queues and arithmetic of a worker, with the test in the place of the network.
 *
 * The test's thread plays the io thread: it hands out leases, lets batches be "pulled" (rows of zeros), takes
 * the gradients, and sends works home. What must hold: every record of a lease once, in the epoch's order,
 * no batch across a lease's end; nothing of an older generation is computed; the bound of the pool.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/thread.h"
#include "common/data/convert.h"
#include "worker/trainer.h"

enum { TRAIN_ROWS = 1000, VALID_ROWS = 333, BATCH = 64, WAIT_US = 10000000 };

struct world {
    char dir[64];
    struct run_dir run;
    struct pipeline p;
    struct feeder *feeder;
    struct model *model;
    struct plan plan;
    struct thread compute;
};

static const char job_text[] = "data:\n"
                               "  train: train.csv\n"
                               "  valid: valid.csv\n"
                               "  fields:\n"
                               "    - {name: click, type: label}\n"
                               "    - {name: user, type: user}\n"
                               "    - {name: item, type: item}\n"
                               "    - {name: price, type: float}\n"
                               "model: {family: lr}\n"
                               "train: {batch: 64, seed: 9, staleness: 2, clip: 1e-3}\n";

static void write_log(const char *dir, const char *name, size_t rows)
{
    struct buffer b = BUFFER_INIT;
    struct errbuf err = ERRBUF_INIT;
    char *path = file_join(dir, name);
    buffer_printf(&b, "click,user,item,price\n");
    for (size_t i = 0; i < rows; i++)
        buffer_printf(&b, "%zu,u%zu,i%zu,%zu.5\n", i % 3 == 0 ? (size_t)1 : (size_t)0, i % 50,
                      i % 77, i % 10);
    assert_int_equal(file_write_atomic(path, b.data, b.used, &err), ST_OK);
    free(path);
    buffer_release(&b);
}

static void open_run(struct world *w, struct dataset **train, struct dataset **valid)
{
    struct errbuf err = ERRBUF_INIT;
    struct convert_result result;
    struct progress progress;
    FILE *nowhere = fopen("/dev/null", "w");
    write_log(w->dir, "train.csv", TRAIN_ROWS);
    write_log(w->dir, "valid.csv", VALID_ROWS);
    w->run.path = mem_strdup(w->dir);
    w->run.cache = file_join(w->dir, "cache");
    if (job_parse(job_text, strlen(job_text), "job.yaml", w->dir, NULL, 0, &w->run.job, &err) !=
        ST_OK)
        fail_msg("%s", err.text);
    progress_init(&progress, nowhere);
    if (convert_job(&w->run.job, w->run.cache, &progress, NULL, &result, &err) != ST_OK)
        fail_msg("%s", err.text);
    fclose(nowhere);
    assert_int_equal(dataset_open(&w->run.job, w->run.cache, PART_TRAIN, train, &err), ST_OK);
    assert_int_equal(dataset_open(&w->run.job, w->run.cache, PART_VALID, valid, &err), ST_OK);
    assert_int_equal(model_new(&w->run.job, dataset_fields(*train), dataset_floats(*train), BATCH,
                               &w->model, &w->plan, &err),
                     ST_OK);
    char *text = plan_text(&w->plan);
    assert_int_equal(plan_parse(text, strlen(text), "plan", &w->run.plan, &err), ST_OK);
    free(text);
}

static int setup(void **state)
{
    static struct world w;
    struct errbuf err = ERRBUF_INIT;
    struct dataset *train = NULL, *valid = NULL;
    memset(&w, 0, sizeof(w));
    log_set_level(LOG_ERROR);
    snprintf(w.dir, sizeof(w.dir), "%s", "/tmp/worker_pipeline.XXXXXX");
    if (mkdtemp(w.dir) == NULL)
        return -1;
    open_run(&w, &train, &valid);
    pipeline_open(&w.p, &w.run, 0, 1, train, dataset_rows(valid));
    if (pipeline_wake_open(&w.p, &err) != ST_OK ||
        feeder_start(&w.p, train, valid, &w.feeder, &err) != ST_OK)
        return -1;
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char command[128];
    if (!atomic_load(&w->p.ended))
        pipeline_end(&w->p, 0, "done");
    thread_stop(&w->compute);
    feeder_stop(w->feeder);
    pipeline_close(&w->p);
    model_free(w->model);
    plan_release(&w->plan);
    run_dir_release(&w->run);
    snprintf(command, sizeof(command), "rm -rf '%s'", w->dir);
    return system(command);
}

static void *compute(void *arg)
{
    struct world *w = arg;
    trainer_run(&w->p, w->model, w->feeder);
    return NULL;
}

static void start_compute(struct world *w)
{
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(thread_start(&w->compute, "compute", compute, w, &err), ST_OK);
}

static void give(struct world *w, enum task_kind kind, uint64_t epoch, uint64_t begin, uint64_t end)
{
    struct task *t = mem_zalloc(sizeof(*t));
    t->kind = kind;
    t->generation = atomic_load(&w->p.generation);
    t->lease = (struct msg_lease){
        .epoch = epoch, .split = begin, .begin = begin, .end = end, .records = TRAIN_ROWS};
    t->of_train = kind == TASK_LEASE;
    assert_int_equal(queue_push(w->p.tasks, t, 0), ST_OK);
}

static struct work *take(struct queue *q)
{
    void *w = NULL;
    assert_int_equal(queue_pop(q, &w, WAIT_US), ST_OK);
    return w;
}

static void leases_to_batches(void **state)
{
    struct world *w = *state;
    const uint64_t ends[] = {0, 256, 300, 1000};
    bool seen[TRAIN_ROWS] = {false};
    uint64_t key = rng_mix(9, 2), at = 0;
    for (int i = 0; i < 3; i++)
        give(w, TASK_LEASE, 2, ends[i], ends[i + 1]);
    for (int lease = 0; lease < 3; lease++) {
        while (at < ends[lease + 1]) {
            struct work *k = take(w->p.filled);
            assert_int_equal(k->kind, WORK_TRAIN);
            assert_int_equal(k->flight.epoch, 2);
            assert_int_equal(k->flight.split, ends[lease]);
            assert_int_equal(k->flight.begin, at);
            uint64_t n = ends[lease + 1] - at < BATCH ? ends[lease + 1] - at : BATCH;
            assert_int_equal(k->flight.end, at + n);
            assert_int_equal(k->batch.n, n);
            assert_int_equal(k->flight.unique, k->batch.unique);
            assert_ptr_equal(k->flight.keys, k->batch.keys);
            for (size_t i = 0; i < n; i++) {
                uint64_t record = rng_permute(key, TRAIN_ROWS, at + i);
                assert_int_equal(k->batch.record[i], record);
                assert_false(seen[record]);
                seen[record] = true;
            }
            at += n;
            pipeline_pass(&w->p, w->p.idle, k);
        }
    }
    assert_int_equal(queue_used(w->p.filled), 0);
}

/* Nobody sends works home: the feeder fills what there is and waits. */
static void pool_is_the_bound(void **state)
{
    struct world *w = *state;
    give(w, TASK_LEASE, 0, 0, TRAIN_ROWS);
    struct work *k[16];
    assert_int_equal(w->p.works, 6); /* staleness 2: three permits, and three ahead */
    for (size_t i = 0; i < w->p.works; i++)
        k[i] = take(w->p.filled);
    void *none = NULL;
    assert_int_equal(queue_pop(w->p.filled, &none, 50000), ST_TIMEOUT);
    for (size_t i = 0; i < w->p.works; i++) {
        assert_int_equal(k[i]->flight.begin, i * BATCH);
        pipeline_pass(&w->p, w->p.idle, k[i]);
    }
    k[0] = take(w->p.filled);
    assert_int_equal(k[0]->flight.begin, w->p.works * BATCH);
    pipeline_pass(&w->p, w->p.idle, k[0]);
}

/* A reset voids leases and batches; a new lease begins cleanly. */
static void reset(void **state)
{
    struct world *w = *state;
    start_compute(w);
    give(w, TASK_LEASE, 0, 0, TRAIN_ROWS);
    struct work *old = take(w->p.filled);
    uint64_t was = atomic_fetch_add(&w->p.generation, 1);
    assert_int_equal(old->generation, was);
    give(w, TASK_LEASE, 0, 512, 576);
    /* What was filled before comes back uncomputed from the arithmetic ... */
    pipeline_pass(&w->p, w->p.ready, old);
    assert_ptr_equal(take(w->p.computed), old);
    assert_false(old->computed);
    pipeline_pass(&w->p, w->p.idle, old);
    /* ... and behind what the feeder had filled stands only the new lease. */
    struct work *k = take(w->p.filled);
    while (!pipeline_valid(&w->p, k->generation)) {
        pipeline_pass(&w->p, w->p.idle, k);
        k = take(w->p.filled);
    }
    assert_int_equal(k->flight.begin, 512);
    assert_int_equal(k->flight.end, 576);
    pipeline_pass(&w->p, w->p.idle, k);
}

/* By window: the records of [first, first + records) and no other, each once, shuffled within; judged in their order. */
static void windows(void **state)
{
    struct world *w = *state;
    enum { FIRST = 300, WINDOW = 200 };
    bool seen[TRAIN_ROWS] = {false};
    for (int judged = 0; judged < 2; judged++) {
        uint64_t done = 0, moved = 0;
        struct task *t = mem_zalloc(sizeof(*t));
        t->kind = judged ? TASK_EVALUATE : TASK_LEASE;
        t->of_train = true;
        t->generation = atomic_load(&w->p.generation);
        t->lease = (struct msg_lease){
            .epoch = 2, .begin = 0, .end = WINDOW, .first = FIRST, .records = WINDOW};
        memset(seen, 0, sizeof(seen));
        assert_int_equal(queue_push(w->p.tasks, t, 0), ST_OK);
        while (done < WINDOW) {
            struct work *k = take(w->p.filled);
            assert_int_equal(k->flight.begin, done);
            for (size_t i = 0; i < k->batch.n; i++) {
                const uint64_t r = k->batch.record[i];
                assert_true(r >= FIRST && r < FIRST + WINDOW && !seen[r]);
                seen[r] = true;
                moved += r != FIRST + done + i;
            }
            done += k->batch.n;
            assert_true(k->log_end == (!judged && done == WINDOW));
            pipeline_pass(&w->p, w->p.idle, k);
        }
        assert_true(judged ? moved == 0 : moved > WINDOW / 2);
    }
    /* One that reaches behind the train part is a fault. */
    struct task *t = mem_zalloc(sizeof(*t));
    t->generation = atomic_load(&w->p.generation);
    t->lease = (struct msg_lease){.end = 10, .first = TRAIN_ROWS - 5, .records = 10};
    t->of_train = true;
    assert_int_equal(queue_push(w->p.tasks, t, 0), ST_OK);
    for (uint64_t until = clock_now_us() + WAIT_US; clock_now_us() < until;) {
        pthread_mutex_lock(&w->p.lock);
        const bool told = strstr(w->p.fault, "a lease of records") != NULL;
        pthread_mutex_unlock(&w->p.lock);
        if (told)
            return;
        clock_sleep_us(1000);
    }
    fail_msg("no fault");
}

/* Rows of zeros in, gradients out: the mean loss of a coin, and their norm is clipped. */
static void computes(void **state)
{
    struct world *w = *state;
    struct client_epoch totals;
    uint64_t until = clock_now_us() + WAIT_US;
    start_compute(w);
    give(w, TASK_LEASE, 1, 0, TRAIN_ROWS);
    uint64_t done = 0;
    while (done < TRAIN_ROWS) {
        struct work *k = take(w->p.filled);
        assert_int_equal(w->run.plan.tables[0].dim, 1);
        memset(k->flight.rows[0], 0, k->flight.unique * sizeof(float));
        memset(k->flight.dense, 0, (size_t)w->run.plan.tables[1].blocks * DENSE_BLOCK * 4);
        pipeline_pass(&w->p, w->p.ready, k);
        assert_ptr_equal(take(w->p.computed), k);
        assert_true(k->computed);
        double norm = 0;
        for (size_t i = 0; i < k->flight.unique; i++)
            norm += (double)k->flight.grad_rows[0][i] * (double)k->flight.grad_rows[0][i];
        for (size_t i = 0; i < w->run.plan.tables[1].blocks * DENSE_BLOCK; i++)
            norm += (double)k->flight.grad_dense[i] * (double)k->flight.grad_dense[i];
        assert_true(fabs(sqrt(norm) - 1e-3) < 1e-8);
        done += k->batch.n;
        pipeline_pass(&w->p, w->p.idle, k);
    }
    do {
        pipeline_totals(&w->p, &totals);
    } while (totals.auc == 0 && clock_now_us() < until);
    assert_int_equal(totals.epoch, 1);
    assert_int_equal(totals.count, TRAIN_ROWS);
    assert_true(fabs(totals.loss_sum / TRAIN_ROWS - log(2)) < 1e-6);
    assert_true(totals.auc == .5);
}

static void evaluates(void **state)
{
    struct world *w = *state;
    start_compute(w);
    struct work *token = mem_zalloc(sizeof(*token));
    token->kind = WORK_EVALUATE;
    token->generation = atomic_load(&w->p.generation);
    token->evaluate = 3;
    pipeline_pass(&w->p, w->p.ready, token);
    token->share = VALID_ROWS;
    give(w, TASK_EVALUATE, 0, 0, VALID_ROWS);
    uint64_t at = 0;
    while (at < VALID_ROWS) {
        struct work *k = take(w->p.filled);
        assert_int_equal(k->kind, WORK_EVAL);
        assert_true(k->flight.eval);
        assert_int_equal(k->batch.record[0], at); /* file order, whatever the shuffle */
        memset(k->flight.rows[0], 0, k->flight.unique * sizeof(float));
        memset(k->flight.dense, 0, (size_t)w->run.plan.tables[1].blocks * DENSE_BLOCK * 4);
        at += k->batch.n;
        pipeline_pass(&w->p, w->p.ready, k);
        assert_ptr_equal(take(w->p.computed), k);
        assert_false(k->computed);
        pipeline_pass(&w->p, w->p.idle, k);
    }
    assert_ptr_equal(take(w->p.computed), token);
    assert_int_equal(token->evaluate, 3);
    assert_int_equal(token->result.count, VALID_ROWS);
    assert_true(token->result.auc == .5);
    assert_true(fabs(token->result.logloss - log(2)) < 1e-6);
    free(token);
}

static void bad_lease(void **state)
{
    struct world *w = *state;
    uint64_t until = clock_now_us() + WAIT_US;
    bool told = false;
    log_set_level(LOG_ERROR + 1);
    give(w, TASK_LEASE, 0, 900, TRAIN_ROWS + 1);
    while (!told && clock_now_us() < until) {
        pthread_mutex_lock(&w->p.lock);
        told = strstr(w->p.fault, "1001") != NULL;
        pthread_mutex_unlock(&w->p.lock);
    }
    assert_true(told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(leases_to_batches, setup, teardown),
        cmocka_unit_test_setup_teardown(pool_is_the_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(reset, setup, teardown),
        cmocka_unit_test_setup_teardown(windows, setup, teardown),
        cmocka_unit_test_setup_teardown(computes, setup, teardown),
        cmocka_unit_test_setup_teardown(evaluates, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_lease, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
