/* pipeline.c - the pool of works, the queues, and the few values that cross threads (pipeline.h). */
#include "worker/pipeline.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"

enum {
    PREFETCH = 3, /* works beyond the permits: one read, one waiting for a permit, one on its way */
    UNIQUE_FIRST = 1024,
    TASKS_MAX = 4 * LEASES_MAX,
    TOKENS_MAX = 4 /* evaluations that begin or end at a time: one, and old ones after a reset */
};

/* Shares are whole batches, cut at the same records for any number of ranks: so a record is scored in the same
 * batch, and its score has the same bits, whoever does it. */
static uint64_t share(uint64_t records, uint64_t batch, uint32_t rank, uint32_t size)
{
    const uint64_t at = (records + batch - 1) / batch * rank / size * batch;
    return at < records ? at : records;
}

void pipeline_open(struct pipeline *p, const struct run_dir *run, uint32_t rank, uint32_t size,
                   const struct dataset *train, uint64_t valid_rows)
{
    memset(p, 0, sizeof(*p));
    p->run = run;
    p->rank = rank;
    p->size = size;
    p->train_rows = dataset_rows(train);
    p->valid_rows = valid_rows;
    p->dealt = job_deals(&run->job);
    if (run->job.train.consistency == JOB_BSP)
        p->slices = (size_t)job_slices(&run->job) / size;
    p->works = (size_t)run->job.train.staleness + 1 + PREFETCH;
    p->work = mem_array(p->works, sizeof(*p->work));
    p->tasks = queue_new(TASKS_MAX);
    p->idle = queue_new(p->works + TOKENS_MAX);
    p->filled = queue_new(p->works + TOKENS_MAX);
    p->ready = queue_new(p->works + TOKENS_MAX);
    p->computed = queue_new(p->works + TOKENS_MAX);
    pthread_mutex_init(&p->lock, NULL);
    atomic_store(&p->generation, 1);
    for (size_t i = 0; i < p->works; i++) {
        struct work *w = &p->work[i];
        batch_init(&w->batch, train, (size_t)run->job.train.batch);
        slices_init(&w->slices, train, p->slices, (size_t)run->job.train.batch,
                    job_slices(&run->job));
        flight_init(&w->flight, &run->plan, UNIQUE_FIRST);
        w->flight.user = w;
        pipeline_pass(p, p->idle, w);
    }
}

void pipeline_share(const struct pipeline *p, uint64_t records, uint64_t *begin, uint64_t *end)
{
    *begin = share(records, p->run->job.train.batch, p->rank, p->size);
    *end = share(records, p->run->job.train.batch, p->rank + 1, p->size);
}

enum status pipeline_wake_open(struct pipeline *p, struct errbuf *err)
{
    return wake_init(&p->io_wake, err);
}

/* Tokens and tasks are the only things in queues that are not of the pool. */
static void drain(struct queue *q, bool works)
{
    void *item = NULL;
    while (queue_pop(q, &item, 0) == ST_OK)
        if (!works || ((struct work *)item)->kind == WORK_EVALUATE)
            free(item);
    queue_free(q);
}

void pipeline_close(struct pipeline *p)
{
    drain(p->tasks, false);
    drain(p->filled, true);
    drain(p->ready, true);
    drain(p->computed, true);
    drain(p->idle, true);
    for (size_t i = 0; i < p->works; i++) {
        batch_release(&p->work[i].batch);
        slices_release(&p->work[i].slices);
        flight_release(&p->work[i].flight, &p->run->plan);
    }
    free(p->work);
    pthread_mutex_destroy(&p->lock);
    wake_release(&p->io_wake);
}

void pipeline_end(struct pipeline *p, int code, const char *text)
{
    p->exit_code = code;
    snprintf(p->exit_text, sizeof(p->exit_text), "%s", text);
    atomic_store(&p->ended, true);
    queue_close(p->tasks);
    queue_close(p->idle);
    queue_close(p->filled);
    queue_close(p->ready);
    queue_close(p->computed);
}

void pipeline_fault(struct pipeline *p, enum status st, const char *fmt, ...)
{
    char text[WHY_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    pthread_mutex_lock(&p->lock);
    bool first = p->fault[0] == 0;
    if (first) {
        memcpy(p->fault, text, sizeof(text));
        p->fault_code = status_exit_code(st);
    }
    pthread_mutex_unlock(&p->lock);
    if (first)
        log_error("this worker can't go on: %s", text);
    wake_signal(&p->io_wake);
}

void pipeline_pass(struct pipeline *p, struct queue *q, struct work *w)
{
    enum status st = queue_push(q, w, 0);
    if (st == ST_OK)
        return;
    if (!atomic_load(&p->ended))
        log_error("a queue that has room for all works is full"); /* our bug: the work is lost */
    if (w->kind == WORK_EVALUATE)
        free(w);
}

bool pipeline_valid(const struct pipeline *p, uint64_t generation)
{
    return generation == atomic_load(&p->generation);
}

void pipeline_tell_totals(struct pipeline *p, const struct client_epoch *t)
{
    pthread_mutex_lock(&p->lock);
    p->totals = *t;
    pthread_mutex_unlock(&p->lock);
}

void pipeline_totals(struct pipeline *p, struct client_epoch *out)
{
    pthread_mutex_lock(&p->lock);
    *out = p->totals;
    pthread_mutex_unlock(&p->lock);
}
