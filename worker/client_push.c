/* client_push.c - GRADS to ACK: a push starts on all shards at once, is resent until all have applied it.
 *
 * Starting is the one thing a HOLD stops. In one step the push gets its sequence number (the same on every
 * shard, since every push goes to every shard), the tag of the open interval, and moves the progress of its
 * lease: from then on it is part of what HELD promises. Nothing is copied for resending; the gradients
 * stay in the flight until every shard has acknowledged, and the frames are gathered again.
 *
 * bsp, ssp: a step is pushed by all workers, and a cut lies between steps. A HOLD then may name a clock, the largest
 * that any worker answered the HOLD before with: whoever is behind it still starts pushes up to that clock.
 */
#include <assert.h>
#include <stdio.h>

#include "worker/client.h"

enum { WAIT_GROWTH_MAX = 10 }; /* times resend_us: 200 ms doubling to 2 s */

/* A push without records is nothing, not zeros. allreduce: one rank brings what all have summed. */
static bool brings_dense(const struct client *c, const struct flight *f, uint32_t s)
{
    if (c->conf.allreduce)
        return c->conf.rank == job_carrier(s, c->conf.world_size);
    return !c->conf.dealt || f->part_begin < f->part_end;
}

static void send_push(struct client *c, struct flight *f, uint32_t s)
{
    struct flight_part *p = &f->part[s];
    bool keys = p->need_keys || p->handle == 0;
    struct msg *m = client_msg(c, MSG_PUSH);
    m->u.push = (struct msg_push){.rank = c->conf.rank,
                                  .seq = f->seq,
                                  .tag = f->tag,
                                  .handle = keys ? 0 : p->handle,
                                  .epoch = f->epoch,
                                  .split = f->split,
                                  .begin = c->conf.dealt ? f->part_begin : f->begin,
                                  .end = c->conf.dealt ? f->part_end : f->end,
                                  .pulled_step = p->step};
    flight_gather(f, c->conf.plan, s, keys, brings_dense(c, f, s), c->conf.pool, m);
    client_send(c, s, m);
}

static bool move_progress(struct client *c, const struct flight *f)
{
    for (uint32_t i = 0; i < c->leases; i++) {
        struct client_lease *l = &c->lease[i];
        if (l->epoch == f->epoch && l->split == f->split && l->upto == f->begin &&
            f->end <= l->end) {
            l->upto = f->end;
            return true;
        }
    }
    return false;
}

static void start(struct client *c, struct flight *f)
{
    if (!move_progress(c, f)) {
        char text[WHY_MAX];
        snprintf(text, sizeof text,
                 "rank %u: records [%llu, %llu) of split %llu are not next in a lease",
                 c->conf.rank, (unsigned long long)f->begin, (unsigned long long)f->end,
                 (unsigned long long)f->split);
        client_fault(c, 1, text);
        return;
    }
    for (uint32_t s = 0; s < c->shards; s++) {
        if (c->shard[s].acked == c->seq) { /* nothing was on the way there: its clock starts now */
            c->shard[s].sent_us = c->now_us;
            c->shard[s].wait_us = c->conf.resend_us;
        }
    }
    f->seq = ++c->seq;
    f->tag = c->open;
    f->acks = 0;
    f->where = FLIGHT_STARTED;
    histogram_add(&c->stalls, c->now_us - f->kept_us);
    for (uint32_t s = 0; s < c->shards; s++)
        send_push(c, f, s);
}

static bool may_start(const struct client *c)
{
    return c->mode == MODE_RUN || (c->mode == MODE_HOLD && c->seq < c->clock);
}

void client_start(struct client *c)
{
    for (struct flight *f = c->train.head; f != NULL && may_start(c); f = f->next) {
        if (f->where == FLIGHT_STARTED)
            continue;
        if (f->where != FLIGHT_KEPT || c->fault[0] != '\0')
            return;
        start(c, f);
    }
}

void client_grads(struct client *c, struct flight *f)
{
    if (f->dropped) {
        client_drop(c, f);
        return;
    }
    assert(f->where == FLIGHT_LENT && !f->eval);
    f->where = FLIGHT_KEPT;
    f->kept_us = c->now_us;
    client_start(c);
}

void client_hold(struct client *c)
{
    bool quiet = SIM_BUG(6) ? c->shard[0].acked == c->seq : client_unacked(c) == 0;
    if (c->mode != MODE_HOLD || c->held == c->hold_n || !quiet || c->seq < c->clock)
        return;
    c->held = c->hold_n;
    c->state_due = true;
}

static void resend(struct client *c, uint32_t s)
{
    c->shard[s].sent_us = c->now_us;
    for (struct flight *f = c->train.head; f != NULL; f = f->next) {
        if (f->where == FLIGHT_STARTED && f->seq > c->shard[s].acked)
            send_push(c, f, s);
    }
}

void client_resend(struct client *c)
{
    for (uint32_t s = 0; s < c->shards; s++) {
        struct client_shard *h = &c->shard[s];
        if (h->acked == c->seq || c->now_us - h->sent_us < h->wait_us)
            continue;
        h->wait_us *= 2;
        if (h->wait_us > WAIT_GROWTH_MAX * c->conf.resend_us)
            h->wait_us = WAIT_GROWTH_MAX * c->conf.resend_us;
        resend(c, s);
    }
}

static void acked(struct client *c, uint32_t s, uint64_t seq)
{
    struct client_shard *h = &c->shard[s];
    for (struct flight *f = c->train.head; f != NULL && f->where == FLIGHT_STARTED; f = f->next)
        f->acks += f->seq > h->acked && f->seq <= seq;
    h->acked = seq;
    h->sent_us = c->now_us;
    h->wait_us = c->conf.resend_us;
    while (c->train.head != NULL && c->train.head->where == FLIGHT_STARTED &&
           c->train.head->acks == c->shards) {
        struct flight *f = c->train.head;
        client_flights_take(&c->train, f);
        c->permits_used--;
        f->where = FLIGHT_SHELL;
        client_act(c, CLIENT_DONE)->flight = f;
    }
}

/* The shard knows the handle of seq + 1 no more: that push, and those behind it, go again. */
static void send_keys(struct client *c, uint32_t s)
{
    for (struct flight *f = c->train.head; f != NULL; f = f->next) {
        if (f->where != FLIGHT_STARTED || f->seq != c->shard[s].acked + 1)
            continue;
        if (!f->part[s].need_keys) {
            f->part[s].need_keys = true;
            resend(c, s);
        }
        return;
    }
}

void client_recv_ack(struct client *c, const struct msg *m)
{
    const struct msg_ack *a = &m->u.ack;
    uint32_t s = m->sender;
    if (a->seq > c->seq) {
        char text[WHY_MAX];
        snprintf(text, sizeof text, "shard %u acknowledged push %llu, the last one given is %llu",
                 s, (unsigned long long)a->seq, (unsigned long long)c->seq);
        client_fault(c, 1, text);
        return;
    }
    if (a->refused > c->shard[s].refused)
        c->shard[s].refused = a->refused;
    if (a->seq > c->shard[s].acked)
        acked(c, s, a->seq);
    if (a->keys && a->seq == c->shard[s].acked)
        send_keys(c, s);
    client_hold(c);
    client_pull(c);
}
