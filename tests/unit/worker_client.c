/* worker_client.c - the worker's client, message by message: what it starts, keeps, resends, obeys and ignores.
 *
 * Two shards, rank 1 of a world of 2, two permits. The test is the network, the head and the model.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "worker/client_step.h"

enum {
    JOB = 42,
    BOOT = 70,
    WORLD = 9,
    SENT_MAX = 64,
    FLIGHTS = 4,
    KEYS = 4,
    BEAT_US = 100000,
    RESEND_US = 200000,
    ORPHAN_US = 30000000
};

struct world {
    struct plan plan;
    struct frame_pool *pool;
    struct client *c;
    struct flight flight[FLIGHTS];
    uint64_t keys[KEYS];
    uint64_t now_us, e, n, open;
    /* -- of the last step -- */
    struct msg *sent[SENT_MAX];
    uint32_t to[SENT_MAX];
    size_t sends, rows, dones, leases;
    struct flight *lent, *done;
    bool connects, resets, exits, notes;
    uint64_t evaluate;
    int code;
};

static void forget(struct world *w)
{
    for (size_t i = 0; i < w->sends; i++)
        msg_free(w->sent[i]);
    w->sends = w->rows = w->dones = w->leases = 0;
    w->lent = w->done = NULL;
    w->connects = w->resets = w->exits = w->notes = false;
    w->evaluate = 0;
}

static void note(struct world *w, const struct client_action *a)
{
    switch (a->kind) {
    case CLIENT_SEND:
        assert_true(w->sends < SENT_MAX);
        w->to[w->sends] = a->to;
        w->sent[w->sends++] = a->msg;
        break;
    case CLIENT_CONNECT: w->connects = true; break;
    case CLIENT_ROWS:
        w->rows++;
        w->lent = a->flight;
        break;
    case CLIENT_DONE:
        w->dones++;
        w->done = a->flight;
        break;
    case CLIENT_LEASE: w->leases++; break;
    case CLIENT_EVALUATE: w->evaluate = a->evaluate; break;
    case CLIENT_RESET: w->resets = true; break;
    case CLIENT_NOTE: w->notes = true; break;
    case CLIENT_EXIT:
        w->exits = true;
        w->code = a->code;
        break;
    }
}

static void step(struct world *w, struct client_event ev)
{
    const struct client_action *a;
    size_t n;
    forget(w);
    ev.now_us = w->now_us += 1000;
    client_step(w->c, &ev, &a, &n);
    for (size_t i = 0; i < n; i++)
        note(w, &a[i]);
    client_check(w->c);
}

static void give(struct world *w, struct msg *m)
{
    step(w, (struct client_event){.kind = CLIENT_MSG, .msg = m});
}

static void tick(struct world *w, uint64_t later_us)
{
    w->now_us += later_us;
    step(w, (struct client_event){.kind = CLIENT_TICK});
}

static size_t count(const struct world *w, enum msg_kind kind, uint32_t to)
{
    size_t n = 0;
    for (size_t i = 0; i < w->sends; i++)
        n += w->sent[i]->kind == kind && w->to[i] == to;
    return n;
}

/* The i-th of this kind to this peer. */
static const struct msg *sent(const struct world *w, enum msg_kind kind, uint32_t to, size_t i)
{
    for (size_t at = 0; at < w->sends; at++) {
        if (w->sent[at]->kind == kind && w->to[at] == to && i-- == 0)
            return w->sent[at];
    }
    fail_msg("no such message was sent");
    return NULL;
}

static const struct msg_worker_state *state_now(struct world *w)
{
    tick(w, BEAT_US);
    return &sent(w, MSG_WORKER_STATE, CLIENT_TO_HEAD, 0)->u.worker;
}

static struct client_view view(const struct world *w)
{
    struct client_view v;
    client_view(w->c, &v);
    return v;
}

static struct msg *order(struct world *w, enum mode mode)
{
    struct msg *m = msg_new(MSG_ORDER);
    struct msg_order *o = &m->u.order;
    m->job = JOB;
    m->e = w->e;
    m->role = ROLE_HEAD;
    o->n = ++w->n;
    o->mode = mode;
    o->open = w->open;
    o->shards = 2;
    o->member = mem_array(2, sizeof *o->member);
    o->member[0].boot = 100;
    o->member[1].boot = 101;
    for (size_t i = 0; i < BUCKETS; i++)
        o->map[i] = i >= BUCKETS / 2;
    o->world = WORLD;
    o->world_size = 2;
    return m;
}

