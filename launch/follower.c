/* follower.c - see follower.h.
 *
 * One lock, over what the front's own thread tells and asks; the segments themselves are the follower's alone.
 */
#include "launch/follower.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/thread.h"
#include "common/data/tail.h"

enum { SEEN = 16 }; /* more than FOLLOWER_AHEAD: times of segments that are not trained on */

struct follower {
    /* -- set once in start -- */
    const struct job *job; /* borrowed */
    struct thread thread;
    atomic_bool stop, drain;
    /* -- follower thread only -- */
    struct segments *segments;
    uint64_t waiting_us, waiting_wall_us; /* since when lines wait; 0: none does */
    uint64_t waiting;                     /* bytes of them */
    bool full; /* the last segment took all that it may: the rest has waited long enough */
    pthread_mutex_t lock;
    /* -- under lock -- */
    struct follower_status status;
    uint64_t done, done_records, committed; /* as told */
    uint64_t seen_us[SEEN]; /* segment n at n % SEEN: when its first line was seen */
    uint64_t since_us, new_us;
};

static void fail(struct follower *f, enum status st, const struct errbuf *err)
{
    pthread_mutex_lock(&f->lock);
    f->status.status = st;
    snprintf(f->status.why, sizeof(f->status.why), "%s", err->text);
    pthread_mutex_unlock(&f->lock);
}

/* New lines, and since when. */
static enum status look(struct follower *f, struct errbuf *err)
{
    struct errbuf notes = ERRBUF_INIT;
    uint64_t bytes = 0;
    enum status st = segments_look(f->segments, &bytes, &notes, err);
    if (notes.text[0] != '\0') {
        fprintf(stderr, "penstock train: %s\n", notes.text);
    }
    if (st != ST_OK) {
        return st;
    }
    if (bytes > 0 && f->waiting_us == 0) {
        f->waiting_us = clock_now_us() - (f->full ? f->job->data.follow_every : 0);
        f->waiting_wall_us = clock_wall_us();
    }
    f->full = false;
    pthread_mutex_lock(&f->lock);
    if (bytes > f->waiting) {
        f->new_us = clock_now_us();
    }
    f->since_us = f->waiting_us;
    f->status.bytes = bytes;
    pthread_mutex_unlock(&f->lock);
    f->waiting = bytes;
    return ST_OK;
}

/* The lines that wait become a segment; *out_full: it took all that it may, more may be there. */
static enum status add(struct follower *f, bool *out_full, struct errbuf *err)
{
    struct segments_counts before, after;
    const uint64_t wall_us = f->waiting_wall_us != 0 ? f->waiting_wall_us : clock_wall_us();
    segments_count(f->segments, &before);
    enum status st = segments_add(f->segments, wall_us, err);
    segments_count(f->segments, &after);
    *out_full =
        after.lines - before.lines >= f->job->data.follow_records || f->waiting >= TAIL_LINE_MAX;
    if (st != ST_OK && st != ST_END) {
        return st;
    }
    pthread_mutex_lock(&f->lock);
    f->status.counts = after;
    if (after.segments > before.segments) {
        f->seen_us[after.segments % SEEN] = f->waiting_us;
    }
    f->since_us = 0;
    f->status.bytes = 0;
    pthread_mutex_unlock(&f->lock);
    f->waiting_us = f->waiting_wall_us = 0;
    f->waiting = 0;
    return ST_OK;
}

/* *out_drop: segments that may be removed. A cut that has segments which are not there is gone on from by nobody: the
 * head would wait for the one behind them, and the lines before would be taken again. */
static enum status ask_room(struct follower *f, bool *out_room, uint64_t *out_drop,
                            struct errbuf *err)
{
    struct segments_counts c;
    segments_count(f->segments, &c);
    pthread_mutex_lock(&f->lock);
    const uint64_t done = f->done;
    *out_drop = f->committed > FOLLOWER_KEPT ? f->committed - FOLLOWER_KEPT : 0;
    pthread_mutex_unlock(&f->lock);
    if (done > c.segments) {
        return errbuf_set(err, ST_BAD_DATA,
                          "data.follow: %" PRIu64 " segments were trained on, and the run's "
                          "live/position.json knows of %" PRIu64 "; put live/ back as it was, or "
                          "begin again with --force",
                          done, c.segments);
    }
    *out_room = c.segments - done < FOLLOWER_AHEAD;
    return ST_OK;
}

