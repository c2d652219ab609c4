/* shard_thread.c - the loop around one shard's core (shard_step.h).
 *
 * One turn: wait (messages, a result of the writer or of a load, the beat), then give the core what is
 * there: first the head's words, then results, then at most MESSAGES_A_TURN of the workers', then one slice
 * of a cut's file if the writer has room, then the tick. While a cut is written and there is room the wait
 * is zero, so writing takes the time that messages leave.
 *
 * A load owns the store (shard_load.h). During it the core may see anything but an ORDER that would make it
 * clear the store: RECOVER of a greater e. Such an order is dropped, and comes again a beat later.
 *
 * Everything here belongs to the shard's thread, but for what the main thread reads of how it ended.
 */
#include "ps/train/shard_thread.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/thread.h"
#include "common/net/head_link.h"
#include "common/net/listen_address.h"
#include "common/net/listen_clock.h"
#include "ps/train/shard_load.h"
#include "ps/train/shard_step.h"

enum {
    MESSAGES_A_TURN = 64,
    ORDERS_A_TURN = 16,
    SLICE_BYTES = 128 << 10,
    HANDLE_BYTES_MAX = 256 << 20,
    WRITER_WAIT_US = 5000 /* the writer wakes us when it has room; this is the deadline */
};

struct shard_thread {
    /* -- set once in start -- */
    struct ps_run *p; /* borrowed */
    uint32_t shard, slot;
    char name[16];
    struct thread thread;
    struct wake wake; /* by the writer, a load, the main thread */
    /* -- shard thread only -- */
    struct shard *core;
    struct listen_clock clock;
    struct endpoint *listen;
    struct head_link head;
    struct endpoint_set *set;
    struct shard_load *load;
    uint64_t tick_us;  /* when the next one is due */
    size_t slice_left; /* reserved for the slice that is being made */
    bool exiting;
    int exit_code;
    /* -- both: exit_code is read after ended -- */
    atomic_bool ended;
};

static void step(struct shard_thread *t, const struct shard_event *ev);

static void tell_loaded(struct shard_thread *t, enum status status, const char *text,
                        const struct manifest *base)
{
    struct shard_event ev = {.kind = SHARD_LOADED, .now_us = listen_clock_now(&t->clock)};
    ev.status = status;
    ev.text = text;
    if (base != NULL)
        ev.base = *base;
    step(t, &ev);
}

static void start_load(struct shard_thread *t, const struct shard_action *a)
{
    struct errbuf err = ERRBUF_INIT;
    /* hold_back() keeps orders that would lead here away while one runs. */
    assert(t->load == NULL);
    if (a->k == 0) {
        tell_loaded(t, ST_OK, NULL, NULL);
        return;
    }
    struct shard_load_conf conf = {.dir = t->p->dir.path,
                                   .plan = &t->p->dir.plan,
                                   .store = shard_store(t->core),
                                   .hash = shard_hash(t->core),
                                   .k = a->k,
                                   .shard = t->shard,
                                   .shards = a->order->shards,
                                   .map = a->order->map,
                                   .wake = &t->wake};
    enum status st = shard_load_start(&conf, &t->load, &err);
    if (st != ST_OK)
        tell_loaded(t, st, err.text, NULL);
}

static void send(struct shard_thread *t, uint64_t to, struct msg *m)
{
    if (to == SHARD_TO_HEAD)
        head_link_send(&t->head, &m);
    else
        (void)endpoint_send(t->listen, to, &m);
}

static void write_bytes(struct shard_thread *t, const struct shard_action *a)
{
    assert(a->n <= t->slice_left);
    t->slice_left -= a->n;
    cut_writer_bytes(t->p->writer, t->slot, a->bytes, a->n);
}

static void begin_file(struct shard_thread *t, const struct shard_action *a)
{
    struct manifest_file what = {.k = a->k, .e = a->e, .shard = t->shard, .full = a->full};
    log_info("shard %" PRIu32 ": cut %" PRIu64 " taken, writing %zu bytes%s", t->shard, a->k, a->n,
             a->full ? " (full)" : "");
    cut_writer_begin(t->p->writer, t->slot, &what);
}

