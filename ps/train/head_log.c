/* head_log.c - the epoch's log as the head sees it: splits and how far each has been pushed.
 *
 *   records  0 ........ split_records ........ 2 * split_records ........ records
 *            | split 0  | split 1              | split 2 (may be short)  |
 *            begin  upto^ (absolute)
 *
 * upto only rises: progress comes by STATE, which may come late, twice or out of order, and a worker's
 * progress never falls within an incarnation. So the largest value ever told is the true one.
 *
 * bsp, ssp: there is one split, and all workers work on it together.
 *
 * By window (train.window) an epoch is a window: its log is the train part's [first, first + records), and positions
 * count from first. All else is the same.
 *
 * Live (data.follow) an epoch is a segment of the growing log. Until it has come, the log stands there with one record
 * that nobody works on; nothing of it is lent, so that shards take the true one in its place.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/train/head.h"

enum { SPLITS_A_WORKER = 16 };

/* About 16 splits a worker, each whole batches: a slow worker takes fewer, and there is little to lose. */
uint64_t head_log_split_records(uint64_t records, uint64_t batch, uint32_t workers)
{
    uint64_t batches = (records + batch - 1) / batch;
    uint64_t each = batches / ((uint64_t)SPLITS_A_WORKER * workers);
    return batch * (each > 0 ? each : 1);
}

uint64_t head_epochs(const struct head *h)
{
    return h->conf.windows != NULL ? h->conf.windows->used : h->conf.conf->train.epochs;
}

bool head_live(const struct head *h, uint64_t epoch)
{
    return h->recipe.live.from != 0 && epoch >= h->recipe.live.from;
}

uint64_t head_segment(const struct head *h)
{
    return head_live(h, h->log.epoch) ? h->log.epoch - h->recipe.live.from + 1 : 0;
}

uint64_t head_epoch_first(const struct head *h, uint64_t epoch)
{
    const struct windows *w = h->conf.windows;
    return w == NULL ? 0 : w->first[epoch < w->used ? epoch : w->used];
}

/* When all windows are done a log stands there that nobody works on: as long as the last one. */
uint64_t head_epoch_records(const struct head *h, uint64_t epoch)
{
    const struct windows *w = h->conf.windows;
    if (head_live(h, epoch)) {
        const struct live_segment *s = &h->recipe.live.now;
        return s->number == epoch - h->recipe.live.from + 1 ? s->records : 1;
    }
    if (w == NULL)
        return h->conf.records;
    const uint64_t at = epoch < w->used ? epoch : w->used - 1;
    return w->first[at + 1] - w->first[at];
}

void head_log_begin(struct head *h, uint64_t epoch, uint64_t split_records, uint64_t before)
{
    const struct job *job = h->conf.conf;
    const uint64_t records = head_epoch_records(h, epoch);
    struct head_log *l = &h->log;
    assert(records > 0);
    if (split_records == 0)
        split_records = job_deals(job)
                            ? records
                            : head_log_split_records(records, job->train.batch, h->conf.workers);
    head_log_release(l);
    *l = (struct head_log){.epoch = epoch,
                           .records = records,
                           .split_records = split_records,
                           .splits = (records + split_records - 1) / split_records,
                           .first = head_epoch_first(h, epoch),
                           .before = before};
    l->upto = mem_array(l->splits, sizeof *l->upto);
    for (uint64_t i = 0; i < l->splits; i++)
        l->upto[i] = head_split_begin(l, i);
}

void head_log_release(struct head_log *l)
{
    free(l->upto);
    *l = (struct head_log){0};
}

void head_log_copy(struct head_log *to, const struct head_log *from)
{
    head_log_release(to);
    *to = *from;
    to->upto = mem_array(from->splits, sizeof *to->upto);
    memcpy(to->upto, from->upto, from->splits * sizeof *to->upto);
}

uint64_t head_split_begin(const struct head_log *l, uint64_t split)
{
    return split * l->split_records;
}

uint64_t head_split_end(const struct head_log *l, uint64_t split)
{
    uint64_t end = (split + 1) * l->split_records;
    return end < l->records ? end : l->records;
}

bool head_log_moved(struct head_log *l, const struct msg_progress *p)
{
    if (p->epoch < l->epoch)
        return true; /* of an epoch that is done */
    if (p->epoch > l->epoch || p->split >= l->splits || p->upto < head_split_begin(l, p->split) ||
        p->upto > head_split_end(l, p->split))
        return false;
    if (p->upto > l->upto[p->split]) {
        l->done_records += p->upto - l->upto[p->split];
        l->upto[p->split] = p->upto;
    }
    return true;
}

bool head_log_done(const struct head_log *l)
{
    return l->done_records == l->records;
}

uint64_t head_log_applied(const struct head_log *l)
{
    return l->before + l->done_records;
}
