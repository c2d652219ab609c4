/* train_head.c - the head, message by message: who is let in, what it waits for, when it gives up or ends.
 *
 * Two shards, two workers, 320 records in batches of 10. The test is all peers, the disk and the clock; peers
 * are obedient (struct world's obey) unless a test says otherwise.
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
#include "ps/train/head_step.h"

enum {
    JOB = 42,
    WORLD = 9,
    PEERS = 2,
    SHARD = 10,  /* routes: SHARD + s */
    WORKER = 20, /* WORKER + r */
    ROUTES = 30,
    RECORDS = 320,
    BEAT_US = 100000,
    HOLD_US = 1000000,
    DEAD_US = 3000000,
    WRITE_US = 30000000,
    RECOVER_US = 60000000,
    CUT_US = 10000000
};

struct world {
    struct job job;
    struct plan plan;
    const struct windows *windows; /* of the next setup */
    struct head *h;
    uint64_t now_us, e;
    struct msg_shard_state shard[PEERS];
    struct msg_worker_state worker[PEERS];
    uint64_t boot[ROUTES];
    /* -- last order and lease by route -- */
    struct msg_order order[ROUTES];
    struct msg_lease lease[ROUTES];
    uint64_t leases[ROUTES], refused[ROUTES]; /* how many came */
    /* -- of the last step -- */
    bool fences, commits, exits;
    const struct manifest *manifest;
    int code;
    char text[512], note[4][256];
    size_t notes;
};

static void take(struct world *w, const struct head_action *a)
{
    struct msg *m = a->msg;
    assert_true(a->to < ROUTES);
    if (m->kind == MSG_ORDER)
        w->order[a->to] = m->u.order;
    if (m->kind == MSG_LEASE) {
        w->lease[a->to] = m->u.lease;
        w->leases[a->to]++;
    }
    w->refused[a->to] += m->kind == MSG_REFUSED;
    msg_free(m);
}

static void step(struct world *w, struct head_event ev)
{
    const struct head_action *a;
    size_t n;
    w->fences = w->commits = w->exits = false;
    w->notes = 0;
    ev.now_us = ev.wall_us = w->now_us += 1000;
    head_step(w->h, &ev, &a, &n);
    for (size_t i = 0; i < n; i++) {
        switch (a[i].kind) {
        case HEAD_SEND: take(w, &a[i]); break;
        case HEAD_FENCE: w->fences = true; break;
        case HEAD_COMMIT:
            w->commits = true;
            w->manifest = a[i].manifest;
            break;
        case HEAD_NOTE:
            assert_true(w->notes < 4);
            snprintf(w->note[w->notes++], sizeof w->note[0], "%s", a[i].text);
            break;
        case HEAD_EXIT:
            w->exits = true;
            w->code = a[i].code;
            snprintf(w->text, sizeof w->text, "%s", a[i].text);
            break;
        }
    }
    head_check(w->h);
}

static void tick(struct world *w, uint64_t later_us)
{
    w->now_us += later_us;
    step(w, (struct head_event){.kind = HEAD_TICK});
}

static struct head_view view(const struct world *w)
{
    struct head_view v;
    head_view(w->h, &v);
    return v;
}

static struct msg *shard_msg(struct world *w, uint32_t s)
{
    struct msg *m = msg_new(MSG_SHARD_STATE);
    m->job = JOB;
    m->e = w->e;
    m->boot = w->boot[SHARD + s];
    m->role = ROLE_SHARD;
    m->sender = s;
    m->u.shard = w->shard[s];
    return m;
}

static struct msg *worker_msg(struct world *w, uint32_t r)
{
    struct msg *m = msg_new(MSG_WORKER_STATE);
    m->job = JOB;
    m->e = w->e;
    m->boot = w->boot[WORKER + r];
    m->role = ROLE_WORKER;
    m->sender = r;
    m->u.worker = w->worker[r];
    return m;
}

static void give(struct world *w, uint64_t route, struct msg *m)
{
    step(w, (struct head_event){.kind = HEAD_MSG, .from = route, .msg = m});
}

static void tell_shard(struct world *w, uint32_t s)
{
    w->shard[s].n = w->order[SHARD + s].n;
    w->shard[s].open = w->order[SHARD + s].open;
    w->shard[s].complete = w->order[SHARD + s].complete;
    give(w, SHARD + s, shard_msg(w, s));
}

static void tell_worker(struct world *w, uint32_t r)
{
    struct msg_worker_state *k = &w->worker[r];
    k->n = w->order[WORKER + r].n;
    if (w->order[WORKER + r].mode == MODE_HOLD)
        k->held = k->n;
    else if (w->order[WORKER + r].mode == MODE_RUN)
        k->held = 0;
    give(w, WORKER + r, worker_msg(w, r));
}

