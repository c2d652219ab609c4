/* train_shard.c - one shard, message by message: what it refuses, counts, faults at, and does not do.
 *
 * Shard 0 of 2, world of 2 workers, a log of 1000 records in splits of 100. Whole histories are the business of
 * tests/sim; here each refusal stands alone.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "ps/train/shard_step.h"

enum { JOB = 42, BOOT = 7, WORLD = 9, SENT_MAX = 32, BEAT_US = 100000, BLOCKS = 2 };

struct world {
    struct plan plan;
    struct frame_pool *pool;
    struct shard *s;
    uint64_t now_us, e, n, open, complete, resolved, key[8]; /* key: of this shard; [7]: not */
    /* -- of the last step -- */
    struct msg *sent[SENT_MAX];
    size_t sends;
    bool loads, exits, begins, notes;
    bool dealt; /* the log is one split; of the whole test */
    uint64_t load_k;
    int code;
    char text[512];
};

static void forget(struct world *w)
{
    for (size_t i = 0; i < w->sends; i++)
        msg_free(w->sent[i]);
    w->sends = 0;
    w->loads = w->exits = w->begins = w->notes = false;
}

static void step(struct world *w, struct shard_event *ev)
{
    const struct shard_action *a;
    size_t n;
    forget(w);
    ev->now_us = w->now_us += 1000;
    shard_step(w->s, ev, &a, &n);
    for (size_t i = 0; i < n; i++) {
        switch (a[i].kind) {
        case SHARD_SEND:
            assert_true(w->sends < SENT_MAX);
            w->sent[w->sends++] = a[i].msg;
            break;
        case SHARD_LOAD:
            w->loads = true;
            w->load_k = a[i].k;
            break;
        case SHARD_FILE_BEGIN: w->begins = true; break;
        case SHARD_NOTE: w->notes = true; break;
        case SHARD_EXIT:
            w->exits = true;
            w->code = a[i].code;
            snprintf(w->text, sizeof w->text, "%s", a[i].text);
            break;
        default: break;
        }
    }
    shard_check(w->s);
}

static void give(struct world *w, struct msg *m)
{
    step(w, &(struct shard_event){.kind = SHARD_MSG, .msg = m, .from = 5});
}

/* The only message of this kind that the last step sent, or NULL. */
static const struct msg *sent(const struct world *w, enum msg_kind kind)
{
    const struct msg *found = NULL;
    for (size_t i = 0; i < w->sends; i++) {
        if (w->sent[i]->kind != kind)
            continue;
        assert_null(found);
        found = w->sent[i];
    }
    return found;
}

static const struct msg_shard_state *state_now(struct world *w)
{
    w->now_us += BEAT_US;
    step(w, &(struct shard_event){.kind = SHARD_TICK});
    const struct msg *m = sent(w, MSG_SHARD_STATE);
    assert_non_null(m);
    return &m->u.shard;
}

static struct shard_view view(const struct world *w)
{
    struct shard_view v;
    shard_view(w->s, &v);
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
    o->complete = w->complete;
    o->resolved = w->resolved;
    o->full = true;
    o->shards = 2;
    o->member = mem_array(2, sizeof *o->member);
    o->member[0].boot = BOOT;
    o->member[1].boot = BOOT + 1;
    for (size_t i = 0; i < BUCKETS; i++)
        o->map[i] = i >= BUCKETS / 2;
    o->world = WORLD;
    o->world_size = 2;
    o->records = 1000;
    o->split_records = w->dealt ? 1000 : 100;
    return m;
}

static void setup_with(struct world *w, struct shard_conf conf)
{
    struct job_optim sgd = {.kind = JOB_SGD, .rate = 1, .l2_mode = JOB_L2_TOUCHED};
    struct errbuf err = ERRBUF_INIT;
    uint64_t shape[1] = {4 * DENSE_BLOCK};
    memset(w, 0, sizeof *w);
    w->plan = (struct plan){.seed = 3};
    plan_add_sparse(&w->plan, "one", 2, PLAN_ZERO, 0, &sgd);
    plan_add_sparse(&w->plan, "two", 1, PLAN_ZERO, 0, &sgd);
    plan_add_tensor(&w->plan, PLAN_DENSE, "wide", 1, shape, PLAN_ZERO, 0, &sgd);
    w->pool = frame_pool_new((uint64_t)1 << 20);
    w->now_us = 5000000;
    w->e = 1;
    w->open = 1;
    size_t mine = 0;
    for (uint64_t key = 1; mine < 7 || w->key[7] == 0; key++) {
        if (hash_bucket(key) >= BUCKETS / 2)
            w->key[7] = key;
        else if (mine < 7)
            w->key[mine++] = key;
    }
    conf.job = JOB;
    conf.boot = BOOT;
    conf.plan = &w->plan;
    conf.address = "tcp://here";
    conf.beat_us = BEAT_US;
    conf.orphan_us = 30000000;
    conf.workers_max = 8;
    conf.pool = w->pool;
    conf.grad_max = 1000;
    assert_int_equal(shard_new(&conf, &w->s, &err), ST_OK);
}

static void join(struct world *w)
{
    give(w, order(w, MODE_RECOVER));
    assert_true(w->loads);
    assert_int_equal(w->load_k, 0);
    struct shard_event ev = {.kind = SHARD_LOADED};
    manifest_init(&ev.base);
    step(w, &ev);
    give(w, order(w, MODE_RUN));
    assert_false(view(w).loading);
}

static void setup(struct world *w)
{
    setup_with(w, (struct shard_conf){.bytes_max = (uint64_t)1 << 28, .handle_bytes_max = 1 << 16});
    join(w);
}

static void release(struct world *w)
{
    forget(w);
    shard_free(w->s);
    frame_pool_free(w->pool);
    plan_release(&w->plan);
}

static struct frame floats(struct world *w, size_t n, float value)
{
    struct frame f = frame_pool_get(w->pool, n * sizeof(float));
    for (size_t i = 0; i < n; i++)
        ((float *)f.data)[i] = value;
    return f;
}

