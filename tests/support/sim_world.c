/* sim_world.c - birth, life and end of a simulated cluster, its trace, and how it fails.
 *
 * An assert that fails inside a core is a finding like any other: __assert_fail is ours here, and jumps back
 * to sim_guard, which reports it with the seed and the trace.
 */
#include <assert.h>
#include <ftw.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/options.h"
#include "common/wire/codec.h"
#include "ps/train/applier.h"
#include "tests/support/sim_world.h"

int sim_bug; /* planted bug: common/wire/sim_bug.h */
bool sim_blind;

enum { STEPS_MAX = 400000, DEADLINE_US = 60000000, PAUSE_US = 400000 };

static jmp_buf assert_jump;
static bool assert_armed;
static char assert_text[256];

void __assert_fail(const char *what, const char *file, unsigned int line, const char *function)
{
    snprintf(assert_text, sizeof assert_text, "%s:%u: %s: %s", file, line, function, what);
    if (!assert_armed) {
        fprintf(stderr, "assertion failed: %s\n", assert_text);
        abort();
    }
    longjmp(assert_jump, 1);
}

struct sim_conf sim_conf_quiet(uint64_t seed)
{
    return (struct sim_conf){.seed = seed,
                             .shards = 2,
                             .workers = 2,
                             .permits = 2,
                             .records = 240,
                             .batch = 8,
                             .epochs = 1,
                             .keys = 120,
                             .plateau_factor = 1,
                             .in_order = true,
                             .delay_us = 300,
                             .cut_every_us = 15000,
                             .hold_us = 100000,
                             .write_us = 300000,
                             .full_every = 4,
                             .keep = 3,
                             .undo_bytes_max = 1 << 20,
                             .handle_bytes_max = 1 << 16,
                             .check_all = true};
}

struct sim_conf sim_conf_lossy(uint64_t seed)
{
    struct rng r = {.key = rng_mix(seed, 77), .n = 0};
    struct sim_conf c = sim_conf_quiet(seed);
    c.shards = 1 + (uint32_t)rng_below(&r, 3);
    c.workers = 1 + (uint32_t)rng_below(&r, 3);
    c.permits = 1 + (uint32_t)rng_below(&r, 3);
    c.batch = 4 + rng_below(&r, 9);
    c.records = 60 + rng_below(&r, 160);
    c.epochs = 1 + rng_below(&r, 2);
    c.has_valid = rng_below(&r, 2);
    c.replay = rng_below(&r, 3) == 0;
    c.in_order = false;
    c.delay_us = 200 + rng_below(&r, 4000);
    c.loss = 0.2 * rng_next_unit(&r);
    c.twice = 0.2 * rng_next_unit(&r);
    c.late = 0.05 * rng_next_unit(&r);
    c.cut_every_us = 5000 + rng_below(&r, 40000);
    c.hold_us = 20000 + rng_below(&r, 100000);
    c.write_us = 60000 + rng_below(&r, 300000);
    c.full_every = 2 + rng_below(&r, 5);
    c.disk_fail = rng_below(&r, 2) ? 0.08 : 0;
    c.commit_fail = rng_below(&r, 4) == 0 ? 0.1 : 0;
    if (rng_below(&r, 4) == 0)
        c.undo_bytes_max = 12000 + rng_below(&r, 20000);
    if (rng_below(&r, 3) == 0)
        c.handle_bytes_max = 400 + rng_below(&r, 1500);
    c.check_all = rng_below(&r, 3) == 0;
    c.keep = 1 + (uint32_t)rng_below(&r, 3);
    if (c.has_valid && rng_below(&r, 3) == 0)
        c.plateau_factor = 0.5;
    c.disk_slow = rng_below(&r, 3) == 0 ? 0.15 : 0;
    c.pause = rng_below(&r, 3) == 0 ? 0.001 : 0;
    return c;
}

void sim_fail(struct sim_world *w, const char *what, const char *fmt, ...)
{
    if (w->failed)
        return;
    char text[900];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    w->failed = true;
    snprintf(w->why, sizeof w->why, "%s: %s", what, text);
    sim_line(w, "FAILED %s", w->why);
}