static void setup_from(struct world *w, bool has_valid, const struct manifest *base)
{
    struct job_optim sgd = {.kind = JOB_SGD, .rate = 1, .l2_mode = JOB_L2_TOUCHED};
    const struct windows *windows = w->windows;
    memset(w, 0, sizeof *w);
    w->job.train.epochs = 2;
    w->job.train.batch = 10;
    w->job.train.plateau.factor = 1;
    w->job.cluster.cut_every = CUT_US;
    w->job.cluster.full_every = 8;
    w->job.cluster.beat = BEAT_US;
    w->job.cluster.hold = HOLD_US;
    w->job.cluster.dead = DEAD_US;
    w->job.cluster.write = WRITE_US;
    w->job.cluster.recover = RECOVER_US;
    w->plan = (struct plan){.seed = 3};
    plan_add_sparse(&w->plan, "one", 2, PLAN_ZERO, 0, &sgd);
    struct head_conf conf = {.job = JOB,
                             .boot = 1,
                             .conf = &w->job,
                             .plan = &w->plan,
                             .shards = PEERS,
                             .workers = PEERS,
                             .records = RECORDS,
                             .has_valid = has_valid,
                             .windows = windows};
    w->h = head_new(&conf);
    w->now_us = 1000000;
    for (uint32_t i = 0; i < PEERS; i++) {
        w->boot[SHARD + i] = 100 + i;
        w->boot[WORKER + i] = 200 + i;
        w->shard[i] = (struct msg_shard_state){.shard = i};
        w->worker[i] = (struct msg_worker_state){
            .world = WORLD, .rank = i, .world_size = PEERS, .room = 2, .idle = true};
    }
    tick(w, 0);
    assert_true(w->fences);
    step(w, (struct head_event){.kind = HEAD_FENCED, .e = 1, .base = base});
}

static void setup(struct world *w)
{
    w->windows = NULL;
    setup_from(w, false, NULL);
}

static void gather(struct world *w)
{
    for (uint32_t i = 0; i < PEERS; i++) {
        give(w, WORKER + i, worker_msg(w, i));
        give(w, SHARD + i, shard_msg(w, i));
    }
    assert_int_equal(view(w).mode, MODE_RECOVER);
    w->e = 1;
}

static void join(struct world *w)
{
    gather(w);
    for (uint32_t i = 0; i < PEERS; i++) {
        tell_shard(w, i);
        tell_worker(w, i);
    }
    assert_int_equal(view(w).mode, MODE_RUN);
    for (uint32_t i = 0; i < PEERS; i++) {
        tell_shard(w, i);
        tell_worker(w, i);
    }
}

static void release(struct world *w)
{
    head_free(w->h);
    plan_release(&w->plan);
}

/* Worker r takes its newest lease and pushes n records of it; both shards apply them. */
static void work(struct world *w, uint32_t r, uint64_t n)
{
    struct msg_worker_state *k = &w->worker[r];
    struct msg_lease *l = &w->lease[WORKER + r];
    k->leased = l->number;
    k->leases = 1;
    k->progress[0] =
        (struct msg_progress){.epoch = l->epoch, .split = l->split, .upto = l->begin + n};
    k->idle = l->begin + n == l->end;
    k->room = k->idle ? 2 : 1;
    for (uint32_t s = 0; s < PEERS; s++) {
        w->shard[s].applied += n;
        w->shard[s].pushes++;
        tell_shard(w, s);
    }
    tell_worker(w, r);
}

static void everybody_lives(struct world *w)
{
    for (uint32_t i = 0; i < PEERS; i++) {
        tell_shard(w, i);
        tell_worker(w, i);
    }
}

/* Time until the next cut is due, with everybody alive; ends in HOLD. */
static void wait_for_hold(struct world *w)
{
    for (int i = 0; i < 500 && view(w).mode != MODE_HOLD; i++) {
        everybody_lives(w);
        if (view(w).mode != MODE_HOLD)
            tick(w, BEAT_US);
    }
    assert_int_equal(view(w).mode, MODE_HOLD);
}

static void hold_and_take(struct world *w)
{
    for (uint32_t r = 0; r < PEERS; r++)
        tell_worker(w, r);
    assert_int_equal(view(w).mode, MODE_TAKE);
    for (uint32_t s = 0; s < PEERS; s++)
        tell_shard(w, s);
    assert_int_equal(view(w).mode, MODE_RUN);
    assert_true(view(w).writing);
}

static void durable(struct world *w, uint32_t s, uint64_t k)
{
    struct msg_shard_state *t = &w->shard[s];
    t->durable_e = 1;
    t->durable_k = k;
    t->file_full = true;
    t->tables = 1;
    t->step = t->rendered = t->pushes;
    t->cut_applied = t->applied;
    snprintf(t->file, sizeof t->file, "data/%llu.1.%u.full.safetensors", (unsigned long long)k, s);
    tell_shard(w, s);
}

static void ends_with(struct world *w, int code, const char *word)
{
    assert_int_equal(view(w).mode, MODE_STOP);
    assert_int_equal(w->order[WORKER].stop_code, code);
    if (strstr(w->order[WORKER].why, word) == NULL)
        fail_msg("\"%s\" says nothing of \"%s\"", w->order[WORKER].why, word);
    for (int i = 0; i < 25 && !view(w).ended; i++) {
        everybody_lives(w);
        tick(w, BEAT_US);
    }
    assert_true(view(w).ended);
    assert_int_equal(view(w).code, code);
}

/* ---- who is let in ---- */

