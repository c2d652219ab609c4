/* sim_script.c - one shard and a scripted head, which recovers again and again within the run.
 *
 * Recovery within a run comes later, but the shard's part of it is here already: ORDER RECOVER of a greater e
 * whose base is the complete cut (undo both logs), the taken one (committed, not announced: undo the open log)
 * or anything else (load). A random history pushes, takes, writes, resolves either way, hits the bound of the
 * undo log, and recovers; the oracle keeps a copy of all rows at each take, and the hash of each row.
 *
 * In a third of the histories the log is dealt (ssp).
 *
 *   I7   no order or push of it puts the shard in fault
 *   I8   after each RECOVER the rows equal the copy of the base
 *   I10  a push is applied: its ACK says so
 *   I12  as I8 after any number of touches: a row without image would differ
 *   I13  the hash told with durable = recomputed from the copy; after RECOVER = that of the base
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/optim/optim.h"
#include "ps/snapshot/cut_hash.h"
#include "tests/support/sim_world.h"

enum {
    STEPS = 400,
    SSP_PART = 3,
    STALENESS = 2,
    KEYS = 60,
    BATCH_KEYS = 6,
    WORLD = 2,
    SPLIT = 1 << 20,
    CUTS = 64
};

struct cut_copy {
    uint64_t k, e; /* e: who wrote it */
    uint64_t step, applied, upto;
    bool durable, full;
    struct sim_rows rows;
    uint64_t hash[PLAN_TABLES_MAX];
};

struct script {
    struct sim_world *w; /* for sim_fail, the plan and the pool: its own cluster is never run */
    struct shard *shard;
    struct rng rng;
    struct store *store; /* its store */
    uint64_t e, n, open, complete, complete_e, taken, resolved, used_k;
    uint64_t seq[WORLD], upto, now_us; /* upto: ssp: at the base */
    bool ssp;
    struct cut_copy cut[CUTS];
    size_t cuts;
    struct buffer file;
    bool writing, ended;
    struct msg_shard_state state; /* the last told */
    uint64_t acked, handle, recovers, by_undo, loads;
};

static uint64_t below(struct script *x, uint64_t n)
{
    return rng_below(&x->rng, n);
}

static struct cut_copy *copy_of(struct script *x, uint64_t k, uint64_t e)
{
    for (size_t i = 0; i < x->cuts; i++) {
        if (x->cut[i].k == k && x->cut[i].e == e)
            return &x->cut[i];
    }
    return NULL;
}

static void step(struct script *x, struct shard_event *ev);

/* The answer to SHARD_LOAD: rows out of the copy, as restore_load would. */
static void load(struct script *x, uint64_t k, uint64_t e)
{
    struct cut_copy *c = copy_of(x, k, e);
    struct store *store = shard_store(x->shard);
    struct cut_hash *hash = shard_hash(x->shard);
    struct shard_event ev = {.kind = SHARD_LOADED};
    struct manifest_split split = {0};
    manifest_init(&ev.base);
    x->loads++;
    for (size_t t = 0; c != NULL && t < store->tables; t++) {
        const struct plan_table *pt = &x->w->plan.tables[t];
        size_t bytes = table_record_bytes(store->table[t]);
        for (size_t i = 0; i < c->rows.n[t]; i++) {
            uint64_t key = c->rows.key[t][i];
            uint32_t slot;
            if (table_add(store->table[t], key, &slot, NULL) != ST_OK)
                abort();
            memcpy(table_record(store->table[t], slot), c->rows.record[t] + i * bytes, bytes);
            hash->bucket[t][hash_bucket(key)] +=
                cut_record_hash(pt, optim_state_floats(pt), key, c->rows.record[t] + i * bytes);
            hash->weights[t] += cut_weights_hash(
                cut_table_seed(pt->name), key,
                c->rows.record[t] + i * bytes + sizeof(struct row_meta), 4 * (size_t)pt->dim);
        }
        hash->rows[t] = c->rows.n[t];
    }
    ev.base.k = k;
    if (c != NULL) {
        ev.base.e = e;
        ev.base.step = ev.base.rendered = c->step;
        ev.base.applied = c->applied;
        ev.base.records = ev.base.split_records = SPLIT;
        split.upto = c->upto;
        ev.base.splits = &split;
        ev.base.splits_used = 1;
    }
    step(x, &ev);
}

