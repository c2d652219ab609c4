/* deal.c - see deal.h. Rows may be asked for anywhere in the file, so it is mapped: logs are nearly in the order of time
 * already, and the kernel reads ahead.
 */
#include "common/data/deal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/mem.h"
#include "common/data/split.h"
#include "common/feature/number.h"

#define POLL_ROWS 65536u

void deal_init(struct deal *d, const struct job *job, int by, const struct encoder *encoder)
{
    memset(d, 0, sizeof *d);
    d->job = job;
    d->by = by;
    d->late = by == JOB_SPLIT_TIME || by == JOB_SPLIT_WINDOW;
    d->histories = schema_derives(&encoder->schema);
    history_init(&d->history, encoder, job->data.sequence.memory);
}

void deal_release(struct deal *d)
{
    history_release(&d->history);
    free(d->times);
    free(d->part_of);
    memset(d, 0, sizeof *d);
}

bool deal_waits(const struct deal *d, enum part part)
{
    return d->histories || (d->late && part == PART_TRAIN);
}

bool deal_waits_any(const struct deal *d)
{
    return d->histories || d->late;
}

enum status deal_add(struct deal *d, enum part part, const struct intake *in, struct errbuf *err)
{
    bool late = d->late && part == PART_TRAIN;
    mem_grow(&d->part_of, &d->part_of_cap, d->part_of_used + 1, sizeof *d->part_of);
    d->part_of[d->part_of_used++] = (uint8_t)(late ? PARTS : part);
    if (late) {
        mem_grow(&d->times, &d->times_cap, d->times_used + 1, sizeof *d->times);
        d->times[d->times_used++] = in->time;
    }
    return d->histories ? history_add(&d->history, in->user, in->label[0], in->time, err) : ST_OK;
}

/* ---- one row ------------------------------------------------------------------------------------ */

struct dealer { /* all borrowed */
    const struct cache_writer *all;
    const struct cache_block *block; /* (all->blocks) */
    const struct deal *deal;
    const uint64_t *order; /* (rows) as they are to stand; NULL: as they do */
};

static bool is_derived(const struct deal *deal, size_t slot)
{
    const struct schema *s = &deal->history.encoder->schema;
    return s->field[s->ids[slot]].derived;
}

static enum status deal_row(const struct dealer *d, uint64_t row, size_t at, struct cache_writer *w,
                            struct errbuf *err)
{
    const struct cache_writer *all = d->all;
    const struct cache_block *b = &d->block[at];
    size_t F = all->shape.fields, D = all->shape.floats;
    size_t i = (size_t)(row - all->entry[at].first_row);
    for (size_t f = 0; f < F; f++) {
        size_t k = b->bag != NULL ? b->bag[i * F + f] : i * F + f;
        size_t end = b->bag != NULL ? b->bag[i * F + f + 1] : k + 1;
        for (; k < end; k++) {
            if (b->weight != NULL)
                cache_writer_key_weighted(w, b->key[k], b->weight[k]);
            else
                cache_writer_key(w, b->key[k]);
        }
        if (d->deal->histories && is_derived(d->deal, f))
            history_put(&d->deal->history, all, d->block, f, row, w);
        cache_writer_bag_end(w);
    }
    for (size_t j = 0; j < D; j++)
        cache_writer_num(w, b->num[i * D + j]);
    const struct cache_row rest = {.label = b->label + i * all->shape.labels,
                                   .source = b->source[i],
                                   .offset = b->offset[i],
                                   .time = b->time != NULL ? b->time[i] : TIME_MISSING,
                                   .user = b->user != NULL ? b->user[i] : 0};
    return cache_writer_row_end(w, &rest, err);
}

static enum status deal_mapped(const struct dealer *d, struct cache_writer *part,
                               const volatile int *stop, struct errbuf *err)
{
    enum status st = ST_OK;
    for (uint64_t i = 0; st == ST_OK && i < d->all->rows_all; i++) {
        uint64_t row = d->order != NULL ? d->order[i] : i;
        st =
            deal_row(d, row, cache_writer_block_of(d->all, row), &part[d->deal->part_of[row]], err);
        if (st == ST_OK && i % POLL_ROWS == 0 && stop != NULL && *stop != 0)
            st = errbuf_set(err, ST_REFUSED, "interrupted");
    }
    return st;
}

/* ---- all rows ----------------------------------------------------------------------------------- */

/* The parts of rows that were late; by window all stay in train. */
static void split_late(struct deal *d)
{
    struct split_times at = {INT64_MAX, INT64_MAX};
    size_t used = 0;
    if (d->by == JOB_SPLIT_TIME)
        at = split_by_time(d->times, d->times_used, d->job->data.split.valid,
                           d->job->data.split.test);
    for (size_t i = 0; i < d->part_of_used; i++)
        if (d->part_of[i] == PARTS)
            d->part_of[i] = (uint8_t)split_time_part(&at, d->times[used++]);
}

/* By window: in the order of time. Files of valid and test that are here for their histories are put in order, too. */
static uint64_t *window_order(const struct deal *d)
{
    const struct events *e = &d->history.events;
    if (d->by != JOB_SPLIT_WINDOW)
        return NULL;
    if (!d->histories)
        return split_time_order(d->times, d->times_used);
    int64_t *times = mem_array(e->used + 1, sizeof *times);
    for (size_t i = 0; i < e->used; i++)
        times[i] = e->item[i].time;
    uint64_t *order = split_time_order(times, e->used);
    free(times);
    return order;
}

enum status deal_out(struct deal *d, struct cache_writer *all, struct cache_writer *part,
                     const volatile int *stop, struct errbuf *err)
{
    if (all->rows_all == 0)
        return ST_OK;
    uint8_t *map = mmap(NULL, (size_t)all->end, PROT_READ, MAP_PRIVATE, all->fd, 0);
    if (map == MAP_FAILED)
        return errbuf_errno(err, ST_IO, "%s", all->tmp);
    struct cache_block *block = mem_array(all->blocks, sizeof *block);
    for (size_t b = 0; b < all->blocks; b++)
        cache_block_view(&all->shape, all->entry[b].rows, all->entry[b].keys,
                         map + all->entry[b].offset, &block[b]);
    split_late(d);
    uint64_t *order = window_order(d);
    if (d->histories)
        history_index(&d->history);
    enum status st = deal_mapped(&(struct dealer){all, block, d, order}, part, stop, err);
    free(order);
    free(block);
    munmap(map, (size_t)all->end);
    return st;
}