/* Records [begin, begin + 5) of split 0, the first n keys. */
static struct msg *push(struct world *w, uint32_t rank, uint64_t seq, uint64_t begin, uint32_t n)
{
    struct msg *m = msg_new(MSG_PUSH);
    m->job = JOB;
    m->e = w->e;
    m->boot = 100 + rank;
    m->role = ROLE_WORKER;
    m->sender = rank;
    m->u.push = (struct msg_push){
        .rank = rank, .seq = seq, .tag = w->open, .n = n, .begin = begin, .end = begin + 5};
    m->frames = 5;
    m->frame[0] = frame_pool_get(w->pool, n * sizeof(uint64_t));
    if (n > 0)
        memcpy(m->frame[0].data, w->key, n * sizeof(uint64_t));
    m->frame[1] = floats(w, n * 2, -1);
    m->frame[2] = floats(w, n, -1);
    m->frame[3] = floats(w, BLOCKS * DENSE_BLOCK, -1);
    return m;
}

/* No records: so no dense gradients either. */
static struct msg *empty_push(struct world *w, uint32_t rank, uint64_t seq, uint64_t at)
{
    struct msg *m = push(w, rank, seq, at, 0);
    m->u.push.end = at;
    frame_release(&m->frame[3]);
    m->frame[3] = (struct frame){0};
    return m;
}

static struct msg *pull(struct world *w, uint32_t n, bool handle)
{
    struct msg *m = msg_new(MSG_PULL);
    m->job = JOB;
    m->e = w->e;
    m->role = ROLE_WORKER;
    m->u.pull =
        (struct msg_pull){.request = 11, .tables = 3, .dense = true, .handle = handle, .n = n};
    m->frames = 1;
    m->frame[0] = frame_pool_get(w->pool, n * sizeof(uint64_t));
    if (n > 0)
        memcpy(m->frame[0].data, w->key, n * sizeof(uint64_t));
    return m;
}

/* First weight of a row of table one; NAN: there is none. */
static float weight(struct world *w, uint64_t key)
{
    struct table *t = shard_store(w->s)->table[0];
    uint32_t slot;
    table_find(t, &key, 1, &slot);
    return slot == SLOT_NONE ? NAN : row_weights(table_record(t, slot))[0];
}

static void refused(struct world *w, struct msg *m)
{
    uint64_t before = view(w).step;
    w->now_us += 2000000; /* one a second is said */
    uint64_t boot = m->boot, e = m->e;
    give(w, m);
    const struct msg *r = sent(w, MSG_REFUSED);
    assert_non_null(r);
    assert_int_equal(r->u.refused.boot, boot);
    assert_int_equal(r->u.refused.e, e);
    assert_null(sent(w, MSG_ACK));
    assert_null(sent(w, MSG_ROWS));
    assert_int_equal(view(w).step, before);
    assert_false(view(w).fault);
}

static void acked(struct world *w, struct msg *m, uint64_t seq, bool keys, bool applied)
{
    uint64_t before = view(w).step;
    give(w, m);
    const struct msg *a = sent(w, MSG_ACK);
    assert_non_null(a);
    assert_int_equal(a->u.ack.seq, seq);
    assert_int_equal(a->u.ack.keys, keys);
    assert_int_equal(view(w).step, before + applied);
}

static void faulted(struct world *w, struct msg *m, const char *word)
{
    uint64_t before = view(w).step;
    give(w, m);
    assert_true(view(w).fault);
    assert_null(sent(w, MSG_ACK));
    assert_int_equal(view(w).step, before);
    const struct msg *s = sent(w, MSG_SHARD_STATE); /* at once, not at the beat */
    assert_non_null(s);
    assert_true(s->u.shard.fault);
    if (strstr(s->u.shard.why, word) == NULL)
        fail_msg("\"%s\" says nothing of \"%s\"", s->u.shard.why, word);
    /* and applies nothing any more */
    give(w, push(w, 0, 1, 0, 2));
    assert_null(sent(w, MSG_ACK));
    assert_int_equal(view(w).step, before);
}

/* ---- joining ---- */

static void a_fresh_shard_joins_by_recover_only(void **state)
{
    struct world w;
    (void)state;
    setup_with(&w, (struct shard_conf){.bytes_max = 1 << 28, .handle_bytes_max = 1 << 16});
    refused(&w, pull(&w, 2, false));
    refused(&w, push(&w, 0, 1, 0, 2));
    static const enum mode others[] = {MODE_RUN, MODE_HOLD, MODE_TAKE};
    for (size_t i = 0; i < 3; i++) {
        give(&w, order(&w, others[i]));
        assert_int_equal(view(&w).e, 0);
        assert_false(w.exits);
    }
    struct msg *m = order(&w, MODE_RECOVER);
    m->u.order.member[0].boot = BOOT + 5; /* its forerunner's */
    give(&w, m);
    assert_int_equal(view(&w).e, 0);
    assert_false(w.loads || w.exits);
    join(&w);
    assert_int_equal(view(&w).e, 1);
    release(&w);
}

static void an_older_order_is_not_obeyed(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    struct msg *old = order(&w, MODE_TAKE), *same = order(&w, MODE_RUN);
    old->u.order.open = 2;
    uint64_t n = same->u.order.n;
    give(&w, same);
    assert_int_equal(view(&w).n, n);
    give(&w, old);
    assert_int_equal(view(&w).n, n);
    assert_int_equal(view(&w).taken, 0);
    struct msg *elder = order(&w, MODE_TAKE);
    elder->e = 0;
    elder->u.order.open = 2;
    give(&w, elder);
    assert_int_equal(view(&w).taken, 0);
    release(&w);
}

static void whom_a_greater_e_does_not_name_exits(void **state)
{
    struct world w;
    (void)state;
    for (int what = 0; what < 3; what++) {
        setup(&w);
        w.e = 2;
        struct msg *m = order(&w, MODE_RECOVER);
        if (what == 0)
            m->u.order.member[0].boot++;
        if (what == 1)
            m->u.order.shards = 0; /* the head still gathers: it does not know this one */
        if (what == 2)
            m->u.order.mode = MODE_RUN; /* names it, but nobody joins by RUN */
        give(&w, m);
        assert_int_equal(w.exits, what < 2);
        assert_int_equal(view(&w).e, 1);
        release(&w);
    }
}

