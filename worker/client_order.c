/* client_order.c - what the head says: ORDER, LEASE, REFUSED.
 *
 * An ORDER is obeyed only if its (e, n) is greater than the last one's; an equal one is a sign of life.
 *
 *   order                      worker that never joined (e = 0)   worker of incarnation e
 *   smaller e                  -                                  ignored
 *   greater e, my world        joins, obeys                       drops all, joins, obeys
 *   greater e, world 0         waits on                           exits: given up
 *   greater e, another world   ignored, no sign of life           exits: given up
 *   same e, greater n          -                                  obeys
 *   STOP                       my world: exits with its code      (e, n) greater: exits with its code
 *
 * A fresh worker is patient with orders that are not for it: they may be a dead head's, still under way. If
 * they are all that ever comes, orphan_us ends it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "worker/client.h"

static void drop_list(struct client *c, struct flights *q)
{
    while (q->head != NULL) {
        struct flight *f = q->head;
        client_flights_take(q, f);
        if (f->where == FLIGHT_LENT) {
            f->dropped = true; /* the shell computes on it: DONE follows its GRADS or DROP */
        } else {
            f->where = FLIGHT_SHELL;
            client_act(c, CLIENT_DONE)->flight = f;
        }
    }
}

/* A new incarnation begins: nothing of the old one may be seen in it. */
static void reset(struct client *c)
{
    drop_list(c, &c->train);
    drop_list(c, &c->eval);
    c->permits_used = 0;
    c->seq = c->pulled = 0;
    c->held = c->hold_n = c->clock = 0;
    c->leases = 0;
    c->leased = 0;
    c->evaluate = c->evaluated = 0;
    c->result = (struct client_result){0};
    client_act(c, CLIENT_RESET);
}

static bool same_members(const struct msg *a, const struct msg *b)
{
    if (a == NULL || a->u.order.shards != b->u.order.shards)
        return false;
    return memcmp(a->u.order.member, b->u.order.member,
                  a->u.order.shards * sizeof *a->u.order.member) == 0;
}

static void take_order(struct client *c, struct msg *m)
{
    bool moved = !same_members(c->order, m), newer_e = m->e > c->e;
    msg_free(c->order);
    c->order = m;
    c->e = m->e;
    c->n = m->u.order.n;
    c->mode = m->u.order.mode;
    c->state_due = true;
    if (newer_e) {
        c->shards = m->u.order.shards;
        free(c->shard);
        c->shard = mem_array(c->shards, sizeof *c->shard);
    }
    if (moved)
        client_act(c, CLIENT_CONNECT)->order = &m->u.order;
}

static void obey_mode(struct client *c)
{
    const struct msg_order *o = &c->order->u.order;
    switch (o->mode) {
    case MODE_RUN:
        c->open = o->open;
        c->held = c->hold_n = c->clock = 0;
        if (o->evaluate > c->evaluate) {
            c->evaluate = o->evaluate;
            struct client_action *a = client_act(c, CLIENT_EVALUATE);
            a->evaluate = o->evaluate;
            a->order = o;
        }
        client_start(c);
        client_pull(c);
        break;
    case MODE_HOLD:
        c->open = o->open; /* the RUN before may have been lost, and there may be steps to start */
        c->hold_n = o->n;
        c->held = 0;
        c->clock = o->clock;
        client_start(c);
        client_hold(c);
        break;
    case MODE_TAKE: /* stays held */
    case MODE_RECOVER:
    case MODE_STOP: break;
    }
}

static void stop(struct client *c, struct msg *m)
{
    int code = m->u.order.stop_code;
    char why[WHY_MAX];
    memcpy(why, m->u.order.why, sizeof why);
    c->e = m->e;
    c->n = m->u.order.n;
    c->mode = MODE_STOP;
    msg_free(c->order);
    c->order = m;
    client_state(c);
    client_exit(c, code, why);
}

void client_recv_order(struct client *c, struct msg *m)
{
    const struct msg_order *o = &m->u.order;
    bool newer = m->e > c->e || (m->e == c->e && o->n > c->n);
    bool theirs = c->e == 0 && o->world != 0 && o->world != c->conf.world;
    if (m->e >= c->e && !theirs)
        c->order_us = c->now_us;
    if (!newer || theirs || (o->mode == MODE_STOP && c->e == 0 && o->world == 0))
        goto out;
    if (o->mode == MODE_STOP) {
        stop(c, m);
        return;
    }
    if (m->e > c->e && o->world != c->conf.world) {
        if (c->e != 0)
            client_exit(c, 1, "given up: the head works with another world of workers");
        goto out;
    }
    if (o->shards == 0 || (m->e == c->e && o->shards != c->shards))
        goto out;
    if (m->e > c->e && c->e != 0)
        reset(c);
    take_order(c, m);
    obey_mode(c);
    return;
out:
    msg_free(m);
}

void client_recv_lease(struct client *c, const struct msg *m)
{
    const struct msg_lease *l = &m->u.lease;
    if (m->e != c->e || c->e == 0 || l->number != c->leased + 1)
        return; /* an old one, or one whose forerunner is still on the way: it comes again */
    if (c->leases == c->conf.leases_max) {
        if (c->lease[0].upto < c->lease[0].end) {
            client_fault(c, 1, "the head gave more leases than there is room for");
            return;
        }
        c->leases--;
        memmove(&c->lease[0], &c->lease[1], c->leases * sizeof c->lease[0]);
    }
    c->lease[c->leases++] = (struct client_lease){.epoch = l->epoch,
                                                  .split = l->split,
                                                  .begin = l->begin,
                                                  .end = l->end,
                                                  .batched = l->begin,
                                                  .upto = l->begin};
    c->leased = l->number;
    c->state_due = true;
    client_act(c, CLIENT_LEASE)->lease = *l;
}

void client_recv_refused(struct client *c, const struct msg *m)
{
    char why[200], text[300];
    msg_text(m, why, sizeof why);
    snprintf(text, sizeof text, "%s %u refused a message: %s", role_name(m->role), m->sender, why);
    bool mine =
        m->job == c->conf.job && m->u.refused.boot == c->conf.boot && m->u.refused.e == c->e;
    if (mine && m->role == ROLE_HEAD)
        client_exit(c, 1, text);
    else if (mine && m->role == ROLE_SHARD && m->e == c->e)
        client_fault(c, 1, text);
    else
        client_note(c, text);
}