static void act(struct shard_thread *t, const struct shard_action *a)
{
    switch (a->kind) {
    case SHARD_SEND: send(t, a->to, a->msg); break;
    case SHARD_LOAD: break; /* after all others: its answer may be a step of its own */
    case SHARD_FILE_BEGIN: begin_file(t, a); break;
    case SHARD_FILE_BYTES: write_bytes(t, a); break;
    case SHARD_FILE_END: cut_writer_end(t->p->writer, t->slot); break;
    case SHARD_FILE_ABORT: cut_writer_abort(t->p->writer, t->slot); break;
    case SHARD_NOTE: log_info("%s", a->text); break;
    case SHARD_EXIT:
        t->exiting = true;
        t->exit_code = a->code;
        log_at(a->code == 0 ? LOG_INFO : LOG_ERROR, "shard %" PRIu32 ": ends with code %d: %s",
               t->shard, a->code, a->text);
        break;
    }
}

static void step(struct shard_thread *t, const struct shard_event *ev)
{
    const struct shard_action *a = NULL, *load = NULL;
    size_t n = 0;
    shard_step(t->core, ev, &a, &n);
    for (size_t i = 0; i < n; i++) {
        act(t, &a[i]);
        if (a[i].kind == SHARD_LOAD)
            load = &a[i];
    }
    if (load != NULL)
        start_load(t, load);
}

/* An order that would touch the store while a load owns it. */
static bool hold_back(const struct shard_thread *t, const struct msg *m)
{
    struct shard_view v;
    if (t->load == NULL || m->kind != MSG_ORDER)
        return false;
    shard_view(t->core, &v);
    return m->e > v.e && m->u.order.mode == MODE_RECOVER;
}

static void give(struct shard_thread *t, struct msg *m, uint64_t route)
{
    if (hold_back(t, m)) {
        msg_free(m);
        return;
    }
    step(t, &(struct shard_event){
                .kind = SHARD_MSG, .now_us = listen_clock_now(&t->clock), .msg = m, .from = route});
}

static void take_messages(struct shard_thread *t)
{
    struct msg *m = NULL;
    uint64_t route = 0;
    for (unsigned i = 0; i < ORDERS_A_TURN && !t->exiting; i++) {
        m = head_link_recv(&t->head, listen_clock_now(&t->clock));
        if (m == NULL)
            break;
        give(t, m, SHARD_TO_HEAD);
    }
    for (unsigned i = 0; i < MESSAGES_A_TURN && !t->exiting; i++) {
        if (endpoint_recv(t->listen, &m, &route) != ST_OK)
            break;
        give(t, m, route);
    }
}

static void take_results(struct shard_thread *t)
{
    struct cut_result r;
    if (t->load != NULL && shard_load_done(t->load)) {
        const struct manifest *base = NULL;
        const char *text = NULL;
        struct shard_load *load = t->load;
        enum status st = shard_load_result(load, &base, &text);
        t->load = NULL;
        tell_loaded(t, st, text, base);
        shard_load_free(load);
    }
    while (!t->exiting && cut_writer_result(t->p->writer, t->slot, &r)) {
        if (r.status == ST_OK)
            log_info("shard %" PRIu32 ": cut %" PRIu64 " durable, %" PRIu64 " bytes", t->shard,
                     r.file.k, r.file.bytes);
        else
            log_warn("shard %" PRIu32 ": cut %" PRIu64 " could not be written: %s", t->shard,
                     r.file.k, r.text);
        step(t, &(struct shard_event){.kind = SHARD_DURABLE,
                                      .now_us = listen_clock_now(&t->clock),
                                      .status = r.status,
                                      .text = r.text,
                                      .file = r.file});
    }
}

/* false: nothing is to be written, or there is no room for it. */
static bool write_slice(struct shard_thread *t)
{
    if (t->exiting || !shard_writing(t->core) || !cut_writer_reserve(t->p->writer, SLICE_BYTES))
        return false;
    t->slice_left = SLICE_BYTES;
    step(t, &(struct shard_event){
                .kind = SHARD_SLICE, .now_us = listen_clock_now(&t->clock), .max = SLICE_BYTES});
    cut_writer_unreserve(t->p->writer, t->slice_left);
    t->slice_left = 0;
    return true;
}

static void tick(struct shard_thread *t, uint64_t now_us)
{
    if (t->exiting || now_us < t->tick_us)
        return;
    t->tick_us = now_us + t->p->dir.job.cluster.beat;
    head_link_tick(&t->head, now_us);
    if (t->slot == 0) /* one shard of a process speaks for its memory */
        shard_totals(t->core, mem_rss_peak_bytes());
    step(t, &(struct shard_event){.kind = SHARD_TICK, .now_us = now_us});
}

