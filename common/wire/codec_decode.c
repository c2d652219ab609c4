/* codec_decode.c - a protobuf envelope, foreign, to a struct msg.
 *
 * Decoding gives protobuf-c an allocator with a budget: a bump pointer over 8 KiB of stack, which
 * every pull and push fits, and behind it chunks of malloc up to WIRE_UNPACK_MAX. So a hostile envelope
 * costs a bounded amount of memory, and the steady state costs none. Everything is then copied into struct
 * msg field by field, with every count, name and size held against limits.h: behind this file there are no
 * foreign bytes but the arrays, whose sizes are known to be true.
 *
 *   kind          frames behind the envelope            checked here
 *   PULL          1: keys                               n * 8 bytes
 *   ROWS          rows by table, dense, stat            multiples of 4 bytes (dims: the client)
 *   PUSH          keys or empty, grads ..., dense, stat keys n * 8 or none with a handle; multiples of 4
 *   REPORT        1: text                               at most WIRE_TEXT_MAX
 *   REFUSED       1: text                               at most WIRE_REFUSED_MAX
 *   PIECE         1: bytes                              at most WIRE_PIECE_MAX
 *   others        none
 *
 * ZeroMQ hands out small frames at any address (they point into its receive buffer). Misaligned ones are
 * copied here, once, so that nobody behind has to think of it.
 */
#include "common/wire/codec.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/wire/limits.h"
#include "proto/envelope.pb-c.h"

enum { ALIGN_POOL_BYTES = 16 << 20, STACK_BYTES = 8192 };

static const uint8_t speaks[MSG_KIND_LAST + 1] = {
    [MSG_ORDER] = ROLE_HEAD,     [MSG_WORKER_STATE] = ROLE_WORKER, [MSG_SHARD_STATE] = ROLE_SHARD,
    [MSG_LEASE] = ROLE_HEAD,     [MSG_PULL] = ROLE_WORKER,         [MSG_ROWS] = ROLE_SHARD,
    [MSG_PUSH] = ROLE_WORKER,    [MSG_ACK] = ROLE_SHARD,           [MSG_STATUS] = ROLE_FRONT,
    [MSG_REPORT] = ROLE_HEAD,    [MSG_WATCH] = ROLE_FOLLOWER,      [MSG_CUT] = ROLE_HEAD,
    [MSG_FETCH] = ROLE_FOLLOWER, [MSG_PIECE] = ROLE_HEAD};

struct chunk {
    struct chunk *next;
};

struct budget {
    unsigned char *at, *end;
    struct chunk *chunks; /* owned */
    size_t left;
};

static void *budget_alloc(void *data, size_t n)
{
    struct budget *b = data;
    n = (n + 15) / 16 * 16;
    if (n > b->left)
        return NULL;
    if (n > (size_t)(b->end - b->at)) {
        size_t room = n > 65536 ? n : 65536;
        struct chunk *c = malloc(16 + room);
        if (c == NULL)
            return NULL;
        c->next = b->chunks;
        b->chunks = c;
        b->at = (unsigned char *)c + 16;
        b->end = b->at + room;
    }
    b->left -= n;
    void *p = b->at;
    b->at += n;
    return p;
}

static void budget_free(void *data, void *p)
{
    (void)data; /* everything goes at once, in budget_release */
    (void)p;
}

static void budget_release(struct budget *b)
{
    for (struct chunk *c = b->chunks, *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
}

static enum status bad(struct errbuf *err, const char *what)
{
    return errbuf_set(err, ST_BAD_PEER, "a message of nonsense: %s", what);
}

/* A text of at most cap - 1 bytes; what could disturb a terminal or a log becomes '?'. */
static bool take_text(const char *src, char *dst, size_t cap)
{
    size_t n = src == NULL ? 0 : strlen(src);
    if (n >= cap)
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)src[i];
        dst[i] = c < 0x20 || c == 0x7f ? '?' : src[i];
    }
    dst[n] = '\0';
    return true;
}

