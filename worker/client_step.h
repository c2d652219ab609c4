/* client_step.h - the worker's client: a pure state machine (ps/train/README.md). No socket, thread or clock.
 *
 * Events in, actions out; time comes in with every event. The shell owns flights, sockets and the model.
 *
 *   CLIENT_BATCH  a flight's keys are ready: pull it as soon as a permit is free (FIFO)
 *   CLIENT_GRADS  its gradients are ready: start its push, or keep it while held
 *   CLIENT_MSG    a decoded message from head or shard; consumed (freed) by the core
 *   CLIENT_TICK   at least every beat: STATE goes out, resends, deadlines
 *   CLIENT_EVALUATED  the result of the evaluation asked for (rank 0's goes into STATE)
 *
 * Flights are handed to and fro. CLIENT_BATCH gives one to the core, CLIENT_ROWS lends it to the shell,
 * CLIENT_GRADS gives it back, CLIENT_DONE ends it: each flight gets exactly one CLIENT_DONE, always while
 * the core has it. After CLIENT_RESET the shell still sends CLIENT_GRADS for every flight that it was lent
 * (or CLIENT_DROP, the same without gradients): the core answers CLIENT_DONE and pushes nothing.
 * ROWS come in the order of BATCH, so that a shell that computes first in, first out pushes in log order.
 * A flight with eval set gets CLIENT_ROWS out of order and, after the shell's CLIENT_DROP, CLIENT_DONE.
 */
#ifndef PENSTOCK_WORKER_CLIENT_STEP_H
#define PENSTOCK_WORKER_CLIENT_STEP_H

#include "common/base/errbuf.h"
#include "common/base/stats.h"
#include "common/wire/msg.h"
#include "worker/flight.h"

struct client_conf {
    uint64_t job, boot, world;
    uint32_t rank, world_size;
    const struct plan *plan; /* borrowed */
    uint32_t permits;        /* staleness + 1 */
    bool dealt;              /* each push is a part of a step of all: HOLD aligns */
    bool clocks;             /* bsp (permits is 1), ssp: pulls name their clock */
    bool
        allreduce; /* gradients of the dense part are sums of all ranks': job_carrier brings them */
    bool
        dense_apart; /* the dense part is pulled by itself, as of the clock before: allreduce, not bsp */
    uint32_t leases_max; /* how many leases to hold at once; 2 */
    uint64_t beat_us, resend_us, orphan_us;
    struct frame_pool *pool; /* borrowed; push and pull frames */
};

enum client_event_kind {
    CLIENT_MSG,
    CLIENT_TICK,
    CLIENT_BATCH,
    CLIENT_GRADS,
    CLIENT_DROP, /* a lent flight comes back without gradients (evaluated, or void after a reset) */
    CLIENT_EVALUATED,
    CLIENT_FAULT /* the shell can't go on (bad cache block, model error): told to the head in STATE */
};

struct client_epoch {      /* running totals of training, of one epoch */
    uint64_t epoch, count; /* records computed; places of sequences */
    double loss_sum, auc, accuracy;
};

struct client_result { /* of an evaluation */
    double auc, auc_bound, logloss, accuracy;
    double gauc, hr10, ndcg10, mrr; /* as in msg_worker_state, and the next two */
    uint32_t tasks;
    struct msg_task task[JOB_TASKS_MAX];
    uint64_t count;
};

struct client_event {
    enum client_event_kind kind;
    uint64_t now_us;
    struct msg *msg;       /* CLIENT_MSG */
    struct flight *flight; /* CLIENT_BATCH, CLIENT_GRADS, CLIENT_DROP */
    uint64_t evaluate;     /* CLIENT_EVALUATED: which */
    struct client_result result;
    const char *fault;
    int fault_code; /* exit code of the run for it */
};

enum client_action_kind {
    CLIENT_SEND, /* msg to shard `to`, or to the head (to = CLIENT_TO_HEAD); the shell frees it */
    CLIENT_CONNECT, /* shard addresses are known or changed: order->member */
    CLIENT_ROWS,    /* flight: parameters are there, compute */
    CLIENT_DONE,  /* flight: acked everywhere, evaluated or void: its memory is the shell's again */
    CLIENT_LEASE, /* lease: read these records, in order, after those of earlier leases */
    CLIENT_EVALUATE, /* evaluate: do this evaluation now, of what order says; no training is under way */
    CLIENT_RESET, /* all leases so far are void, a running evaluation too; flights come back (above) */
    CLIENT_NOTE, /* text: for the log */
    CLIENT_EXIT  /* code and text: send what was given before, then end the process */
};

#define CLIENT_TO_HEAD UINT32_MAX

struct client_action {
    enum client_action_kind kind;
    uint32_t to;
    struct msg *msg;
    struct flight *flight;
    struct msg_lease lease;
    uint64_t evaluate;
    const struct msg_order *order; /* borrowed until the next client_step */
    int code;
    const char *text; /* borrowed until the next client_step */
};

struct client; /* opaque */

struct client *client_new(const struct client_conf *conf);
void client_free(struct client *c);
/* Actions: *out points into the client, valid until the next step. */
void client_step(struct client *c, const struct client_event *ev, const struct client_action **out,
                 size_t *out_n);
/* What the shell tells for STATE: the epoch so far, its memory. */
void client_totals(struct client *c, const struct client_epoch *t, uint64_t rss_bytes);
const struct histogram *client_stalls(const struct client *c); /* us a computed batch was kept */
void client_check(const struct client *c);
/* What the shell and tests read. */
struct client_view {
    uint64_t e, n;            /* of the last order obeyed */
    enum mode mode;           /* 0 before the first */
    uint64_t open, held, seq; /* seq: of dealt logs the clock, too */
    uint64_t unacked;         /* pushes started and not acked everywhere */
    uint32_t permits_used;
    uint64_t leased;
    bool idle, ended;
};
void client_view(const struct client *c, struct client_view *out);
/* Fills out with the progress STATE would tell now; number of entries. */
uint32_t client_progress(const struct client *c, struct msg_progress out[LEASES_MAX]);

#endif