static struct msg *from_shard(struct world *w, enum msg_kind kind, uint32_t s)
{
    struct msg *m = msg_new(kind);
    m->job = JOB;
    m->e = w->e;
    m->boot = 100 + s;
    m->role = ROLE_SHARD;
    m->sender = s;
    return m;
}

static struct msg *ack(struct world *w, uint32_t s, uint64_t seq, bool keys)
{
    struct msg *m = from_shard(w, MSG_ACK, s);
    m->u.ack = (struct msg_ack){.seq = seq, .keys = keys};
    return m;
}

static struct msg *lease(struct world *w, uint64_t number, uint64_t begin, uint64_t end)
{
    struct msg *m = msg_new(MSG_LEASE);
    m->job = JOB;
    m->e = w->e;
    m->role = ROLE_HEAD;
    m->u.lease = (struct msg_lease){.number = number, .split = number, .begin = begin, .end = end};
    return m;
}

/* The answer to a PULL of shard s. */
static struct msg *rows(struct world *w, uint32_t s, const struct msg *pull, uint64_t handle)
{
    struct msg *m = from_shard(w, MSG_ROWS, s);
    uint32_t n = pull->u.pull.n;
    m->u.rows = (struct msg_rows){.request = pull->u.pull.request, .handle = handle, .n = n};
    m->frames = 3;
    m->frame[0] = frame_pool_get(w->pool, n * 2 * sizeof(float));
    if (n > 0)
        memset(m->frame[0].data, 0, n * 2 * sizeof(float));
    m->frame[1] = frame_pool_get(w->pool, DENSE_BLOCK * sizeof(float));
    memset(m->frame[1].data, 0, DENSE_BLOCK * sizeof(float));
    return m;
}

enum mode_of { ASYNC, BSP, HYBRID };

static void setup_with(struct world *w, enum mode_of of)
{
    struct job_optim sgd = {.kind = JOB_SGD, .rate = 1, .l2_mode = JOB_L2_TOUCHED};
    uint64_t shape[1] = {2 * DENSE_BLOCK};
    memset(w, 0, sizeof *w);
    w->plan = (struct plan){.seed = 3};
    plan_add_sparse(&w->plan, "one", 2, PLAN_ZERO, 0, &sgd);
    plan_add_tensor(&w->plan, PLAN_DENSE, "wide", 1, shape, PLAN_ZERO, 0, &sgd);
    w->pool = frame_pool_new((uint64_t)1 << 20);
    w->now_us = 5000000;
    w->e = 1;
    w->open = 1;
    for (size_t i = 0; i < FLIGHTS; i++)
        flight_init(&w->flight[i], &w->plan, KEYS);
    for (uint64_t key = 1, n[2] = {0}; n[0] + n[1] < KEYS; key++) { /* two of each shard */
        size_t s = hash_bucket(key) >= BUCKETS / 2;
        if (n[s] < KEYS / 2)
            w->keys[s * KEYS / 2 + n[s]++] = key;
    }
    struct client_conf conf = {.job = JOB,
                               .boot = BOOT,
                               .world = WORLD,
                               .rank = 1,
                               .world_size = 2,
                               .plan = &w->plan,
                               .permits = of == BSP ? 1 : 2,
                               .dealt = of != ASYNC,
                               .clocks = of == BSP,
                               .allreduce = of == HYBRID,
                               .dense_apart = of == HYBRID,
                               .leases_max = 2,
                               .beat_us = BEAT_US,
                               .resend_us = RESEND_US,
                               .orphan_us = ORPHAN_US,
                               .pool = w->pool};
    w->c = client_new(&conf);
}

static void setup(struct world *w)
{
    setup_with(w, ASYNC);
}

static void release(struct world *w)
{
    forget(w);
    client_free(w->c);
    for (size_t i = 0; i < FLIGHTS; i++)
        flight_release(&w->flight[i], &w->plan);
    frame_pool_free(w->pool);
    plan_release(&w->plan);
}

static void join(struct world *w)
{
    give(w, order(w, MODE_RECOVER));
    give(w, order(w, MODE_RUN));
}

static void batch(struct world *w, size_t i, uint64_t split, uint64_t begin, uint64_t end)
{
    struct flight *f = &w->flight[i];
    f->epoch = 0;
    f->split = split;
    f->begin = begin;
    f->end = end;
    f->eval = false;
    f->keys = w->keys;
    f->unique = KEYS;
    step(w, (struct client_event){.kind = CLIENT_BATCH, .flight = f});
}