static void silence_ends_it(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    w.now_us += 29000000;
    step(&w, &(struct shard_event){.kind = SHARD_TICK});
    assert_false(w.exits);
    w.now_us += 1000000;
    step(&w, &(struct shard_event){.kind = SHARD_TICK});
    assert_true(w.exits);
    assert_int_equal(w.code, 1);
    give(&w, push(&w, 0, 1, 0, 2)); /* and nothing comes after the end */
    assert_int_equal(w.sends, 0);
    release(&w);
}

static void stop_is_answered_and_ends_with_its_code(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    struct msg *m = order(&w, MODE_STOP);
    m->u.order.stop_code = 6;
    give(&w, m);
    assert_true(w.exits);
    assert_int_equal(w.code, 6);
    assert_int_equal(sent(&w, MSG_SHARD_STATE)->u.shard.n, w.n);
    release(&w);
}

static void what_cannot_be_loaded_is_a_fault(void **state)
{
    struct world w;
    (void)state;
    setup_with(&w, (struct shard_conf){.bytes_max = 1 << 28});
    give(&w, order(&w, MODE_RECOVER));
    give(&w, push(&w, 0, 1, 0, 2)); /* comes again later */
    assert_null(sent(&w, MSG_ACK));
    assert_null(sent(&w, MSG_REFUSED));
    struct shard_event ev = {.kind = SHARD_LOADED, .status = ST_BAD_DATA, .text = "file x is foul"};
    manifest_init(&ev.base);
    step(&w, &ev);
    assert_true(view(&w).fault);
    assert_non_null(strstr(state_now(&w)->why, "file x is foul"));
    release(&w);

    setup_with(&w, (struct shard_conf){.bytes_max = 1 << 28});
    struct msg *m = order(&w, MODE_RECOVER);
    m->u.order.base = 3;
    give(&w, m);
    struct manifest_split split = {.split = 2, .upto = 301};
    ev = (struct shard_event){.kind = SHARD_LOADED};
    manifest_init(&ev.base);
    ev.base.k = 3;
    ev.base.records = 1000;
    ev.base.split_records = 100;
    ev.base.splits = &split;
    ev.base.splits_used = 1;
    step(&w, &ev);
    assert_true(view(&w).fault);
    release(&w);
}

/* ---- pushes ---- */

static void strangers_are_refused(void **state)
{
    struct world w;
    struct msg *m;
    (void)state;
    setup(&w);
    m = push(&w, 0, 1, 0, 2);
    m->job++;
    refused(&w, m);
    m = push(&w, 0, 1, 0, 2);
    m->e++;
    refused(&w, m);
    m = push(&w, 0, 1, 0, 2);
    m->e--;
    refused(&w, m);
    refused(&w, push(&w, 2, 1, 0, 2)); /* the world has ranks 0 and 1 */
    m = push(&w, 0, 1, 0, 2);
    m->sender = 1;
    refused(&w, m);
    m = pull(&w, 2, true);
    m->e++;
    refused(&w, m);
    m = msg_new(MSG_WORKER_STATE);
    m->job = JOB;
    m->e = w.e;
    refused(&w, m);
    /* said once a second, not to each of a flood */
    m = push(&w, 0, 1, 0, 2);
    m->e++;
    give(&w, m);
    assert_null(sent(&w, MSG_REFUSED));
    release(&w);
}

static void sizes_must_fit_the_plan(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    for (size_t f = 1; f < 5; f++) {
        struct msg *m = push(&w, 0, 1, 0, 3);
        frame_release(&m->frame[f]);
        m->frame[f] = floats(&w, f < 3 ? 5 : DENSE_BLOCK, 0); /* one float, one block off */
        refused(&w, m);
    }
    struct msg *m = push(&w, 0, 1, 0, 3);
    m->frames = 4;
    refused(&w, m);
    assert_true(isnan(weight(&w, w.key[0])));
    release(&w);
}

static void keys_must_be_this_shards_and_once(void **state)
{
    struct world w;
    struct msg *m;
    (void)state;
    setup(&w);
    m = push(&w, 0, 1, 0, 3);
    ((uint64_t *)m->frame[0].data)[2] = w.key[7];
    refused(&w, m);
    m = push(&w, 0, 1, 0, 3);
    ((uint64_t *)m->frame[0].data)[2] = w.key[0];
    refused(&w, m);
    assert_true(isnan(weight(&w, w.key[0])));
    m = pull(&w, 3, true);
    ((uint64_t *)m->frame[0].data)[1] = w.key[7];
    refused(&w, m);
    m = pull(&w, 3, true);
    m->u.pull.tables = 4; /* that is the dense one */
    refused(&w, m);
    release(&w);
}

static void in_order_once(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    acked(&w, push(&w, 0, 2, 5, 2), 0, false, false); /* a gap */
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, true);
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, false); /* again */
    acked(&w, push(&w, 0, 2, 5, 2), 2, false, true);
    acked(&w, push(&w, 0, 1, 0, 2), 2, false, false); /* an old one: the answer is cumulative */
    acked(&w, push(&w, 0, 9, 5, 2), 2, false, false);
    acked(&w, push(&w, 1, 1, 10, 2), 1, false, true); /* another worker counts for itself */
    assert_true(weight(&w, w.key[0]) == 3);
    assert_int_equal(view(&w).applied, 15);
    release(&w);
}

static void another_interval_is_a_fault(void **state)
{
    struct world w;
    (void)state;
    for (int late = 0; late < 2; late++) {
        setup(&w);
        struct msg *m = push(&w, 0, 1, 0, 2);
        m->u.push.tag = late ? 0 : 2;
        faulted(&w, m, "interval");
        assert_true(isnan(weight(&w, w.key[0])));
        release(&w);
    }
}