/* *out_again: don't sleep. */
static enum status turn(struct follower *f, bool *out_again, struct errbuf *err)
{
    uint64_t drop = 0;
    bool room = false;
    const bool drain = atomic_load(&f->drain);
    enum status st = look(f, err);
    *out_again = false;
    if (st == ST_OK) {
        st = ask_room(f, &room, &drop, err);
    }
    if (st != ST_OK) {
        return st;
    }
    segments_drop(f->segments, drop);
    const bool old =
        f->waiting_us != 0 && clock_now_us() - f->waiting_us >= f->job->data.follow_every;
    /* A line takes some bytes: with so many there are more lines than a segment holds, or as much as it holds. */
    const bool many = f->waiting >= TAIL_LINE_MAX;
    if (f->waiting > 0 && (drain || (room && (old || many)))) {
        st = add(f, out_again, err);
    }
    if (st == ST_OK && drain) {
        pthread_mutex_lock(&f->lock);
        f->status.drained = true;
        pthread_mutex_unlock(&f->lock);
    }
    *out_again = *out_again && !drain;
    return st;
}

static void *run(void *arg)
{
    struct follower *f = arg;
    struct errbuf err = ERRBUF_INIT;
    bool again = false;
    while (!atomic_load(&f->stop) && !f->status.drained) {
        enum status st = turn(f, &again, &err);
        if (st != ST_OK) {
            fail(f, st, &err);
            return NULL;
        }
        f->full = again;
        if (!again) {
            clock_sleep_us(FOLLOWER_LOOK_US);
        }
    }
    return NULL;
}

enum status follower_start(const struct job *job, const char *dir, const char *cache,
                           struct follower **out, struct errbuf *err)
{
    struct follower *f = mem_zalloc(sizeof(*f));
    f->job = job;
    pthread_mutex_init(&f->lock, NULL);
    f->new_us = clock_now_us();
    enum status st = segments_open(job, dir, cache, &f->segments, err);
    if (st == ST_OK) {
        segments_count(f->segments, &f->status.counts);
        /* Until the head says how far it is; nothing waits longer for it. */
        f->done = f->status.counts.segments;
        f->done_records = f->status.counts.records;
        st = thread_start(&f->thread, "follower", run, f, err);
    }
    if (st != ST_OK) {
        follower_stop(f);
        return st;
    }
    *out = f;
    return ST_OK;
}

void follower_stop(struct follower *f)
{
    if (f == NULL) {
        return;
    }
    atomic_store(&f->stop, true);
    thread_stop(&f->thread);
    segments_close(f->segments);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

void follower_tell(struct follower *f, uint64_t done, uint64_t done_records, uint64_t committed)
{
    pthread_mutex_lock(&f->lock);
    f->done = done;
    f->done_records = done_records;
    f->committed = committed;
    pthread_mutex_unlock(&f->lock);
}

void follower_drain(struct follower *f)
{
    atomic_store(&f->drain, true);
}

void follower_status(struct follower *f, struct follower_status *out)
{
    const uint64_t now = clock_now_us();
    pthread_mutex_lock(&f->lock);
    *out = f->status;
    const uint64_t records = out->counts.records;
    out->behind = records > f->done_records ? records - f->done_records : 0;
    uint64_t seen = f->since_us;
    if (out->counts.segments > f->done && f->seen_us[(f->done + 1) % SEEN] != 0) {
        seen = f->seen_us[(f->done + 1) % SEEN];
    }
    out->behind_seconds = seen == 0 || seen > now ? 0 : (double)(now - seen) / 1e6;
    out->idle_seconds = now > f->new_us ? (double)(now - f->new_us) / 1e6 : 0;
    pthread_mutex_unlock(&f->lock);
}
