/* feeder.c - cut leases into batches and fill them, ahead of the arithmetic (feeder.h).
 *
 * A lease is a range [begin, end) of the epoch's order. Position i of epoch E is record
 * first + rng_permute(rng_mix(seed, E), records, i) where train.shuffle is on, else first + i: a function of the seed, so any
 * worker, at any time, reads the same. [first, first + records) is the train part, by window a window of it: nothing is
 * shuffled across its borders. A batch never crosses the end of a lease, for a push names one
 * range of one split. bsp, ssp: a step is train.batch records of the lease for all workers together, of which this
 * one reads its slices, or its part. An evaluation is a lease of this rank's share of the valid part, or of the next window, in file order.
 *
 * A next-item model's batch also gets the items it is scored over (candidates.h), which are pulled like all other keys.
 */
#include "worker/feeder.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/thread.h"
#include "common/data/segments.h"
#include "common/wire/limits.h"
#include "worker/candidates.h"

enum { WAIT_US = 100000 };

struct feeder {
    /* -- set once in start -- */
    struct pipeline *p; /* borrowed */
    struct dataset *train, *valid;
    struct thread thread;
    size_t batch;
    /* -- feeder thread only -- */
    uint64_t *rows; /* (batch) record numbers */
    struct candidates candidates;
    /* the task under way */
    struct task task;
    struct dataset *from; /* borrowed: one of the three */
    uint64_t at, end;
    struct dataset *segment; /* of a growing log: the last one; owned */
    uint64_t segment_number;
};

/* The segment of a growing log that the task is of, or the train part; NULL: told. What is open stays so until another
 * segment is asked for: it is judged and then trained on. */
static struct dataset *open_train(struct feeder *f)
{
    struct errbuf err = ERRBUF_INIT;
    const struct msg_lease *l = &f->task.lease;
    if (l->segment == 0)
        return f->train;
    if (f->segment != NULL && f->segment_number == l->segment)
        return f->segment;
    dataset_close(f->segment);
    f->segment = NULL;
    char *path = segments_path(f->p->run->path, l->segment);
    enum status st = dataset_open_segment(&f->p->run->job, path, &f->segment, &err);
    free(path);
    if (st == ST_OK && dataset_rows(f->segment) != l->records)
        st = errbuf_set(&err, ST_BAD_DATA,
                        "segment %" PRIu64 " has %" PRIu64 " records, the head's log %" PRIu64,
                        l->segment, dataset_rows(f->segment), l->records);
    if (st != ST_OK) {
        pipeline_fault(f->p, st, "%s", err.text);
        return NULL;
    }
    f->segment_number = l->segment;
    return f->segment;
}

/* Begin the next task, if there is one. */
static void take_task(struct feeder *f)
{
    void *item = NULL;
    if (queue_pop(f->p->tasks, &item, WAIT_US) != ST_OK)
        return;
    f->task = *(struct task *)item;
    free(item);
    bool lease = f->task.kind == TASK_LEASE;
    const struct msg_lease *l = &f->task.lease;
    f->at = l->begin;
    f->end = l->end;
    f->from = lease || f->task.of_train ? open_train(f) : f->valid;
    if (f->from == NULL) {
        f->at = f->end = 0;
        return;
    }
    const uint64_t rows = dataset_rows(f->from);
    if (lease && (l->begin > l->end || l->end > l->records || l->first > rows ||
                  l->records > rows - l->first)) {
        pipeline_fault(f->p, ST_FAULT,
                       "a lease of records [%" PRIu64 ", %" PRIu64 ") of %" PRIu64 " from %" PRIu64
                       " on; there are %" PRIu64,
                       l->begin, l->end, l->records, l->first, rows);
        f->at = f->end = 0;
    }
}

static void name_rows(struct feeder *f, uint64_t at, size_t n)
{
    const struct job *job = &f->p->run->job;
    bool shuffle = f->task.kind == TASK_LEASE && job->train.shuffle;
    uint64_t key = rng_mix(job->train.seed, f->task.lease.epoch);
    const struct msg_lease *l = &f->task.lease;
    for (size_t i = 0; i < n; i++)
        f->rows[i] = l->first + (shuffle ? rng_permute(key, l->records, at + i) : at + i);
}

static enum status fill_batch(struct feeder *f, uint64_t at, size_t n, struct batch *b,
                              struct errbuf *err)
{
    const bool lease = f->task.kind == TASK_LEASE;
    name_rows(f, at, n);
    enum status st = dataset_batch(f->from, f->rows, n, b, err);
    if (st != ST_OK)
        return st;
    if (lease)
        candidates_train(&f->candidates, b, f->task.lease.epoch, at);
    else
        candidates_all(&f->candidates, b);
    return ST_OK;
}

/* bsp: this worker's slices of the step [begin, end). */
static enum status fill_slices(struct feeder *f, struct work *w, uint64_t begin, uint64_t end,
                               struct errbuf *err)
{
    struct slices *s = &w->slices;
    const uint64_t S = job_slices(&f->p->run->job), first = f->p->rank * s->count;
    enum status st = ST_OK;
    for (size_t i = 0; i < s->count && st == ST_OK; i++) {
        uint64_t at = job_part_at(begin, end, first + i, S);
        size_t n = (size_t)(job_part_at(begin, end, first + i + 1, S) - at);
        s->batch[i].n = s->batch[i].unique = 0;
        if (n > 0)
            st = fill_batch(f, at, n, &s->batch[i], err);
    }
    if (st != ST_OK)
        return st;
    slices_merge_keys(s);
    w->flight.part_begin = job_part_at(begin, end, first, S);
    w->flight.part_end = job_part_at(begin, end, first + s->count, S);
    w->flight.keys = s->keys.keys;
    w->flight.unique = s->keys.n;
    return ST_OK;
}

