/* sequence.h - the events of users as records of a next-item model, and the catalog of their items.
 *
 * A record has three bags of items, each oldest first:
 *
 *              history                              target     earlier
 *   train      at most max + 1 newest train events  -          -
 *   valid,     at most max newest before the target the target all before the history, so that what was
 *   test                                                       seen can be left out in full
 *
 * leave_one_out: each user's last event is test, the last but one valid, the rest train; the history of test
 * includes the valid event. time: events before the instant t1 are train, those before t2 valid, the rest test; one
 * record an event of valid and test. A user with fewer than `min` events is left out, one with a single train event
 * makes no train record, and an event with nothing before it makes none of valid or test.
 *
 * Other files (given): one test record an event of theirs, and its history is of both, the job's log of train and these
 * files, in the order of time; of one time the job's come first. An event that the job's log has, too (user, item, time), is
 * one event: it stands where the file has it, and in no history of its own. Nobody is left out for too few events.
 *
 * Nothing here looks ahead: what stands in a record happened before its target, in the order of events.h.
 */
#ifndef PENSTOCK_COMMON_DATA_SEQUENCE_H
#define PENSTOCK_COMMON_DATA_SEQUENCE_H

#include <stdbool.h>

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/data/cache_writer.h"
#include "common/data/catalog.h"
#include "common/data/dataset.h"
#include "common/data/events.h"
#include "common/data/split.h"
#include "common/feature/encode.h"
#include "common/feature/fit.h"

struct sequence {
    const struct job *job; /* borrowed */
    bool
        given; /* files of events are judged with an encoder that is there, behind the job's own events */
    uint32_t judged_from; /* given: sources from this one on are judged, those before are history */
    struct encoder *line; /* what a line is: user, item, perhaps a time; owned */
    struct events events;
    struct split_times at;
    struct catalog_counts counts;
};

/* ST_USAGE when fields or data.split.by don't make sequences. */
MUST_CHECK enum status sequence_init(struct sequence *q, const struct job *job, bool given,
                                     struct errbuf *err);
void sequence_release(struct sequence *q); /* also of a zeroed one */

/* The row that an intake has put into w, which has line's shape: NULL, or why it is no event. */
const char *sequence_fault(const struct sequence *q, const struct cache_writer *w, int64_t time);
/* It becomes an event and leaves w again. */
MUST_CHECK enum status sequence_add(struct sequence *q, struct cache_writer *w, int64_t time,
                                    uint32_t source, uint64_t offset, struct errbuf *err);
/* All are there: put them in order and write the records with raw keys. part: (PARTS) writers. */
MUST_CHECK enum status sequence_deal(struct sequence *q, struct cache_writer *part,
                                     const volatile int *stop, struct errbuf *err);
/* Every train event once, as fit_add for blocks of other records. */
MUST_CHECK enum status sequence_fit(const struct sequence *q, struct fit *fit, struct errbuf *err);
/* e: fitted. The stamp is left to the caller. */
MUST_CHECK enum status sequence_catalog(const struct sequence *q, const struct encoder *e,
                                        struct catalog *out, struct errbuf *err);

#endif
