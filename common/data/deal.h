/* deal.h - rows that were parsed before their part was known: from one temporary file to their places.
 *
 * By time: each row to train, valid or test, in the order of the log. By window: all to train, in the order of time,
 * those of one instant in the order of the log. `all` has ended its rows; what is dealt keeps raw keys.
 */
#ifndef PENSTOCK_COMMON_DATA_DEAL_H
#define PENSTOCK_COMMON_DATA_DEAL_H

#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/data/cache_writer.h"
#include "common/data/dataset.h"
#include "common/data/split.h"

/* part: (PARTS) writers. stop: polled, may be NULL; ST_REFUSED ("interrupted"). */
MUST_CHECK enum status deal_by_time(struct cache_writer *all, const struct split_times *at,
                                    struct cache_writer *part, const volatile int *stop,
                                    struct errbuf *err);
/* times: (rows) of all, in its order. */
MUST_CHECK enum status deal_in_order(struct cache_writer *all, const int64_t *times,
                                     struct cache_writer *to, const volatile int *stop,
                                     struct errbuf *err);

#endif
