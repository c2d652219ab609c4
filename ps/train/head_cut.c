/* head_cut.c - HOLD, TAKE, WRITE, commit: one cut at a time (ps/train/README.md, "The head").
 *
 *   phase  write   waits for                          then                        gives up
 *   RUN    NONE    a reason (below)                    ORDER HOLD                  -
 *   HOLD   NONE    every worker's held = this n        positions noted, ORDER TAKE T_hold: RUN, same open
 *                  - but dealt, not all at one clock   ORDER HOLD up to the largest clock
 *   TAKE   NONE    every shard's open = open           ORDER RUN                   a death ends the run
 *   RUN    FILES   every shard durable (e, k)          HEAD_COMMIT                 failed, T_write: abandoned
 *   RUN    COMMIT  the shell                           complete = resolved = k     error: abandoned
 *
 * Reasons: the recipe has decided, or the end was asked for (must); a shard's undo log is half full; time.
 * A must that fails HEAD_TRIES_MAX times in a row ends the run: going on without it would hide that nothing
 * can be saved. Its T_hold doubles with each try, for there is nothing better to do than to wait. All failures
 * back off, doubled up to eight times, and the operator is told.
 */
#include <stdlib.h>

#include "common/base/mem.h"
#include "ps/optim/optim.h"
#include "ps/train/head.h"

enum { BACK_OFF_MAX = 8, WRITE_FACTOR = 4, DELTAS_AT_EPOCH_END = 2, WANT_EVERY_US = 50000 };

bool head_cut_fresh(const struct head *h)
{
    return h->complete != 0 && h->stage != STAGE_DECIDED && h->stage != STAGE_COMMIT &&
           h->cut.taken_epoch == h->log.epoch && h->cut.taken_done == h->log.done_records;
}

static bool must(const struct head *h)
{
    return h->stage == STAGE_DECIDED || h->stage == STAGE_COMMIT ||
           (h->stop_wanted && !head_cut_fresh(h));
}

static bool due(const struct head *h)
{
    if (h->now_us < h->cut.retry_us)
        return false;
    if (must(h))
        return true;
    if (h->stage != STAGE_TRAIN)
        return false;
    if (h->now_us - h->cut.write_us >= WANT_EVERY_US) {
        for (uint32_t s = 0; s < h->conf.shards; s++) {
            if (h->shard[s].state.want_cut || h->shard[s].state.need_full)
                return true;
        }
    }
    return h->now_us >= h->cut.next_us && !head_cut_fresh(h);
}

/* The attempt came to nothing; the next one waits longer each time. */
static void back_off(struct head *h)
{
    const struct job *job = h->conf.conf;
    uint64_t base = must(h) ? job->cluster.hold : job->cluster.cut_every;
    uint64_t back = h->cut.back_us == 0 ? base : 2 * h->cut.back_us;
    h->cut.back_us = back < BACK_OFF_MAX * base ? back : BACK_OFF_MAX * base;
    h->cut.retry_us = h->now_us + h->cut.back_us;
    h->cut.next_us = h->cut.retry_us;
    h->cut.tries = must(h) ? h->cut.tries + 1 : 0;
    if (h->cut.tries >= HEAD_TRIES_MAX) {
        char last[128];
        head_last_cut_text(h, last, sizeof last);
        head_end(h, 1, "no cut can be made, after %u tries; %s", h->cut.tries, last);
    }
}

static void order_hold(struct head *h, uint64_t clock, uint64_t wait_us)
{
    h->phase = HEAD_HOLD;
    h->cut.clock = clock;
    h->cut.deadline_us = h->now_us + wait_us;
    h->cut.hold_n = h->n + 1;
    head_order_new(h, MODE_HOLD);
}

static void hold(struct head *h)
{
    h->attempts++;
    order_hold(h, 0, h->conf.conf->cluster.hold << (must(h) ? h->cut.tries : 0));
}

/* bsp, ssp: all have answered. A cut lies between steps: those behind finish the ones that others have pushed already.
 * Nobody loses by waiting for it, for those ahead have to wait for them anyway. False: they do that now. */
static bool aligned(struct head *h)
{
    const struct job *job = h->conf.conf;
    uint64_t least = UINT64_MAX, most = 0;
    for (uint32_t w = 0; w < h->conf.workers; w++) {
        uint64_t clock = h->worker[w].state.clock;
        least = clock < least ? clock : least;
        most = clock > most ? clock : most;
    }
    if (!job_deals(job) || least == most || SIM_BUG(43))
        return true;
    order_hold(h, most,
               job->cluster.write > job->cluster.hold ? job->cluster.write : job->cluster.hold);
    return false;
}

static void give_up_hold(struct head *h)
{
    uint32_t missing = 0;
    for (uint32_t w = 0; w < h->conf.workers; w++)
        missing += h->worker[w].state.held != h->cut.hold_n;
    head_notice(h, "cut %llu was put off: %u of %u workers did not hold in time",
                (unsigned long long)h->open, missing, h->conf.workers);
    h->phase = HEAD_RUN;
    head_order_new(h, MODE_RUN);
    back_off(h);
}

static bool all_held(const struct head *h)
{
    uint32_t held = 0;
    for (uint32_t w = 0; w < h->conf.workers; w++) {
        uint64_t n = h->worker[w].state.held;
        held += SIM_BUG(8) ? n != 0 : n == h->cut.hold_n;
    }
    return held + (SIM_BUG(9) ? 1 : 0) >= h->conf.workers;
}

static bool replays(const struct plan *plan)
{
    bool any = false;
    for (size_t t = 0; t < plan->tables_used && !any; t++) {
        struct optim *o = optim_new(&plan->tables[t]);
        any = optim_replays(o);
        optim_free(o);
    }
    return any;
}

