/* pipeline.h - where a worker's batches go round: feeder -> io -> compute -> io -> feeder.
 *
 *                      tasks                     filled               ready
 *   io (client core) --------> feeder (dataset) --------> io (pull) --------> compute (model)
 *        ^                        ^                      ^                        |
 *        |                        +------- idle ---------+-- push, acks           |
 *        +---------------------------- computed ----------------------------------+
 *
 * A work is one batch with its flight. There is a fixed number of them, so every queue has room for all and
 * a push never waits; who has none waits for `idle`, and that is the pipeline's bound. Whoever popped a work
 * owns it until it pushes it on.
 *
 * Reset: a new incarnation makes all work void. The io thread raises `generation`; each thread passes
 * works and tasks of an older one on without touching them, and the io thread lets them come home.
 */
#ifndef PENSTOCK_WORKER_PIPELINE_H
#define PENSTOCK_WORKER_PIPELINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/queue.h"
#include "common/data/dataset.h"
#include "common/net/run_dir.h"
#include "common/net/wake.h"
#include "worker/client_step.h"
#include "worker/flight.h"
#include "worker/slices.h"

enum work_kind {
    WORK_TRAIN,
    WORK_EVAL,    /* rows to be scored: of the valid part, by window of the train part */
    WORK_EVALUATE /* no batch: an evaluation begins (ready), or its result (computed) */
};

struct work {
    enum work_kind kind;
    uint64_t generation; /* when it was filled */
    struct flight flight;
    struct batch batch;
    struct slices slices; /* bsp: instead of batch in training */
    bool computed;        /* gradients are there */
    uint64_t segment;     /* of a growing log; 0: none */
    bool log_end;         /* WORK_TRAIN: its last record is the epoch's last */
    /* -- WORK_EVALUATE -- */
    uint64_t evaluate;
    uint64_t share; /* records that this rank scores */
    struct client_result result;
};

enum task_kind { TASK_LEASE, TASK_EVALUATE };

struct task {
    enum task_kind kind;
    uint64_t generation;
    struct msg_lease lease; /* TASK_EVALUATE: begin, end are this rank's records */
    bool of_train;          /* TASK_EVALUATE: of the train part, else of valid */
};

struct pipeline {
    /* -- set once in open -- */
    const struct run_dir *run; /* borrowed */
    uint32_t rank, size;
    uint64_t train_rows, valid_rows;
    struct work *work; /* (works) owned */
    size_t works;
    bool dealt;          /* each step is all ranks': works have this rank's part */
    size_t slices;       /* bsp: of a step, this rank's; else 0 */
    struct queue *tasks; /* of struct task, owned by whoever pops */
    struct queue *idle, *filled, *ready, *computed; /* of struct work */
    struct wake io_wake; /* something for the io thread is in filled or computed */
    pthread_mutex_t lock;
    /* -- under lock -- */
    struct client_epoch totals;
    char fault[WHY_MAX]; /* why this worker can't go on; "" = it can */
    int fault_code;      /* exit code of the run for it */
    /* -- io thread writes, all read -- */
    _Atomic uint64_t generation;
    /* -- io thread writes once, before `ended` -- */
    int exit_code;
    char exit_text[WHY_MAX];
    atomic_bool ended; /* everybody: stop */
};

/* train: to size the batches by; borrowed for the call. valid_rows 0: nothing to evaluate. */
void pipeline_open(struct pipeline *p, const struct run_dir *run, uint32_t rank, uint32_t size,
                   const struct dataset *train, uint64_t valid_rows);
MUST_CHECK enum status pipeline_wake_open(struct pipeline *p, struct errbuf *err);
void pipeline_close(struct pipeline *p); /* all threads have ended */

/* This rank's share of an evaluation of so many records: whole batches. */
void pipeline_share(const struct pipeline *p, uint64_t records, uint64_t *begin, uint64_t *end);
/* By the io thread: end everything, with this code. */
void pipeline_end(struct pipeline *p, int code, const char *text);
/* Any thread: this worker can't go on, and the run ends with st's exit code; the first word stands. */
void pipeline_fault(struct pipeline *p, enum status st, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Pass a work on to queue q (never full); frees a token of evaluation after the end. */
void pipeline_pass(struct pipeline *p, struct queue *q, struct work *w);
/* The work's generation is the current one. */
bool pipeline_valid(const struct pipeline *p, uint64_t generation);
void pipeline_tell_totals(struct pipeline *p, const struct client_epoch *t);
void pipeline_totals(struct pipeline *p, struct client_epoch *out);

#endif
