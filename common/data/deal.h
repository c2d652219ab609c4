/* deal.h - rows that wait in one temporary file until their place is known, which is when all are parsed.
 *
 * By time: the part of a row of data.train depends on all times; by window: all of train are put into the order of time,
 * those of one instant in the order of the log. With a field that is a history (history.h) the rows of every part wait,
 * for what was before them is known no earlier. What is dealt keeps raw keys.
 */
#ifndef PENSTOCK_COMMON_DATA_DEAL_H
#define PENSTOCK_COMMON_DATA_DEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/data/cache_writer.h"
#include "common/data/dataset.h"
#include "common/data/history.h"
#include "common/data/intake.h"

struct deal {
    /* -- set once in init -- */
    const struct job *job; /* borrowed */
    int by;                /* enum job_split */
    bool late;             /* by time, by window */
    bool histories;        /* some field is one */
    /* -- of the rows so far -- */
    int64_t *times; /* late: one a row of train; owned */
    size_t times_used, times_cap;
    uint8_t *part_of; /* enum part of each row, PARTS: late; owned */
    size_t part_of_used, part_of_cap;
    struct history history;
};

/* encoder: borrowed until release. */
void deal_init(struct deal *d, const struct job *job, int by, const struct encoder *encoder);
void deal_release(struct deal *d); /* also of a zeroed one */
/* Rows of this part, as far as it is known, wait; of any part. */
bool deal_waits(const struct deal *d, enum part part);
bool deal_waits_any(const struct deal *d);
/* The row that an intake has put into `all`. */
MUST_CHECK enum status deal_add(struct deal *d, enum part part, const struct intake *in,
                                struct errbuf *err);
/* All are there, and `all` has ended its rows. part: (PARTS) writers. stop: polled, may be NULL; ST_REFUSED. */
MUST_CHECK enum status deal_out(struct deal *d, struct cache_writer *all, struct cache_writer *part,
                                const volatile int *stop, struct errbuf *err);

#endif
