/* codec_encode.c - a struct msg to its protobuf envelope.
 *
 * protobuf-c's structs are filled on the stack and packed; nothing but an ORDER's members takes memory. What is ours is
 * not checked here: codec_decode.c holds it against limits.h at the other end.
 */
#include "common/wire/codec.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/wire/limits.h"
#include "proto/envelope.pb-c.h"

/* protobuf-c's strings aren't const, and packing does not write to them. */
static char *text_of(const char *s)
{
    return (char *)(uintptr_t)s;
}

static size_t map_runs(const uint16_t *map, uint8_t *out)
{
    size_t used = 0;
    for (uint32_t b = 0, end; b < BUCKETS; b = end) {
        for (end = b + 1; end < BUCKETS && map[end] == map[b];)
            end++;
        uint32_t n = end - b;
        out[used++] = (uint8_t)n;
        out[used++] = (uint8_t)(n >> 8);
        out[used++] = (uint8_t)map[b];
        out[used++] = (uint8_t)(map[b] >> 8);
    }
    return used;
}

static void pack(Penstock__Envelope *e, struct buffer *out)
{
    size_t n = penstock__envelope__get_packed_size(e);
    penstock__envelope__pack(e, buffer_room(out, n));
}

static void encode_order(const struct msg_order *o, Penstock__Envelope *e, struct buffer *out)
{
    Penstock__Order p = PENSTOCK__ORDER__INIT;
    Penstock__Schedule s = PENSTOCK__SCHEDULE__INIT;
    Penstock__RateChange change[SCHEDULE_CHANGES_MAX], *changes[SCHEDULE_CHANGES_MAX];
    Penstock__Member *member = mem_array(o->shards, sizeof *member);
    Penstock__Member **members = mem_array(o->shards, sizeof *members);
    uint8_t runs[BUCKETS * WIRE_RUN_BYTES];

    for (uint32_t i = 0; i < o->shards; i++) {
        penstock__member__init(&member[i]);
        member[i].boot = o->member[i].boot;
        member[i].address = text_of(o->member[i].address);
        members[i] = &member[i];
    }
    for (uint32_t i = 0; i < o->schedule.changes; i++) {
        penstock__rate_change__init(&change[i]);
        change[i].from_step = o->schedule.change[i].from_step;
        change[i].factor = o->schedule.change[i].factor;
        changes[i] = &change[i];
    }
    s.warmup = o->schedule.warmup;
    s.rate_min = o->schedule.rate_min;
    s.n_changes = o->schedule.changes;
    s.changes = changes;
    p.n = o->n;
    p.mode = (uint32_t)o->mode;
    p.open = o->open;
    p.complete = o->complete;
    p.complete_e = o->complete_e;
    p.resolved = o->resolved;
    p.base_k = o->base;
    p.base_e = o->base_e;
    p.full = o->full;
    p.n_members = o->shards;
    p.members = members;
    p.world = o->world;
    p.world_size = o->world_size;
    if (o->shards > 0) {
        p.map.len = map_runs(o->map, runs);
        p.map.data = runs;
    }
    p.schedule = &s;
    p.split_records = o->split_records;
    p.records = o->records;
    p.epoch = o->epoch;
    p.evaluate = o->evaluate;
    p.evaluate_first = o->evaluate_first;
    p.evaluate_records = o->evaluate_records;
    p.evaluate_segment = o->evaluate_segment;
    p.stop_code = o->stop_code;
    p.clock = o->clock;
    p.why = text_of(o->why);
    e->body_case = PENSTOCK__ENVELOPE__BODY_ORDER;
    e->order = &p;
    pack(e, out);
    free(members);
    free(member);
}

static void encode_worker(const struct msg_worker_state *w, Penstock__Envelope *e,
                          struct buffer *out)
{
    Penstock__WorkerState p = PENSTOCK__WORKER_STATE__INIT;
    Penstock__Progress progress[LEASES_MAX], *list[LEASES_MAX];
    Penstock__TaskScore task[JOB_TASKS_MAX], *tasks[JOB_TASKS_MAX];