static void wait(struct shard_thread *t, bool wrote)
{
    uint64_t now_us = listen_clock_now(&t->clock);
    uint64_t wait_us = t->tick_us > now_us ? t->tick_us - now_us : 0;
    if (shard_writing(t->core) && wait_us > WRITER_WAIT_US)
        wait_us = WRITER_WAIT_US;
    endpoint_set_clear(t->set);
    endpoint_set_add(t->set, t->listen);
    size_t fd = endpoint_set_add_fd(t->set, t->wake.fd);
    if (t->head.ep != NULL)
        endpoint_set_add(t->set, t->head.ep);
    endpoint_set_wait(t->set, wrote ? 0 : wait_us);
    if (endpoint_set_ready(t->set, fd))
        wake_clear(&t->wake);
}

static void *run(void *arg)
{
    struct shard_thread *t = arg;
    bool wrote = false;
    listen_clock_init(&t->clock, t->p->dir.job.cluster.beat);
    while (!t->exiting) {
        wait(t, wrote);
        if (atomic_load(&t->p->stop)) {
            t->exit_code = 1;
            break;
        }
        take_results(t);
        take_messages(t);
        wrote = write_slice(t);
        tick(t, listen_clock_now(&t->clock));
    }
    atomic_store(&t->ended, true);
    wake_signal(&t->p->main_wake);
    return NULL;
}

static enum status open_core(struct shard_thread *t, struct errbuf *err)
{
    const struct job *job = &t->p->dir.job;
    struct shard_conf conf = {.job = t->p->dir.job_id,
                              .boot = t->p->boot,
                              .shard = t->shard,
                              .plan = &t->p->dir.plan,
                              .address = endpoint_address(t->listen),
                              .bytes_max = job->cluster.table_bytes,
                              .handle_bytes_max = HANDLE_BYTES_MAX,
                              .clip_row = job->train.clip_row,
                              .grad_max = job->train.grad_max,
                              .damping = job->optimizer.damping,
                              .beat_us = job->cluster.beat,
                              .orphan_us = job->cluster.orphan,
                              .workers_max = (uint32_t)job->cluster.workers,
                              .consistency = (enum job_consistency)job->train.consistency,
                              .allreduce = job_allreduces(job),
                              .batch = job->train.batch,
                              .staleness = (uint32_t)job->train.staleness,
                              .pool = t->p->pool};
    return shard_new(&conf, &t->core, err);
}

enum status shard_thread_start(struct ps_run *p, uint32_t shard, uint32_t slot,
                               struct shard_thread **out, struct errbuf *err)
{
    const struct job *job = &p->dir.job;
    struct shard_thread *t = mem_zalloc(sizeof(*t));
    char address[ADDRESS_MAX];
    t->p = p;
    t->shard = shard;
    t->slot = slot;
    snprintf(t->name, sizeof(t->name), "shard-%" PRIu32, shard);
    struct endpoint_conf conf = {.job = p->dir.job_id,
                                 .boot = p->boot,
                                 .role = ROLE_SHARD,
                                 .sender = shard,
                                 .pool = p->pool,
                                 .routes_max = 4 * (uint32_t)job->cluster.workers + 64};
    head_link_init(&t->head, p->hub, p->dir.path, &conf, job->cluster.beat);
    t->set = endpoint_set_new();
    enum status st = wake_init(&t->wake, err);
    if (st == ST_OK)
        st = listen_address(job->cluster.bind, address, err);
    if (st == ST_OK)
        st = endpoint_bind(p->hub, &conf, address, &t->listen, err);
    if (st == ST_OK)
        st = open_core(t, err);
    if (st == ST_OK) {
        cut_writer_attach(p->writer, slot, &t->wake);
        log_info("shard %" PRIu32 ": listens at %s", shard, endpoint_address(t->listen));
        st = thread_start(&t->thread, t->name, run, t, err);
    }
    if (st != ST_OK) {
        shard_thread_stop(t);
        return st;
    }
    *out = t;
    return ST_OK;
}

bool shard_thread_ended(const struct shard_thread *t, int *out_code)
{
    if (!atomic_load(&t->ended))
        return false;
    *out_code = t->exit_code;
    return true;
}

void shard_thread_wake(const struct shard_thread *t)
{
    wake_signal(&t->wake);
}

void shard_thread_stop(struct shard_thread *t)
{
    if (t == NULL)
        return;
    thread_stop(&t->thread);
    shard_load_free(t->load);
    shard_free(t->core);
    head_link_release(&t->head);
    endpoint_close(t->listen);
    endpoint_set_free(t->set);
    wake_release(&t->wake);
    free(t);
}