static void act(struct script *x, const struct shard_action *a)
{
    switch (a->kind) {
    case SHARD_SEND:
        if (a->msg->kind == MSG_SHARD_STATE)
            x->state = a->msg->u.shard;
        if (a->msg->kind == MSG_ACK)
            x->acked = a->msg->u.ack.seq;
        if (a->msg->kind == MSG_ROWS)
            x->handle = a->msg->u.rows.handle;
        msg_free(a->msg);
        break;
    case SHARD_FILE_BEGIN:
        buffer_reset(&x->file);
        x->writing = true;
        x->ended = false;
        break;
    case SHARD_FILE_BYTES: buffer_put(&x->file, a->bytes, a->n); break;
    case SHARD_FILE_END: x->ended = true; break;
    case SHARD_FILE_ABORT: x->writing = x->ended = false; break;
    case SHARD_EXIT: sim_fail(x->w, "script", "the shard left: %s", a->text); break;
    case SHARD_LOAD:
    case SHARD_NOTE: break;
    }
}

static void step(struct script *x, struct shard_event *ev)
{
    const struct shard_action *a;
    size_t n;
    uint64_t load_k = 0, load_e = 0;
    bool loads = false;
    ev->now_us = x->now_us += 1000;
    shard_step(x->shard, ev, &a, &n);
    for (size_t i = 0; i < n; i++) {
        if (a[i].kind == SHARD_LOAD) {
            loads = true;
            load_k = a[i].k;
            load_e = a[i].e;
        }
        act(x, &a[i]);
    }
    if (!sim_blind)
        shard_check(x->shard);
    if (loads)
        load(x, load_k, load_e);
    if (x->state.fault)
        sim_check_fault(x->w, x->state.why);
}

static void give(struct script *x, struct msg *m)
{
    struct shard_event ev = {.kind = SHARD_MSG, .msg = m, .from = 7};
    m->job = x->w->job_id;
    m->e = x->e;
    step(x, &ev);
}

static void order(struct script *x, enum mode mode, uint64_t base, uint64_t base_e, bool full)
{
    struct msg *m = msg_new(MSG_ORDER);
    struct msg_order *o = &m->u.order;
    m->role = ROLE_HEAD;
    o->n = ++x->n;
    o->mode = mode;
    o->open = x->open;
    o->complete = x->complete;
    o->complete_e = x->complete_e;
    o->resolved = x->resolved;
    o->base = base;
    o->base_e = base_e;
    o->full = full;
    o->shards = 1;
    o->member = mem_zalloc(sizeof *o->member);
    o->member[0].boot = 1;
    o->world = 9;
    o->world_size = WORLD;
    o->records = o->split_records = SPLIT;
    give(x, m);
}

/* ---- what a history does ---- */

static struct frame floats(struct script *x, size_t n)
{
    struct frame f = frame_pool_get(x->w->pool, n * sizeof(float));
    for (size_t i = 0; i < n; i++)
        ((float *)f.data)[i] = (float)((int)below(x, 7) - 3) * 0.25f;
    return f;
}

/* ssp: a push of rank is its part of its next step. */
static uint64_t begin_of(const struct script *x, uint32_t rank)
{
    return x->ssp ? x->upto + (WORLD * (x->seq[rank] - 1) + rank) * SSP_PART : x->upto;
}

static void push_of(struct script *x, uint32_t rank)
{
    uint64_t keys[BATCH_KEYS];
    uint32_t n = 0;
    for (uint64_t key = 1 + below(x, KEYS); n < BATCH_KEYS; key += 1 + below(x, 3))
        keys[n++] = key;
    struct frame f = frame_pool_get(x->w->pool, n * sizeof *keys);
    memcpy(f.data, keys, n * sizeof *keys);
    if (below(x, 2)) {
        struct msg *pull = msg_new(MSG_PULL);
        pull->role = ROLE_WORKER;
        pull->u.pull =
            (struct msg_pull){.request = 1, .tables = 3, .dense = true, .handle = true, .n = n};
        pull->frames = 1;
        pull->frame[0] = f;
        f = (struct frame){0};
        give(x, pull);
    } else {
        x->handle = 0;
    }
    struct msg *m = msg_new(MSG_PUSH);
    m->role = ROLE_WORKER;
    m->sender = rank;
    x->seq[rank]++;
    const uint64_t begin = begin_of(x, rank);
    m->u.push = (struct msg_push){.rank = rank,
                                  .seq = x->seq[rank],
                                  .tag = x->open,
                                  .handle = x->handle,
                                  .n = n,
                                  .begin = begin,
                                  .end = begin + SSP_PART};
    m->frames = 5;
    m->frame[0] = f;
    m->frame[1] = floats(x, n * 2);
    m->frame[2] = floats(x, n * 3);
    m->frame[3] = floats(x, 4 * DENSE_BLOCK);
    m->frame[4] = floats(x, DENSE_BLOCK);
    give(x, m);
    if (x->acked != x->seq[rank])
        sim_fail(x->w, "I10", "push %llu was not applied", (unsigned long long)x->seq[rank]);
    if (!x->ssp)
        x->upto += SSP_PART;
}