static void grads(struct world *w, size_t i)
{
    memset(w->flight[i].grad_rows[0], 0, KEYS * 2 * sizeof(float));
    memset(w->flight[i].grad_dense, 0, 2 * DENSE_BLOCK * sizeof(float));
    step(w, (struct client_event){.kind = CLIENT_GRADS, .flight = &w->flight[i]});
}

/* BATCH and its ROWS: lent. Handles 1000 and 1001. */
static void lend(struct world *w, size_t i, uint64_t split, uint64_t begin, uint64_t end)
{
    batch(w, i, split, begin, end);
    struct msg *zero = rows(w, 0, sent(w, MSG_PULL, 0, 0), 1000);
    struct msg *one = rows(w, 1, sent(w, MSG_PULL, 1, 0), 1001);
    give(w, zero);
    assert_int_equal(w->rows, 0);
    give(w, one);
    assert_int_equal(w->rows, 1);
    assert_ptr_equal(w->lent, &w->flight[i]);
}

/* Joined, one lease, one batch pushed as seq 1. */
static void pushed_once(struct world *w)
{
    setup(w);
    join(w);
    give(w, lease(w, 1, 100, 200));
    lend(w, 0, 1, 100, 110);
    grads(w, 0);
    assert_int_equal(count(w, MSG_PUSH, 0), 1);
    assert_int_equal(count(w, MSG_PUSH, 1), 1);
}

/* ---- joining, orders ---- */

static void a_fresh_worker_waits_for_an_order_of_its_world(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    tick(&w, 0);
    const struct msg *s = sent(&w, MSG_WORKER_STATE, CLIENT_TO_HEAD, 0);
    assert_int_equal(s->e, 0);
    assert_int_equal(s->u.worker.world, WORLD);
    struct msg *m = order(&w, MODE_RECOVER);
    m->u.order.world = 0; /* the head has not named one yet */
    give(&w, m);
    m = order(&w, MODE_RUN);
    m->u.order.world = WORLD + 1;
    give(&w, m);
    m = order(&w, MODE_STOP);
    m->u.order.world = WORLD + 1;
    give(&w, m);
    assert_int_equal(view(&w).e, 0);
    assert_false(w.exits);
    m = order(&w, MODE_RECOVER);
    m->job++;
    give(&w, m);
    assert_int_equal(view(&w).e, 0);
    give(&w, order(&w, MODE_RECOVER));
    assert_int_equal(view(&w).e, 1);
    assert_true(w.connects);
    assert_false(w.resets); /* there was nothing to drop */
    release(&w);
}

static void orders_only_go_forward(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    join(&w);
    struct msg *old = order(&w, MODE_HOLD), *young = order(&w, MODE_RUN);
    uint64_t n = young->u.order.n;
    give(&w, young);
    give(&w, old);
    assert_int_equal(view(&w).n, n);
    assert_int_equal(view(&w).mode, MODE_RUN);
    struct msg *past = order(&w, MODE_HOLD);
    past->e = 0;
    give(&w, past);
    assert_int_equal(view(&w).mode, MODE_RUN);
    release(&w);
}

static void a_greater_e_without_its_world_is_the_end(void **state)
{
    struct world w;
    (void)state;
    for (int none = 0; none < 2; none++) {
        setup(&w);
        join(&w);
        struct msg *m = order(&w, MODE_RECOVER);
        m->e = 2;
        m->u.order.world = none ? 0 : WORLD + 1;
        give(&w, m);
        assert_true(w.exits);
        assert_int_equal(w.code, 1);
        release(&w);
    }
}

static void silence_ends_it_and_a_sign_of_life_does_not(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    join(&w);
    tick(&w, ORPHAN_US - 100000);
    assert_false(w.exits);
    struct msg *m = order(&w, MODE_RUN);
    m->u.order.n = w.n -= 1; /* the same again */
    give(&w, m);
    tick(&w, ORPHAN_US - 100000);
    assert_false(w.exits);
    tick(&w, 200000);
    assert_true(w.exits);
    assert_int_equal(w.code, 1);
    release(&w);
}

static void stop_is_answered_and_ends_with_its_code(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    join(&w);
    struct msg *m = order(&w, MODE_STOP);
    m->u.order.stop_code = 4;
    give(&w, m);
    assert_true(w.exits);
    assert_int_equal(w.code, 4);
    assert_int_equal(sent(&w, MSG_WORKER_STATE, CLIENT_TO_HEAD, 0)->u.worker.n, w.n);
    release(&w);
}

/* ---- leases, batches ---- */