    for (uint32_t t = 0; t < w->tasks; t++) {
        penstock__task_score__init(&task[t]);
        task[t].auc = w->task[t].auc;
        task[t].logloss = w->task[t].logloss;
        task[t].rate = w->task[t].rate;
        tasks[t] = &task[t];
    }
    for (uint32_t i = 0; i < w->leases; i++) {
        penstock__progress__init(&progress[i]);
        progress[i].epoch = w->progress[i].epoch;
        progress[i].split = w->progress[i].split;
        progress[i].upto = w->progress[i].upto;
        list[i] = &progress[i];
    }
    p.n = w->n;
    p.held = w->held;
    p.world = w->world;
    p.rank = w->rank;
    p.world_size = w->world_size;
    p.leased = w->leased;
    p.n_progress = w->leases;
    p.progress = list;
    p.room = w->room;
    p.idle = w->idle;
    p.totals_epoch = w->totals_epoch;
    p.loss_sum = w->loss_sum;
    p.loss_count = w->loss_count;
    p.train_auc = w->train_auc;
    p.train_accuracy = w->train_accuracy;
    p.refused = w->refused;
    p.rss_bytes = w->rss_bytes;
    p.stall_us_max = w->stall_us_max;
    p.evaluated = w->evaluated;
    p.auc = w->auc;
    p.auc_bound = w->auc_bound;
    p.logloss = w->logloss;
    p.accuracy = w->accuracy;
    p.gauc = w->gauc;
    p.n_tasks = w->tasks;
    p.tasks = tasks;
    p.hr10 = w->hr10;
    p.ndcg10 = w->ndcg10;
    p.mrr = w->mrr;
    p.eval_count = w->eval_count;
    p.fault = text_of(w->fault);
    p.fault_code = w->fault_code;
    p.clock = w->clock;
    e->body_case = PENSTOCK__ENVELOPE__BODY_WORKER_STATE;
    e->worker_state = &p;
    pack(e, out);
}

static void encode_shard(const struct msg_shard_state *s, Penstock__Envelope *e, struct buffer *out)
{
    Penstock__ShardState p = PENSTOCK__SHARD_STATE__INIT;
    Penstock__TableSum sum[PLAN_TABLES_MAX], *sums[PLAN_TABLES_MAX];

    for (uint32_t i = 0; i < s->tables; i++) {
        penstock__table_sum__init(&sum[i]);
        sum[i].hash = s->hash[i];
        sum[i].rows = s->rows[i];
        sum[i].weights = s->weights[i];
        sums[i] = &sum[i];
    }
    p.n = s->n;
    p.shard = s->shard;
    p.address = text_of(s->address);
    p.open = s->open;
    p.complete = s->complete;
    p.loading = s->loading;
    p.durable_e = s->durable_e;
    p.durable_k = s->durable_k;
    p.file = text_of(s->file);
    p.file_full = s->file_full;
    p.bytes = s->bytes;
    p.rows_written = s->rows_written;
    p.xxh3 = s->xxh3;
    p.n_tables = s->tables;
    p.tables = sums;
    p.step = s->step;
    p.rendered = s->rendered;
    p.cut_applied = s->cut_applied;
    p.failed_k = s->failed_k;
    p.why = text_of(s->why);
    p.undo_bytes = s->undo_bytes;
    p.want_cut = s->want_cut;
    p.need_full = s->need_full;
    p.fault = s->fault;
    p.pushes = s->pushes;
    p.applied = s->applied;
    p.doubled = s->doubled;
    p.skipped = s->skipped;
    p.refused = s->refused;
    p.refused_worker = s->refused_worker;
    p.refused_where = text_of(s->refused_where);
    p.table_bytes = s->table_bytes;
    p.rows_live = s->rows_live;
    p.rss_bytes = s->rss_bytes;
    p.staleness_mean = s->staleness_mean;
    p.staleness_p99 = s->staleness_p99;
    e->body_case = PENSTOCK__ENVELOPE__BODY_SHARD_STATE;
    e->shard_state = &p;
    pack(e, out);
}

static void encode_small(const struct msg *m, Penstock__Envelope *e, struct buffer *out)
{
    Penstock__Lease lease = PENSTOCK__LEASE__INIT;
    Penstock__Status status = PENSTOCK__STATUS__INIT;
    Penstock__Report report = PENSTOCK__REPORT__INIT;
    Penstock__Refused refused = PENSTOCK__REFUSED__INIT;

    switch (m->kind) {
    case MSG_LEASE:
        lease.number = m->u.lease.number;
        lease.epoch = m->u.lease.epoch;
        lease.split = m->u.lease.split;
        lease.begin = m->u.lease.begin;
        lease.end = m->u.lease.end;
        lease.first = m->u.lease.first;
        lease.records = m->u.lease.records;
        lease.segment = m->u.lease.segment;
        e->body_case = PENSTOCK__ENVELOPE__BODY_LEASE;
        e->lease = &lease;
        break;
    case MSG_STATUS:
        status.want_stop = m->u.want_stop;
        e->body_case = PENSTOCK__ENVELOPE__BODY_STATUS;
        e->status = &status;
        break;
    case MSG_REPORT:
        e->body_case = PENSTOCK__ENVELOPE__BODY_REPORT;
        e->report = &report;
        break;
    default:
        refused.boot = m->u.refused.boot;
        refused.e = m->u.refused.e;
        e->body_case = PENSTOCK__ENVELOPE__BODY_REFUSED;
        e->refused = &refused;
        break;
    }
    pack(e, out);
}

