/* wire_messages.c - see wire_messages.h.
 *
 * Each body is filled with ones first (a true bool, a small double, a large number), so that a field which is
 * added to msg.h and forgotten here has something in it, too. Then every field that has a range, and every number,
 * gets a value of its own.
 */
#include "tests/support/wire_messages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rng.h"

size_t wire_body_bytes(enum msg_kind kind)
{
    const struct msg *m = NULL;
    switch (kind) {
    case MSG_ORDER: return sizeof m->u.order;
    case MSG_WORKER_STATE: return sizeof m->u.worker;
    case MSG_SHARD_STATE: return sizeof m->u.shard;
    case MSG_LEASE: return sizeof m->u.lease;
    case MSG_PULL: return sizeof m->u.pull;
    case MSG_ROWS: return sizeof m->u.rows;
    case MSG_PUSH: return sizeof m->u.push;
    case MSG_ACK: return sizeof m->u.ack;
    case MSG_STATUS: return sizeof m->u.want_stop;
    case MSG_REFUSED: return sizeof m->u.refused;
    case MSG_WATCH: return sizeof m->u.watch;
    case MSG_CUT: return sizeof m->u.cut;
    case MSG_FETCH: return sizeof m->u.fetch;
    case MSG_PIECE: return sizeof m->u.piece;
    case MSG_REPORT: break;
    }
    return 0;
}

static void give_back(void *data, void *hint)
{
    size_t *released = hint;
    if (released != NULL)
        ++*released;
    free((char *)data - ((uintptr_t)data % 8 != 0));
}

struct frame wire_frame(size_t n, bool misaligned, size_t *released)
{
    if (n == 0)
        return (struct frame){0};
    char *data = (char *)mem_alloc(n + misaligned) + misaligned;
    memset(data, 0, n);
    return (struct frame){data, n, give_back, released};
}

static void add_frame(struct msg *m, size_t n, struct rng *r)
{
    struct frame f = wire_frame(n, false, NULL);
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)f.data)[i] = (uint8_t)rng_below(r, 256);
    m->frame[m->frames++] = f;
}

static void set_text(char *dst, size_t cap, const char *what, struct rng *r)
{
    memset(dst, 0, cap);
    snprintf(dst, cap, "%s %u", what, (unsigned)rng_below(r, 1000000));
}

static void set_numbers(uint64_t *const *at, size_t n, struct rng *r)
{
    for (size_t i = 0; i < n; i++)
        *at[i] = rng_next(r) | 1;
}

static void set_decimals(double *const *at, size_t n, struct rng *r)
{
    for (size_t i = 0; i < n; i++)
        *at[i] = (double)(1 + rng_below(r, 1000000)) / 1024;
}

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static void fill_order(struct msg_order *o, struct rng *r)
{
    uint64_t *const u[] = {&o->n,     &o->open,     &o->complete, &o->complete_e,
                           &o->base,  &o->base_e,   &o->resolved, &o->world,
                           &o->epoch, &o->evaluate, &o->clock};
    set_numbers(u, COUNT(u), r);
    o->mode = MODE_STOP;
    o->shards = 1 + (uint32_t)rng_below(r, 9);
    o->world_size = 1 + (uint32_t)rng_below(r, WORKERS_MAX);
    o->records = 1 + rng_below(r, 1ull << 56);
    o->split_records = 1 + rng_below(r, 1ull << 56);
    o->evaluate_first = 1 + rng_below(r, 1ull << 56);
    o->evaluate_records = 1 + rng_below(r, 1ull << 56);
    o->evaluate_segment = rng_next(r) | 1;
    o->stop_code = -3;
    set_text(o->why, sizeof o->why, "why", r);
    o->member = mem_array(o->shards, sizeof *o->member);
    for (uint32_t i = 0; i < o->shards; i++) {
        o->member[i].boot = rng_next(r) | 1;
        set_text(o->member[i].address, ADDRESS_MAX, "tcp://10.0.0.1", r);
    }
    for (uint32_t b = 0; b < BUCKETS; b++)
        o->map[b] = (uint16_t)(b / 7 % o->shards);
    memset(o->schedule.change, 0, sizeof o->schedule.change);
    o->schedule.warmup = rng_next(r) | 1;
    o->schedule.rate_min = .25;
    o->schedule.changes = 1 + (uint32_t)rng_below(r, 5);
    for (uint32_t i = 0; i < o->schedule.changes; i++) {
        o->schedule.change[i].from_step = 100 * i + 1 + rng_below(r, 100);
        o->schedule.change[i].factor = 1.0 / (i + 3);
    }
}