static void it_waits_for_everybody_then_recovers_then_runs(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    give(&w, SHARD, shard_msg(&w, 0));
    assert_int_equal(w.order[SHARD].shards, 0); /* a sign of life, nothing to obey */
    assert_int_equal(view(&w).n, 0);
    give(&w, SHARD + 1, shard_msg(&w, 1)); /* no world yet: the shards begin */
    assert_int_equal(w.order[SHARD].mode, MODE_RECOVER);
    assert_int_equal(w.order[SHARD].world, 0);
    give(&w, WORKER, worker_msg(&w, 0));
    assert_int_equal(w.order[SHARD].world, 0);
    give(&w, WORKER + 1, worker_msg(&w, 1));
    assert_int_equal(w.order[SHARD].world, WORLD);
    assert_int_equal(w.order[SHARD].n, 2);
    w.e = 1;
    tell_shard(&w, 0);
    w.shard[1].loading = true;
    tell_shard(&w, 1);
    tell_worker(&w, 0);
    tell_worker(&w, 1);
    assert_int_equal(view(&w).mode, MODE_RECOVER); /* shard 1 still loads */
    w.shard[1].loading = false;
    tell_shard(&w, 1);
    assert_int_equal(view(&w).mode, MODE_RUN);
    assert_int_equal(w.order[WORKER].open, 1);
    assert_int_equal(w.leases[WORKER], 2); /* as many as there is room for */
    assert_int_equal(w.leases[WORKER + 1], 2);
    release(&w);
}

static void strangers_are_refused(void **state)
{
    struct world w;
    (void)state;
    for (int what = 0; what < 6; what++) {
        setup(&w);
        struct msg *m = what < 4 ? worker_msg(&w, 0) : shard_msg(&w, 0);
        switch (what) {
        case 0: m->job++; break;
        case 1: m->u.worker.world_size = 3; break;
        case 2: m->u.worker.rank = 2; break;
        case 3: m->u.worker.world = 0; break;
        case 4: m->u.shard.shard = 2; break;
        default: m->kind = MSG_ACK; break;
        }
        give(&w, WORKER, m);
        assert_int_equal(w.refused[WORKER], 1);
        gather(&w); /* and the run begins all the same */
        release(&w);
    }
}

static void a_second_world_is_refused_while_the_first_lives(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    give(&w, WORKER, worker_msg(&w, 0));
    w.worker[1].world++;
    give(&w, WORKER + 1, worker_msg(&w, 1));
    assert_int_equal(w.refused[WORKER + 1], 1);
    tick(&w, DEAD_US);
    give(&w, WORKER + 1, worker_msg(&w, 1)); /* the first one was heard no more */
    assert_int_equal(w.refused[WORKER + 1], 1);
    w.worker[0].world++;
    gather(&w);
    assert_int_equal(w.order[SHARD].world, WORLD + 1);
    release(&w);
}

static void another_boot_in_a_members_place(void **state)
{
    struct world w;
    (void)state;
    for (int who = 0; who < 2; who++) {
        uint64_t route = who == 0 ? SHARD + 1 : WORKER + 1;
        setup(&w);
        join(&w);
        for (int silent = 0; silent < 2; silent++) {
            struct msg *m = who == 0 ? shard_msg(&w, 1) : worker_msg(&w, 1);
            m->boot += 50;
            m->e = 0;
            if (who == 1)
                m->u.worker.world++;
            give(&w, route, m);
            if (!silent) {
                assert_int_equal(w.refused[route], 1);
                assert_int_equal(view(&w).mode, MODE_RUN);
            }
            w.now_us += DEAD_US / 2; /* less than dead: but somebody has taken its place */
        }
        ends_with(&w, 1, "was started again");
        release(&w);
    }
}

static void who_has_an_older_e_is_shown_the_order(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    step(&w, (struct head_event){.kind = HEAD_TICK});
    join(&w);
    uint64_t applied = w.shard[0].applied;
    struct msg *m = shard_msg(&w, 0);
    m->e = 7;
    m->u.shard.applied = 1000;
    m->u.shard.fault = true;
    give(&w, 25, m);
    assert_int_equal(w.order[25].mode, MODE_RUN);
    assert_int_equal(view(&w).mode, MODE_RUN); /* read no further */
    assert_int_equal(applied, w.shard[0].applied);
    release(&w);
}

static void silence_is_a_death(void **state)
{
    struct world w;
    (void)state;
    for (int who = 0; who < 2; who++) {
        setup(&w);
        join(&w);
        uint64_t since = w.now_us;
        while (view(&w).mode != MODE_STOP) {
            tick(&w, BEAT_US);
            tell_shard(&w, 0);
            tell_worker(&w, 0);
            if (who == 0)
                tell_worker(&w, 1);
            else
                tell_shard(&w, 1);
        }
        assert_true(w.now_us - since >= DEAD_US - BEAT_US && w.now_us - since < DEAD_US + BEAT_US);
        ends_with(&w, 1, who == 0 ? "shard 1" : "worker 1");
        release(&w);
    }
}

static void nobody_is_waited_for_for_ever(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    give(&w, SHARD, shard_msg(&w, 0));
    tick(&w, RECOVER_US);
    assert_false(w.exits);
    tick(&w, RECOVER_US);
    assert_int_equal(view(&w).mode, 0);
    tick(&w, RECOVER_US);
    assert_int_equal(view(&w).mode, MODE_STOP);
    release(&w);
}

/* ---- STATE ---- */

static void a_late_state_is_a_sign_of_life_only(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    join(&w);
    struct msg *late = worker_msg(&w, 0), *late_shard = shard_msg(&w, 0);
    late->u.worker.n = late_shard->u.shard.n = 1;
    snprintf(late->u.worker.fault, sizeof late->u.worker.fault, "long ago");
    late_shard->u.shard.fault = true;
    give(&w, WORKER, late);
    give(&w, SHARD, late_shard);
    assert_int_equal(view(&w).mode, MODE_RUN);
    release(&w);
}