static void encode_train(const struct msg *m, Penstock__Envelope *e, struct buffer *out)
{
    Penstock__Pull pull = PENSTOCK__PULL__INIT;
    Penstock__Rows rows = PENSTOCK__ROWS__INIT;
    Penstock__Push push = PENSTOCK__PUSH__INIT;
    Penstock__Ack ack = PENSTOCK__ACK__INIT;

    switch (m->kind) {
    case MSG_PULL:
        pull.request = m->u.pull.request;
        pull.tables = m->u.pull.tables;
        pull.dense = m->u.pull.dense;
        pull.handle = m->u.pull.handle;
        pull.n = m->u.pull.n;
        pull.clock = m->u.pull.clock;
        e->body_case = PENSTOCK__ENVELOPE__BODY_PULL;
        e->pull = &pull;
        break;
    case MSG_ROWS:
        rows.request = m->u.rows.request;
        rows.handle = m->u.rows.handle;
        rows.n = m->u.rows.n;
        rows.step = m->u.rows.step;
        e->body_case = PENSTOCK__ENVELOPE__BODY_ROWS;
        e->rows = &rows;
        break;
    case MSG_PUSH:
        push.rank = m->u.push.rank;
        push.seq = m->u.push.seq;
        push.tag = m->u.push.tag;
        push.handle = m->u.push.handle;
        push.n = m->u.push.n;
        push.epoch = m->u.push.epoch;
        push.split = m->u.push.split;
        push.begin = m->u.push.begin;
        push.end = m->u.push.end;
        push.pulled_step = m->u.push.pulled_step;
        e->body_case = PENSTOCK__ENVELOPE__BODY_PUSH;
        e->push = &push;
        break;
    default:
        ack.seq = m->u.ack.seq;
        ack.refused = m->u.ack.refused;
        ack.keys = m->u.ack.keys;
        e->body_case = PENSTOCK__ENVELOPE__BODY_ACK;
        e->ack = &ack;
        break;
    }
    pack(e, out);
}

static void encode_stream(const struct msg *m, Penstock__Envelope *e, struct buffer *out)
{
    Penstock__Watch watch = PENSTOCK__WATCH__INIT;
    Penstock__Cut cut = PENSTOCK__CUT__INIT;
    Penstock__Fetch fetch = PENSTOCK__FETCH__INIT;
    Penstock__Piece piece = PENSTOCK__PIECE__INIT;

    switch (m->kind) {
    case MSG_WATCH:
        watch.request = m->u.watch.request;
        watch.after = m->u.watch.after;
        watch.below = m->u.watch.below;
        watch.wait_us = m->u.watch.wait_us;
        e->body_case = PENSTOCK__ENVELOPE__BODY_WATCH;
        e->watch = &watch;
        break;
    case MSG_CUT:
        cut.request = m->u.cut.request;
        cut.k = m->u.cut.k;
        e->body_case = PENSTOCK__ENVELOPE__BODY_CUT;
        e->cut = &cut;
        break;
    case MSG_FETCH:
        fetch.request = m->u.fetch.request;
        fetch.name = text_of(m->u.fetch.name);
        fetch.offset = m->u.fetch.offset;
        fetch.bytes = m->u.fetch.bytes;
        e->body_case = PENSTOCK__ENVELOPE__BODY_FETCH;
        e->fetch = &fetch;
        break;
    default:
        piece.request = m->u.piece.request;
        piece.gone = m->u.piece.gone;
        piece.offset = m->u.piece.offset;
        piece.total = m->u.piece.total;
        piece.xxh3 = m->u.piece.xxh3;
        e->body_case = PENSTOCK__ENVELOPE__BODY_PIECE;
        e->piece = &piece;
        break;
    }
    pack(e, out);
}

void codec_encode(const struct msg *m, struct buffer *out)
{
    Penstock__Envelope e = PENSTOCK__ENVELOPE__INIT;
    uint64_t frame_bytes[MSG_FRAMES_MAX];

    for (uint32_t i = 0; i < m->frames; i++)
        frame_bytes[i] = m->frame[i].bytes;
    e.version = WIRE_VERSION;
    e.job = m->job;
    e.e = m->e;
    e.boot = m->boot;
    e.role = (uint32_t)m->role;
    e.sender = m->sender;
    e.n_frame_bytes = m->frames;
    e.frame_bytes = frame_bytes;
    switch (m->kind) {
    case MSG_ORDER: encode_order(&m->u.order, &e, out); break;
    case MSG_WORKER_STATE: encode_worker(&m->u.worker, &e, out); break;
    case MSG_SHARD_STATE: encode_shard(&m->u.shard, &e, out); break;
    case MSG_PULL:
    case MSG_ROWS:
    case MSG_PUSH:
    case MSG_ACK: encode_train(m, &e, out); break;
    case MSG_LEASE:
    case MSG_STATUS:
    case MSG_REPORT:
    case MSG_REFUSED: encode_small(m, &e, out); break;
    case MSG_WATCH:
    case MSG_CUT:
    case MSG_FETCH:
    case MSG_PIECE: encode_stream(m, &e, out); break;
    }
}
