/* split.h - which part a record belongs to: by a fixed hash of its bytes, or by time.
 *
 * By ratio the part depends on the record's bytes and the seed only, so it stays when lines are added or
 * files reordered, and equal lines never stand on both sides. By time the last records are test, those before
 * them valid; records of one instant stay together, on the later side.
 */
#ifndef PENSTOCK_COMMON_DATA_SPLIT_H
#define PENSTOCK_COMMON_DATA_SPLIT_H

#include <stddef.h>
#include <stdint.h>

#include "common/data/dataset.h"

/* valid, test: parts of 1. */
enum part split_by_hash(const void *raw, size_t n, uint64_t seed, double valid, double test);

struct split_times {
    int64_t valid_from, test_from; /* INT64_MAX: that part is empty */
};
/* times: (n), any order; n may be 0. */
struct split_times split_by_time(const int64_t *times, size_t n, double valid, double test);
enum part split_time_part(const struct split_times *t, int64_t time);

#endif
