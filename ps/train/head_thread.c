/* head_thread.c - the loop around the head's core (head_step.h).
 *
 * File operations of the fence and of commits are done right here, blocking: a manifest is small, there is
 * one a cut, and nobody waits for the head meanwhile but by deadlines of tens of seconds. The core's clock
 * stands still while a disk is slow (listen_clock.h): no peer is taken for dead because we did not listen.
 *
 * DIR/head is written once the port is known and the incarnation is ours; DIR/run.json, the head's last
 * words (its report), when it ends, so that the front can tell how a run ended after its last process.
 *
 * Everything here belongs to the head's thread, but for what the main thread asks and reads.
 */
#include "ps/train/head_thread.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/thread.h"
#include "common/data/dataset.h"
#include "common/data/segments.h"
#include "common/feature/encode.h"
#include "common/net/listen_address.h"
#include "common/net/listen_clock.h"
#include "ps/snapshot/fence.h"
#include "ps/train/head_step.h"

enum { MESSAGES_A_TURN = 256, CUTS_KEPT = 3, SEGMENT_EVERY_US = 20000 };

struct head_thread {
    /* -- set once in start -- */
    struct ps_run *p; /* borrowed */
    struct thread thread;
    struct wake wake; /* by the main thread */
    struct head_conf conf;
    struct windows windows; /* of train.window; owned */
    /* -- head thread only -- */
    struct head *core;
    struct listen_clock clock;
    struct endpoint *listen;
    struct endpoint_set *set;
    struct fence fence;
    bool fenced;          /* fence is open */
    struct manifest base; /* what HEAD_FENCED names */
    uint64_t tick_us;
    uint64_t segment_us; /* data.follow: when to look for the next segment */
    bool stop_told;
    bool exiting;
    int exit_code;
    /* -- both: exit_code is read after ended -- */
    atomic_bool stop_asked, ended;
};

static void step(struct head_thread *t, const struct head_event *ev);

/* -- the fence and the commits -- */

/* The newest complete cut, if there is one. */
static enum status read_cuts(struct head_thread *t, struct head_event *ev, struct errbuf *err)
{
    struct errbuf notes = ERRBUF_INIT;
    uint64_t *list = NULL;
    size_t n = 0;
    enum status st = manifest_list(t->p->dir.path, &list, &n, &ev->highest_seen, err);
    free(list);
    if (st != ST_OK)
        return st;
    manifest_release(&t->base);
    st = manifest_newest(t->p->dir.path, &t->base, &notes, err);
    if (notes.text[0] != 0)
        log_warn("head: %s", notes.text);
    if (st == ST_NOT_FOUND && n > 0)
        return errbuf_wrap(err, ST_BAD_DATA, "no cut can be gone on from");
    if (st == ST_NOT_FOUND)
        return ST_OK;
    if (st == ST_OK)
        ev->base = &t->base;
    return st;
}

static void make_fence(struct head_thread *t)
{
    struct errbuf err = ERRBUF_INIT;
    struct head_event ev = {.kind = HEAD_FENCED};
    uint64_t exact = t->fenced ? t->fence.e + 1 : 0;
    if (t->fenced)
        fence_close(&t->fence);
    t->fenced = false;
    ev.status = fence_open(t->p->dir.path, exact, true, &t->fence, &err);
    if (ev.status == ST_OK) {
        t->fenced = true;
        ev.e = t->fence.e;
        ev.status = read_cuts(t, &ev, &err);
    }
    if (ev.status == ST_OK)
        ev.status = run_dir_head_write(t->p->dir.path, t->p->dir.job_id, t->p->boot,
                                       endpoint_address(t->listen), &err);
    if (ev.status == ST_OK)
        log_info("head: incarnation %" PRIu64 ", %s cut %" PRIu64, ev.e,
                 ev.base != NULL ? "base is" : "fresh start, no", ev.base != NULL ? ev.base->k : 0);
    ev.text = err.text;
    ev.now_us = listen_clock_now(&t->clock);
    ev.wall_us = clock_wall_us();
    step(t, &ev);
}

static void commit(struct head_thread *t, const struct manifest *m)
{
    struct errbuf err = ERRBUF_INIT;
    struct head_event ev = {.kind = HEAD_COMMITTED};
    uint64_t begin_us = clock_now_us(), k = m->k, applied = m->applied;
    ev.status = fence_commit(&t->fence, m, &err);
    ev.text = err.text;
    ev.now_us = listen_clock_now(&t->clock);
    ev.wall_us = clock_wall_us();
    if (ev.status == ST_OK)
        log_info("head: cut %" PRIu64 " complete, %" PRIu64 " records, committed in %" PRIu64 " us",
                 k, applied, clock_now_us() - begin_us);
    else
        log_warn("head: cut %" PRIu64 " is not committed: %s", k, err.text);
    step(t, &ev); /* m is the core's again */
    if (ev.status == ST_OK && fence_prune(&t->fence, CUTS_KEPT, &err) != ST_OK)
        log_warn("head: old cuts stay: %s", err.text);
}

