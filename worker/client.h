/* client.h - inside of the worker's client; for worker/client_*.c only. See client_step.c for the story.
 *
 * Calls run one way: client_step -> client_order -> client_push -> client_pull -> client_state.
 */
#ifndef PENSTOCK_WORKER_CLIENT_H
#define PENSTOCK_WORKER_CLIENT_H

#include "common/base/job.h"
#include "common/wire/sim_bug.h"
#include "worker/client_step.h"

struct client_shard {
    uint64_t acked;            /* pushes 1..acked are applied there */
    uint64_t sent_us, wait_us; /* resend what is unacked at sent_us + wait_us */
    uint64_t refused;          /* rows of ours it refused in this e */
};

struct client_lease {
    uint64_t epoch, split, begin, end;
    uint64_t batched; /* records before it came as BATCH */
    uint64_t upto;    /* records before it have been pushed (started) */
};

struct flights { /* first in, first out */
    struct flight *head, *tail;
};

struct client {
    struct client_conf conf;
    /* -- as of the last order obeyed -- */
    uint64_t e, n;
    enum mode mode; /* 0: not joined yet */
    uint64_t open;
    struct msg *order;     /* owned; NULL before the first */
    uint64_t order_us;     /* last sign of life of the head */
    uint64_t hold_n, held; /* the HOLD to answer, and the one answered */
    uint64_t clock;        /* dealt: pushes to have started before that answer */
    uint64_t evaluate, evaluated;
    struct client_result result;
    /* -- pushes -- */
    uint64_t seq;               /* last given; the same on every shard */
    struct client_shard *shard; /* (order's shards), owned */
    uint32_t shards;
    /* -- flights: borrowed between BATCH and DONE -- */
    struct flights train; /* waiting, pulling, lent, kept, started: in the order of BATCH */
    struct flights eval;
    uint32_t permits_used;
    uint64_t request; /* last one given; never falls, not even with e */
    uint64_t pulled;  /* training batches that were given a permit in e */
    /* -- leases: the last ones taken, oldest first -- */
    struct client_lease lease[LEASES_MAX];
    uint32_t leases;
    uint64_t leased;
    /* -- for people -- */
    struct client_epoch totals;
    uint64_t rss_bytes;
    struct histogram stalls;
    char fault[WHY_MAX];
    int fault_code;
    /* -- this step -- */
    uint64_t now_us, state_us, note_us;
    bool state_due, ended, idle_told;
    struct client_action *action;
    size_t actions, actions_cap;
    char text[512], note[512];
};

/* client_state.c: what goes out. */
struct client_action *client_act(struct client *c, enum client_action_kind kind);
struct msg *client_msg(const struct client *c, enum msg_kind kind);
void client_send(struct client *c, uint32_t to, struct msg *m);
void client_note(struct client *c, const char *text);            /* at most one a second */
void client_fault(struct client *c, int code, const char *text); /* told in STATE from now on */
void client_exit(struct client *c, int code, const char *text);
void client_state(struct client *c); /* sends STATE now */
bool client_idle(const struct client *c);
uint64_t client_unacked(const struct client *c); /* pushes not acked everywhere */

/* client_pull.c */
void client_batch(struct client *c, struct flight *f);
void client_pull(struct client *c); /* as many as permits allow */
void client_recv_rows(struct client *c, struct msg *m);
void client_pull_again(struct client *c);             /* deadlines */
void client_drop(struct client *c, struct flight *f); /* a lent flight comes back unused */
void client_flights_add(struct flights *q, struct flight *f);
void client_flights_take(struct flights *q, struct flight *f);

/* client_push.c */
void client_grads(struct client *c, struct flight *f);
void client_start(struct client *c); /* pushes that were kept */
void client_recv_ack(struct client *c, const struct msg *m);
void client_resend(struct client *c); /* deadlines */
void client_hold(struct client *c);   /* answer the HOLD if it is time */

/* client_order.c */
void client_recv_order(struct client *c, struct msg *m); /* takes m */
void client_recv_lease(struct client *c, const struct msg *m);
void client_recv_refused(struct client *c, const struct msg *m);

#endif