static void records_must_be_the_next_of_their_split(void **state)
{
    struct world w;
    (void)state;
    for (int what = 0; what < 6; what++) {
        setup(&w);
        acked(&w, push(&w, 1, 1, 0, 2), 1, false, true);
        struct msg *m = push(&w, 0, 1, 5, 2);
        struct msg_push *p = &m->u.push;
        switch (what) {
        case 0: p->begin = 3; break; /* 3 and 4 twice */
        case 1: p->begin = 7; break; /* 5 and 6 never */
        case 2: p->epoch = 1; break;
        case 3: p->split = 10; break;
        case 4: p->end = 101; break;
        default: p->end = 5; break; /* none at all */
        }
        faulted(&w, m, "split");
        struct shard_view v = view(&w);
        assert_int_equal(v.doubled, what == 0 ? 2 : 0);
        assert_int_equal(v.skipped, what == 1 ? 2 : 0);
        release(&w);
    }
}

static void foul_gradients_are_refused_row_by_row_and_reported(void **state)
{
    static const float foul[] = {NAN, INFINITY, -INFINITY, 1001};
    struct world w;
    uint64_t seq = 0, begin = 0;
    (void)state;
    setup(&w);
    for (size_t i = 0; i < sizeof foul / sizeof foul[0]; i++) {
        struct msg *m = push(&w, 1, ++seq, begin, 3);
        ((float *)m->frame[1].data)[3] = foul[i]; /* row 1 of table one */
        begin += 5;
        acked(&w, m, seq, false, true);
        assert_int_equal(sent(&w, MSG_ACK)->u.ack.refused, seq);
        assert_true(weight(&w, w.key[0]) == (float)seq);
        assert_true(isnan(weight(&w, w.key[1]))); /* not even made */
        assert_true(weight(&w, w.key[2]) == (float)seq);
        const struct msg_shard_state *s = state_now(&w);
        char want[160];
        snprintf(want, sizeof want,
                 "table one, key %llu, worker 1, epoch 1, split 0, records [%llu, %llu)",
                 (unsigned long long)w.key[1], (unsigned long long)begin - 5,
                 (unsigned long long)begin);
        assert_string_equal(s->refused_where, want);
        assert_int_equal(s->refused, seq);
        assert_int_equal(s->refused_worker, 1);
        assert_false(s->fault);
    }
    /* a dense block, too: it alone stays as it was */
    struct msg *m = push(&w, 0, 1, begin, 1);
    ((float *)m->frame[3].data)[DENSE_BLOCK + 17] = NAN;
    acked(&w, m, 1, false, true);
    assert_int_equal(sent(&w, MSG_ACK)->u.ack.refused, 1); /* of worker 0's pushes */
    assert_non_null(strstr(state_now(&w)->refused_where, "table dense, key 1, worker 0"));
    release(&w);
}

static void a_full_table_refuses_new_rows_and_updates_old_ones(void **state)
{
    struct world w;
    uint64_t seq = 0, begin = 0, refused_rows = 0;
    (void)state;
    setup_with(&w, (struct shard_conf){.bytes_max = 1 << 16, .handle_bytes_max = 1 << 12});
    join(&w);
    for (uint64_t key = 1; refused_rows == 0 && seq < 19; key += 1000) {
        struct msg *m = push(&w, 0, ++seq, begin, 1);
        uint64_t keys[512];
        uint32_t n = 0;
        for (uint64_t k = key; k < key + 1000 && n < 500; k++) {
            if (hash_bucket(k) < BUCKETS / 2)
                keys[n++] = k;
        }
        m->u.push.n = n;
        for (size_t f = 0; f < 3; f++)
            frame_release(&m->frame[f]);
        m->frame[0] = frame_pool_get(w.pool, n * sizeof(uint64_t));
        memcpy(m->frame[0].data, keys, n * sizeof(uint64_t));
        m->frame[1] = floats(&w, n * 2, -1);
        m->frame[2] = floats(&w, n, -1);
        begin += 5;
        acked(&w, m, seq, false, true);
        refused_rows = sent(&w, MSG_ACK)->u.ack.refused;
    }
    assert_true(refused_rows > 0);
    const struct msg_shard_state *s = state_now(&w);
    assert_non_null(strstr(s->refused_where, "(no room)"));
    assert_true(s->table_bytes <= 1 << 16);
    release(&w);
}

/* ---- pulls and handles ---- */

static void a_pull_changes_nothing(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    give(&w, pull(&w, 3, false));
    const struct msg *r = sent(&w, MSG_ROWS);
    assert_non_null(r);
    assert_int_equal(r->u.rows.request, 11);
    assert_int_equal(r->u.rows.handle, 0);
    assert_int_equal(r->frames, 4);
    assert_int_equal(r->frame[0].bytes, 3 * 2 * sizeof(float));
    assert_int_equal(r->frame[2].bytes, BLOCKS * DENSE_BLOCK * sizeof(float));
    assert_true(isnan(weight(&w, w.key[0])));
    assert_int_equal(view(&w).step, 0);
    assert_int_equal(view(&w).handle_bytes, 0);
    release(&w);
}

/* Of a key that nobody has pushed: training pulls its initial value, an evaluation what a snapshot's reader gets. */
static void an_absent_row_is_to_an_evaluation_what_it_is_to_a_snapshot(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    struct plan_table *t = &w.plan.tables[0];
    t->init = PLAN_ONE;
    give(&w, pull(&w, 1, false));
    const float *row = sent(&w, MSG_ROWS)->frame[0].data;
    assert_true(row[0] == 1 && row[1] == 1);
    t->optim.l2 = .1;
    t->optim.l2_mode = JOB_L2_EXACT;
    give(&w, pull(&w, 1, false));
    row = sent(&w, MSG_ROWS)->frame[0].data;
    assert_true(row[0] == 0 && row[1] == 0);
    give(&w, pull(&w, 1, true));
    row = sent(&w, MSG_ROWS)->frame[0].data;
    assert_true(row[0] == 1 && row[1] == 1);
    release(&w);
}