/* ssp: this worker's part of the step [begin, end). */
static enum status fill_part(struct feeder *f, struct work *w, uint64_t begin, uint64_t end,
                             struct errbuf *err)
{
    struct flight *fl = &w->flight;
    fl->part_begin = job_part_at(begin, end, f->p->rank, f->p->size);
    fl->part_end = job_part_at(begin, end, f->p->rank + 1, f->p->size);
    w->batch.n = w->batch.unique = 0;
    if (fl->part_begin == fl->part_end)
        return ST_OK;
    return fill_batch(f, fl->part_begin, (size_t)(fl->part_end - fl->part_begin), &w->batch, err);
}

/* The batch that begins at f->at, or this worker's part of it. */
static enum status fill_work(struct feeder *f, struct work *w, size_t n, struct errbuf *err)
{
    const bool lease = f->task.kind == TASK_LEASE;
    if (lease && f->p->slices > 0)
        return fill_slices(f, w, f->at, f->at + n, err);
    if (lease && f->p->dealt)
        return fill_part(f, w, f->at, f->at + n, err);
    return fill_batch(f, f->at, n, &w->batch, err);
}

/* false: the batch can't be read; told. */
static bool fill(struct feeder *f, struct work *w)
{
    struct errbuf err = ERRBUF_INIT;
    bool lease = f->task.kind == TASK_LEASE, slices = lease && f->p->slices > 0;
    size_t left = (size_t)(f->end - f->at), n = left < f->batch ? left : f->batch;
    struct flight *fl = &w->flight;
    enum status st = fill_work(f, w, n, &err);
    if (st != ST_OK) {
        pipeline_fault(f->p, st, "%s", err.text);
        return false;
    }
    w->kind = lease ? WORK_TRAIN : WORK_EVAL;
    w->generation = f->task.generation;
    w->computed = false;
    w->segment = f->task.lease.segment;
    w->log_end = lease && f->at + n == f->task.lease.records;
    if (!slices) {
        fl->keys = w->batch.keys;
        fl->unique = w->batch.unique;
    }
    flight_reserve(fl, &f->p->run->plan, fl->unique);
    fl->eval = !lease;
    fl->epoch = f->task.lease.epoch;
    fl->split = f->task.lease.split;
    fl->begin = f->at;
    fl->end = f->at + n;
    f->at += n;
    return true;
}

static void *run(void *arg)
{
    struct feeder *f = arg;
    struct pipeline *p = f->p;
    while (!atomic_load(&p->ended)) {
        void *w = NULL;
        if (f->at == f->end || !pipeline_valid(p, f->task.generation)) {
            f->at = f->end;
            take_task(f); /* waits a little when there is none */
            continue;
        }
        if (queue_pop(p->idle, &w, WAIT_US) != ST_OK)
            continue;
        if (fill(f, w)) {
            pipeline_pass(p, p->filled, w);
            wake_signal(&p->io_wake);
        } else {
            pipeline_pass(p, p->idle, w);
            f->at = f->end;
        }
    }
    return NULL;
}

/* An evaluation pulls the whole catalog at once: a frame of rows from each shard. */
static enum status check_catalog(const struct feeder *f, struct errbuf *err)
{
    const struct job *job = &f->p->run->job;
    const uint64_t given = job->cluster.shards != 0 ? job->cluster.shards : job->cluster.servers;
    const uint64_t items = f->candidates.catalog.n / (given > 0 ? given : 1);
    const uint64_t width =
        job->model.recurrent > job->model.embedding ? job->model.recurrent : job->model.embedding;
    uint64_t most = WIRE_FRAME_MAX / (sizeof(float) * width);
    most = most < WIRE_KEYS_MAX ? most : WIRE_KEYS_MAX;
    if (!f->candidates.on || items < most / 8 * 7) /* shards get not quite the same */
        return ST_OK;
    return errbuf_set(err, ST_USAGE,
                      "cluster.shards: %" PRIu64 " have %" PRIu64 " items each, and about %" PRIu64
                      " rows of this width fit a message; more shards are needed",
                      given, items, most / 8 * 7);
}

enum status feeder_start(struct pipeline *p, struct dataset *train, struct dataset *valid,
                         struct feeder **out, struct errbuf *err)
{
    struct feeder *f = mem_zalloc(sizeof(*f));
    f->p = p;
    f->train = train;
    f->valid = valid;
    f->batch = (size_t)p->run->job.train.batch;
    f->rows = mem_array(f->batch, sizeof(*f->rows));
    enum status st = candidates_open(&f->candidates, &p->run->job, p->run->cache, err);
    if (st == ST_OK)
        st = check_catalog(f, err);
    if (st == ST_OK)
        st = thread_start(&f->thread, "feeder", run, f, err);
    if (st != ST_OK) {
        feeder_stop(f);
        return st;
    }
    *out = f;
    return ST_OK;
}

void feeder_stop(struct feeder *f)
{
    if (f == NULL)
        return;
    thread_stop(&f->thread);
    dataset_close(f->train);
    dataset_close(f->segment);
    if (f->valid != NULL)
        dataset_close(f->valid);
    candidates_close(&f->candidates);
    free(f->rows);
    free(f);
}

void feeder_source(const struct feeder *f, uint64_t record, const char **out_path,
                   uint64_t *out_offset)
{
    dataset_source(f->train, record, out_path, out_offset);
}