/* -- the core -- */

static void last_words(struct head_thread *t)
{
    struct errbuf err = ERRBUF_INIT;
    char *text = head_report(t->core, listen_clock_now(&t->clock));
    char *path = file_join(t->p->dir.path, "run.json");
    if (file_write_atomic(path, text, strlen(text), &err) != ST_OK)
        log_warn("head: %s", err.text);
    free(path);
    free(text);
}

static void act(struct head_thread *t, const struct head_action *a)
{
    struct msg *m = a->msg;
    switch (a->kind) {
    case HEAD_SEND: (void)endpoint_send(t->listen, a->to, &m); break;
    case HEAD_FENCE:
    case HEAD_COMMIT: break; /* after all others: their answers are steps of their own */
    case HEAD_NOTE: log_info("head: %s", a->text); break;
    case HEAD_EXIT:
        t->exiting = true;
        t->exit_code = a->code;
        log_at(a->code == 0 ? LOG_INFO : LOG_ERROR, "head: ends with code %d: %s", a->code,
               a->text);
        break;
    }
}

static void step(struct head_thread *t, const struct head_event *ev)
{
    const struct head_action *a = NULL;
    const struct manifest *manifest = NULL;
    bool fence = false;
    size_t n = 0;
    head_step(t->core, ev, &a, &n);
    for (size_t i = 0; i < n; i++) {
        act(t, &a[i]);
        fence = fence || a[i].kind == HEAD_FENCE;
        if (a[i].kind == HEAD_COMMIT)
            manifest = a[i].manifest;
    }
    if (fence)
        make_fence(t);
    else if (manifest != NULL)
        commit(t, manifest);
}

static void give(struct head_thread *t, enum head_event_kind kind, struct msg *m, uint64_t route)
{
    step(t, &(struct head_event){.kind = kind,
                                 .now_us = listen_clock_now(&t->clock),
                                 .wall_us = clock_wall_us(),
                                 .msg = m,
                                 .from = route});
}

static void take_messages(struct head_thread *t)
{
    struct msg *m = NULL;
    uint64_t route = 0;
    for (unsigned i = 0; i < MESSAGES_A_TURN && !t->exiting; i++) {
        if (endpoint_recv(t->listen, &m, &route) != ST_OK)
            return;
        give(t, HEAD_MSG, m, route);
    }
}

/* data.follow: the segment that the core wants, once the front has made it. */
static void look_for_segment(struct head_thread *t)
{
    struct head_view v;
    struct errbuf err = ERRBUF_INIT;
    struct segments_counts c;
    struct head_event ev = {.kind = HEAD_SEGMENT};
    head_view(t->core, &v);
    ev.now_us = listen_clock_now(&t->clock);
    if (v.segment == 0) {
        t->segment_us = 0;
        return;
    }
    if (ev.now_us < t->segment_us)
        return;
    t->segment_us = ev.now_us + SEGMENT_EVERY_US;
    enum status st = segments_read(t->p->dir.path, &c, &err);
    if (st == ST_OK && c.segments < v.segment)
        return;
    ev.segment = v.segment;
    if (st == ST_OK)
        st = segments_header(t->p->dir.path, v.segment, &ev.records, &ev.seen_us, &err);
    if (st != ST_OK) {
        log_error("head: segment %" PRIu64 ": %s", v.segment, err.text);
        t->exiting = true;
        t->exit_code = status_exit_code(st);
        return;
    }
    ev.wall_us = clock_wall_us();
    step(t, &ev);
}

static void wait(struct head_thread *t)
{
    uint64_t now_us = listen_clock_now(&t->clock);
    const uint64_t until_us =
        t->segment_us != 0 && t->segment_us < t->tick_us ? t->segment_us : t->tick_us;
    endpoint_set_clear(t->set);
    endpoint_set_add(t->set, t->listen);
    size_t fd = endpoint_set_add_fd(t->set, t->wake.fd);
    endpoint_set_wait(t->set, until_us > now_us ? until_us - now_us : 0);
    if (endpoint_set_ready(t->set, fd))
        wake_clear(&t->wake);
}

static void *run(void *arg)
{
    struct head_thread *t = arg;
    listen_clock_init(&t->clock, t->p->dir.job.cluster.beat);
    while (!t->exiting) {
        wait(t);
        if (atomic_load(&t->p->stop)) {
            t->exit_code = 1;
            break;
        }
        take_messages(t);
        if (!t->exiting && !t->stop_told && atomic_load(&t->stop_asked)) {
            t->stop_told = true;
            give(t, HEAD_STOP, NULL, 0);
        }
        if (!t->exiting && listen_clock_now(&t->clock) >= t->tick_us) {
            t->tick_us = listen_clock_now(&t->clock) + t->p->dir.job.cluster.beat;
            give(t, HEAD_TICK, NULL, 0);
        }
        if (!t->exiting && job_follows(&t->p->dir.job))
            look_for_segment(t);
    }
    last_words(t);
    atomic_store(&t->ended, true);
    wake_signal(&t->p->main_wake);
    return NULL;
}