static void progress_that_cannot_be_ends_the_run(void **state)
{
    struct world w;
    (void)state;
    for (int what = 0; what < 3; what++) {
        setup(&w);
        join(&w);
        w.worker[0].leases = 1;
        w.worker[0].progress[0] = (struct msg_progress){
            .epoch = what == 0, .split = what == 1 ? 1000 : 0, .upto = what == 2 ? 11 : 5};
        tell_worker(&w, 0);
        ends_with(&w, 1, "worker 0");
        release(&w);
    }
}

static void faults_end_the_run_with_their_words(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    join(&w);
    snprintf(w.worker[1].fault, sizeof w.worker[1].fault, "block 7 is foul");
    tell_worker(&w, 1);
    ends_with(&w, 1, "worker 1: block 7 is foul; no cut is complete yet");
    release(&w);
    setup(&w);
    join(&w);
    w.shard[1].fault = true;
    snprintf(w.shard[1].why, sizeof w.shard[1].why, "push 7 is odd");
    tell_shard(&w, 1);
    ends_with(&w, 1, "shard 1: push 7 is odd");
    release(&w);
}

static void a_lease_is_repeated_until_it_is_listed(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    join(&w);
    assert_int_equal(w.leases[WORKER], 2);
    tick(&w, BEAT_US);
    assert_int_equal(w.leases[WORKER], 4);
    w.worker[0].leased = 2;
    w.worker[0].room = 0;
    w.worker[0].idle = false;
    tell_worker(&w, 0);
    tick(&w, BEAT_US);
    assert_int_equal(w.leases[WORKER], 4);
    /* every split is lent once */
    assert_int_not_equal(w.lease[WORKER].split, w.lease[WORKER + 1].split);
    release(&w);
}

/* ---- cuts ---- */

static void one_cut_step_by_step(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    join(&w);
    work(&w, 0, 5);
    wait_for_hold(&w);
    uint64_t hold = view(&w).n;
    tell_worker(&w, 0);
    assert_int_equal(view(&w).mode, MODE_HOLD); /* one has not answered */
    tell_worker(&w, 1);
    assert_int_equal(view(&w).mode, MODE_TAKE);
    assert_int_equal(view(&w).n, hold + 1);
    assert_int_equal(w.order[SHARD].open, 2);
    assert_true(w.order[SHARD].full);
    tell_shard(&w, 0);
    assert_int_equal(view(&w).mode, MODE_TAKE); /* one has not taken */
    tell_shard(&w, 1);
    assert_int_equal(view(&w).mode, MODE_RUN);
    assert_int_equal(w.order[SHARD].resolved, 0);
    durable(&w, 0, 1);
    assert_false(w.commits);  /* one has not written */
    w.shard[1].durable_e = 7; /* another incarnation's does not count */
    durable(&w, 1, 1);
    assert_true(w.commits);
    assert_int_equal(w.manifest->k, 1);
    assert_int_equal(w.manifest->applied, 5);
    assert_int_equal(w.manifest->splits_used, 1);
    assert_int_equal(w.manifest->files_used, 2);
    assert_int_equal(view(&w).complete, 0); /* not before the disk says so */
    step(&w, (struct head_event){.kind = HEAD_COMMITTED});
    assert_int_equal(view(&w).complete, 1);
    assert_int_equal(w.order[SHARD].complete, 1);
    assert_int_equal(w.order[SHARD].resolved, 1);
    release(&w);
}

static void positions_are_those_of_held(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    join(&w);
    work(&w, 0, 5);
    wait_for_hold(&w);
    hold_and_take(&w);
    durable(&w, 0, 1);
    struct msg_shard_state keep = w.shard[1]; /* shard 1 took the cut here */
    work(&w, 1, 7);                           /* in the new interval, before the commit */
    w.shard[1].step = w.shard[1].rendered = keep.pushes;
    w.shard[1].cut_applied = keep.applied;
    w.shard[1].durable_e = 1;
    w.shard[1].durable_k = 1;
    w.shard[1].file_full = true;
    w.shard[1].tables = 1;
    tell_shard(&w, 1);
    assert_true(w.commits);
    assert_int_equal(w.manifest->applied, 5);
    release(&w);
}

static void a_hold_that_takes_too_long_is_given_up(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    join(&w);
    work(&w, 0, 5);
    wait_for_hold(&w);
    tell_worker(&w, 0);
    for (uint64_t t = 0; t <= HOLD_US; t += BEAT_US) { /* worker 1 is alive, but does not hold */
        tick(&w, BEAT_US);
        give(&w, WORKER + 1, worker_msg(&w, 1));
        tell_shard(&w, 0);
        tell_shard(&w, 1);
    }
    assert_int_equal(view(&w).mode, MODE_RUN);
    assert_int_equal(view(&w).open, 1);
    assert_int_equal(view(&w).resolved, 0);
    /* worker 0's answer to the first HOLD is none to the second */
    uint64_t stale = w.worker[0].held;
    wait_for_hold(&w);
    w.worker[0].held = stale;
    w.worker[0].n = w.order[WORKER].n;
    give(&w, WORKER, worker_msg(&w, 0));
    tell_worker(&w, 1);
    assert_int_equal(view(&w).mode, MODE_HOLD);
    tell_worker(&w, 0);
    assert_int_equal(view(&w).mode, MODE_TAKE);
    release(&w);
}