static uint64_t handle_of(struct world *w, uint32_t n)
{
    give(w, pull(w, n, true));
    uint64_t handle = sent(w, MSG_ROWS)->u.rows.handle;
    assert_true(handle > 0);
    return handle;
}

static struct msg *push_handle(struct world *w, uint64_t handle, uint64_t seq, uint64_t begin,
                               uint32_t n)
{
    struct msg *m = push(w, 0, seq, begin, n);
    frame_release(&m->frame[0]);
    m->u.push.handle = handle;
    return m;
}

static void a_handle_stands_for_its_keys_until_it_is_gone(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    uint64_t handle = handle_of(&w, 3);
    acked(&w, push_handle(&w, handle, 1, 0, 3), 1, false, true);
    assert_true(weight(&w, w.key[2]) == 1);
    assert_int_equal(view(&w).handle_bytes, 0);
    acked(&w, push_handle(&w, handle, 2, 5, 3), 1, true, false); /* used up */
    acked(&w, push(&w, 0, 2, 5, 3), 2, false, true);
    assert_true(weight(&w, w.key[2]) == 2);

    /* another number of keys than was pulled: never a guess */
    handle = handle_of(&w, 3);
    acked(&w, push_handle(&w, handle, 3, 10, 2), 2, true, false);
    acked(&w, push_handle(&w, handle, 3, 10, 3), 3, false, true);

    /* the row came between pull and push: found all the same */
    handle = handle_of(&w, 5);
    acked(&w, push(&w, 1, 1, 15, 5), 1, false, true);
    acked(&w, push_handle(&w, handle, 4, 20, 5), 4, false, true);
    assert_true(weight(&w, w.key[4]) == 2);
    release(&w);
}

static void handles_are_bounded_the_oldest_go(void **state)
{
    struct world w;
    (void)state;
    setup_with(&w, (struct shard_conf){.bytes_max = 1 << 28, .handle_bytes_max = 100});
    join(&w);
    uint64_t old = handle_of(&w, 3); /* 3 * (8 + 2 * 4) = 48 bytes */
    uint64_t young = handle_of(&w, 3);
    acked(&w, push_handle(&w, old, 1, 0, 3), 1, false, true);
    old = young;
    young = handle_of(&w, 3);
    handle_of(&w, 3);
    assert_true(view(&w).handle_bytes <= 100);
    acked(&w, push_handle(&w, old, 2, 5, 3), 1, true, false);
    acked(&w, push_handle(&w, young, 2, 5, 3), 2, false, true);
    release(&w);
}

/* ---- cuts ---- */

static void write_all(struct world *w)
{
    struct shard_event slice = {.kind = SHARD_SLICE, .max = 1 << 20};
    while (shard_writing(w->s))
        step(w, &slice);
}

static void durable(struct world *w, uint64_t k, uint64_t e, enum status status)
{
    struct shard_event ev = {.kind = SHARD_DURABLE, .status = status, .text = "the disk is full"};
    ev.file.k = k;
    ev.file.e = e;
    step(w, &ev);
}

static void takes_once_by_whichever_order_says_so_first(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, true);
    w.open = 2;
    give(&w, order(&w, MODE_RUN)); /* TAKE was lost; RUN says it as well */
    assert_int_equal(view(&w).taken, 1);
    assert_true(w.begins);
    assert_int_equal(sent(&w, MSG_SHARD_STATE)->u.shard.open, 2);
    give(&w, order(&w, MODE_RUN));
    assert_int_equal(view(&w).open, 2);
    assert_false(w.begins);
    w.open = 4; /* two at once: one was missed */
    give(&w, order(&w, MODE_TAKE));
    assert_true(view(&w).fault);
    release(&w);
}

static void complete_is_believed_only_if_it_was_written(void **state)
{
    struct world w;
    (void)state;
    for (int wrote = 0; wrote < 2; wrote++) {
        setup(&w);
        acked(&w, push(&w, 0, 1, 0, 2), 1, false, true);
        w.open = 2;
        give(&w, order(&w, MODE_TAKE));
        write_all(&w);
        durable(&w, 1, 2, ST_OK); /* of another incarnation */
        durable(&w, 7, 1, ST_OK); /* of another cut */
        assert_int_equal(state_now(&w)->durable_k, 0);
        if (wrote)
            durable(&w, 1, 1, ST_OK);
        assert_int_equal(state_now(&w)->durable_k, wrote);
        w.complete = w.resolved = 1;
        give(&w, order(&w, MODE_RUN));
        assert_int_equal(view(&w).fault, !wrote);
        if (wrote) {
            assert_int_equal(view(&w).complete, 1);
            assert_int_equal(view(&w).undo_bytes, 0);
        }
        release(&w);
    }
}

static void a_failing_disk_is_told_and_training_goes_on(void **state)
{
    struct world w;
    (void)state;
    setup(&w);
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, true);
    w.open = 2;
    give(&w, order(&w, MODE_TAKE));
    write_all(&w);
    durable(&w, 1, 1, ST_IO);
    const struct msg *s = sent(&w, MSG_SHARD_STATE);
    assert_int_equal(s->u.shard.failed_k, 1);
    assert_string_equal(s->u.shard.why, "the disk is full");
    acked(&w, push(&w, 0, 2, 5, 2), 2, false, true);
    w.resolved = 1;
    give(&w, order(&w, MODE_RUN));
    assert_int_equal(view(&w).taken, 0);
    assert_int_equal(view(&w).complete, 0);
    acked(&w, push(&w, 0, 3, 10, 2), 3, false, true);
    w.open = 3;
    give(&w, order(&w, MODE_TAKE));
    write_all(&w);
    durable(&w, 2, 1, ST_OK);
    const struct msg_shard_state *t = state_now(&w);
    assert_int_equal(t->durable_k, 2);
    assert_int_equal(t->failed_k, 0);
    assert_int_equal(t->cut_applied, 15);
    release(&w);
}