void sim_line(struct sim_world *w, const char *fmt, ...)
{
    char *dst = w->line[w->lines++ % SIM_TRACE_LINES];
    int n = snprintf(dst, sizeof w->line[0], "%9.3f  ", (double)w->now_us / 1000.0);
    va_list args;
    va_start(args, fmt);
    vsnprintf(dst + n, sizeof w->line[0] - (size_t)n, fmt, args);
    va_end(args);
    if (w->trace)
        puts(dst);
}

void sim_print_tail(const struct sim_world *w, size_t lines)
{
    uint64_t n = w->lines < SIM_TRACE_LINES ? w->lines : SIM_TRACE_LINES;
    for (uint64_t i = w->lines - (n < lines ? n : lines); i < w->lines; i++)
        fprintf(stderr, "%s\n", w->line[i % SIM_TRACE_LINES]);
}

static void start(struct sim_world *w)
{
    w->life++;
    w->born_us = w->now_us;
    w->victim = 0;
    for (uint32_t i = 0; i < SIM_ROUTES; i++) {
        w->peer_life[i]++;
        w->frozen_us[i] = 0;
    }
    sim_head_start(w, 1000 + w->life);
    if (w->conf.stop_us > 0)
        sim_after(w, w->conf.stop_us, SIM_STOP, SIM_HEAD);
    for (uint32_t s = 0; s < w->conf.shards; s++)
        sim_shard_start(w, s, 3000 + w->life * 100 + s);
    for (uint32_t r = 0; r < w->conf.workers; r++)
        sim_worker_start(w, r, 5000 + w->life * 100 + r, 900 + w->life);
    memset(w->peer_e, 0, sizeof w->peer_e);
    memset(w->peer_n, 0, sizeof w->peer_n);
}

static void stop_head(struct sim_world *w)
{
    head_free(w->head.core);
    if (w->head.fenced)
        fence_close(&w->head.fence);
    w->head.core = NULL;
    w->head.fenced = false;
}

static void stop_shard(struct sim_world *w, uint32_t s)
{
    if (w->shard[s].file != NULL)
        cut_file_abort(w->shard[s].file);
    shard_free(w->shard[s].core);
    sim_history_release(&w->shard[s].history);
    w->shard[s] = (struct sim_shard){0};
}

static void stop(struct sim_world *w)
{
    for (uint32_t s = 0; s < w->conf.shards; s++)
        stop_shard(w, s);
    for (uint32_t r = 0; r < w->conf.workers; r++)
        sim_worker_stop(w, r);
    stop_head(w);
}

struct sim_world *sim_new(const struct sim_conf *conf, const char *dir)
{
    /* thousands of short lives: no page of 2 MiB cleared for a tiny table, no mapping made for an array */
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    struct sim_world *w = mem_zalloc(sizeof *w);
    const char *tmp = option_env("TEST_TMP");
    w->conf = *conf;
    w->rng = (struct rng){.key = rng_mix(conf->seed, 1), .n = 0};
    w->line = mem_array(SIM_TRACE_LINES, sizeof *w->line);
    w->trace = option_env("TRACE") != NULL;
    w->job_id = 42;
    w->now_us = 1000000;
    w->pool = frame_pool_new((uint64_t)64 << 20);
    if (dir != NULL) {
        snprintf(w->dir, sizeof w->dir, "%s", dir);
    } else {
        snprintf(w->dir, sizeof w->dir, "%s/sim-XXXXXX", tmp != NULL ? tmp : "/tmp");
        if (mkdtemp(w->dir) == NULL) {
            perror(w->dir);
            abort();
        }
        w->own_dir = true;
    }
    sim_plan(&w->plan, conf);
    sim_job(&w->job, conf);
    start(w);
    return w;
}

