/* client_step.c - the worker's client: what a worker owes to the protocol, and nothing else.
 *
 * A batch's way (struct flight, `where`), permits in brackets:
 *
 *   SHELL --BATCH--> WAITING --[take]--> PULLING --all ROWS--> LENT --GRADS--> KEPT --start--> STARTED
 *     ^                                                                                          |
 *     +------------------------------ DONE, all shards have acked [give back] -------------------+
 *
 * The client's mode is that of the last ORDER obeyed:
 *
 *   mode      pulls  starts pushes  answers
 *   (none)    no     no             STATE with e = 0, so that the head gets to know this world
 *   RECOVER   no     no             n
 *   RUN       yes    yes            n, progress, idle
 *   HOLD      yes    no             n; held = n as soon as nothing is unacked on any shard
 *   TAKE      yes    no             n, still held
 *   STOP      no     no             n, then the process ends
 *
 * Facts that client_check asserts: started pushes are consecutive and unacked somewhere; a permit is taken
 * from PULLING to DONE; held implies nothing unacked; a lease's progress never leaves [begin, end].
 *
 * It never goes on by itself: without an ORDER for orphan_us it exits. Nothing here blocks, so the shell
 * can run it beside the arithmetic and a slow batch delays no HELD.
 */
#include "worker/client_step.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "worker/client.h"

struct client *client_new(const struct client_conf *conf)
{
    assert(conf->permits > 0 && conf->leases_max > 0 && conf->leases_max <= LEASES_MAX);
    struct client *c = mem_zalloc(sizeof *c);
    c->conf = *conf;
    return c;
}

void client_free(struct client *c)
{
    if (c == NULL)
        return;
    msg_free(c->order);
    free(c->shard);
    free(c->action);
    free(c);
}

void client_totals(struct client *c, const struct client_epoch *t, uint64_t rss_bytes)
{
    c->totals = *t;
    c->rss_bytes = rss_bytes;
}

/* Only messages of this job, and from shards only those of this incarnation and its members. */
static bool known(const struct client *c, const struct msg *m)
{
    if (m->job != c->conf.job)
        return false;
    if (m->role != ROLE_SHARD || m->kind == MSG_REFUSED)
        return true;
    if (SIM_BUG(5) && m->sender < c->shards)
        return true;
    return c->order != NULL && m->e == c->e && m->sender < c->shards &&
           m->boot == c->order->u.order.member[m->sender].boot;
}

static void recv(struct client *c, struct msg *m)
{
    if (m->kind != MSG_REFUSED && !known(c, m)) {
        if (m->job != c->conf.job)
            client_note(c, "a message of another job came and was ignored");
        msg_free(m);
        return;
    }
    switch (m->kind) {
    case MSG_ORDER: client_recv_order(c, m); return;
    case MSG_LEASE: client_recv_lease(c, m); break;
    case MSG_ROWS: client_recv_rows(c, m); break;
    case MSG_ACK: client_recv_ack(c, m); break;
    case MSG_REFUSED: client_recv_refused(c, m); break;
    default: client_note(c, "a message that no worker takes came and was ignored"); break;
    }
    msg_free(m);
}

static void tick(struct client *c)
{
    if (c->order_us == 0)
        c->order_us = c->now_us;
    if (c->now_us - c->order_us >= c->conf.orphan_us) {
        client_exit(c, 1, "no word from the head for too long: given up");
        return;
    }
    if (SIM_BUG(7) && c->mode == MODE_HOLD && c->now_us - c->order_us > c->conf.beat_us) {
        c->mode = MODE_RUN;
        c->held = c->hold_n = 0;
        client_start(c);
    }
    client_pull_again(c);
    client_resend(c);
    if (c->now_us - c->state_us >= c->conf.beat_us || c->state_us == 0)
        c->state_due = true;
}

void client_step(struct client *c, const struct client_event *ev, const struct client_action **out,
                 size_t *out_n)
{
    c->actions = 0;
    c->now_us = ev->now_us;
    if (c->ended) {
        if (ev->kind == CLIENT_MSG)
            msg_free(ev->msg);
        goto out;
    }
    switch (ev->kind) {
    case CLIENT_MSG: recv(c, ev->msg); break;
    case CLIENT_TICK: tick(c); break;
    case CLIENT_BATCH: client_batch(c, ev->flight); break;
    case CLIENT_GRADS: client_grads(c, ev->flight); break;
    case CLIENT_DROP: client_drop(c, ev->flight); break;
    case CLIENT_EVALUATED:
        if (ev->evaluate == c->evaluate && c->evaluate != 0) {
            c->evaluated = ev->evaluate;
            c->result = ev->result;
            c->state_due = true;
        }
        break;
    case CLIENT_FAULT: client_fault(c, ev->fault_code, ev->fault); break;
    }
    if (!c->ended && client_idle(c) != c->idle_told) {
        c->idle_told = !c->idle_told;
        c->state_due = true;
    }
    if (c->state_due && !c->ended)
        client_state(c);
out:
    *out = c->action;
    *out_n = c->actions;
}