static uint64_t deltas_in_chain(const struct manifest *m)
{
    uint64_t n = 0;
    for (size_t i = 0; i < m->files_used; i++)
        n += !m->files[i].full && (i == 0 || m->files[i].k != m->files[i - 1].k);
    return n;
}

static bool want_full(const struct head *h)
{
    if (!h->has_last)
        return true;
    uint64_t deltas = deltas_in_chain(&h->last);
    if (deltas + 1 >= h->conf.conf->cluster.full_every)
        return true;
    for (uint32_t s = 0; s < h->conf.shards; s++) {
        if (h->shard[s].state.need_full)
            return true;
    }
    if (head_segment(h) > 1) /* there is one a second: full_every alone says when */
        return false;
    return h->stage == STAGE_COMMIT && (deltas >= DELTAS_AT_EPOCH_END || replays(h->conf.plan));
}

/* Nothing is in flight anywhere: this is the instant. */
static void take(struct head *h)
{
    struct head_cut *c = &h->cut;
    c->k = h->open;
    if (h->stage == STAGE_DECIDED)
        head_epoch_next(h);
    c->decided = h->stage == STAGE_COMMIT;
    if (c->decided && h->recipe.best_epoch == h->log.epoch)
        h->recipe.best_cut = c->k;
    c->best = h->recipe.best_cut;
    free(c->recipe);
    c->recipe = recipe_text(&h->recipe);
    head_log_copy(&c->log, &h->log);
    c->full = h->full = want_full(h);
    h->open++;
    h->phase = HEAD_TAKE;
    head_order_new(h, MODE_TAKE);
}

static bool all_taken(const struct head *h)
{
    uint32_t taken = 0;
    for (uint32_t s = 0; s < h->conf.shards; s++)
        taken += h->shard[s].state.open == h->open;
    return taken + (SIM_BUG(10) ? 1 : 0) >= h->conf.shards;
}

static void write(struct head *h)
{
    uint64_t wait = WRITE_FACTOR * h->cut.last_write_us;
    h->cut.write = WRITE_FILES;
    h->cut.write_us = h->now_us;
    if (wait < h->conf.conf->cluster.write)
        wait = h->conf.conf->cluster.write;
    h->cut.deadline_us = h->now_us + wait;
    h->phase = HEAD_RUN;
    if (SIM_BUG(14)) {
        h->complete = h->cut.k;
        h->complete_e = h->e;
    }
    head_order_new(h, MODE_RUN);
}

static void abandon(struct head *h, const char *why)
{
    head_notice(h, "cut %llu was abandoned: %s", (unsigned long long)h->cut.k, why);
    h->cut.write = WRITE_NONE;
    h->resolved = h->cut.k;
    if (h->cut.decided && h->recipe.best_cut == h->cut.k)
        h->recipe.best_cut = 0; /* the next cut of this decision gets it */
    head_order_new(h, MODE_RUN);
    back_off(h);
}

static void check_write(struct head *h)
{
    uint32_t durable = 0;
    for (uint32_t s = 0; s < h->conf.shards; s++) {
        const struct msg_shard_state *t = &h->shard[s].state;
        if (t->failed_k == h->cut.k) {
            abandon(h, t->why);
            return;
        }
        durable += t->durable_e == h->e && t->durable_k == h->cut.k;
    }
    if (durable + (SIM_BUG(13) ? 1 : 0) >= h->conf.shards) {
        if (!SIM_BUG(13) && !SIM_BLIND && !head_commit_sound(h))
            return;
        h->cut.write = WRITE_COMMIT;
        head_commit_manifest(h, &h->cut.manifest);
        head_act(h, HEAD_COMMIT)->manifest = &h->cut.manifest;
    } else if (h->now_us >= h->cut.deadline_us) {
        abandon(h, "not all shards had written it in time");
    }
}

void head_cut_check(struct head *h)
{
    if (h->phase == HEAD_HOLD) {
        if (all_held(h)) {
            if (aligned(h))
                take(h);
        } else if (h->now_us >= h->cut.deadline_us) {
            give_up_hold(h);
        }
    }
    if (h->phase == HEAD_TAKE && all_taken(h))
        write(h);
    if (h->phase == HEAD_RUN && h->cut.write == WRITE_FILES)
        check_write(h);
    if (h->phase == HEAD_RUN && h->cut.write == WRITE_NONE && due(h))
        hold(h);
}

static void completed(struct head *h)
{
    h->complete = h->resolved = h->cut.k;
    h->complete_e = h->e;
    manifest_release(&h->last);
    h->last = h->cut.manifest;
    h->has_last = true;
    manifest_init(&h->cut.manifest);
    h->cut.last_write_us = h->now_us - h->cut.write_us;
    h->cut.next_us = h->now_us + h->conf.conf->cluster.cut_every;
    h->cut.retry_us = h->cut.back_us = 0;
    h->cut.tries = 0;
    h->cut.taken_epoch = h->cut.log.epoch;
    h->cut.taken_done = h->cut.log.done_records;
    head_order_new(h, MODE_RUN);
    if (h->cut.decided && h->stage == STAGE_COMMIT)
        head_epoch_committed(h);
}

void head_cut_committed(struct head *h, enum status st, const char *text)
{
    if (h->cut.write != WRITE_COMMIT)
        return;
    h->cut.write = WRITE_NONE;
    if (st == ST_OK) {
        completed(h);
        return;
    }
    manifest_release(&h->cut.manifest);
    manifest_init(&h->cut.manifest);
    if (st == ST_FENCED)
        head_exit(h, 1, "another head has taken over: this one must not commit");
    else
        abandon(h, text != NULL ? text : "its manifest could not be written");
}