static void a_cut_that_fails_is_abandoned_and_tried_again_later(void **state)
{
    struct world w;
    (void)state;
    for (int what = 0; what < 3; what++) {
        setup(&w);
        join(&w);
        work(&w, 0, 5);
        wait_for_hold(&w);
        hold_and_take(&w);
        durable(&w, 0, 1);
        if (what == 0) {
            w.shard[1].failed_k = 1;
            tell_shard(&w, 1);
        } else if (what == 1) {
            uint64_t since = w.now_us;
            while (view(&w).writing) {
                everybody_lives(&w);
                tick(&w, BEAT_US);
            }
            assert_true(w.now_us - since >= WRITE_US - BEAT_US &&
                        w.now_us - since < WRITE_US + DEAD_US);
        } else {
            durable(&w, 1, 1);
            assert_true(w.commits);
            step(&w, (struct head_event){.kind = HEAD_COMMITTED, .status = ST_IO});
        }
        assert_int_equal(view(&w).mode, MODE_RUN);
        assert_false(view(&w).writing);
        assert_int_equal(view(&w).complete, 0);
        assert_int_equal(view(&w).resolved, 1);
        assert_int_equal(w.order[SHARD].resolved, 1);
        uint64_t failed_us = w.now_us;
        w.shard[1].failed_k = 0;
        wait_for_hold(&w);
        assert_true(w.now_us - failed_us >= CUT_US);
        hold_and_take(&w);
        durable(&w, 0, 2);
        durable(&w, 1, 2);
        assert_true(w.commits);
        assert_int_equal(w.manifest->k, 2);
        release(&w);
    }
}

static void a_fenced_head_ends_at_once(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    join(&w);
    work(&w, 0, 5);
    wait_for_hold(&w);
    hold_and_take(&w);
    durable(&w, 0, 1);
    durable(&w, 1, 1);
    step(&w, (struct head_event){.kind = HEAD_COMMITTED, .status = ST_FENCED});
    assert_true(w.exits);
    assert_int_equal(w.code, 1);
    assert_int_equal(view(&w).complete, 0);
    release(&w);
}

static void a_wrong_cut_is_never_committed(void **state)
{
    struct world w;
    (void)state;
    for (int what = 0; what < 4; what++) {
        setup(&w);
        join(&w);
        work(&w, 0, 5);
        wait_for_hold(&w);
        hold_and_take(&w);
        durable(&w, 0, 1);
        durable(&w, 0, 1);
        struct msg_shard_state *t = &w.shard[1];
        *t = w.shard[0];
        t->shard = 1;
        switch (what) {
        case 0: t->step++; break;
        case 1: t->cut_applied--; break;
        case 2: t->tables++; break;
        default: t->file_full = false; break;
        }
        tell_shard(&w, 1);
        assert_false(w.commits);
        ends_with(&w, 1, "fault: shard 1 took cut 1");
        release(&w);
    }
}

/* ---- the end ---- */

static void asked_to_stop_it_makes_a_cut_first(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    step(&w, (struct head_event){.kind = HEAD_STOP});
    assert_int_equal(view(&w).mode, MODE_STOP);
    assert_int_equal(w.order[SHARD].stop_code, 0);
    release(&w);

    setup(&w);
    join(&w);
    work(&w, 0, 5);
    step(&w, (struct head_event){.kind = HEAD_STOP});
    assert_int_equal(view(&w).mode, MODE_HOLD); /* at once, not when it is due */
    hold_and_take(&w);
    durable(&w, 0, 1);
    durable(&w, 1, 1);
    assert_int_equal(view(&w).mode, MODE_RUN);
    uint64_t leases = w.leases[WORKER];
    step(&w, (struct head_event){.kind = HEAD_COMMITTED});
    assert_int_equal(w.leases[WORKER], leases);
    ends_with(&w, 0, "the last complete cut is 1");
    release(&w);
}

/* Each notice of a step is told in its own words. */
static void what_cannot_be_saved_ends_the_run(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    join(&w);
    work(&w, 0, 5);
    step(&w, (struct head_event){.kind = HEAD_STOP});
    for (uint64_t k = 1; view(&w).mode != MODE_STOP; k++) {
        assert_true(k <= 8);
        wait_for_hold(&w);
        hold_and_take(&w);
        w.shard[1].failed_k = k;
        snprintf(w.shard[1].why, sizeof w.shard[1].why, "the disk is full");
        tell_shard(&w, 1);
        assert_int_equal(w.notes, k < 8 ? 1 : 2);
        assert_non_null(strstr(w.note[0], "was abandoned: the disk is full"));
    }
    assert_non_null(strstr(w.note[1], "no cut can be made, after 8 tries"));
    ends_with(&w, 1, "no cut can be made");
    release(&w);
}

