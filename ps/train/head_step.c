/* head_step.c - the head: membership, the incarnation, the log, the recipe and the cut. No parameters.
 *
 *   phase     means                          ORDER    left when
 *   FENCING   waits for HEAD_FENCED          -        it comes: GATHER; fenced by another head: exit 1
 *   GATHER    waits for S fresh shards       (empty)  all were seen: RECOVER
 *   RECOVER   shards go back to the base     RECOVER  all obeyed and loaded, one whole world joined: RUN
 *   RUN       training, evaluation, writing  RUN      a cut is due: HOLD
 *   HOLD      workers start no push          HOLD     all HELD: TAKE; T_hold: RUN
 *   TAKE      shards take the cut            TAKE     all took: RUN
 *   STOPPING  the end, with a code           STOP     all answered, or a little later: ENDED
 *
 * Beside the phase runs the epoch's stage (head_epoch.c) and the write of the taken cut (head_cut.c). Orders
 * are levels: n grows with each change, and the last one is repeated to all each beat.
 *
 * In this release any death after RECOVER began ends the run with code 1; the incarnation, the base, and the
 * shards' way back are all there, so that a new incarnation instead of an end is a change to this file and
 * head_peers.c alone.
 */
#include "ps/train/head_step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/train/head.h"

enum { STOP_BEATS = 20 };

struct head *head_new(const struct head_conf *conf)
{
    struct head *h = mem_zalloc(sizeof *h);
    h->conf = *conf;
    h->shard = mem_array(conf->shards, sizeof *h->shard);
    h->worker = mem_array(conf->workers, sizeof *h->worker);
    for (uint32_t b = 0; b < BUCKETS; b++)
        h->map[b] = (uint16_t)((uint64_t)b * conf->shards / BUCKETS);
    manifest_init(&h->last);
    manifest_init(&h->cut.manifest);
    return h;
}

void head_free(struct head *h)
{
    if (h == NULL)
        return;
    manifest_release(&h->last);
    manifest_release(&h->cut.manifest);
    recipe_release(&h->recipe);
    head_log_release(&h->log);
    head_log_release(&h->cut.log);
    free(h->cut.recipe);
    free(h->shard);
    free(h->worker);
    free(h->action);
    free(h);
}

static void copy_manifest(struct manifest *to, const struct manifest *from)
{
    *to = *from;
    to->files = mem_array(from->files_used, sizeof *to->files);
    if (from->files_used > 0)
        memcpy(to->files, from->files, from->files_used * sizeof *to->files);
    to->splits = mem_array(from->splits_used, sizeof *to->splits);
    if (from->splits_used > 0)
        memcpy(to->splits, from->splits, from->splits_used * sizeof *to->splits);
    to->recipe = from->recipe == NULL ? NULL : mem_strdup(from->recipe);
}

/* Positions mean the same log as when the cut was made; false: no, and the run was ended. before: records of all
 * epochs before its own, which by window lie in front of it. */
static bool same_log(struct head *h, const struct manifest *b, uint64_t before)
{
    if (head_live(h, b->epoch))
        return true; /* a segment never changes: workers compare its records with the lease's */
    const uint64_t records = head_epoch_records(h, b->epoch);
    if (b->splits_used > 0 && b->records != records)
        snprintf(h->text, sizeof h->text,
                 "cut %llu stands in the middle of a log of %llu records, "
                 "this log has %llu",
                 (unsigned long long)b->k, (unsigned long long)b->records,
                 (unsigned long long)records);
    else if (h->conf.windows != NULL && before != head_epoch_first(h, b->epoch))
        snprintf(h->text, sizeof h->text,
                 "cut %llu stands in window %llu behind %llu records, in this log it begins behind "
                 "%llu: the files of data.train changed",
                 (unsigned long long)b->k, (unsigned long long)b->epoch + 1,
                 (unsigned long long)before, (unsigned long long)head_epoch_first(h, b->epoch));
    else
        return true;
    head_exit(h, 3, h->text);
    return false;
}

/* Positions and recipe of the base; false: it can't be gone on from (the run was ended). */
static bool begin_from(struct head *h, const struct manifest *b)
{
    struct errbuf err = ERRBUF_INIT;
    uint64_t done = 0;
    recipe_release(&h->recipe);
    if (recipe_parse(b->recipe, &h->recipe, &err) != ST_OK) {
        head_exit(h, 3, err.text);
        return false;
    }
    for (size_t i = 0; i < b->splits_used; i++)
        done += b->splits[i].upto - b->splits[i].split * b->split_records;
    if (!same_log(h, b, b->applied - done))
        return false;
    head_log_begin(h, b->epoch, b->splits_used > 0 ? b->split_records : 0, b->applied - done);
    for (size_t i = 0; i < b->splits_used; i++) {
        struct msg_progress p = {b->epoch, b->splits[i].split, b->splits[i].upto};
        if (!head_log_moved(&h->log, &p)) {
            head_exit(h, 3, "the base's positions are out of range");
            return false;
        }
    }
    h->log.lent = h->log.upto[0];
    copy_manifest(&h->last, b);
    h->has_last = true;
    h->base = h->complete = h->resolved = b->k;
    h->base_e = h->complete_e = b->e;
    h->cut.taken_epoch = h->log.epoch;
    h->cut.taken_done = h->log.done_records;
    return true;
}