static void beyond_the_bound_images_go_and_only_a_full_cut_helps(void **state)
{
    struct world w;
    (void)state;
    setup_with(&w, (struct shard_conf){.bytes_max = 1 << 28, .undo_bytes_max = 300});
    join(&w);
    acked(&w, push(&w, 0, 1, 0, 7), 1, false, true); /* the blocks alone are more */
    assert_true(view(&w).by_files);
    assert_int_equal(view(&w).undo_bytes, 0);
    const struct msg_shard_state *s = state_now(&w);
    assert_true(s->want_cut && s->need_full);
    w.open = 2;
    struct msg *m = order(&w, MODE_TAKE);
    m->u.order.full = false;
    give(&w, m);
    assert_int_equal(state_now(&w)->failed_k, 1);
    acked(&w, push(&w, 0, 2, 5, 7), 2, false, true);
    w.resolved = 1;
    give(&w, order(&w, MODE_RUN));
    w.open = 3;
    give(&w, order(&w, MODE_TAKE));
    write_all(&w);
    durable(&w, 2, 1, ST_OK);
    w.complete = w.resolved = 2;
    give(&w, order(&w, MODE_RUN));
    assert_false(view(&w).by_files);
    assert_false(state_now(&w)->need_full);
    release(&w);
}

/* ---- bsp ---- */

static void setup_bsp(struct world *w)
{
    setup_with(w, (struct shard_conf){.bytes_max = (uint64_t)1 << 28,
                                      .handle_bytes_max = 1 << 16,
                                      .consistency = JOB_BSP});
    join(w);
}

static struct msg *pull_after(struct world *w, uint32_t rank, uint64_t clock)
{
    struct msg *m = pull(w, 2, true);
    m->sender = rank;
    m->u.pull.clock = clock;
    return m;
}

static void a_clock_is_applied_when_all_are_in(void **state)
{
    struct world w;
    (void)state;
    setup_bsp(&w);
    acked(&w, push(&w, 1, 1, 5, 3), 1, false, false);
    assert_int_equal(view(&w).stored, 1);
    acked(&w, push(&w, 1, 1, 5, 3), 1, false, false); /* again: it is stored already */
    give(&w, pull_after(&w, 1, 1));
    assert_null(sent(&w, MSG_ROWS));
    give(&w, pull_after(&w, 1, 1)); /* asked again: answered once all the same */
    assert_true(isnan(weight(&w, w.key[0])));
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, true);
    const struct msg *rows = sent(&w, MSG_ROWS);
    assert_non_null(rows);
    assert_int_equal(rows->u.rows.step, 1);
    assert_int_equal(view(&w).stored, 0);
    assert_int_equal(view(&w).applied, 10);
    assert_true(weight(&w, w.key[0]) == 2); /* of both */
    assert_true(weight(&w, w.key[2]) == 1); /* of worker 1 alone */
    release(&w);
}

static void a_push_without_records_counts_as_nothing(void **state)
{
    struct world w;
    (void)state;
    setup_bsp(&w);
    acked(&w, empty_push(&w, 1, 1, 5), 1, false, false);
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, true);
    assert_int_equal(view(&w).applied, 5);
    assert_true(weight(&w, w.key[0]) == 1);
    struct table *t = shard_store(w.s)->table[2];
    uint64_t block = 0;
    uint32_t slot;
    table_find(t, &block, 1, &slot);
    assert_true(row_weights(table_record(t, slot))[0] == 1);
    release(&w);
}

static void a_cut_between_two_pushes_of_a_step_is_a_fault(void **state)
{
    struct world w;
    (void)state;
    setup_bsp(&w);
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, false);
    w.open = 2;
    faulted(&w, order(&w, MODE_TAKE), "1 of 2 pushes of a step stored");
    assert_int_equal(view(&w).taken, 0);
    release(&w);
}

static void nobody_pushes_twice_in_a_clock(void **state)
{
    struct world w;
    (void)state;
    setup_bsp(&w);
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, false);
    faulted(&w, push(&w, 0, 2, 5, 2), "before clock 1 was applied");
    release(&w);
}

/* The last push is acknowledged when it is stored; that the step is none shows right after. */
static void records_of_a_clock_follow_one_another(void **state)
{
    struct world w;
    (void)state;
    setup_bsp(&w);
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, false);
    give(&w, push(&w, 1, 1, 10, 2));
    assert_true(view(&w).fault);
    assert_int_equal(view(&w).step, 0);
    assert_non_null(strstr(sent(&w, MSG_SHARD_STATE)->u.shard.why, "the one before it up to 5"));
    release(&w);
}

static void recover_forgets_what_was_stored(void **state)
{
    struct world w;
    (void)state;
    setup_bsp(&w);
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, false);
    give(&w, pull_after(&w, 0, 1));
    w.e = 2;
    w.n = 0;
    give(&w, order(&w, MODE_RECOVER));
    assert_int_equal(view(&w).stored, 0);
    give(&w, order(&w, MODE_RUN));
    acked(&w, push(&w, 1, 1, 5, 2), 1, false, false);
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, true);
    assert_null(sent(&w, MSG_ROWS));
    release(&w);
}

/* ---- ssp ---- */

/* Two workers, steps of ten records, five each; one step of staleness. */
static void setup_ssp(struct world *w)
{
    setup_with(w, (struct shard_conf){.bytes_max = (uint64_t)1 << 28,
                                      .handle_bytes_max = 1 << 16,
                                      .consistency = JOB_SSP,
                                      .batch = 10,
                                      .staleness = 1});
    w->dealt = true;
    join(w);
}

static void a_push_is_applied_at_once_and_a_pull_waits_for_the_slowest(void **state)
{
    struct world w;
    (void)state;
    setup_ssp(&w);
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, true);
    assert_true(weight(&w, w.key[0]) == 1);
    give(&w, pull_after(&w, 0, 1)); /* may miss the other's first push */
    assert_non_null(sent(&w, MSG_ROWS));
    acked(&w, push(&w, 0, 2, 10, 2), 2, false, true);
    give(&w, pull_after(&w, 0, 2)); /* may not */
    assert_null(sent(&w, MSG_ROWS));
    give(&w, pull_after(&w, 0, 2)); /* asked again: answered once all the same */
    assert_null(sent(&w, MSG_ROWS));
    acked(&w, push(&w, 1, 1, 5, 2), 1, false, true);
    assert_int_equal(sent(&w, MSG_ROWS)->u.rows.step, 3);
    assert_int_equal(view(&w).applied, 15);
    release(&w);
}