static void an_epoch_ends_quiet_evaluated_decided_cut(void **state)
{
    struct world w;
    (void)state;
    w.windows = NULL;
    setup_from(&w, true, NULL);
    join(&w);
    /* whoever tells it: progress is what counts */
    for (uint32_t r = 0; r < PEERS; r++) {
        uint64_t splits = RECORDS / 10 / PEERS;
        for (uint64_t i = 0; i < splits; i++) {
            w.worker[r].leases = 1;
            w.worker[r].room = 2;
            w.worker[r].idle = true;
            uint64_t split = r * splits + i;
            w.worker[r].leased = w.lease[WORKER + r].number;
            w.worker[r].progress[0] =
                (struct msg_progress){.split = split, .upto = 10 * split + 10};
            tell_worker(&w, r);
        }
        w.worker[r].leased = w.lease[WORKER + r].number;
        tell_worker(&w, r);
    }
    for (uint32_t r = 0; r < PEERS; r++) {
        w.worker[r].leased = w.lease[WORKER + r].number;
        tell_worker(&w, r);
    }
    assert_int_equal(w.order[WORKER].evaluate, 0); /* the shards have not applied it all */
    for (uint32_t s = 0; s < PEERS; s++) {
        w.shard[s].applied = RECORDS;
        w.shard[s].pushes = RECORDS / 10;
        tell_shard(&w, s);
    }
    assert_int_equal(w.order[WORKER].evaluate, 1);
    tell_worker(&w, 0);
    assert_int_equal(view(&w).mode, MODE_RUN); /* waits for the result */
    w.worker[0].evaluated = 1;
    w.worker[0].auc = 0.8125;
    tell_worker(&w, 0);
    assert_int_equal(view(&w).mode, MODE_HOLD);
    uint64_t leases = w.leases[WORKER];
    hold_and_take(&w);
    assert_int_equal(view(&w).epoch, 1);
    durable(&w, 0, 1);
    durable(&w, 1, 1);
    assert_true(w.commits);
    assert_int_equal(w.manifest->epoch, 1);
    assert_int_equal(w.manifest->splits_used, 0);
    assert_int_equal(w.manifest->best, 1);
    assert_non_null(strstr(w.manifest->recipe, "0.8125"));
    assert_int_equal(w.leases[WORKER], leases); /* no record of the next epoch before */
    step(&w, (struct head_event){.kind = HEAD_COMMITTED});
    assert_true(w.leases[WORKER] > leases);
    assert_int_equal(w.lease[WORKER].epoch, 1);
    release(&w);
}

/* One worker pushes all of the present window; all that is left of it, lease by lease. */
static void window_worked_off(struct world *w, uint64_t epoch, uint64_t first, uint64_t records)
{
    struct msg_worker_state *k = &w->worker[0];
    for (uint64_t at = 0; at < records;) {
        k->leased = k->leased + 1;
        k->room = 0; /* one lease at a time */
        tell_worker(w, 0);
        const struct msg_lease l = w->lease[WORKER];
        assert_true(l.number == k->leased && l.begin == at && l.epoch == epoch);
        assert_true(l.first == first && l.records == records);
        k->leases = 1;
        k->progress[0] = (struct msg_progress){.epoch = epoch, .split = l.split, .upto = l.end};
        for (uint32_t s = 0; s < PEERS; s++) {
            w->shard[s].applied += l.end - l.begin;
            w->shard[s].pushes++;
            tell_shard(w, s);
        }
        at = l.end;
        k->room = at < records;
        tell_worker(w, 0);
    }
}

/* Windows of 50, 250 and 20 records: each is judged before a lease of it is given, the first and nothing behind the last
 * not at all; positions count from where it begins. */
static void windows_are_judged_before_they_are_lent(void **state)
{
    uint64_t first[] = {0, 50, 300, 320};
    int64_t from[] = {0, 86400000000, 172800000000};
    const struct windows windows = {.first = first, .from = from, .used = 3};
    struct world w;
    (void)state;
    w.windows = &windows;
    setup_from(&w, true, NULL); /* a valid part changes nothing */
    w.job.cluster.full_every = 1;
    w.worker[0].room = 1;
    w.worker[1].room = 0;
    join(&w);
    for (uint64_t k = 0; k < 3; k++) {
        window_worked_off(&w, k, first[k], first[k + 1] - first[k]);
        if (k < 2) {
            assert_int_equal(w.order[WORKER].evaluate, k + 1);
            assert_int_equal(w.order[WORKER].evaluate_first, first[k + 1]);
            assert_int_equal(w.order[WORKER].evaluate_records, first[k + 2] - first[k + 1]);
            w.worker[0].evaluated = k + 1;
            w.worker[0].auc = .5 + (double)k / 8;
            w.worker[0].logloss = .25;
            tell_worker(&w, 0);
        }
        assert_int_equal(view(&w).mode, MODE_HOLD);
        const uint64_t leases = w.leases[WORKER];
        w.worker[0].room = 1;
        hold_and_take(&w);
        durable(&w, 0, k + 1);
        durable(&w, 1, k + 1);
        assert_true(w.commits);
        assert_true(w.manifest->epoch == k + 1 && w.manifest->applied == first[k + 1]);
        assert_true(w.manifest->splits_used == 0 && w.manifest->best == k + 1);
        assert_int_equal(w.leases[WORKER], leases);
        step(&w, (struct head_event){.kind = HEAD_COMMITTED});
    }
    char *report = head_report(w.h, w.now_us);
    assert_non_null(strstr(report, "\"from\": \"1970-01-03T00:00:00Z\", \"records\": 20,"));
    assert_non_null(strstr(report, "\"auc\": 0.625,"));
    free(report);
    ends_with(&w, 0, "done");
    release(&w);
}