static void push(struct script *x)
{
    uint32_t rank = (uint32_t)below(x, WORLD);
    if (x->ssp && x->seq[rank] > x->seq[1 - rank] + STALENESS)
        rank = 1 - rank;
    push_of(x, rank);
}

/* ssp: a cut lies between steps. */
static void finish_steps(struct script *x)
{
    while (x->ssp && x->seq[0] != x->seq[1] && !x->w->failed)
        push_of(x, x->seq[0] > x->seq[1]);
}

/* H(table) by the book: the sum over all rows. */
static uint64_t hash_rows(const struct script *x, const struct sim_rows *r, size_t t)
{
    const struct plan_table *pt = &x->w->plan.tables[t];
    size_t bytes = table_record_bytes(x->store->table[t]);
    uint64_t sum = 0;
    for (size_t i = 0; i < r->n[t]; i++)
        sum += cut_record_hash(pt, optim_state_floats(pt), r->key[t][i], r->record[t] + i * bytes);
    return sum;
}

static void take(struct script *x)
{
    struct cut_copy *c = &x->cut[x->cuts];
    struct shard_view v;
    if (x->taken != 0 || x->cuts == CUTS)
        return;
    finish_steps(x);
    bool full = x->complete == 0 || x->state.need_full || below(x, 4) == 0;
    shard_view(x->shard, &v);
    *c = (struct cut_copy){.k = x->open,
                           .e = x->e,
                           .step = v.step,
                           .applied = v.applied,
                           .upto = x->ssp ? x->upto + WORLD * SSP_PART * x->seq[0] : x->upto,
                           .full = full};
    sim_rows_take(&c->rows, x->store);
    x->cuts++;
    x->taken = x->open++;
    x->writing = x->ended = false;
    order(x, MODE_TAKE, 0, 0, full);
}

/* Tells success or failure once all bytes are out. */
static void write_some(struct script *x)
{
    struct shard_event slice = {.kind = SHARD_SLICE, .max = 1 + below(x, 4000)};
    if (x->taken == 0 || !x->writing)
        return;
    if (!x->ended) {
        step(x, &slice);
        return;
    }
    struct shard_event done = {.kind = SHARD_DURABLE, .status = below(x, 5) == 0 ? ST_IO : ST_OK};
    done.file.k = x->taken;
    done.file.e = x->e;
    x->writing = false;
    step(x, &done);
    struct cut_copy *c = copy_of(x, x->taken, x->e);
    c->durable = x->state.durable_k == x->taken && x->state.durable_e == x->e;
    for (size_t t = 0; c->durable && t < x->w->plan.tables_used; t++) {
        c->hash[t] = x->state.hash[t];
        if (hash_rows(x, &c->rows, t) != x->state.hash[t])
            sim_fail(x->w, "I13", "cut %llu: hash of table %s", (unsigned long long)c->k,
                     x->w->plan.tables[t].name);
    }
}

static void resolve(struct script *x)
{
    struct cut_copy *c = copy_of(x, x->taken, x->e);
    if (x->taken == 0)
        return;
    x->resolved = x->taken;
    if (c->durable && below(x, 3) > 0) {
        x->complete = x->taken;
        x->complete_e = x->e;
    }
    x->taken = 0;
    order(x, MODE_RUN, 0, 0, false);
}