static void leases_are_taken_by_number(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    give(&w, lease(&w, 1, 0, 10)); /* not joined */
    assert_int_equal(w.leases, 0);
    join(&w);
    give(&w, lease(&w, 2, 10, 20)); /* its forerunner is on the way */
    assert_int_equal(w.leases, 0);
    give(&w, lease(&w, 1, 0, 10));
    assert_int_equal(w.leases, 1);
    assert_int_equal(sent(&w, MSG_WORKER_STATE, CLIENT_TO_HEAD, 0)->u.worker.room, 1);
    give(&w, lease(&w, 1, 0, 10));
    assert_int_equal(w.leases, 0);
    give(&w, lease(&w, 2, 10, 20));
    assert_int_equal(w.leases, 1);
    assert_string_equal(state_now(&w)->fault, "");
    give(&w, lease(&w, 3, 20, 30)); /* more than it has room for */
    assert_int_equal(w.leases, 0);
    assert_string_not_equal(state_now(&w)->fault, "");
    release(&w);
}

static void a_batch_of_no_lease_comes_back_unused(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    join(&w);
    batch(&w, 0, 1, 100, 110);
    assert_int_equal(w.dones, 1);
    give(&w, lease(&w, 1, 100, 120));
    batch(&w, 0, 1, 105, 110); /* not the next */
    assert_int_equal(w.dones, 1);
    batch(&w, 0, 1, 100, 121); /* beyond its end */
    assert_int_equal(w.dones, 1);
    batch(&w, 0, 1, 100, 110);
    assert_int_equal(w.dones, 0);
    assert_int_equal(count(&w, MSG_PULL, 0), 1);
    assert_int_equal(count(&w, MSG_PULL, 1), 1);
    release(&w);
}

static void permits_bound_what_is_under_way(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    join(&w);
    give(&w, lease(&w, 1, 100, 200));
    lend(&w, 0, 1, 100, 110);
    lend(&w, 1, 1, 110, 120);
    batch(&w, 2, 1, 120, 130);
    assert_int_equal(count(&w, MSG_PULL, 0), 0);
    grads(&w, 0);
    give(&w, ack(&w, 0, 1, false));
    assert_int_equal(w.dones, 0);
    assert_int_equal(count(&w, MSG_PULL, 0), 0);
    give(&w, ack(&w, 1, 1, false));
    assert_int_equal(w.dones, 1);
    assert_int_equal(count(&w, MSG_PULL, 0), 1); /* the permit went on to the next */
    release(&w);
}

static void rows_are_lent_in_the_order_of_batches(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    join(&w);
    give(&w, lease(&w, 1, 100, 200));
    batch(&w, 0, 1, 100, 110);
    struct msg *a = rows(&w, 0, sent(&w, MSG_PULL, 0, 0), 1);
    struct msg *b = rows(&w, 1, sent(&w, MSG_PULL, 1, 0), 2);
    batch(&w, 1, 1, 110, 120);
    struct msg *c = rows(&w, 0, sent(&w, MSG_PULL, 0, 0), 3);
    struct msg *d = rows(&w, 1, sent(&w, MSG_PULL, 1, 0), 4);
    give(&w, d);
    give(&w, c);
    assert_int_equal(w.rows, 0);
    give(&w, b);
    give(&w, a);
    assert_int_equal(w.rows, 2);
    assert_ptr_equal(w.lent, &w.flight[1]);
    release(&w);
}

static void a_pull_is_asked_again_where_no_answer_came(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    join(&w);
    give(&w, lease(&w, 1, 100, 200));
    batch(&w, 0, 1, 100, 110);
    struct msg *zero = rows(&w, 0, sent(&w, MSG_PULL, 0, 0), 1);
    struct msg *twice = rows(&w, 0, sent(&w, MSG_PULL, 0, 0), 7);
    give(&w, zero);
    tick(&w, RESEND_US);
    assert_int_equal(count(&w, MSG_PULL, 0), 0);
    assert_int_equal(count(&w, MSG_PULL, 1), 1);
    struct msg *one = rows(&w, 1, sent(&w, MSG_PULL, 1, 0), 2);
    give(&w, twice); /* an answer to what is answered */
    assert_int_equal(w.rows, 0);
    give(&w, one);
    assert_int_equal(w.rows, 1);
    assert_int_equal(w.flight[0].part[0].handle, 1);
    release(&w);
}

static void rows_that_do_not_fit_are_a_fault(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    join(&w);
    give(&w, lease(&w, 1, 100, 200));
    batch(&w, 0, 1, 100, 110);
    struct msg *m = rows(&w, 0, sent(&w, MSG_PULL, 0, 0), 1);
    m->frame[0].bytes -= 4;
    give(&w, m);
    assert_int_equal(w.rows, 0);
    assert_string_not_equal(state_now(&w)->fault, "");
    release(&w);
}