/* A name of a file below DIR: plain characters only, no way out. */
static bool take_name(const char *src, char *dst, size_t cap)
{
    if (!take_text(src, dst, cap) || strstr(dst, "..") != NULL || dst[0] == '/')
        return false;
    for (const char *c = dst; *c != '\0'; c++) {
        bool plain = (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') ||
                     (*c >= 'A' && *c <= 'Z') || strchr("._-/", *c) != NULL;
        if (!plain)
            return false;
    }
    return true;
}

static enum status take_map(const ProtobufCBinaryData *runs, uint32_t shards, uint16_t *map,
                            struct errbuf *err)
{
    uint32_t b = 0;
    if (runs->len % WIRE_RUN_BYTES != 0)
        return bad(err, "the bucket map is cut off");
    for (size_t i = 0; i < runs->len; i += WIRE_RUN_BYTES) {
        uint32_t n = (uint32_t)(runs->data[i] | runs->data[i + 1] << 8);
        uint32_t shard = (uint32_t)(runs->data[i + 2] | runs->data[i + 3] << 8);
        if (n == 0 || n > BUCKETS - b || shard >= shards)
            return bad(err, "the bucket map is out of range");
        while (n-- > 0)
            map[b++] = (uint16_t)shard;
    }
    return b == BUCKETS ? ST_OK : bad(err, "the bucket map has holes");
}

static enum status take_schedule(const Penstock__Schedule *p, struct schedule *s,
                                 struct errbuf *err)
{
    if (p == NULL)
        return ST_OK;
    if (p->n_changes > SCHEDULE_CHANGES_MAX || !isfinite(p->rate_min) || p->rate_min < 0)
        return bad(err, "the schedule is out of range");
    s->warmup = p->warmup;
    s->rate_min = p->rate_min;
    s->changes = (uint32_t)p->n_changes;
    for (size_t i = 0; i < p->n_changes; i++) {
        const Penstock__RateChange *c = p->changes[i];
        if (!isfinite(c->factor) || c->factor < 0 ||
            (i > 0 && c->from_step <= p->changes[i - 1]->from_step))
            return bad(err, "a change of the schedule is out of range");
        s->change[i].from_step = c->from_step;
        s->change[i].factor = c->factor;
    }
    return ST_OK;
}

static enum status decode_order(const Penstock__Order *p, struct msg_order *o, struct errbuf *err)
{
    if (p->mode < MODE_RECOVER || p->mode > MODE_STOP)
        return bad(err, "an order without a mode");
    if (p->n_members > SHARDS_MAX || p->world_size > WORKERS_MAX)
        return bad(err, "an order with too many members");
    if (p->records > WIRE_RECORDS_MAX || p->split_records > WIRE_RECORDS_MAX)
        return bad(err, "an order with too large a log");
    if (p->evaluate_first > WIRE_RECORDS_MAX || p->evaluate_records > WIRE_RECORDS_MAX)
        return bad(err, "an order with too large an evaluation");
    o->n = p->n;
    o->mode = (enum mode)p->mode;
    o->open = p->open;
    o->complete = p->complete;
    o->complete_e = p->complete_e;
    o->resolved = p->resolved;
    o->base = p->base_k;
    o->base_e = p->base_e;
    o->full = p->full;
    o->world = p->world;
    o->world_size = p->world_size;
    o->split_records = p->split_records;
    o->records = p->records;
    o->epoch = p->epoch;
    o->evaluate = p->evaluate;
    o->evaluate_first = p->evaluate_first;
    o->evaluate_records = p->evaluate_records;
    o->evaluate_segment = p->evaluate_segment;
    o->stop_code = p->stop_code;
    o->clock = p->clock;
    if (!take_text(p->why, o->why, sizeof o->why))
        return bad(err, "an order with too long a text");
    o->shards = (uint32_t)p->n_members;
    o->member = o->shards > 0 ? mem_array(o->shards, sizeof *o->member) : NULL;
    for (uint32_t i = 0; i < o->shards; i++) {
        o->member[i].boot = p->members[i]->boot;
        if (!take_text(p->members[i]->address, o->member[i].address, ADDRESS_MAX))
            return bad(err, "an order with too long an address");
    }
    if (o->shards > 0 && take_map(&p->map, o->shards, o->map, err) != ST_OK)
        return ST_BAD_PEER;
    return take_schedule(p->schedule, &o->schedule, err);
}

static enum status decode_worker(const Penstock__WorkerState *p, struct msg_worker_state *w,
                                 struct errbuf *err)
{
    if (p->n_progress > LEASES_MAX || p->room > LEASES_MAX)
        return bad(err, "a worker with too many leases");
    if (p->n_tasks > JOB_TASKS_MAX)
        return bad(err, "a worker with too many tasks");
    if (p->world_size > WORKERS_MAX || p->rank >= p->world_size)
        return bad(err, "a worker's rank is out of range");
    w->n = p->n;
    w->held = p->held;
    w->world = p->world;
    w->rank = p->rank;
    w->world_size = p->world_size;
    w->leased = p->leased;
    w->leases = (uint32_t)p->n_progress;
    for (uint32_t i = 0; i < w->leases; i++) {
        const Penstock__Progress *g = p->progress[i];
        if (g->upto > WIRE_RECORDS_MAX || g->split > WIRE_RECORDS_MAX)
            return bad(err, "a worker's progress is out of range");
        w->progress[i] =
            (struct msg_progress){.epoch = g->epoch, .split = g->split, .upto = g->upto};
    }
    w->room = p->room;
    w->idle = p->idle;
    w->totals_epoch = p->totals_epoch;
    w->loss_sum = p->loss_sum;
    w->loss_count = p->loss_count;
    w->train_auc = p->train_auc;
    w->train_accuracy = p->train_accuracy;
    w->refused = p->refused;
    w->rss_bytes = p->rss_bytes;
    w->stall_us_max = p->stall_us_max;
    w->evaluated = p->evaluated;
    w->auc = p->auc;
    w->auc_bound = p->auc_bound;
    w->logloss = p->logloss;
    w->accuracy = p->accuracy;
    w->gauc = p->gauc;
    w->tasks = (uint32_t)p->n_tasks;
    for (uint32_t t = 0; t < w->tasks; t++)
        w->task[t] = (struct msg_task){p->tasks[t]->auc, p->tasks[t]->logloss, p->tasks[t]->rate};
    w->hr10 = p->hr10;
    w->ndcg10 = p->ndcg10;
    w->mrr = p->mrr;
    w->eval_count = p->eval_count;
    w->fault_code = p->fault_code;
    w->clock = p->clock;
    return take_text(p->fault, w->fault, sizeof w->fault) ? ST_OK
                                                          : bad(err, "too long a fault text");
}

static enum status decode_shard(const Penstock__ShardState *p, struct msg_shard_state *s,
                                struct errbuf *err)
{
    if (p->n_tables > PLAN_TABLES_MAX || p->shard >= SHARDS_MAX)
        return bad(err, "a shard's state is out of range");
    if (!take_text(p->address, s->address, sizeof s->address) ||
        !take_name(p->file, s->file, sizeof s->file) || !take_text(p->why, s->why, sizeof s->why) ||
        !take_text(p->refused_where, s->refused_where, sizeof s->refused_where))
        return bad(err, "a shard's text is too long or no file name");
    s->n = p->n;
    s->shard = p->shard;
    s->open = p->open;
    s->complete = p->complete;
    s->loading = p->loading;
    s->durable_e = p->durable_e;
    s->durable_k = p->durable_k;
    s->file_full = p->file_full;
    s->bytes = p->bytes;
    s->rows_written = p->rows_written;
    s->xxh3 = p->xxh3;
    s->tables = (uint32_t)p->n_tables;
    for (uint32_t i = 0; i < s->tables; i++) {
        s->hash[i] = p->tables[i]->hash;
        s->rows[i] = p->tables[i]->rows;
        s->weights[i] = p->tables[i]->weights;
    }
    s->step = p->step;
    s->rendered = p->rendered;
    s->cut_applied = p->cut_applied;
    s->failed_k = p->failed_k;
    s->undo_bytes = p->undo_bytes;
    s->want_cut = p->want_cut;
    s->need_full = p->need_full;
    s->fault = p->fault;
    s->pushes = p->pushes;
    s->applied = p->applied;
    s->doubled = p->doubled;
    s->skipped = p->skipped;
    s->refused = p->refused;
    s->refused_worker = p->refused_worker;
    s->table_bytes = p->table_bytes;
    s->rows_live = p->rows_live;
    s->rss_bytes = p->rss_bytes;
    s->staleness_mean = p->staleness_mean;
    s->staleness_p99 = p->staleness_p99;
    return ST_OK;
}

static enum status decode_lease(const Penstock__Lease *p, struct msg_lease *l, struct errbuf *err)
{
    if (p->end > WIRE_RECORDS_MAX || p->begin > p->end || p->split > WIRE_RECORDS_MAX ||
        p->first > WIRE_RECORDS_MAX || p->records > WIRE_RECORDS_MAX)
        return bad(err, "a lease is out of range");
    *l = (struct msg_lease){.number = p->number,
                            .epoch = p->epoch,
                            .split = p->split,
                            .begin = p->begin,
                            .end = p->end,
                            .first = p->first,
                            .records = p->records,
                            .segment = p->segment};
    return ST_OK;
}

static enum status decode_pull(const Penstock__Pull *p, const uint64_t *bytes, size_t frames,
                               struct msg_pull *q, struct errbuf *err)
{
    if (p->n > WIRE_KEYS_MAX || frames != 1 || bytes[0] != (uint64_t)p->n * 8)
        return bad(err, "a pull whose keys don't fit its count");
    *q = (struct msg_pull){.request = p->request,
                           .tables = p->tables,
                           .dense = p->dense != 0,
                           .handle = p->handle != 0,
                           .n = p->n,
                           .clock = p->clock};
    return ST_OK;
}

static enum status floats_only(const uint64_t *bytes, size_t first, size_t frames,
                               struct errbuf *err)
{
    for (size_t i = first; i < frames; i++) {
        if (bytes[i] % 4 != 0)
            return bad(err, "a frame of floats is cut off");
    }
    return ST_OK;
}

static enum status decode_rows(const Penstock__Rows *p, const uint64_t *bytes, size_t frames,
                               struct msg_rows *r, struct errbuf *err)
{
    if (p->n > WIRE_KEYS_MAX)
        return bad(err, "rows of too many keys");
    *r = (struct msg_rows){.request = p->request, .handle = p->handle, .n = p->n, .step = p->step};
    return floats_only(bytes, 0, frames, err);
}

static enum status decode_push(const Penstock__Push *p, const uint64_t *bytes, size_t frames,
                               struct msg_push *q, struct errbuf *err)
{
    if (p->n > WIRE_KEYS_MAX || p->rank >= WORKERS_MAX || frames < 3)
        return bad(err, "a push is out of range");
    if (bytes[0] != (p->handle != 0 ? 0 : (uint64_t)p->n * 8))
        return bad(err, "a push whose keys don't fit its count");
    if (p->begin > p->end || p->end > WIRE_RECORDS_MAX || p->split > WIRE_RECORDS_MAX)
        return bad(err, "a push whose records are out of range");
    *q = (struct msg_push){.rank = p->rank,
                           .seq = p->seq,
                           .tag = p->tag,
                           .handle = p->handle,
                           .n = p->n,
                           .epoch = p->epoch,
                           .split = p->split,
                           .begin = p->begin,
                           .end = p->end,
                           .pulled_step = p->pulled_step};
    return floats_only(bytes, 1, frames, err);
}

static enum status text_frame(const uint64_t *bytes, size_t frames, uint64_t max,
                              struct errbuf *err)
{
    return frames == 1 && bytes[0] <= max ? ST_OK : bad(err, "a text is missing or too long");
}

static enum status decode_fetch(const Penstock__Fetch *p, struct msg_fetch *f, struct errbuf *err)
{
    if (!take_name(p->name, f->name, sizeof f->name) || f->name[0] == '\0')
        return bad(err, "a file's name is none");
    if (p->bytes == 0 || p->bytes > WIRE_PIECE_MAX || p->offset > UINT64_MAX - p->bytes)
        return bad(err, "a fetch is out of range");
    f->request = p->request;
    f->offset = p->offset;
    f->bytes = p->bytes;
    return ST_OK;
}

static enum status decode_piece(const Penstock__Piece *p, const uint64_t *bytes, size_t frames,
                                struct msg_piece *q, struct errbuf *err)
{
    if (frames != 1 || bytes[0] > WIRE_PIECE_MAX || (p->gone && bytes[0] > 0) ||
        p->offset > p->total || bytes[0] > p->total - p->offset)
        return bad(err, "a piece does not fit its file");
    *q = (struct msg_piece){.request = p->request,
                            .gone = p->gone != 0,
                            .offset = p->offset,
                            .total = p->total,
                            .xxh3 = p->xxh3};
    return ST_OK;
}

/* Kind by the body that is there; 0 if there is none. */
static int kind_of(const Penstock__Envelope *e)
{
    switch (e->body_case) {
    case PENSTOCK__ENVELOPE__BODY_ORDER: return MSG_ORDER;
    case PENSTOCK__ENVELOPE__BODY_WORKER_STATE: return MSG_WORKER_STATE;
    case PENSTOCK__ENVELOPE__BODY_SHARD_STATE: return MSG_SHARD_STATE;
    case PENSTOCK__ENVELOPE__BODY_LEASE: return MSG_LEASE;
    case PENSTOCK__ENVELOPE__BODY_PULL: return MSG_PULL;
    case PENSTOCK__ENVELOPE__BODY_ROWS: return MSG_ROWS;
    case PENSTOCK__ENVELOPE__BODY_PUSH: return MSG_PUSH;
    case PENSTOCK__ENVELOPE__BODY_ACK: return MSG_ACK;
    case PENSTOCK__ENVELOPE__BODY_STATUS: return MSG_STATUS;
    case PENSTOCK__ENVELOPE__BODY_REPORT: return MSG_REPORT;
    case PENSTOCK__ENVELOPE__BODY_REFUSED: return MSG_REFUSED;
    case PENSTOCK__ENVELOPE__BODY_WATCH: return MSG_WATCH;
    case PENSTOCK__ENVELOPE__BODY_CUT: return MSG_CUT;
    case PENSTOCK__ENVELOPE__BODY_FETCH: return MSG_FETCH;
    case PENSTOCK__ENVELOPE__BODY_PIECE: return MSG_PIECE;
    default: return 0;
    }
}

static enum status decode_body(const Penstock__Envelope *e, struct msg *m, struct errbuf *err)
{
    const uint64_t *bytes = e->frame_bytes;
    size_t frames = e->n_frame_bytes;

    switch (m->kind) {
    case MSG_PULL: return decode_pull(e->pull, bytes, frames, &m->u.pull, err);
    case MSG_ROWS: return decode_rows(e->rows, bytes, frames, &m->u.rows, err);
    case MSG_PUSH: return decode_push(e->push, bytes, frames, &m->u.push, err);
    case MSG_REPORT: return text_frame(bytes, frames, WIRE_TEXT_MAX, err);
    case MSG_PIECE: return decode_piece(e->piece, bytes, frames, &m->u.piece, err);
    case MSG_REFUSED:
        m->u.refused = (struct msg_refused){.boot = e->refused->boot, .e = e->refused->e};
        return text_frame(bytes, frames, WIRE_REFUSED_MAX, err);
    default: break;
    }
    if (frames != 0)
        return bad(err, "frames where none belong");
    switch (m->kind) {
    case MSG_ORDER: return decode_order(e->order, &m->u.order, err);
    case MSG_WORKER_STATE: return decode_worker(e->worker_state, &m->u.worker, err);
    case MSG_SHARD_STATE: return decode_shard(e->shard_state, &m->u.shard, err);
    case MSG_LEASE: return decode_lease(e->lease, &m->u.lease, err);
    case MSG_ACK:
        m->u.ack = (struct msg_ack){
            .seq = e->ack->seq, .refused = e->ack->refused, .keys = e->ack->keys != 0};
        return ST_OK;
    case MSG_WATCH:
        m->u.watch = (struct msg_watch){.request = e->watch->request,
                                        .after = e->watch->after,
                                        .below = e->watch->below,
                                        .wait_us = e->watch->wait_us};
        return ST_OK;
    case MSG_CUT:
        m->u.cut = (struct msg_cut){.request = e->cut->request, .k = e->cut->k};
        return ST_OK;
    case MSG_FETCH: return decode_fetch(e->fetch, &m->u.fetch, err);
    default: m->u.want_stop = e->status->want_stop != 0; return ST_OK;
    }
}

static enum status check_envelope(const Penstock__Envelope *e, const struct frame *frames,
                                  size_t frames_used, struct errbuf *err)
{
    int kind = kind_of(e);
    uint64_t sum = 0;
    if (e->version != WIRE_VERSION)
        return errbuf_set(err, ST_BAD_PEER, "a message of wire version %u, this is %u", e->version,
                          WIRE_VERSION);
    if (kind == 0)
        return bad(err, "an envelope without a body");
    if (e->role < ROLE_HEAD || e->role > ROLE_FOLLOWER || e->sender >= WORKERS_MAX ||
        (kind != MSG_REFUSED && e->role != (uint32_t)speaks[kind]))
        return errbuf_set(err, ST_BAD_PEER, "a message of nonsense: %s from role %u, number %u",
                          msg_kind_name((enum msg_kind)kind), e->role, e->sender);
    if (e->n_frame_bytes != frames_used || frames_used > MSG_FRAMES_MAX)
        return errbuf_set(err, ST_BAD_PEER, "%zu frames came, the envelope tells %zu", frames_used,
                          e->n_frame_bytes);
    for (size_t i = 0; i < frames_used; i++) {
        if (frames[i].bytes != e->frame_bytes[i] || frames[i].bytes > WIRE_FRAME_MAX)
            return errbuf_set(err, ST_BAD_PEER, "frame %zu has %zu bytes, the envelope tells %llu",
                              i + 1, frames[i].bytes, (unsigned long long)e->frame_bytes[i]);
        sum += frames[i].bytes;
    }
    return sum <= WIRE_MESSAGE_MAX ? ST_OK : bad(err, "too many bytes");
}

static struct frame_pool *align_pool;
static pthread_once_t align_once = PTHREAD_ONCE_INIT;

static void make_align_pool(void)
{
    align_pool = frame_pool_new(ALIGN_POOL_BYTES);
}

static void move_frames(struct msg *m, struct frame *frames, size_t n)
{
    m->frames = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        if ((uintptr_t)frames[i].data % 8 != 0) {
            pthread_once(&align_once, make_align_pool);
            m->frame[i] = frame_pool_get(align_pool, frames[i].bytes);
            if (frames[i].bytes > 0)
                memcpy(m->frame[i].data, frames[i].data, frames[i].bytes);
            frame_release(&frames[i]);
        } else {
            m->frame[i] = frames[i];
            frames[i] = (struct frame){0};
        }
    }
}

