/* history.h - fields that hold what the same user did before: put into records once all are there.
 *
 * A record's history are the ids of the field that it is `of`, in the same user's records whose time is strictly before
 * its own (of one instant nobody knows the order, and a log of seconds has many), oldest first, at most `max`, the
 * newest; with `when: positive` only of records with a positive label. Parts don't matter: at the moment of a test
 * record everything before it is known, also what is valid or test. A record without a user or a time has an empty
 * history and stands in nobody's; a missing id is left out. A history of the label holds the ids 1 and 0.
 */
#ifndef PENSTOCK_COMMON_DATA_HISTORY_H
#define PENSTOCK_COMMON_DATA_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/data/cache_writer.h"
#include "common/data/events.h"
#include "common/feature/encode.h"

struct history {
    const struct encoder *encoder; /* borrowed */
    /* One event a record, in their order. Until history_index item is not used; from then on it is the record's place
     * in order, and offset the place of the user's last positive one before it, + 1. */
    struct events events;
};

void history_init(struct history *h, const struct encoder *encoder, uint64_t bytes_max);
void history_release(struct history *h); /* also of a zeroed one */
/* The next record: user as intake.h has it, 0: none. */
MUST_CHECK enum status history_add(struct history *h, uint64_t user, float label, int64_t time,
                                   struct errbuf *err);
void history_index(struct history *h);
/* The bag of derived id slot `slot` of record `row`, but for its end, into w. block: (blocks of all) views. */
void history_put(const struct history *h, const struct cache_writer *all,
                 const struct cache_block *block, size_t slot, uint64_t row,
                 struct cache_writer *w);

#endif