static void fenced(struct head *h, const struct head_event *ev)
{
    if (h->phase != HEAD_FENCING)
        return;
    if (ev->status != ST_OK) {
        head_exit(h, ev->status == ST_BAD_DATA ? 3 : 1,
                  ev->text != NULL ? ev->text : "no incarnation of its own");
        return;
    }
    h->e = ev->e;
    if (ev->base == NULL) {
        recipe_init(&h->recipe, h->conf.conf);
        head_log_begin(h, 0, 0, 0);
    } else if (!begin_from(h, ev->base)) {
        return;
    }
    h->open = 1 + (ev->highest_seen > h->complete ? ev->highest_seen : h->complete);
    if (h->resolved < h->open - 1)
        h->resolved = h->open - 1; /* numbers of others: nothing taken there is ours to resolve */
    const bool epochs_done = h->recipe.stopped || h->log.epoch >= head_epochs(h);
    if (head_live(h, h->log.epoch))
        h->stage = h->recipe.live.now.number != 0 ? STAGE_TRAIN : STAGE_WAIT;
    else if (epochs_done && job_follows(h->conf.conf))
        head_epoch_go_live(h);
    else if (epochs_done)
        h->stage = STAGE_FINISHED;
    h->phase = HEAD_GATHER;
    h->recover_us = h->now_us;
}

static void recv(struct head *h, uint64_t route, struct msg *m)
{
    if (m->kind == MSG_REFUSED) {
        char why[160];
        msg_text(m, why, sizeof why);
        if (m->job == h->conf.job)
            head_notice(h, "%s %u refused a message: %s", role_name(m->role), m->sender, why);
    } else if (m->job != h->conf.job) {
        head_refuse(h, route, m, "a message of another job");
    } else if (h->phase == HEAD_FENCING || h->phase == HEAD_ENDED) {
        /* no incarnation to speak for */
    } else if (m->kind == MSG_WORKER_STATE) {
        head_recv_worker(h, route, m);
    } else if (m->kind == MSG_SHARD_STATE) {
        head_recv_shard(h, route, m);
    } else if (m->kind == MSG_STATUS) {
        head_recv_status(h, route, m);
    } else {
        head_refuse(h, route, m, "a message that no head takes");
    }
    msg_free(m);
}

static void tick(struct head *h)
{
    if (h->start_us == 0) {
        h->start_us = h->now_us;
        if (h->conf.records == 0)
            head_exit(h, 3, "the train part has no records");
        else
            head_act(h, HEAD_FENCE);
        return;
    }
    if (h->phase == HEAD_FENCING || h->phase == HEAD_ENDED)
        return;
    if (h->now_us - h->beat_us >= h->conf.conf->cluster.beat)
        head_order_all(h);
    for (uint32_t w = 0; w < h->conf.workers; w++)
        head_lease_again(h, w);
}

static bool all_stopped(const struct head *h)
{
    for (uint32_t s = 0; s < h->conf.shards; s++) {
        const struct head_shard *k = &h->shard[s];
        if (k->peer.seen && (!k->peer.joined || k->state.n < h->n))
            return false;
    }
    for (uint32_t w = 0; w < h->conf.workers; w++) {
        const struct head_worker *k = &h->worker[w];
        if (k->peer.seen && (!k->peer.joined || k->state.n < h->n))
            return false;
    }
    return true;
}

/* Asked to end: with everything in a cut it ends at once, else head_cut.c makes one first. */
static void check_stop(struct head *h)
{
    if (h->stop_wanted && h->phase == HEAD_RUN && h->cut.write == WRITE_NONE && head_cut_fresh(h)) {
        h->stopped_early = h->stage != STAGE_FINISHED;
        char last[128];
        head_last_cut_text(h, last, sizeof last);
        head_end(h, 0, "stopped as asked; %s", last);
    }
    if (h->stop_wanted && (h->phase == HEAD_GATHER || h->phase == HEAD_RECOVER)) {
        h->stopped_early = true;
        head_end(h, 0, "stopped as asked, before the run began");
    }
    if (h->phase == HEAD_STOPPING &&
        (all_stopped(h) || h->now_us - h->stop_us >= STOP_BEATS * h->conf.conf->cluster.beat))
        head_exit(h, h->stop_code, h->text);
}

void head_step(struct head *h, const struct head_event *ev, const struct head_action **out,
               size_t *out_n)
{
    h->actions = 0;
    h->now_us = ev->now_us;
    h->wall_us = ev->wall_us;
    switch (ev->kind) {
    case HEAD_FENCED: fenced(h, ev); break;
    case HEAD_MSG: recv(h, ev->from, ev->msg); break;
    case HEAD_TICK: tick(h); break;
    case HEAD_COMMITTED: head_cut_committed(h, ev->status, ev->text); break;
    case HEAD_STOP: h->stop_wanted = true; break;
    case HEAD_SEGMENT: head_epoch_segment(h, ev); break;
    }
    if (h->phase != HEAD_FENCING && h->phase != HEAD_ENDED) {
        head_peers_check(h);
        head_epoch_check(h);
        head_cut_check(h);
        check_stop(h);
    }
    *out = h->action;
    *out_n = h->actions;
}

void head_view(const struct head *h, struct head_view *out)
{
    *out = (struct head_view){
        .e = h->e,
        .n = h->n,
        .open = h->open,
        .complete = h->complete,
        .resolved = h->resolved,
        .epoch = h->log.epoch,
        .mode = h->mode,
        .writing = h->cut.write != WRITE_NONE,
        .segment =
            h->phase == HEAD_RUN && h->stage == STAGE_WAIT && !h->stop_wanted ? head_segment(h) : 0,
        .ended = h->phase == HEAD_ENDED,
        .code = h->stop_code};
}
