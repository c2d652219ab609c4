/* split.h - which part a record belongs to: by a fixed hash of its bytes or of its user, or by time.
 *
 * By ratio the part depends on the record's bytes and the seed only, so it stays when lines are added or
 * files reordered, and equal lines never stand on both sides. By time the last records are test, those before
 * them valid; records of one instant stay together, on the later side. By fold all records of a user are in one
 * part: folds of one N share no user, so N runs judge each user once.
 */
#ifndef PENSTOCK_COMMON_DATA_SPLIT_H
#define PENSTOCK_COMMON_DATA_SPLIT_H

#include <stddef.h>
#include <stdint.h>

#include "common/data/dataset.h"

/* valid, test: parts of 1. */
enum part split_by_hash(const void *raw, size_t n, uint64_t seed, double valid, double test);

/* Fold `fold` of `folds` is test: users with xxh3(user) mod folds = fold. Of the others a part `valid`, by another
 * hash of the user, is valid. user: the trimmed cell; of a record without one its bytes. */
enum part split_by_fold(const void *user, size_t n, uint64_t folds, uint64_t fold, uint64_t seed,
                        double valid);

struct split_times {
    int64_t valid_from, test_from; /* INT64_MAX: that part is empty */
};
/* times: (n), any order; n may be 0. */
struct split_times split_by_time(const int64_t *times, size_t n, double valid, double test);
/* The row numbers 0 .. n-1 in the order of time, equal times in their own. Owned by the caller. */
uint64_t *split_time_order(const int64_t *times, size_t n);
enum part split_time_part(const struct split_times *t, int64_t time);

#endif
