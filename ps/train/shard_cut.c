/* shard_cut.c - the taken cut: taken in O(1), written in slices, resolved by a later order.
 *
 *   phase     log_taken   SLICE   STATE says          next
 *   NONE      empty       -       -                   take: WRITING (or FAILED)
 *   WRITING   its images  bytes   -                   last byte: ENDED; error, bound: FAILED
 *   ENDED     its images  -       -                   DURABLE event: DURABLE or FAILED
 *   DURABLE   its images  -       durable, hash ...   resolved
 *   FAILED    its images  -       failed_k, why       resolved
 *
 * Resolved means that the order's `resolved` reaches the taken number. If `complete` does too, the cut is
 * the new ground: its images are freed, its hash and its marks become those of `complete`. Else it was
 * abandoned, and the open log is folded behind its own: the interval simply goes on.
 *
 * Bound U: when both logs together are beyond it, the images are given up. The cut fails, no images are
 * taken until the next full cut begins, and until that one is complete the way back is by files.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "ps/snapshot/cut_hash.h"
#include "ps/train/shard.h"

void shard_cut_drop(struct shard *s)
{
    if (s->cut_phase == CUT_WRITING || s->cut_phase == CUT_ENDED) {
        struct shard_action *a = shard_act(s, SHARD_FILE_ABORT);
        a->e = s->e;
        a->k = s->taken;
    }
    cut_free(s->cut);
    s->cut = NULL;
    s->cut_phase = CUT_NONE;
    buffer_reset(&s->bytes);
}

static void fail(struct shard *s, const char *why)
{
    shard_cut_drop(s);
    s->cut_phase = CUT_FAILED;
    s->failed_k = s->taken;
    if (!s->fault)
        snprintf(s->why, sizeof s->why, "%s", why);
    s->state_due = true;
}

static enum status begin_cut(struct shard *s, struct errbuf *err)
{
    struct cut_conf conf = {.plan = s->conf.plan,
                            .store = s->store,
                            .taken = s->log_taken,
                            .open = s->log_open,
                            .open_stamp = SIM_BUG(20) ? 0 : s->stamp,
                            .hash = &s->hash,
                            .render = applier_render,
                            .render_ctx = s->applier,
                            .job = s->conf.job,
                            .e = s->e,
                            .k = s->taken,
                            .shard = s->conf.shard,
                            .shards = s->shards,
                            .step = s->at_take.step,
                            .rendered = s->rendered,
                            .full = s->cut_full,
                            .audit = s->cut_full && !s->by_files};
    return cut_begin(&conf, &s->cut, err);
}

void shard_take(struct shard *s, const struct msg_order *o)
{
    struct errbuf err = ERRBUF_INIT;
    struct undo *log = s->log_taken;
    assert(s->taken == 0 && undo_entries(log) == 0);
    s->taken = s->open;
    s->open = o->open;
    s->log_taken = s->log_open;
    s->log_open = log;
    s->stamp++;
    s->images_off = s->images_off && !o->full;
    shard_mark_copy(&s->at_take, &s->now);
    s->failed_k = 0;
    s->cut_full = o->full;
    if (s->by_files && !o->full) {
        s->cut_phase = CUT_FAILED;
        fail(s, "the undo log was over its bound: only a full cut can be written");
    } else if (begin_cut(s, &err) != ST_OK) {
        fail(s, err.text);
    } else {
        struct shard_action *a = shard_act(s, SHARD_FILE_BEGIN);
        s->cut_phase = CUT_WRITING;
        a->e = s->e;
        a->k = s->taken;
        a->full = s->cut_full;
        a->n = cut_total_bytes(s->cut);
    }
    if (SIM_BUG(19))
        undo_reset(s->log_taken);
}

void shard_slice(struct shard *s, size_t max)
{
    bool done = false;
    if (s->cut_phase != CUT_WRITING)
        return;
    buffer_reset(&s->bytes);
    cut_next(s->cut, max, &s->bytes, &done);
    if (s->bytes.used > 0) {
        struct shard_action *a = shard_act(s, SHARD_FILE_BYTES);
        a->e = s->e;
        a->k = s->taken;
        a->bytes = s->bytes.data;
        a->n = s->bytes.used;
    }
    uint32_t table;
    if (done && !cut_sound(s->cut, &table)) {
        shard_fault(s,
                    "the rows of table %s do not have the hash of cut %llu any more: they changed "
                    "without a push (bad memory?)",
                    s->conf.plan->tables[table].name, (unsigned long long)s->complete);
        fail(s, "its rows are not those that were pushed");
        return;
    }
    if (done) {
        struct shard_action *a = shard_act(s, SHARD_FILE_END);
        a->e = s->e;
        a->k = s->taken;
        s->cut_phase = CUT_ENDED;
    }
}

void shard_durable(struct shard *s, const struct shard_event *ev)
{
    bool ours = s->taken != 0 && ev->file.k == s->taken && ev->file.e == s->e;
    if (!ours || (s->cut_phase != CUT_ENDED && s->cut_phase != CUT_WRITING))
        return; /* of a cut that was abandoned in the meantime */
    if (ev->status != ST_OK) {
        fail(s, ev->text != NULL ? ev->text : "its file could not be written");
        return;
    }
    assert(s->cut_phase == CUT_ENDED);
    s->file = ev->file;
    s->cut_phase = CUT_DURABLE;
    s->state_due = true;
}

static void completed(struct shard *s)
{
    cut_hash_copy(&s->hash, cut_new_hash(s->cut));
    s->complete = s->taken;
    s->complete_e = s->e;
    if (s->cut_full) {
        s->rendered = s->at_take.step;
        s->by_files = s->images_off; /* given up again while it was written? */
    }
    shard_mark_copy(&s->at_complete, &s->at_take);
    undo_reset(s->log_taken);
}

static void abandoned(struct shard *s)
{
    struct undo *joined = s->log_taken;
    if (SIM_BUG(15)) {
        undo_reset(s->log_taken);
        return;
    }
    if (SIM_BUG(16)) {
        undo_fold(s->log_open, s->log_taken, s->store, s->stamp - 1);
        return;
    }
    undo_fold(joined, s->log_open, s->store, s->stamp);
    s->log_taken = s->log_open;
    s->log_open = joined;
    if (s->by_files) { /* what is there since the take does not lead back to complete */
        undo_reset(s->log_open);
        s->stamp++;
        s->images_off = true;
    }
}

void shard_resolve(struct shard *s, uint64_t resolved, uint64_t complete)
{
    if (s->taken == 0 || resolved < s->taken)
        return;
    bool is_complete = complete >= s->taken || SIM_BUG(17);
    if (is_complete && s->cut_phase != CUT_DURABLE) {
        shard_fault(s, "cut %llu was called complete before this shard had written it",
                    (unsigned long long)s->taken);
        return;
    }
    if (is_complete)
        completed(s);
    shard_cut_drop(s);
    if (!is_complete)
        abandoned(s);
    s->taken = 0;
}

void shard_bound_undo(struct shard *s)
{
    if (undo_bytes(s->log_open) + undo_bytes(s->log_taken) <= s->conf.undo_bytes_max)
        return;
    if (s->cut_phase == CUT_WRITING) /* later on its bytes need no images any more */
        fail(s, "the undo log is over its bound");
    undo_reset(s->log_open);
    undo_reset(s->log_taken);
    s->stamp++;
    s->by_files = s->images_off = true;
    s->state_due = true;
}