/* A worker may have two batches under way, and both wait here. */
static void as_many_pulls_wait_as_there_are_permits(void **state)
{
    struct world w;
    (void)state;
    setup_ssp(&w);
    struct msg *a = pull_after(&w, 0, 2), *b = pull_after(&w, 0, 3);
    a->u.pull.request = 21;
    b->u.pull.request = 22;
    give(&w, a);
    give(&w, b);
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, true);
    acked(&w, push(&w, 1, 1, 5, 2), 1, false, true);
    assert_int_equal(sent(&w, MSG_ROWS)->u.rows.request, 21);
    acked(&w, push(&w, 1, 2, 15, 2), 2, false, true);
    assert_null(sent(&w, MSG_ROWS));
    acked(&w, push(&w, 0, 2, 10, 2), 2, false, true);
    assert_int_equal(sent(&w, MSG_ROWS)->u.rows.request, 22);
    release(&w);
}

static void nobody_is_further_ahead_than_the_staleness(void **state)
{
    struct world w;
    (void)state;
    setup_ssp(&w);
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, true);
    acked(&w, push(&w, 0, 2, 10, 2), 2, false, true);
    faulted(&w, push(&w, 0, 3, 20, 2), "2 clocks ahead, staleness is 1");
    release(&w);
}

static void a_push_has_its_ranks_part_of_its_ranks_next_step(void **state)
{
    static const struct {
        uint32_t rank;
        uint64_t seq, begin;
        const char *word;
    } bad[] = {{1, 1, 0, "[0, 5), its part is [5, 10)"},
               {0, 2, 0, "[0, 5), its part is [10, 15)"},
               {0, 2, 20, "[20, 25), its part is [10, 15)"}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct world w;
        setup_ssp(&w);
        acked(&w, push(&w, 0, 1, 0, 2), 1, false, true);
        faulted(&w, push(&w, bad[i].rank, bad[i].seq, bad[i].begin, 2), bad[i].word);
        assert_int_equal(view(&w).doubled, i < 2 ? 5 : 0);
        assert_int_equal(view(&w).skipped, i < 2 ? 0 : 10);
        release(&w);
    }
}

static void a_cut_between_the_clocks_of_two_workers_is_a_fault(void **state)
{
    struct world w;
    (void)state;
    setup_ssp(&w);
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, true);
    w.open = 2;
    faulted(&w, order(&w, MODE_TAKE), "1 of 2 pushes of a step applied");
    release(&w);
}

static void recover_begins_with_clock_zero(void **state)
{
    struct world w;
    (void)state;
    setup_ssp(&w);
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, true);
    acked(&w, push(&w, 1, 1, 5, 2), 1, false, true);
    give(&w, pull_after(&w, 0, 3));
    w.e = 2;
    w.n = 0;
    give(&w, order(&w, MODE_RECOVER));
    give(&w, order(&w, MODE_RUN));
    acked(&w, push(&w, 1, 1, 5, 2), 1, false,
          true); /* the base has no record: from the beginning */
    give(&w, pull_after(&w, 1, 2));
    assert_null(sent(&w, MSG_ROWS));
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, true);
    assert_non_null(sent(&w, MSG_ROWS)); /* and the pull of the old incarnation is gone */
    release(&w);
}

/* The last step of the log has one record: a part of it is empty, and moves nothing but the clock. */
static void a_part_without_records_is_only_a_clock(void **state)
{
    struct world w;
    (void)state;
    setup_ssp(&w);
    struct msg *m = order(&w, MODE_RUN);
    m->u.order.records = m->u.order.split_records = 1;
    give(&w, m);
    acked(&w, empty_push(&w, 0, 1, 0), 1, false, false);
    m = push(&w, 1, 1, 0, 2);
    m->u.push.end = 1;
    acked(&w, m, 1, false, true);
    assert_int_equal(view(&w).applied, 1);
    struct table *t = shard_store(w.s)->table[2];
    uint64_t block = 0;
    uint32_t slot;
    table_find(t, &block, 1, &slot);
    assert_true(row_weights(table_record(t, slot))[0] == 1); /* moved once */
    release(&w);
}

/* ---- allreduce, with parts ---- */

/* The hybrid: tables as in async. The dense gradients of all come with rank 0's push, for this is shard 0. */
static void setup_hybrid(struct world *w)
{
    setup_with(w, (struct shard_conf){.bytes_max = (uint64_t)1 << 28,
                                      .handle_bytes_max = 1 << 16,
                                      .consistency = JOB_ASYNC,
                                      .allreduce = true,
                                      .batch = 10,
                                      .staleness = 1});
    w->dealt = true;
    join(w);
}

static struct msg *push_rows(struct world *w, uint32_t rank, uint64_t seq, uint64_t begin)
{
    struct msg *m = push(w, rank, seq, begin, 2);
    frame_release(&m->frame[3]);
    m->frame[3] = (struct frame){0};
    return m;
}

static struct msg *pull_dense(struct world *w, uint32_t rank, uint64_t clock)
{
    struct msg *m = pull(w, 0, false);
    m->sender = rank;
    m->u.pull.request = 31;
    m->u.pull.tables = 0;
    m->u.pull.clock = clock;
    return m;
}

static const struct row_meta *dense_meta(struct world *w)
{
    struct table *t = shard_store(w->s)->table[2];
    uint64_t block = 0;
    uint32_t slot;
    table_find(t, &block, 1, &slot);
    return table_record(t, slot);
}