/* A live run: behind its one epoch it waits for segments of 40 and 7 records, judges each, and lends nothing of it before
 * rank 0 has judged it and every shard knows its log. It ends when it is asked to, and not before. */
static void segments_are_judged_before_they_are_lent(void **state)
{
    const uint64_t records[] = {RECORDS, 40, 7};
    uint64_t applied = 0;
    struct world w;
    (void)state;
    w.windows = NULL;
    setup_from(&w, false, NULL);
    w.job.data.follow.used = 1;
    w.job.train.epochs = 1;
    w.job.cluster.full_every = 1;
    w.worker[0].room = 1;
    w.worker[1].room = 0;
    join(&w);
    for (uint64_t k = 0; k < 3; k++) {
        if (k > 0) {
            assert_int_equal(view(&w).segment, k);
            const uint64_t leases = w.leases[WORKER];
            struct head_event ev = {.kind = HEAD_SEGMENT, .segment = k + 1, .records = 99};
            step(&w, ev); /* not the one that is wanted */
            assert_int_equal(view(&w).segment, k);
            ev.segment = k;
            ev.records = records[k];
            step(&w, ev);
            assert_int_equal(view(&w).segment, 0);
            assert_int_equal(w.order[WORKER].evaluate, k);
            assert_int_equal(w.order[WORKER].evaluate_segment, k);
            assert_int_equal(w.order[WORKER].evaluate_records, records[k]);
            assert_int_equal(w.order[SHARD].records, records[k]);
            tell_shard(&w, 0);
            w.worker[0].evaluated = k;
            w.worker[0].auc = .5 + (double)k / 8;
            w.worker[0].logloss = .25;
            tell_worker(&w, 0);
            assert_int_equal(w.leases[WORKER], leases); /* shard 1 does not know its log yet */
            tell_shard(&w, 1);
            assert_int_equal(w.leases[WORKER], leases + 1);
            assert_int_equal(w.lease[WORKER].segment, k);
        }
        window_worked_off(&w, k, 0, records[k]);
        applied += records[k];
        assert_int_equal(view(&w).mode, MODE_HOLD);
        w.worker[0].room = 1;
        hold_and_take(&w);
        durable(&w, 0, k + 1);
        durable(&w, 1, k + 1);
        assert_true(w.commits);
        assert_true(w.manifest->epoch == k + 1 && w.manifest->applied == applied);
        assert_true(w.manifest->splits_used == 0 && w.manifest->best == k + 1);
        step(&w, (struct head_event){.kind = HEAD_COMMITTED});
    }
    char *report = head_report(w.h, w.now_us);
    assert_non_null(strstr(report, "\"segments\": 2, \"records\": 47,"));
    assert_non_null(strstr(report, "\"segment\": 1, \"records\": 40, \"auc\": 0.625,"));
    assert_non_null(strstr(report, "\"segment\": 2, \"records\": 7, \"auc\": 0.75,"));
    free(report);
    tick(&w, BEAT_US);
    assert_int_equal(view(&w).segment, 3);
    step(&w, (struct head_event){.kind = HEAD_STOP});
    ends_with(&w, 0, "stopped as asked");
    release(&w);
}

/* The base stands in the middle of the second window; with other windows in front it is another log. */
static void windows_go_on_from_the_base(void **state)
{
    uint64_t first[] = {0, 50, 300, 320};
    int64_t from[] = {0, 1, 2};
    const struct windows windows = {.first = first, .from = from, .used = 3};
    struct manifest_split split = {.split = 1, .upto = 17};
    struct manifest base;
    struct world w;
    struct job none = {0};
    struct recipe recipe;
    (void)state;
    manifest_init(&base);
    base.k = 5;
    base.e = 3;
    base.epoch = 1;
    base.records = 250;
    base.split_records = 10;
    base.splits = &split;
    base.splits_used = 1;
    base.applied = 57;
    recipe_init(&recipe, &none);
    base.recipe = recipe_text(&recipe);
    for (int other = 0; other < 2; other++) {
        first[1] = other ? 60 : 50;
        first[2] = other ? 310 : 300;
        w.windows = &windows;
        setup_from(&w, false, &base);
        if (other) {
            assert_true(w.exits);
            assert_int_equal(w.code, 3);
            assert_non_null(strstr(w.text, "the files of data.train changed"));
        } else {
            gather(&w);
            for (uint32_t i = 0; i < PEERS; i++) {
                w.shard[i].applied = 57;
                w.worker[i].room = i == 0 ? 2 : 0;
                tell_shard(&w, i);
                tell_worker(&w, i);
            }
            assert_int_equal(w.leases[WORKER], 2);
            assert_true(w.lease[WORKER].begin == 17 && w.lease[WORKER].end == 20);
            assert_true(w.lease[WORKER].first == 50 && w.lease[WORKER].records == 250);
        }
        release(&w);
    }
    free(base.recipe);
    recipe_release(&recipe);
}

