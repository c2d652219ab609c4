/* client_pull.c - BATCH to ROWS: a batch takes its permit, asks every shard, and is lent to the shell.
 *
 * A pull changes nothing on a shard, so it is simply asked again when an answer is overdue, and an answer
 * to a question already answered is thrown away. Batches are lent in the order they came, whatever order
 * their rows arrive in: then a shell that computes first in, first out pushes in log order.
 */
#include <assert.h>

#include "worker/client.h"

enum { WAIT_GROWTH_MAX = 10 }; /* times resend_us */

void client_flights_add(struct flights *q, struct flight *f)
{
    f->next = NULL;
    if (q->tail == NULL)
        q->head = f;
    else
        q->tail->next = f;
    q->tail = f;
}

void client_flights_take(struct flights *q, struct flight *f)
{
    struct flight *before = NULL;
    for (struct flight *at = q->head; at != f; at = at->next) {
        assert(at != NULL);
        before = at;
    }
    if (before == NULL)
        q->head = f->next;
    else
        before->next = f->next;
    if (q->tail == f)
        q->tail = before;
    f->next = NULL;
}

static void done(struct client *c, struct flight *f)
{
    f->where = FLIGHT_SHELL;
    f->dropped = false;
    client_act(c, CLIENT_DONE)->flight = f;
}

static uint64_t sparse_mask(const struct plan *plan)
{
    uint64_t mask = 0;
    for (size_t t = 0; t < plan->tables_used && plan->tables[t].kind == PLAN_SPARSE; t++)
        mask |= (uint64_t)1 << t;
    return mask;
}

static void ask_tables(struct client *c, struct flight *f, uint32_t s)
{
    struct msg *m = client_msg(c, MSG_PULL);
    m->u.pull = (struct msg_pull){.request = f->request,
                                  .tables = sparse_mask(c->conf.plan),
                                  .dense = f->dense_request == 0,
                                  .handle = !f->eval,
                                  .n = (uint32_t)f->part[s].n,
                                  .clock = c->conf.clocks ? f->clock : 0};
    m->frames = 1;
    flight_keys(f, s, c->conf.pool, &m->frame[0]);
    client_send(c, s, m);
}

/* As of the clock before: the shard lets it wait until that one's dense gradients are applied. */
static void ask_dense(struct client *c, const struct flight *f, uint32_t s)
{
    struct msg *m = client_msg(c, MSG_PULL);
    m->u.pull = (struct msg_pull){.request = f->dense_request, .dense = true, .clock = f->clock};
    m->frames = 1;
    client_send(c, s, m);
}

static void ask(struct client *c, struct flight *f)
{
    for (uint32_t s = 0; s < f->parts; s++) {
        if (!f->part[s].answered)
            ask_tables(c, f, s);
        if (f->dense_request != 0 && !f->part[s].dense_answered)
            ask_dense(c, f, s);
    }
    f->sent_us = c->now_us;
}

static void begin(struct client *c, struct flight *f)
{
    flight_partition(f, c->order->u.order.map, c->shards);
    f->where = FLIGHT_PULLING;
    f->clock = c->conf.dealt && !f->eval ? c->pulled++ : 0;
    f->request = ++c->request;
    f->dense_request = c->conf.dense_apart && !f->eval ? ++c->request : 0;
    f->answers = f->parts * (f->dense_request != 0 ? 2 : 1);
    f->wait_us = c->conf.resend_us;
    ask(c, f);
}

void client_pull(struct client *c)
{
    if (c->order == NULL || c->mode == MODE_RECOVER || c->mode == MODE_STOP)
        return;
    for (struct flight *f = c->eval.head; f != NULL; f = f->next) {
        if (f->where == FLIGHT_WAITING)
            begin(c, f);
    }
    for (struct flight *f = c->train.head; f != NULL; f = f->next) {
        if (f->where != FLIGHT_WAITING)
            continue;
        if (c->permits_used == c->conf.permits)
            return;
        c->permits_used++;
        begin(c, f);
    }
}

/* The lease whose next records these are, or NULL: a batch read for a lease that a reset made void. */
static struct client_lease *lease_of(struct client *c, const struct flight *f)
{
    for (uint32_t i = 0; i < c->leases; i++) {
        struct client_lease *l = &c->lease[i];
        if (l->epoch == f->epoch && l->split == f->split && l->batched == f->begin &&
            f->begin < f->end && f->end <= l->end)
            return l;
    }
    return NULL;
}

void client_batch(struct client *c, struct flight *f)
{
    assert(f->where == FLIGHT_SHELL);
    if (!f->eval) {
        struct client_lease *l = lease_of(c, f);
        if (l == NULL) {
            client_note(c, "a batch that no lease asks for came back unused");
            done(c, f);
            return;
        }
        l->batched = f->end;
    }
    f->where = FLIGHT_WAITING;
    f->dropped = false;
    f->seq = 0;
    f->acks = 0;
    client_flights_add(f->eval ? &c->eval : &c->train, f);
    client_pull(c);
}

static void lend(struct client *c, struct flight *f)
{
    f->where = FLIGHT_LENT;
    client_act(c, CLIENT_ROWS)->flight = f;
}

static void lend_in_order(struct client *c)
{
    for (struct flight *f = c->train.head; f != NULL; f = f->next) {
        if (f->where == FLIGHT_WAITING || (f->where == FLIGHT_PULLING && f->answered < f->answers))
            return;
        if (f->where == FLIGHT_PULLING)
            lend(c, f);
    }
}

static struct flight *asked(struct flights *q, uint64_t request)
{
    for (struct flight *f = q->head; f != NULL; f = f->next) {
        if (f->where == FLIGHT_PULLING && request != 0 &&
            (f->request == request || f->dense_request == request))
            return f;
    }
    return NULL;
}

void client_recv_rows(struct client *c, struct msg *m)
{
    const struct msg_rows *r = &m->u.rows;
    struct errbuf err = ERRBUF_INIT;
    uint32_t s = m->sender;
    struct flight *f = asked(&c->train, r->request);
    if (f == NULL)
        f = asked(&c->eval, r->request);
    if (f == NULL || s >= f->parts)
        return;
    const bool tables = r->request == f->request;
    bool *answered = tables ? &f->part[s].answered : &f->part[s].dense_answered;
    if (*answered)
        return;
    if (flight_scatter(f, c->conf.plan, s, m, &err) != ST_OK) {
        client_fault(c, 1, err.text);
        return;
    }
    *answered = true;
    if (tables) {
        f->part[s].handle = r->handle;
        f->part[s].step = r->step;
    }
    if (++f->answered < f->answers)
        return;
    if (f->eval)
        lend(c, f);
    else
        lend_in_order(c);
}

static void ask_again(struct client *c, struct flights *q)
{
    for (struct flight *f = q->head; f != NULL; f = f->next) {
        if (f->where != FLIGHT_PULLING || f->answered == f->answers ||
            c->now_us - f->sent_us < f->wait_us)
            continue;
        f->wait_us *= 2;
        if (f->wait_us > WAIT_GROWTH_MAX * c->conf.resend_us)
            f->wait_us = WAIT_GROWTH_MAX * c->conf.resend_us;
        ask(c, f);
    }
}

void client_pull_again(struct client *c)
{
    ask_again(c, &c->train);
    ask_again(c, &c->eval);
}

void client_drop(struct client *c, struct flight *f)
{
    assert(f->where == FLIGHT_LENT);
    if (!f->dropped) {
        assert(f->eval); /* a training batch must be pushed, or its records would be skipped */
        client_flights_take(&c->eval, f);
    }
    done(c, f);
}