/* ---- pushes ---- */

static void a_push_starts_on_all_shards_in_one_step(void **state)
{
    struct world w;
    (void)state;
    pushed_once(&w);
    for (uint32_t s = 0; s < 2; s++) {
        const struct msg_push *p = &sent(&w, MSG_PUSH, s, 0)->u.push;
        assert_int_equal(p->rank, 1);
        assert_int_equal(p->seq, 1);
        assert_int_equal(p->tag, 1);
        assert_int_equal(p->handle, 1000 + s);
        assert_int_equal(p->n, KEYS / 2);
        assert_int_equal(p->begin, 100);
        assert_int_equal(p->end, 110);
    }
    const struct msg_worker_state *s = state_now(&w);
    assert_int_equal(s->leases, 1);
    assert_int_equal(s->progress[0].upto, 110);
    release(&w);
}

static void acks_are_cumulative_and_old_ones_nothing(void **state)
{
    struct world w;
    (void)state;
    pushed_once(&w);
    lend(&w, 1, 1, 110, 120);
    grads(&w, 1);
    give(&w, ack(&w, 0, 2, false)); /* of both at once */
    give(&w, ack(&w, 1, 1, false));
    assert_int_equal(w.dones, 1);
    assert_ptr_equal(w.done, &w.flight[0]);
    give(&w, ack(&w, 1, 1, false));
    give(&w, ack(&w, 1, 0, false));
    assert_int_equal(w.dones, 0);
    assert_int_equal(view(&w).unacked, 1);
    give(&w, ack(&w, 1, 2, false));
    assert_int_equal(w.dones, 1);
    assert_int_equal(view(&w).unacked, 0);
    assert_int_equal(view(&w).permits_used, 0);
    release(&w);
}

static void what_is_not_acked_is_sent_again_in_order(void **state)
{
    struct world w;
    (void)state;
    pushed_once(&w);
    lend(&w, 1, 1, 110, 120);
    grads(&w, 1);
    give(&w, ack(&w, 1, 1, false));
    tick(&w, RESEND_US);
    assert_int_equal(count(&w, MSG_PUSH, 0), 2);
    assert_int_equal(sent(&w, MSG_PUSH, 0, 0)->u.push.seq, 1);
    assert_int_equal(sent(&w, MSG_PUSH, 0, 1)->u.push.seq, 2);
    assert_int_equal(count(&w, MSG_PUSH, 1), 1);
    assert_int_equal(sent(&w, MSG_PUSH, 1, 0)->u.push.seq, 2);
    tick(&w, RESEND_US); /* the second wait is twice as long */
    assert_int_equal(count(&w, MSG_PUSH, 0), 0);
    tick(&w, RESEND_US);
    assert_int_equal(count(&w, MSG_PUSH, 0), 2);
    release(&w);
}

static void a_forgotten_handle_goes_again_with_keys(void **state)
{
    struct world w;
    (void)state;
    pushed_once(&w);
    give(&w, ack(&w, 0, 0, true));
    assert_int_equal(count(&w, MSG_PUSH, 0), 1);
    assert_int_equal(count(&w, MSG_PUSH, 1), 0);
    const struct msg *m = sent(&w, MSG_PUSH, 0, 0);
    assert_int_equal(m->u.push.seq, 1);
    assert_int_equal(m->u.push.handle, 0);
    assert_int_equal(m->frame[0].bytes, KEYS / 2 * sizeof(uint64_t));
    assert_memory_equal(m->frame[0].data, w.keys, m->frame[0].bytes);
    give(&w, ack(&w, 0, 0, true)); /* the same word twice: it is on its way */
    assert_int_equal(count(&w, MSG_PUSH, 0), 0);
    release(&w);
}

static void acks_that_cannot_be_are_ignored_or_a_fault(void **state)
{
    struct world w;
    struct msg *m;
    (void)state;
    pushed_once(&w);
    m = ack(&w, 0, 1, false);
    m->e = 0;
    give(&w, m);
    m = ack(&w, 0, 1, false);
    m->e = 2;
    give(&w, m);
    m = ack(&w, 0, 1, false);
    m->boot = 555; /* no member's */
    give(&w, m);
    m = ack(&w, 0, 1, false);
    m->sender = 2;
    give(&w, m);
    m = ack(&w, 0, 1, false);
    m->job++;
    give(&w, m);
    give(&w, ack(&w, 1, 1, false));
    assert_int_equal(view(&w).unacked, 1);
    assert_string_equal(state_now(&w)->fault, "");
    give(&w, ack(&w, 0, 2, false)); /* of a push that was never given */
    assert_string_not_equal(state_now(&w)->fault, "");
    assert_int_equal(view(&w).unacked, 1);
    release(&w);
}