static void it_begins_from_what_the_base_says(void **state)
{
    struct world w;
    struct manifest_split split = {.split = 0, .upto = 7};
    struct manifest base;
    (void)state;
    manifest_init(&base);
    base.k = 5;
    base.e = 3;
    base.records = RECORDS;
    base.split_records = 10;
    base.splits = &split;
    base.splits_used = 1;
    base.applied = 7;
    struct job none = {0};
    struct recipe recipe;
    recipe_init(&recipe, &none);
    base.recipe = recipe_text(&recipe);
    w.windows = NULL;
    setup_from(&w, false, &base);
    gather(&w);
    assert_int_equal(w.order[SHARD].base, 5);
    assert_int_equal(w.order[SHARD].base_e, 3);
    assert_int_equal(w.order[SHARD].open, 6);
    for (uint32_t i = 0; i < PEERS; i++) {
        w.shard[i].applied = 7;
        tell_shard(&w, i);
        tell_worker(&w, i);
    }
    assert_int_equal(view(&w).mode, MODE_RUN);
    assert_int_equal(w.leases[WORKER], 2);
    release(&w);

    base.records = RECORDS + 1; /* another log */
    setup_from(&w, false, &base);
    assert_true(w.exits);
    assert_int_equal(w.code, 3);
    release(&w);
    base.records = RECORDS;
    split.upto = 11; /* beyond its split */
    setup_from(&w, false, &base);
    assert_true(w.exits);
    assert_int_equal(w.code, 3);
    release(&w);
    free(base.recipe);
    recipe_release(&recipe);
}

static void without_an_incarnation_it_ends(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    release(&w);
    setup(&w);
    step(&w, (struct head_event){.kind = HEAD_FENCED, .e = 9}); /* not asked for any more */
    assert_int_equal(view(&w).e, 1);
    release(&w);
}

/* ---- bsp ---- */

static void bsp_lends_the_same_to_all_and_cuts_between_steps(void **state)
{
    struct world w;
    (void)state;
    w.windows = NULL;
    setup_from(&w, false, NULL);
    head_free(w.h);
    w.job.train.consistency = JOB_BSP;
    w.h = head_new(&(struct head_conf){.job = JOB,
                                       .boot = 1,
                                       .conf = &w.job,
                                       .plan = &w.plan,
                                       .shards = PEERS,
                                       .workers = PEERS,
                                       .records = RECORDS});
    tick(&w, 0);
    step(&w, (struct head_event){.kind = HEAD_FENCED, .e = 1});
    join(&w);
    assert_int_equal(w.order[SHARD].split_records, RECORDS);
    assert_int_equal(w.lease[WORKER].begin, w.lease[WORKER + 1].begin);
    assert_int_equal(w.lease[WORKER].end, w.lease[WORKER + 1].end);
    assert_int_equal(w.lease[WORKER].number, 2);
    for (uint32_t r = 0; r < PEERS; r++) {
        w.worker[r].leased = 2;
        w.worker[r].room = 0;
        w.worker[r].leases = 1;
        w.worker[r].idle = false;
        w.worker[r].progress[0] = (struct msg_progress){.upto = r == 0 ? 20 : 10};
        w.worker[r].clock = r == 0 ? 2 : 1;
    }
    wait_for_hold(&w);
    uint64_t hold = view(&w).n;
    assert_int_equal(w.order[WORKER].clock, 0);
    tell_worker(&w, 0);
    tell_worker(&w, 1);
    assert_int_equal(view(&w).mode, MODE_HOLD); /* again, up to the clock of the one ahead */
    assert_int_equal(view(&w).n, hold + 1);
    assert_int_equal(w.order[WORKER + 1].clock, 2);
    tell_worker(&w, 0);
    assert_int_equal(view(&w).mode, MODE_HOLD);
    w.worker[1].clock = 2;
    w.worker[1].progress[0].upto = 20;
    tell_worker(&w, 1);
    assert_int_equal(view(&w).mode, MODE_TAKE);
    release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_waits_for_everybody_then_recovers_then_runs),
        cmocka_unit_test(strangers_are_refused),
        cmocka_unit_test(a_second_world_is_refused_while_the_first_lives),
        cmocka_unit_test(another_boot_in_a_members_place),
        cmocka_unit_test(who_has_an_older_e_is_shown_the_order),
        cmocka_unit_test(silence_is_a_death),
        cmocka_unit_test(nobody_is_waited_for_for_ever),
        cmocka_unit_test(a_late_state_is_a_sign_of_life_only),
        cmocka_unit_test(progress_that_cannot_be_ends_the_run),
        cmocka_unit_test(faults_end_the_run_with_their_words),
        cmocka_unit_test(a_lease_is_repeated_until_it_is_listed),
        cmocka_unit_test(one_cut_step_by_step),
        cmocka_unit_test(positions_are_those_of_held),
        cmocka_unit_test(a_hold_that_takes_too_long_is_given_up),
        cmocka_unit_test(a_cut_that_fails_is_abandoned_and_tried_again_later),
        cmocka_unit_test(a_fenced_head_ends_at_once),
        cmocka_unit_test(a_wrong_cut_is_never_committed),
        cmocka_unit_test(asked_to_stop_it_makes_a_cut_first),
        cmocka_unit_test(what_cannot_be_saved_ends_the_run),
        cmocka_unit_test(an_epoch_ends_quiet_evaluated_decided_cut),
        cmocka_unit_test(windows_are_judged_before_they_are_lent),
        cmocka_unit_test(segments_are_judged_before_they_are_lent),
        cmocka_unit_test(windows_go_on_from_the_base),
        cmocka_unit_test(it_begins_from_what_the_base_says),
        cmocka_unit_test(without_an_incarnation_it_ends),
        cmocka_unit_test(bsp_lends_the_same_to_all_and_cuts_between_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