static void fill_worker(struct msg_worker_state *w, struct rng *r)
{
    uint64_t *const u[] = {&w->n,         &w->held,         &w->world,
                           &w->leased,    &w->totals_epoch, &w->loss_count,
                           &w->refused,   &w->rss_bytes,    &w->stall_us_max,
                           &w->evaluated, &w->eval_count,   &w->clock};
    double *const d[] = {&w->loss_sum, &w->train_auc, &w->train_accuracy, &w->auc,    &w->auc_bound,
                         &w->logloss,  &w->accuracy,  &w->hr10,           &w->ndcg10, &w->mrr,
                         &w->gauc};
    set_numbers(u, COUNT(u), r);
    set_decimals(d, COUNT(d), r);
    w->world_size = 2 + (uint32_t)rng_below(r, WORKERS_MAX - 1);
    w->rank = 1 + (uint32_t)rng_below(r, w->world_size - 1);
    w->room = 1 + (uint32_t)rng_below(r, LEASES_MAX);
    w->leases = 1 + (uint32_t)rng_below(r, LEASES_MAX);
    memset(w->progress, 0, sizeof w->progress);
    for (uint32_t i = 0; i < w->leases; i++)
        w->progress[i] = (struct msg_progress){.epoch = rng_next(r) | 1,
                                               .split = 1 + rng_below(r, 1ull << 56),
                                               .upto = 1 + rng_below(r, 1ull << 56)};
    memset(w->task, 0, sizeof w->task);
    w->tasks = 1 + (uint32_t)rng_below(r, JOB_TASKS_MAX);
    for (uint32_t t = 0; t < w->tasks; t++) {
        double *const score[] = {&w->task[t].auc, &w->task[t].logloss, &w->task[t].rate};
        set_decimals(score, COUNT(score), r);
    }
    set_text(w->fault, sizeof w->fault, "fault", r);
}

static void fill_shard(struct msg_shard_state *s, struct rng *r)
{
    uint64_t *const u[] = {&s->n,          &s->open,      &s->complete,       &s->durable_e,
                           &s->durable_k,  &s->bytes,     &s->rows_written,   &s->xxh3,
                           &s->step,       &s->rendered,  &s->cut_applied,    &s->failed_k,
                           &s->undo_bytes, &s->pushes,    &s->applied,        &s->doubled,
                           &s->skipped,    &s->refused,   &s->refused_worker, &s->table_bytes,
                           &s->rows_live,  &s->rss_bytes, &s->staleness_p99};
    set_numbers(u, COUNT(u), r);
    s->staleness_mean = 2.5;
    s->shard = 1 + (uint32_t)rng_below(r, SHARDS_MAX - 1);
    set_text(s->address, sizeof s->address, "tcp://10.0.0.2", r);
    memset(s->file, 0, sizeof s->file);
    snprintf(s->file, sizeof s->file, "data/%u.1.0.full.safetensors", (unsigned)rng_below(r, 1000));
    memset(s->hash, 0, sizeof s->hash);
    memset(s->weights, 0, sizeof s->weights);
    memset(s->rows, 0, sizeof s->rows);
    s->tables = 1 + (uint32_t)rng_below(r, PLAN_TABLES_MAX);
    for (uint32_t i = 0; i < s->tables; i++) {
        s->hash[i] = rng_next(r) | 1;
        s->rows[i] = rng_next(r) | 1;
        s->weights[i] = rng_next(r) | 1;
    }
    set_text(s->why, sizeof s->why, "why", r);
    set_text(s->refused_where, sizeof s->refused_where, "where", r);
}

static void fill_train(struct msg *m, struct rng *r)
{
    uint32_t n = 1 + (uint32_t)rng_below(r, 20);
    switch (m->kind) {
    case MSG_PULL:
        m->u.pull.request = rng_next(r) | 1;
        m->u.pull.tables = rng_next(r) | 1;
        m->u.pull.n = n;
        m->u.pull.clock = rng_next(r) | 1;
        add_frame(m, 8 * n, r);
        break;
    case MSG_ROWS: {
        uint64_t *const u[] = {&m->u.rows.request, &m->u.rows.handle, &m->u.rows.step};
        set_numbers(u, COUNT(u), r);
        m->u.rows.n = n;
        add_frame(m, 4 * n, r);
        add_frame(m, 32 * n, r);
        add_frame(m, 1024, r);
        add_frame(m, 0, r);
        break;
    }
    case MSG_PUSH: {
        struct msg_push *p = &m->u.push;
        uint64_t *const u[] = {&p->seq, &p->tag, &p->handle, &p->epoch, &p->pulled_step};
        set_numbers(u, COUNT(u), r);
        p->rank = 1 + (uint32_t)rng_below(r, WORKERS_MAX - 1);
        p->n = n;
        p->split = 1 + rng_below(r, 1ull << 56);
        p->begin = 1 + rng_below(r, 1ull << 55);
        p->end = p->begin + 1 + rng_below(r, 1ull << 55);
        add_frame(m, 0, r); /* with a handle the keys stay at home */
        add_frame(m, 4 * n, r);
        add_frame(m, 32 * n, r);
        add_frame(m, 1024, r);
        add_frame(m, 0, r);
        break;
    }
    default:
        m->u.ack.seq = rng_next(r) | 1;
        m->u.ack.refused = rng_next(r) | 1;
        break;
    }
}