/* ---- HOLD ---- */

static void hold_starts_nothing_and_answers_when_all_is_acked(void **state)
{
    struct world w;
    (void)state;
    pushed_once(&w);
    lend(&w, 1, 1, 110, 120);
    give(&w, order(&w, MODE_HOLD));
    uint64_t n = w.n;
    assert_int_equal(view(&w).held, 0);
    grads(&w, 1);
    assert_int_equal(count(&w, MSG_PUSH, 0), 0); /* kept */
    give(&w, ack(&w, 0, 1, false));
    assert_int_equal(view(&w).held, 0);
    give(&w, ack(&w, 1, 1, false));
    const struct msg_worker_state *s = &sent(&w, MSG_WORKER_STATE, CLIENT_TO_HEAD, 0)->u.worker;
    assert_int_equal(s->held, n);
    assert_int_equal(s->progress[0].upto, 110); /* the kept one is no part of it */
    give(&w, order(&w, MODE_TAKE));
    assert_int_equal(view(&w).held, n);
    assert_int_equal(count(&w, MSG_PUSH, 0), 0);
    w.open = 2;
    give(&w, order(&w, MODE_RUN));
    assert_int_equal(view(&w).held, 0);
    assert_int_equal(sent(&w, MSG_PUSH, 0, 0)->u.push.seq, 2);
    assert_int_equal(sent(&w, MSG_PUSH, 0, 0)->u.push.tag, 2);
    release(&w);
}

/* bsp: its part of the step, rows of the clock before; a HOLD up to a clock lets it finish that one, no more. */
static void in_bsp_a_hold_may_ask_for_one_step_more(void **state)
{
    struct world w;
    (void)state;
    setup_with(&w, BSP);
    join(&w);
    give(&w, lease(&w, 1, 100, 140));
    w.flight[0].part_begin = w.flight[1].part_begin = w.flight[1].part_end = 105;
    w.flight[0].part_end = 110;
    lend(&w, 0, 1, 100, 110);
    grads(&w, 0);
    const struct msg_push *p = &sent(&w, MSG_PUSH, 0, 0)->u.push;
    assert_true(p->begin == 105 && p->end == 110);
    give(&w, ack(&w, 0, 1, false));
    give(&w, ack(&w, 1, 1, false));
    batch(&w, 1, 1, 110, 120);
    assert_int_equal(sent(&w, MSG_PULL, 1, 0)->u.pull.clock, 1);
    struct msg *zero = rows(&w, 0, sent(&w, MSG_PULL, 0, 0), 1000);
    struct msg *one = rows(&w, 1, sent(&w, MSG_PULL, 1, 0), 1001);
    give(&w, zero);
    give(&w, one);
    give(&w, order(&w, MODE_HOLD));
    const struct msg_worker_state *s = &sent(&w, MSG_WORKER_STATE, CLIENT_TO_HEAD, 0)->u.worker;
    assert_int_equal(s->held, w.n);
    assert_int_equal(s->clock, 1);
    struct msg *m = order(&w, MODE_HOLD);
    m->u.order.clock = 2;
    give(&w, m);
    assert_int_equal(view(&w).held, 0);
    grads(&w, 1);
    p = &sent(&w, MSG_PUSH, 0, 0)->u.push;
    assert_true(p->seq == 2 && p->begin == 105 && p->end == 105);
    give(&w, ack(&w, 0, 2, false));
    assert_int_equal(view(&w).held, 0);
    give(&w, ack(&w, 1, 2, false));
    assert_int_equal(view(&w).held, w.n);
    s = &sent(&w, MSG_WORKER_STATE, CLIENT_TO_HEAD, 0)->u.worker;
    assert_int_equal(s->clock, 2);
    assert_int_equal(s->progress[0].upto, 120); /* of the whole step */
    release(&w);
}

