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

uint64_t head_log_split_of(const struct head *h)
{
    const struct job *job = h->conf.conf;
    if (job_deals(job))
        return h->conf.records;
    return head_log_split_records(h->conf.records, job->train.batch, h->conf.workers);
}

void head_log_begin(struct head_log *l, uint64_t epoch, uint64_t records, uint64_t split_records,
                    uint64_t before)
{
    assert(records > 0 && split_records > 0);
    head_log_release(l);
    *l = (struct head_log){.epoch = epoch,
                           .records = records,
                           .split_records = split_records,
                           .splits = (records + split_records - 1) / split_records,
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