static int unlink_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void sim_free(struct sim_world *w)
{
    stop(w);
    struct sim_event *ev;
    while ((ev = sim_pop(w)) != NULL)
        sim_event_free(ev);
    free(w->heap);
    frame_pool_free(w->pool);
    store_free(w->scratch);
    plan_release(&w->plan);
    if (w->own_dir)
        nftw(w->dir, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
    free(w->line);
    free(w);
}

void sim_restart(struct sim_world *w, const struct sim_conf *conf)
{
    sim_line(w, "---- everything is killed and starts again: %u shards, %u workers ----",
             conf->shards, conf->workers);
    stop(w);
    sim_forget(w);
    w->conf = *conf;
    sim_job(&w->job, conf);
    start(w);
}

static const char *peer(uint32_t route, char dst[16])
{
    if (route == SIM_HEAD)
        return "head";
    if (route >= SIM_WORKER)
        snprintf(dst, 16, "worker %u", (route - SIM_WORKER) % 50);
    else
        snprintf(dst, 16, "shard %u", (route - SIM_SHARD) % 50);
    return dst;
}

static void trace(struct sim_world *w, const struct sim_event *ev, const struct msg *m)
{
    char from[16], to[16], text[96] = "";
    const struct msg_order *o = &m->u.order;
    const struct msg_push *p = &m->u.push;
    switch (m->kind) {
    case MSG_ORDER:
        snprintf(text, sizeof text, "n=%llu %s open=%llu complete=%llu resolved=%llu%s",
                 (unsigned long long)o->n, mode_name(o->mode), (unsigned long long)o->open,
                 (unsigned long long)o->complete, (unsigned long long)o->resolved,
                 o->full && o->mode == MODE_TAKE ? " full" : "");
        break;
    case MSG_WORKER_STATE:
        snprintf(text, sizeof text, "n=%llu held=%llu leased=%llu%s",
                 (unsigned long long)m->u.worker.n, (unsigned long long)m->u.worker.held,
                 (unsigned long long)m->u.worker.leased, m->u.worker.idle ? " idle" : "");
        break;
    case MSG_SHARD_STATE:
        snprintf(text, sizeof text,
                 "n=%llu open=%llu complete=%llu durable=%llu failed=%llu applied=%llu",
                 (unsigned long long)m->u.shard.n, (unsigned long long)m->u.shard.open,
                 (unsigned long long)m->u.shard.complete, (unsigned long long)m->u.shard.durable_k,
                 (unsigned long long)m->u.shard.failed_k, (unsigned long long)m->u.shard.applied);
        break;
    case MSG_LEASE:
        snprintf(text, sizeof text, "number=%llu split=%llu [%llu, %llu)",
                 (unsigned long long)m->u.lease.number, (unsigned long long)m->u.lease.split,
                 (unsigned long long)m->u.lease.begin, (unsigned long long)m->u.lease.end);
        break;
    case MSG_PUSH:
        snprintf(text, sizeof text, "seq=%llu tag=%llu %s split %llu [%llu, %llu)",
                 (unsigned long long)p->seq, (unsigned long long)p->tag,
                 p->handle ? "handle" : "keys", (unsigned long long)p->split,
                 (unsigned long long)p->begin, (unsigned long long)p->end);
        break;
    case MSG_ACK:
        snprintf(text, sizeof text, "seq=%llu%s", (unsigned long long)m->u.ack.seq,
                 m->u.ack.keys ? " keys" : "");
        break;
    case MSG_REFUSED: msg_text(m, text, sizeof text); break;
    default: break;
    }
    sim_line(w, "%-8s > %-8s e=%llu %s %s", peer(ev->from, from), peer(ev->to, to),
             (unsigned long long)m->e, msg_kind_name(m->kind), text);
}

static struct msg *open_msg(struct sim_world *w, struct sim_event *ev)
{
    struct errbuf err = ERRBUF_INIT;
    struct msg *m = NULL;
    if (codec_decode(ev->env.data, ev->env.used, ev->frame, ev->frames, &m, &err) != ST_OK) {
        sim_fail(w, "codec", "%s", err.text);
        return NULL;
    }
    trace(w, ev, m);
    return m;
}

static void deliver(struct sim_world *w, struct sim_event *ev)
{
    struct msg *m = NULL;
    uint32_t to = ev->to;
    bool shard = to >= SIM_SHARD && to < SIM_SHARD + w->conf.shards;
    bool worker = to >= SIM_WORKER && to < SIM_WORKER + w->conf.workers;
    bool dead = (to == SIM_HEAD && w->head.ended) || (shard && w->shard[to - SIM_SHARD].ended) ||
                (worker && w->worker[to - SIM_WORKER].ended) ||
                (to != SIM_HEAD && !shard && !worker);
    if (dead || (ev->kind != SIM_MSG && ev->life != w->peer_life[to]))
        return;
    if (ev->kind == SIM_MSG && (m = open_msg(w, ev)) == NULL)
        return;
    if (to == SIM_HEAD)
        sim_head_event(w, ev, m);
    else if (shard)
        sim_shard_event(w, to - SIM_SHARD, ev, m);
    else
        sim_worker_event(w, to - SIM_WORKER, ev, m);
}

static bool *ended(struct sim_world *w, uint32_t route)
{
    if (route == SIM_HEAD)
        return &w->head.ended;
    return route < SIM_WORKER ? &w->shard[route - SIM_SHARD].ended
                              : &w->worker[route - SIM_WORKER].ended;
}

static bool all_ended(const struct sim_world *w)
{
    bool all = w->head.ended;
    for (uint32_t s = 0; s < w->conf.shards; s++)
        all = all && w->shard[s].ended;
    for (uint32_t r = 0; r < w->conf.workers; r++)
        all = all && w->worker[r].ended;
    return all;
}

/* Death comes for one or for all. One who has ended, or was told to, can't die any more. */
static void strike(struct sim_world *w)
{
    uint32_t who = w->conf.kill_who;
    if (who == 0) {
        w->killed = true;
        return;
    }
    w->conf.kill_us = 0;
    if (w->head.ended || w->head.before.mode == MODE_STOP || *ended(w, who))
        return;
    w->victim = who;
    sim_line(w, "---- peer %u dies ----", who);
    *ended(w, who) = true;
    w->peer_life[who]++;
    if (who == SIM_HEAD)
        w->head.code = 1;
    if (w->conf.revive_us > 0)
        sim_after(w, w->conf.revive_us, SIM_REVIVE, who);
}

/* A fresh process in the dead one's place, at the same address. */
static void revive(struct sim_world *w)
{
    uint32_t who = w->victim;
    if (who != SIM_HEAD && w->head.ended)
        return; /* the launcher does not start what the head has given up */
    sim_line(w, "---- peer %u is started again ----", who);
    w->peer_e[who] = w->peer_n[who] = 0;
    if (who == SIM_HEAD) {
        stop_head(w);
        sim_head_start(w, 2000 + w->life);
    } else if (who < SIM_WORKER) {
        stop_shard(w, who - SIM_SHARD);
        sim_shard_start(w, who - SIM_SHARD, 3050 + w->life * 100 + who - SIM_SHARD);
    } else {
        sim_worker_stop(w, who - SIM_WORKER);
        sim_worker_start(w, who - SIM_WORKER, 5050 + w->life * 100 + who - SIM_WORKER,
                         500 + w->life);
    }
}

/* Does its receiver stand still? Then it comes when that one goes on, in the same order. */
static bool frozen(struct sim_world *w, struct sim_event *ev)
{
    uint32_t to = ev->to;
    if (ev->kind == SIM_REVIVE)
        return false;
    if (w->frozen_us[to] <= w->now_us && sim_chance(w, w->conf.pause))
        w->frozen_us[to] = w->now_us + sim_rand(w, PAUSE_US);
    if (w->frozen_us[to] <= w->now_us)
        return false;
    sim_again(w, ev, w->frozen_us[to]);
    return true;
}

static void live(void *arg)
{
    struct sim_world *w = arg;
    uint64_t last = w->steps + STEPS_MAX;
    while (!w->failed && !w->killed && !all_ended(w)) {
        struct sim_event *ev = sim_pop(w);
        w->now_us = ev->at_us > w->now_us ? ev->at_us : w->now_us;
        if (frozen(w, ev))
            continue;
        if (w->conf.kill_us > 0 && w->now_us - w->born_us >= w->conf.kill_us)
            strike(w);
        if (!w->killed && ev->kind == SIM_REVIVE)
            revive(w);
        else if (!w->killed)
            deliver(w, ev);
        if (++w->steps > last || w->now_us - w->born_us > DEADLINE_US)
            sim_fail(w, "I10", "no end after %.1f virtual seconds",
                     (double)(w->now_us - w->born_us) / 1e6);
        sim_event_free(ev);
    }
}

void sim_guard(struct sim_world *w, void (*run)(void *), void *arg)
{
    if (setjmp(assert_jump) != 0) {
        assert_armed = false;
        sim_fail(w, "assert", "%s", assert_text);
        return;
    }
    assert_armed = true;
    run(arg);
    assert_armed = false;
}

bool sim_run(struct sim_world *w)
{
    w->killed = false;
    sim_guard(w, live, w);
    return w->killed;
}
