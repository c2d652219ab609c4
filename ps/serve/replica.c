/* replica.c - see replica.h: the model of a run, the thread that follows it, and the readers.
 *
 *   thread "follow"  one, when following: asks the source, stages (follow.c), tidies in slices; waits on the source,
 *                    50 ms at most
 *   lock             of the versions and the counters; held for instants by the follower (a commit, a slice), by control calls
 *                    and by replica_stats. Readers never take it.
 */
#include "ps/serve/replica.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/thread.h"
#include "common/net/run_dir.h"
#include "ps/serve/follow.h"
#include "ps/serve/source_dir.h"
#include "ps/serve/source_tcp.h"

#define KEEP_DEFAULT 3u
#define WATCH_US     50000u
#define TIDY_WAIT_US 1000u
#define TIDY_ROWS    4096u
#define RETRY_US     200000u
#define RETRY_MAX_US 10000000u

struct replica_reader {
    struct replica *r;         /* borrowed */
    struct epoch *epoch;       /* borrowed */
    struct epoch_reader *seat; /* of the epoch */
};

struct replica {
    /* -- set once in open -- */
    struct serve_model model;
    struct run_dir run;
    struct versions *vs;
    struct source source;
    bool following, quiet;
    void (*shown)(void *ctx);
    void *shown_ctx;
    struct thread thread;
    atomic_bool stop;
    /* -- under the lock -- */
    pthread_mutex_t lock;
    pthread_cond_t first; /* a first version is there */
    struct follow follow;
    char why[256];
    /* -- follower only -- */
    uint64_t failed_k, retry_us, retry_at;
};

/* -- the run -- */

static enum status load_encoder(struct replica *r, struct errbuf *err)
{
    char *path = file_join(r->run.cache, "encoder.bin");
    enum status st = encoder_load(path, &r->model.encoder, err);
    free(path);
    return st;
}

/* copied: dir is a copy of the run's small files, its cache with them, wherever the job has it. */
static enum status open_model(struct replica *r, const char *dir, bool copied, struct errbuf *err)
{
    enum status st = run_dir_open(dir, &r->run, err);
    if (st != ST_OK) {
        return st;
    }
    if (copied) {
        free(r->run.cache);
        r->run.cache = file_join(dir, "cache");
    }
    struct serve_model *m = &r->model;
    m->job = r->run.job;
    m->plan = r->run.plan;
    m->job_id = r->run.job_id;
    m->plan_hash = r->run.plan_hash;
    m->dir = r->run.path;
    m->cache = r->run.cache;
    st = load_encoder(r, err);
    if (st == ST_OK && job_ranks(&m->job)) {
        st = catalog_load(m->cache, &m->catalog, err);
    }
    return st;
}

static void start_follow(struct replica *r)
{
    r->follow = (struct follow){.vs = r->vs,
                                .source = &r->source,
                                .plan = &r->model.plan,
                                .lock = &r->lock,
                                .job = r->model.job_id,
                                .plan_hash = r->model.plan_hash,
                                .encoder_hash = r->model.encoder->hash};
}

static void note(struct replica *r, uint64_t k, const char *text)
{
    pthread_mutex_lock(&r->lock);
    const bool again = strncmp(r->why, text, sizeof(r->why) - 1) == 0;
    snprintf(r->why, sizeof(r->why), "%s", text);
    pthread_mutex_unlock(&r->lock);
    if (!again && !r->quiet) {
        if (k > 0) {
            log_warn("cut %" PRIu64 " is not shown: %s", k, text);
        } else {
            log_warn("following: %s", text);
        }
    }
}

/* -- the follower -- */

static void tell_shown(struct replica *r, const struct manifest *m, uint64_t began_us)
{
    pthread_mutex_lock(&r->lock);
    r->why[0] = '\0';
    pthread_cond_broadcast(&r->first);
    const bool pinned = versions_pinned(r->vs);
    pthread_mutex_unlock(&r->lock);
    if (!r->quiet) {
        log_info("cut %" PRIu64 " of e %" PRIu64 " %s, %.1f ms after its manifest was seen", m->k,
                 m->e, pinned ? "is kept (another one is pinned)" : "is shown",
                 (double)(clock_now_us() - began_us) / 1e3);
    }
    if (r->shown != NULL) {
        r->shown(r->shown_ctx);
    }
}

static void back_off(struct replica *r, uint64_t k)
{
    const bool same = r->failed_k == k && r->retry_us > 0;
    r->retry_us = same ? 2 * r->retry_us : RETRY_US;
    r->retry_us = r->retry_us > RETRY_MAX_US ? RETRY_MAX_US : r->retry_us;
    r->failed_k = k;
    r->retry_at = clock_now_us() + r->retry_us;
}

/* What can't be had now is asked for again, later and later; a refused or foreign cut is not. Shows nothing yet? Then an
 * older whole cut is better than none. Returns the number above which to go on. */
