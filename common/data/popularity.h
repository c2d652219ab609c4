/* popularity.h - how far one gets by the mean label of each key alone: the counts that baselines.h judges by.
 *
 * score(key) = (positives + 10 * mean) / (records + 10). A score that depends on one key alone needs no list of scores:
 * AUC (ties by half) and logloss are exact sums over keys.
 */
#ifndef PENSTOCK_COMMON_DATA_POPULARITY_H
#define PENSTOCK_COMMON_DATA_POPULARITY_H

#include <stdbool.h>

#include "common/base/errbuf.h"
#include "common/data/dataset.h"
#include "common/feature/keyset.h"
#include "common/feature/schema.h"

struct baseline {
    bool there; /* else the rest means nothing */
    double auc, logloss;
};

struct popularity {
    struct keyset all, positive; /* owned */
    double records, positives;
};

struct popularity_of { /* records [first, end) of a part, not before a time */
    uint64_t first, end;
    int64_t from; /* INT64_MIN: all */
};

struct popularity_group { /* records that share a score */
    double score, positives, negatives;
};

/* Count the keys of id slot f. */
MUST_CHECK enum status popularity_add(struct popularity *t, struct dataset *d, size_t f,
                                      const struct popularity_of *of, struct errbuf *err);
void popularity_release(struct popularity *t); /* zeroes it */
/* How well the counts of train predict the records of part; nothing is "there" where either is empty. */
MUST_CHECK enum status popularity_judge(const struct popularity *train,
                                        const struct popularity *part, struct baseline *out,
                                        struct errbuf *err);
/* Exact AUC, ties by half; sorts g. .5 where there is one class only. */
double popularity_auc(struct popularity_group *g, size_t n);
/* The id slot of the field of type item; without one the slot that alone ranks the first million records of train best,
 * each judged without itself. SCHEMA_NONE where every id field is a bag. */
MUST_CHECK enum status popularity_field(const struct schema *s, struct dataset *train, size_t *out,
                                        struct errbuf *err);

#endif
