/* shard_log.c - the shard's own count of what it applied, split by split: production's evidence for I2, I3.
 *
 * De-duplication is by sequence number and needs none of this. But every push says which records it stands
 * for, and every shard sees every push: so each shard can tell on its own that no record was applied twice
 * or left out, and does, at each push.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/train/shard.h"

void shard_log_begin(struct shard_log *l, uint64_t epoch, uint64_t records, uint64_t split_records)
{
    shard_log_release(l);
    *l = (struct shard_log){
        .epoch = epoch,
        .records = records,
        .split_records = split_records,
        .splits = split_records == 0 ? 0 : (records + split_records - 1) / split_records};
    l->upto = mem_array(l->splits, sizeof *l->upto);
    for (uint64_t i = 0; i < l->splits; i++)
        l->upto[i] = shard_split_begin(l, i);
}

void shard_log_release(struct shard_log *l)
{
    free(l->upto);
    *l = (struct shard_log){0};
}

void shard_mark_copy(struct shard_mark *to, const struct shard_mark *from)
{
    shard_log_release(&to->log);
    *to = *from;
    to->log.upto = mem_array(from->log.splits, sizeof *to->log.upto);
    if (from->log.splits > 0)
        memcpy(to->log.upto, from->log.upto, from->log.splits * sizeof *to->log.upto);
}

void shard_mark_release(struct shard_mark *m)
{
    shard_log_release(&m->log);
    *m = (struct shard_mark){0};
}

uint64_t shard_split_begin(const struct shard_log *l, uint64_t split)
{
    return split * l->split_records;
}

uint64_t shard_split_end(const struct shard_log *l, uint64_t split)
{
    uint64_t end = (split + 1) * l->split_records;
    return end < l->records ? end : l->records;
}

bool shard_log_step(const struct shard_log *l, uint64_t batch, uint64_t ahead, uint64_t *out_begin,
                    uint64_t *out_end)
{
    if (l->splits != 1 || ahead > (l->records - l->upto[0]) / batch)
        return false;
    const uint64_t begin = l->upto[0] + ahead * batch, left = l->records - begin;
    *out_begin = begin;
    *out_end = begin + (left < batch ? left : batch);
    return left > 0;
}

bool shard_log_adopt(struct shard_log *l, const struct msg_order *o)
{
    if (l->epoch == o->epoch && l->records == o->records && l->split_records == o->split_records)
        return true;
    bool whole = l->splits > 0 && l->done == l->records && o->epoch == l->epoch + 1;
    bool untouched = l->done == 0 && (l->splits == 0 || o->epoch == l->epoch);
    if (!whole && !untouched)
        return false;
    shard_log_begin(l, o->epoch, o->records, o->split_records);
    return true;
}