static uint64_t take(struct replica *r, struct manifest *m, uint64_t after)
{
    for (bool older = false;; older = true) {
        struct errbuf err = ERRBUF_INIT;
        const uint64_t began = clock_now_us(), k = m->k;
        enum status st = follow_take(&r->follow, m, &err);
        if (st == ST_OK) {
            tell_shown(r, m, began);
        } else if (st != ST_END) {
            note(r, k, err.text);
        }
        manifest_release(m);
        if (st == ST_OK && !older) {
            r->retry_us = 0;
            return k;
        }
        if (st == ST_OK || st == ST_END) {
            return st == ST_END && k > after ? k : after;
        }
        if (!older && (st == ST_REFUSED || st == ST_FOREIGN)) {
            after = k;
        } else if (!older) {
            back_off(r, k);
        }
        if (versions_tip(r->vs) != NULL || atomic_load(&r->stop) ||
            r->source.before(r->source.ctx, k, m, NULL) != ST_OK) {
            return after;
        }
    }
}

static void *follow_run(void *arg)
{
    struct replica *r = arg;
    uint64_t after = 0;
    bool more = false;
    while (!atomic_load(&r->stop)) {
        struct manifest m;
        struct errbuf err = ERRBUF_INIT;
        const uint64_t now = clock_now_us();
        const bool waiting = r->retry_us > 0 && now < r->retry_at;
        /* While one is being waited with, only a newer one is of interest. */
        const uint64_t above = waiting && r->failed_k > after ? r->failed_k : after;
        enum status st =
            r->source.watch(r->source.ctx, above, more ? TIDY_WAIT_US : WATCH_US, &m, &err);
        if (st == ST_OK) {
            after = take(r, &m, after);
        } else if (st != ST_TIMEOUT) {
            if (st != ST_NOT_FOUND) { /* pruned between two questions */
                note(r, 0, err.text);
            }
            clock_sleep_us(more ? TIDY_WAIT_US : WATCH_US);
        }
        pthread_mutex_lock(&r->lock);
        more = versions_tidy(r->vs, TIDY_ROWS);
        pthread_mutex_unlock(&r->lock);
    }
    return NULL;
}

static void wait_first(struct replica *r, uint64_t wait_us)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(wait_us / 1000000);
    until.tv_nsec += (long)(wait_us % 1000000) * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&r->lock);
    while (versions_tip(r->vs) == NULL &&
           pthread_cond_timedwait(&r->first, &r->lock, &until) == 0) {
    }
    pthread_mutex_unlock(&r->lock);
}

/* -- opening -- */

static struct replica *new_replica(const struct replica_conf *conf)
{
    struct replica *r = mem_zalloc(sizeof(*r));
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->first, &attr);
    pthread_condattr_destroy(&attr);
    r->quiet = conf->quiet;
    r->shown = conf->shown;
    r->shown_ctx = conf->shown_ctx;
    return r;
}

static enum status open_snapshot(struct replica *r, const struct replica_conf *conf,
                                 struct errbuf *err)
{
    char dir[1024];
    struct manifest m;
    enum status st = manifest_resolve(conf->snapshot, dir, sizeof(dir), &m, err);
    if (st != ST_OK) {
        return st;
    }
    st = open_model(r, dir, false, err);
    if (st == ST_OK) {
        r->vs = versions_new(&r->model.plan, conf->keep == 0 ? KEEP_DEFAULT : conf->keep);
        r->source = source_dir_open(dir);
        start_follow(r);
        st = follow_take(&r->follow, &m, err);
        st = st == ST_FOREIGN || st == ST_REFUSED ? ST_BAD_DATA : st;
    }
    manifest_release(&m);
    return st;
}

static enum status open_source(struct replica *r, const struct replica_conf *conf,
                               const char **out_dir, struct errbuf *err)
{
    if (strncmp(conf->follow, "tcp://", 6) == 0) {
        return source_tcp_open(conf->follow, conf->wait_us, &r->stop, &r->source, out_dir, err);
    }
    r->source = source_dir_open(conf->follow);
    *out_dir = conf->follow;
    return ST_OK;
}

static enum status open_follow(struct replica *r, const struct replica_conf *conf,
                               struct errbuf *err)
{
    const uint64_t until = clock_now_us() + conf->wait_us;
    const char *dir = NULL;
    enum status st = open_source(r, conf, &dir, err);
    if (st == ST_OK) {
        st = open_model(r, dir, dir != conf->follow, err);
    }
    if (st != ST_OK) {
        return st;
    }
    r->vs = versions_new(&r->model.plan, conf->keep == 0 ? KEEP_DEFAULT : conf->keep);
    start_follow(r);
    r->following = true;
    st = thread_start(&r->thread, "follow", follow_run, r, err);
    const uint64_t now = clock_now_us();
    if (st == ST_OK && now < until) {
        wait_first(r, until - now);
    }
    return st;
}