/* -- start and stop -- */

/* Rows of a part; a part that is not there has none. */
static enum status count_rows(struct ps_run *p, enum part part, uint64_t *out, struct errbuf *err)
{
    struct dataset *d = NULL;
    enum status st = dataset_open(&p->dir.job, p->dir.cache, part, &d, err);
    *out = 0;
    if (st == ST_NOT_FOUND)
        return ST_OK;
    if (st != ST_OK)
        return st;
    *out = dataset_rows(d);
    dataset_close(d);
    return ST_OK;
}

static enum status find_windows(struct ps_run *p, struct windows *out, struct errbuf *err)
{
    struct dataset *d = NULL;
    enum status st = dataset_open(&p->dir.job, p->dir.cache, PART_TRAIN, &d, err);
    if (st != ST_OK)
        return st;
    st = windows_find(d, p->dir.job.data.split.window, out, err);
    dataset_close(d);
    if (st == ST_OK)
        log_info("head: %zu windows", out->used);
    return st;
}

static enum status fill_conf(struct ps_run *p, struct head_conf *conf, struct windows *windows,
                             struct errbuf *err)
{
    struct encoder *encoder = NULL;
    uint64_t valid = 0;
    *conf = (struct head_conf){.job = p->dir.job_id,
                               .boot = p->boot,
                               .conf = &p->dir.job,
                               .plan = &p->dir.plan,
                               .shards = (uint32_t)p->dir.job.cluster.shards,
                               .workers = (uint32_t)p->dir.job.cluster.workers,
                               .config_hash = job_config_hash(&p->dir.job),
                               .plan_hash = p->dir.plan_hash};
    enum status st = count_rows(p, PART_TRAIN, &conf->records, err);
    if (st == ST_OK)
        st = count_rows(p, PART_VALID, &valid, err);
    if (st != ST_OK)
        return st;
    conf->has_valid = valid > 0;
    if (p->dir.job.train.window)
        st = find_windows(p, windows, err);
    if (st != ST_OK)
        return st;
    conf->windows = p->dir.job.train.window ? windows : NULL;
    char *path = file_join(p->dir.cache, "encoder.bin");
    st = encoder_load(path, &encoder, err);
    free(path);
    if (st != ST_OK)
        return st;
    conf->encoder_hash = encoder->hash;
    encoder_free(encoder);
    log_info("head: %" PRIu64 " train and %" PRIu64 " valid records, %" PRIu32 " shards, %" PRIu32
             " workers",
             conf->records, valid, conf->shards, conf->workers);
    return ST_OK;
}

enum status head_thread_start(struct ps_run *p, struct head_thread **out, struct errbuf *err)
{
    struct head_thread *t = mem_zalloc(sizeof(*t));
    char address[ADDRESS_MAX];
    t->p = p;
    manifest_init(&t->base);
    t->set = endpoint_set_new();
    struct endpoint_conf conf = {.job = p->dir.job_id, .boot = p->boot, .role = ROLE_HEAD};
    conf.pool = p->pool;
    conf.routes_max = 4 * (uint32_t)(p->dir.job.cluster.workers + p->dir.job.cluster.shards) + 64;
    enum status st = wake_init(&t->wake, err);
    if (st == ST_OK)
        st = fill_conf(p, &t->conf, &t->windows, err);
    if (st == ST_OK)
        st = listen_address(p->dir.job.cluster.bind, address, err);
    if (st == ST_OK)
        st = endpoint_bind(p->hub, &conf, address, &t->listen, err);
    if (st == ST_OK) {
        t->core = head_new(&t->conf);
        log_info("head: listens at %s", endpoint_address(t->listen));
        st = thread_start(&t->thread, "head", run, t, err);
    }
    if (st != ST_OK) {
        head_thread_stop(t);
        return st;
    }
    *out = t;
    return ST_OK;
}

void head_thread_ask_stop(struct head_thread *t)
{
    atomic_store(&t->stop_asked, true);
    wake_signal(&t->wake);
}

bool head_thread_ended(const struct head_thread *t, int *out_code)
{
    if (!atomic_load(&t->ended))
        return false;
    *out_code = t->exit_code;
    return true;
}

void head_thread_wake(const struct head_thread *t)
{
    wake_signal(&t->wake);
}

void head_thread_stop(struct head_thread *t)
{
    if (t == NULL)
        return;
    thread_stop(&t->thread);
    head_free(t->core);
    windows_release(&t->windows);
    if (t->fenced)
        fence_close(&t->fence);
    manifest_release(&t->base);
    endpoint_close(t->listen);
    endpoint_set_free(t->set);
    wake_release(&t->wake);
    free(t);
}