static void check_base(struct script *x, uint64_t base, uint64_t base_e)
{
    struct cut_copy *c = copy_of(x, base, base_e);
    struct sim_rows now = {0};
    sim_rows_take(&now, x->store);
    for (size_t t = 0; t < x->w->plan.tables_used && !x->w->failed; t++) {
        size_t bytes = table_record_bytes(x->store->table[t]);
        size_t want = c != NULL ? c->rows.n[t] : x->w->plan.tables[t].blocks;
        if (now.n[t] != want) {
            sim_fail(x->w, "I8", "table %s has %zu rows after RECOVER, the base %zu",
                     x->w->plan.tables[t].name, now.n[t], want);
        } else if (c != NULL && (memcmp(now.key[t], c->rows.key[t], want * 8) != 0 ||
                                 memcmp(now.record[t], c->rows.record[t], want * bytes) != 0)) {
            sim_fail(x->w, "I8", "table %s differs from base %llu after RECOVER",
                     x->w->plan.tables[t].name, (unsigned long long)base);
        }
        if (c != NULL && cut_hash_sum(shard_hash(x->shard), (uint32_t)t) != c->hash[t])
            sim_fail(x->w, "I13", "table %s: the hash after RECOVER is not that of base %llu",
                     x->w->plan.tables[t].name, (unsigned long long)base);
    }
    sim_rows_release(&now);
}

/* A death elsewhere: the head goes to the newest complete cut, which may be one it never announced. */
static void recover(struct script *x)
{
    struct cut_copy *c = x->taken != 0 ? copy_of(x, x->taken, x->e) : NULL;
    uint64_t base = x->complete, base_e = x->complete_e, loads = x->loads;
    if (c != NULL && c->durable && below(x, 2)) {
        base = c->k;
        base_e = c->e;
    }
    struct cut_copy *b = copy_of(x, base, base_e);
    x->e++;
    x->n = 0;
    x->used_k = x->open > x->used_k ? x->open : x->used_k;
    x->open = x->used_k + 1;
    x->complete = base;
    x->complete_e = base_e;
    x->resolved = x->open - 1;
    x->taken = 0;
    x->writing = x->ended = false;
    x->seq[0] = x->seq[1] = 0;
    x->upto = b != NULL ? b->upto : 0;
    order(x, MODE_RECOVER, base, base_e, false);
    x->recovers++;
    x->by_undo += x->loads == loads;
    check_base(x, base, base_e);
    order(x, MODE_RUN, base, base_e, false);
}

static void live(void *arg)
{
    struct script *x = arg;
    order(x, MODE_RECOVER, 0, 0, false);
    order(x, MODE_RUN, 0, 0, false);
    for (int i = 0; i < STEPS && !x->w->failed; i++) {
        uint64_t what = below(x, 100);
        if (what < 45)
            push(x);
        else if (what < 55)
            take(x);
        else if (what < 85)
            write_some(x);
        else if (what < 95)
            resolve(x);
        else
            recover(x);
    }
}

void sim_script(uint64_t seed, struct sim_script_result *out)
{
    struct sim_conf conf = sim_conf_quiet(seed);
    struct errbuf err = ERRBUF_INIT;
    struct script x = {
        .rng = {.key = rng_mix(seed, 21), .n = 0}, .e = 1, .open = 1, .ssp = seed % 3 == 0};
    conf.undo_bytes_max = below(&x, 3) == 0 ? 9000 + below(&x, 9000) : 1 << 20;
    x.w = sim_new(&conf, NULL);
    struct shard_conf sc = {.job = x.w->job_id,
                            .boot = 1,
                            .plan = &x.w->plan,
                            .address = "tcp://sim",
                            .bytes_max = (uint64_t)1 << 32,
                            .undo_bytes_max = conf.undo_bytes_max,
                            .handle_bytes_max = 2000,
                            .consistency = x.ssp ? JOB_SSP : JOB_ASYNC,
                            .batch = WORLD * SSP_PART,
                            .staleness = STALENESS,
                            .grad_max = 1e6,
                            .beat_us = 10000,
                            .orphan_us = (uint64_t)1 << 60,
                            .pool = x.w->pool};
    if (shard_new(&sc, &x.shard, &err) != ST_OK)
        abort();
    x.store = shard_store(x.shard);
    sim_guard(x.w, live, &x);
    *out = (struct sim_script_result){
        .failed = x.w->failed, .by_undo = x.by_undo, .by_files = x.loads};
    memcpy(out->why, x.w->why, sizeof out->why);
    for (size_t i = 0; i < x.cuts; i++)
        sim_rows_release(&x.cut[i].rows);
    buffer_release(&x.file);
    shard_free(x.shard);
    sim_free(x.w);
}