enum status codec_decode(const void *env, size_t env_bytes, struct frame *frames,
                         size_t frames_used, struct msg **out, struct errbuf *err)
{
    unsigned char stack[STACK_BYTES] __attribute__((aligned(16)));
    struct budget budget = {.at = stack, .end = stack + sizeof stack, .left = WIRE_UNPACK_MAX};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    enum status st;

    if (env_bytes > WIRE_ENVELOPE_MAX)
        return errbuf_set(err, ST_BAD_PEER, "an envelope of %zu bytes, at most %zu are allowed",
                          env_bytes, WIRE_ENVELOPE_MAX);
    Penstock__Envelope *e = penstock__envelope__unpack(&allocator, env_bytes, env);
    if (e == NULL) {
        st = errbuf_set(err, ST_BAD_PEER, "a message of nonsense: %zu bytes are no envelope",
                        env_bytes);
        goto out_budget;
    }
    st = check_envelope(e, frames, frames_used, err);
    if (st != ST_OK)
        goto out_budget;
    struct msg *m = msg_new((enum msg_kind)kind_of(e));
    m->job = e->job;
    m->e = e->e;
    m->boot = e->boot;
    m->role = (enum role)e->role;
    m->sender = e->sender;
    st = decode_body(e, m, err);
    if (st != ST_OK) {
        msg_free(m);
        goto out_budget;
    }
    move_frames(m, frames, frames_used);
    *out = m;
out_budget:
    budget_release(&budget);
    return st;
}