static void fill_stream(struct msg *m, struct rng *r)
{
    switch (m->kind) {
    case MSG_WATCH: {
        uint64_t *const u[] = {&m->u.watch.request, &m->u.watch.after, &m->u.watch.below,
                               &m->u.watch.wait_us};
        set_numbers(u, COUNT(u), r);
        break;
    }
    case MSG_CUT: {
        uint64_t *const u[] = {&m->u.cut.request, &m->u.cut.k};
        set_numbers(u, COUNT(u), r);
        break;
    }
    case MSG_FETCH:
        memset(m->u.fetch.name, 0, sizeof m->u.fetch.name);
        snprintf(m->u.fetch.name, sizeof m->u.fetch.name, "data/%u.1.0.full.safetensors",
                 (unsigned)rng_below(r, 1000));
        m->u.fetch.request = rng_next(r) | 1;
        m->u.fetch.offset = 1 + rng_below(r, 1ull << 50);
        m->u.fetch.bytes = 1 + rng_below(r, 1u << 20);
        break;
    default:
        m->u.piece.gone = rng_below(r, 4) == 0;
        m->u.piece.request = rng_next(r) | 1;
        m->u.piece.offset = 1 + rng_below(r, 1ull << 50);
        m->u.piece.total = m->u.piece.offset + 1000;
        m->u.piece.xxh3 = rng_next(r) | 1;
        add_frame(m, m->u.piece.gone ? 0 : 1 + (size_t)rng_below(r, 1000), r);
        break;
    }
}

static enum role speaker(enum msg_kind kind)
{
    switch (kind) {
    case MSG_WORKER_STATE:
    case MSG_PULL:
    case MSG_PUSH: return ROLE_WORKER;
    case MSG_SHARD_STATE:
    case MSG_ROWS:
    case MSG_ACK:
    case MSG_REFUSED: return ROLE_SHARD;
    case MSG_STATUS: return ROLE_FRONT;
    case MSG_WATCH:
    case MSG_FETCH: return ROLE_FOLLOWER;
    default: return ROLE_HEAD;
    }
}

struct msg *wire_message(enum msg_kind kind, uint64_t seed)
{
    struct rng r = {seed, (uint64_t)kind << 32};
    struct msg *m = msg_new(kind);
    memset(&m->u, 1, wire_body_bytes(kind));
    m->job = rng_next(&r) | 1;
    m->e = rng_next(&r) | 1;
    m->boot = rng_next(&r) | 1;
    m->role = speaker(kind);
    m->sender = 1 + (uint32_t)rng_below(&r, WORKERS_MAX - 1);
    switch (kind) {
    case MSG_ORDER: fill_order(&m->u.order, &r); break;
    case MSG_WORKER_STATE: fill_worker(&m->u.worker, &r); break;
    case MSG_SHARD_STATE: fill_shard(&m->u.shard, &r); break;
    case MSG_LEASE:
        m->u.lease.number = rng_next(&r) | 1;
        m->u.lease.epoch = rng_next(&r) | 1;
        m->u.lease.split = 1 + rng_below(&r, 1ull << 56);
        m->u.lease.begin = 1 + rng_below(&r, 1ull << 55);
        m->u.lease.end = m->u.lease.begin + 1 + rng_below(&r, 1ull << 55);
        m->u.lease.first = 1 + rng_below(&r, 1ull << 55);
        m->u.lease.records = 1 + rng_below(&r, 1ull << 55);
        m->u.lease.segment = rng_next(&r) | 1;
        break;
    case MSG_PULL:
    case MSG_ROWS:
    case MSG_PUSH:
    case MSG_ACK: fill_train(m, &r); break;
    case MSG_REPORT: msg_set_text(m, "{\"phase\": \"training\"}"); break;
    case MSG_REFUSED:
        m->u.refused.boot = rng_next(&r) | 1;
        m->u.refused.e = rng_next(&r) | 1;
        msg_set_text(m, "this is another job");
        break;
    case MSG_WATCH:
    case MSG_CUT:
    case MSG_FETCH:
    case MSG_PIECE: fill_stream(m, &r); break;
    case MSG_STATUS: break;
    }
    return m;
}