enum status replica_open(const struct replica_conf *conf, struct replica **out, struct errbuf *err)
{
    if ((conf->snapshot != NULL) == (conf->follow != NULL)) {
        return errbuf_set(err, ST_USAGE,
                          "give a snapshot to load or a stream to follow, one of the two");
    }
    if (conf->keep > REPLICA_KEEP_MAX) {
        return errbuf_set(err, ST_USAGE, "keep is %u (allowed: 1 to %u)", conf->keep,
                          REPLICA_KEEP_MAX);
    }
    struct replica *r = new_replica(conf);
    enum status st =
        conf->snapshot != NULL ? open_snapshot(r, conf, err) : open_follow(r, conf, err);
    if (st != ST_OK) {
        replica_close(r);
        return st;
    }
    *out = r;
    return ST_OK;
}

void replica_close(struct replica *r)
{
    if (r == NULL) {
        return;
    }
    atomic_store(&r->stop, true);
    thread_stop(&r->thread);
    versions_free(r->vs);
    if (r->source.close != NULL) {
        r->source.close(r->source.ctx);
    }
    encoder_free(r->model.encoder);
    catalog_release(&r->model.catalog);
    if (r->run.path != NULL) {
        run_dir_release(&r->run);
    }
    pthread_cond_destroy(&r->first);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

const struct serve_model *replica_model(const struct replica *r)
{
    return &r->model;
}

/* -- readers -- */

struct replica_reader *replica_join(struct replica *r)
{
    struct epoch_reader *seat = epoch_join(versions_epoch(r->vs));
    if (seat == NULL) {
        return NULL;
    }
    struct replica_reader *rd = mem_zalloc(sizeof(*rd));
    *rd = (struct replica_reader){r, versions_epoch(r->vs), seat};
    return rd;
}

void replica_part(struct replica_reader *rd)
{
    if (rd != NULL) {
        epoch_part(rd->seat);
        free(rd);
    }
}

const struct version *replica_enter(struct replica_reader *rd, uint64_t k)
{
    epoch_enter(rd->epoch, rd->seat);
    return k == 0 ? versions_shown(rd->r->vs) : versions_get(rd->r->vs, k);
}

void replica_leave(struct replica_reader *rd)
{
    epoch_leave(rd->seat);
}

/* -- control -- */

size_t replica_list(struct replica *r, struct replica_version *out, size_t max)
{
    struct versions_item item[VERSIONS_MAX + REFUSED_MAX];
    pthread_mutex_lock(&r->lock);
    const size_t all = VERSIONS_MAX + REFUSED_MAX;
    const size_t n = versions_list(r->vs, item, max < all ? max : all);
    for (size_t i = 0; i < n; i++) {
        const struct version *v = item[i].v;
        out[i] = (struct replica_version){
            .k = item[i].k, .shown = item[i].shown, .pinned = item[i].pinned, .refused = v == NULL};
        if (v != NULL) {
            out[i].e = v->e;
            out[i].wall_us = v->wall_us;
            out[i].shown_us = v->shown_us;
        }
    }
    pthread_mutex_unlock(&r->lock);
    return n;
}

static void changed(struct replica *r)
{
    if (r->shown != NULL) {
        r->shown(r->shown_ctx);
    }
}

enum status replica_pin(struct replica *r, uint64_t k, struct errbuf *err)
{
    pthread_mutex_lock(&r->lock);
    enum status st = versions_pin(r->vs, k, err);
    pthread_mutex_unlock(&r->lock);
    if (st == ST_OK) {
        changed(r);
    }
    return st;
}

void replica_unpin(struct replica *r)
{
    pthread_mutex_lock(&r->lock);
    versions_unpin(r->vs);
    pthread_mutex_unlock(&r->lock);
    changed(r);
}

enum status replica_rollback(struct replica *r, uint64_t *out_k, struct errbuf *err)
{
    pthread_mutex_lock(&r->lock);
    enum status st = versions_rollback(r->vs, out_k, err);
    pthread_mutex_unlock(&r->lock);
    if (st == ST_OK) {
        changed(r);
    }
    return st;
}

void replica_stats(struct replica *r, struct replica_stats *out)
{
    struct source_counts counts;
    memset(out, 0, sizeof(*out));
    r->source.counts(r->source.ctx, &counts);
    pthread_mutex_lock(&r->lock);
    const struct version *v = versions_shown(r->vs);
    out->shown_k = v != NULL ? v->k : 0;
    for (size_t t = 0; v != NULL && t < r->model.plan.tables_used; t++) {
        out->rows += r->model.plan.tables[t].kind == PLAN_SPARSE ? v->rows[t] : 0;
    }
    out->newest_k = r->follow.newest_k;
    out->shown_total = r->follow.shown_total;
    out->mismatch_total = r->follow.mismatch_total;
    out->refused_total = r->follow.refused_total;
    out->damaged_total = r->follow.damaged_total;
    out->resync_total = r->follow.resync_total;
    out->bytes = versions_bytes(r->vs, &out->base_bytes);
    out->layers = versions_layers(r->vs);
    out->pinned = versions_pinned(r->vs);
    memcpy(out->why, r->why, sizeof(out->why));
    pthread_mutex_unlock(&r->lock);
    out->following = r->following;
    out->fetched_bytes = counts.fetched_bytes;
    out->retried_total = counts.retried;
    out->heard_us = counts.heard_us;
}