/* allreduce: tables and the dense part are pulled apart, and this rank brings shard 1 what all have summed. */
static void in_the_hybrid_the_dense_part_has_a_pull_of_its_own(void **state)
{
    struct world w;
    (void)state;
    setup_with(&w, HYBRID);
    join(&w);
    give(&w, lease(&w, 1, 100, 140));
    w.flight[0].part_begin = 105;
    w.flight[0].part_end = 110;
    batch(&w, 0, 1, 100, 110);
    w.flight[1].part_begin = 115;
    w.flight[1].part_end = 120;
    struct msg *answer[4];
    for (uint32_t s = 0; s < 2; s++) {
        const struct msg *tables = sent(&w, MSG_PULL, s, 0), *dense = sent(&w, MSG_PULL, s, 1);
        assert_true(tables->u.pull.tables == 1 && !tables->u.pull.dense && tables->u.pull.handle);
        assert_true(dense->u.pull.tables == 0 && dense->u.pull.dense && dense->u.pull.n == 0);
        assert_int_not_equal(tables->u.pull.request, dense->u.pull.request);
        answer[s] = rows(&w, s, tables, 1000 + s);
        frame_release(&answer[s]->frame[1]);
        answer[s]->frame[1] = (struct frame){0};
        answer[s]->frames = 1;
        answer[2 + s] = rows(&w, s, dense, 0);
        frame_release(&answer[2 + s]->frame[0]);
        answer[2 + s]->frame[0] = answer[2 + s]->frame[1];
        answer[2 + s]->frame[1] = (struct frame){0};
        answer[2 + s]->frames = 2;
    }
    batch(&w, 1, 1, 110, 120);
    assert_int_equal(sent(&w, MSG_PULL, 0, 0)->u.pull.clock, 0); /* the tables wait for nobody */
    assert_int_equal(sent(&w, MSG_PULL, 0, 1)->u.pull.clock, 1);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(w.rows, 0);
        give(&w, answer[i]);
    }
    assert_int_equal(w.rows, 1);
    grads(&w, 0);
    const struct msg *zero = sent(&w, MSG_PUSH, 0, 0), *one = sent(&w, MSG_PUSH, 1, 0);
    assert_int_equal(zero->frame[2].bytes, 0);
    assert_int_equal(one->frame[2].bytes, DENSE_BLOCK * sizeof(float));
    release(&w);
}

static void each_hold_wants_its_own_answer(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    join(&w);
    give(&w, order(&w, MODE_HOLD));
    assert_int_equal(view(&w).held, w.n);
    give(&w, order(&w, MODE_RUN)); /* given up */
    assert_int_equal(view(&w).held, 0);
    give(&w, order(&w, MODE_HOLD));
    assert_int_equal(view(&w).held, w.n);
    assert_int_equal(sent(&w, MSG_WORKER_STATE, CLIENT_TO_HEAD, 0)->u.worker.held, w.n);
    release(&w);
}

/* A hold that nobody ends is sat out. */
static void it_never_goes_on_by_itself(void **state)
{
    struct world w;
    (void)state;
    pushed_once(&w);
    give(&w, ack(&w, 0, 1, false));
    give(&w, ack(&w, 1, 1, false));
    lend(&w, 1, 1, 110, 120);
    give(&w, order(&w, MODE_HOLD));
    grads(&w, 1);
    for (uint64_t t = 0; t < ORPHAN_US - 2000000; t += 1000000) {
        tick(&w, 1000000);
        assert_int_equal(count(&w, MSG_PUSH, 0), 0);
        assert_false(w.exits);
    }
    release(&w);
}

/* ---- a new incarnation ---- */

static void a_new_incarnation_begins_from_nothing(void **state)
{
    struct world w;
    (void)state;
    pushed_once(&w);          /* flight 0 is started */
    lend(&w, 1, 1, 110, 120); /* flight 1 is lent */
    batch(&w, 2, 1, 120, 130);
    w.e = 2;
    w.n = 0;
    give(&w, order(&w, MODE_RECOVER));
    assert_true(w.resets);
    assert_int_equal(w.dones, 2); /* 0 and 2; 1 is the shell's until it comes back */
    struct client_view v = view(&w);
    assert_int_equal(v.e, 2);
    assert_int_equal(v.seq, 0);
    assert_int_equal(v.permits_used, 0);
    assert_int_equal(v.leased, 0);
    give(&w, order(&w, MODE_RUN));
    grads(&w, 1); /* of the old one: nothing is pushed */
    assert_int_equal(w.dones, 1);
    assert_int_equal(count(&w, MSG_PUSH, 0), 0);
    /* its progress is forgotten, too */
    assert_int_equal(state_now(&w)->leases, 0);
    give(&w, lease(&w, 1, 100, 200));
    lend(&w, 0, 1, 100, 110);
    grads(&w, 0);
    assert_int_equal(sent(&w, MSG_PUSH, 0, 0)->u.push.seq, 1);
    assert_int_equal(sent(&w, MSG_PUSH, 0, 0)->e, 2);
    release(&w);
}