static void the_dense_part_comes_with_one_ranks_push(void **state)
{
    struct world w;
    (void)state;
    setup_hybrid(&w);
    refused(&w, push(&w, 1, 1, 5, 2));
    refused(&w, push_rows(&w, 0, 1, 0));
    acked(&w, push_rows(&w, 1, 1, 5), 1, false, true);
    assert_int_equal(dense_meta(&w)->last_step, 0);
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, false); /* the same clock, the same step */
    assert_int_equal(view(&w).step, 1);
    assert_int_equal(view(&w).applied, 10);
    assert_int_equal(dense_meta(&w)->last_step, 1);
    release(&w);
}

static void a_pull_of_the_dense_part_waits_for_that_push_alone(void **state)
{
    struct world w;
    (void)state;
    setup_hybrid(&w);
    give(&w, pull_after(&w, 1, 0)); /* of the tables: does not wait */
    assert_non_null(sent(&w, MSG_ROWS));
    give(&w, pull_dense(&w, 1, 1));
    assert_null(sent(&w, MSG_ROWS));
    acked(&w, push_rows(&w, 1, 1, 5), 1, false, true);
    assert_null(sent(&w, MSG_ROWS));
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, false);
    const struct msg *rows = sent(&w, MSG_ROWS);
    assert_int_equal(rows->u.rows.request, 31);
    assert_int_equal(rows->frames, 2);
    assert_true(((float *)rows->frame[0].data)[0] == 1);
    give(&w, pull_dense(&w, 0, 1));
    assert_non_null(sent(&w, MSG_ROWS));
    release(&w);
}

/* What the optimizers count of the dense part is its own steps, though another rank is ahead. */
static void a_dense_step_is_that_of_its_clock(void **state)
{
    struct world w;
    (void)state;
    setup_hybrid(&w);
    acked(&w, push_rows(&w, 1, 1, 5), 1, false, true);
    acked(&w, push_rows(&w, 1, 2, 15), 2, false, true);
    acked(&w, push(&w, 0, 1, 0, 2), 1, false, false);
    assert_int_equal(view(&w).step, 2);
    assert_int_equal(dense_meta(&w)->last_step, 1);
    acked(&w, push(&w, 0, 2, 10, 2), 2, false, false);
    assert_int_equal(dense_meta(&w)->last_step, 2);
    acked(&w, push(&w, 0, 3, 20, 2), 3, false, true);
    assert_int_equal(dense_meta(&w)->last_step, 3);
    release(&w);
}

static void a_part_without_records_may_bring_the_dense_part(void **state)
{
    struct world w;
    (void)state;
    setup_hybrid(&w);
    struct msg *m = order(&w, MODE_RUN);
    m->u.order.records = m->u.order.split_records = 1;
    give(&w, m);
    m = push(&w, 0, 1, 0, 0);
    m->u.push.end = 0;
    acked(&w, m, 1, false, true);
    assert_int_equal(dense_meta(&w)->last_step, 1);
    m = push_rows(&w, 1, 1, 0);
    m->u.push.end = 1;
    acked(&w, m, 1, false, false);
    assert_int_equal(view(&w).applied, 1);
    release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_dense_part_comes_with_one_ranks_push),
        cmocka_unit_test(a_pull_of_the_dense_part_waits_for_that_push_alone),
        cmocka_unit_test(a_dense_step_is_that_of_its_clock),
        cmocka_unit_test(a_part_without_records_may_bring_the_dense_part),
        cmocka_unit_test(a_push_is_applied_at_once_and_a_pull_waits_for_the_slowest),
        cmocka_unit_test(as_many_pulls_wait_as_there_are_permits),
        cmocka_unit_test(nobody_is_further_ahead_than_the_staleness),
        cmocka_unit_test(a_push_has_its_ranks_part_of_its_ranks_next_step),
        cmocka_unit_test(a_cut_between_the_clocks_of_two_workers_is_a_fault),
        cmocka_unit_test(recover_begins_with_clock_zero),
        cmocka_unit_test(a_part_without_records_is_only_a_clock),
        cmocka_unit_test(a_fresh_shard_joins_by_recover_only),
        cmocka_unit_test(an_older_order_is_not_obeyed),
        cmocka_unit_test(whom_a_greater_e_does_not_name_exits),
        cmocka_unit_test(silence_ends_it),
        cmocka_unit_test(stop_is_answered_and_ends_with_its_code),
        cmocka_unit_test(what_cannot_be_loaded_is_a_fault),
        cmocka_unit_test(strangers_are_refused),
        cmocka_unit_test(sizes_must_fit_the_plan),
        cmocka_unit_test(keys_must_be_this_shards_and_once),
        cmocka_unit_test(in_order_once),
        cmocka_unit_test(another_interval_is_a_fault),
        cmocka_unit_test(records_must_be_the_next_of_their_split),
        cmocka_unit_test(foul_gradients_are_refused_row_by_row_and_reported),
        cmocka_unit_test(a_full_table_refuses_new_rows_and_updates_old_ones),
        cmocka_unit_test(a_pull_changes_nothing),
        cmocka_unit_test(an_absent_row_is_to_an_evaluation_what_it_is_to_a_snapshot),
        cmocka_unit_test(a_handle_stands_for_its_keys_until_it_is_gone),
        cmocka_unit_test(handles_are_bounded_the_oldest_go),
        cmocka_unit_test(takes_once_by_whichever_order_says_so_first),
        cmocka_unit_test(complete_is_believed_only_if_it_was_written),
        cmocka_unit_test(a_failing_disk_is_told_and_training_goes_on),
        cmocka_unit_test(beyond_the_bound_images_go_and_only_a_full_cut_helps),
        cmocka_unit_test(a_clock_is_applied_when_all_are_in),
        cmocka_unit_test(a_push_without_records_counts_as_nothing),
        cmocka_unit_test(a_cut_between_two_pushes_of_a_step_is_a_fault),
        cmocka_unit_test(nobody_pushes_twice_in_a_clock),
        cmocka_unit_test(records_of_a_clock_follow_one_another),
        cmocka_unit_test(recover_forgets_what_was_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