/* ---- what others say ---- */

static void refusals_are_heard_if_they_mean_this_process(void **state)
{
    struct world w;
    (void)state;
    for (int what = 0; what < 5; what++) {
        setup(&w);
        join(&w);
        struct msg *m = from_shard(&w, MSG_REFUSED, 0);
        m->u.refused = (struct msg_refused){.boot = BOOT, .e = 1};
        msg_set_text(m, "no");
        if (what == 1)
            m->u.refused.e = 0; /* something it sent before */
        if (what == 2)
            m->u.refused.boot++; /* its forerunner's */
        if (what >= 3) {
            m->role = ROLE_HEAD;
            m->u.refused.boot += what == 4;
        }
        give(&w, m);
        assert_int_equal(w.exits, what == 3);
        if (what != 3)
            assert_int_equal(state_now(&w)->fault[0] != '\0', what == 0);
        release(&w);
    }
}

static void an_evaluation_is_told_once_and_by_number(void **state)
{
    struct world w;
    struct client_event ev = {.kind = CLIENT_EVALUATED, .evaluate = 1, .result = {.auc = 0.75}};
    (void)state;
    setup(&w);
    join(&w);
    struct msg *m = order(&w, MODE_RUN);
    m->u.order.evaluate = 2;
    give(&w, m);
    assert_int_equal(w.evaluate, 2);
    m = order(&w, MODE_RUN);
    m->u.order.evaluate = 2;
    give(&w, m);
    assert_int_equal(w.evaluate, 0);
    step(&w, ev); /* of another one */
    assert_int_equal(state_now(&w)->evaluated, 0);
    ev.evaluate = 2;
    step(&w, ev);
    const struct msg_worker_state *s = &sent(&w, MSG_WORKER_STATE, CLIENT_TO_HEAD, 0)->u.worker;
    assert_int_equal(s->evaluated, 2);
    assert_true(s->auc == 0.75);
    release(&w);
}

static void a_fault_of_the_shell_is_told_and_nothing_more_is_pushed(void **state)
{
    struct world w;
    (void)state;
    pushed_once(&w);
    lend(&w, 1, 1, 110, 120);
    step(&w, (struct client_event){.kind = CLIENT_FAULT, .fault = "block 7 of the cache is foul"});
    const struct msg_worker_state *s = &sent(&w, MSG_WORKER_STATE, CLIENT_TO_HEAD, 0)->u.worker;
    assert_string_equal(s->fault, "block 7 of the cache is foul");
    grads(&w, 1);
    assert_int_equal(count(&w, MSG_PUSH, 0), 0);
    release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_worker_waits_for_an_order_of_its_world),
        cmocka_unit_test(orders_only_go_forward),
        cmocka_unit_test(a_greater_e_without_its_world_is_the_end),
        cmocka_unit_test(silence_ends_it_and_a_sign_of_life_does_not),
        cmocka_unit_test(stop_is_answered_and_ends_with_its_code),
        cmocka_unit_test(leases_are_taken_by_number),
        cmocka_unit_test(a_batch_of_no_lease_comes_back_unused),
        cmocka_unit_test(permits_bound_what_is_under_way),
        cmocka_unit_test(rows_are_lent_in_the_order_of_batches),
        cmocka_unit_test(a_pull_is_asked_again_where_no_answer_came),
        cmocka_unit_test(rows_that_do_not_fit_are_a_fault),
        cmocka_unit_test(a_push_starts_on_all_shards_in_one_step),
        cmocka_unit_test(acks_are_cumulative_and_old_ones_nothing),
        cmocka_unit_test(what_is_not_acked_is_sent_again_in_order),
        cmocka_unit_test(a_forgotten_handle_goes_again_with_keys),
        cmocka_unit_test(acks_that_cannot_be_are_ignored_or_a_fault),
        cmocka_unit_test(hold_starts_nothing_and_answers_when_all_is_acked),
        cmocka_unit_test(in_bsp_a_hold_may_ask_for_one_step_more),
        cmocka_unit_test(in_the_hybrid_the_dense_part_has_a_pull_of_its_own),
        cmocka_unit_test(each_hold_wants_its_own_answer),
        cmocka_unit_test(it_never_goes_on_by_itself),
        cmocka_unit_test(a_new_incarnation_begins_from_nothing),
        cmocka_unit_test(refusals_are_heard_if_they_mean_this_process),
        cmocka_unit_test(an_evaluation_is_told_once_and_by_number),
        cmocka_unit_test(a_fault_of_the_shell_is_told_and_nothing_more_is_pushed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
