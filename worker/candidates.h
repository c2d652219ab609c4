/* candidates.h - the items that a batch of sequences is scored over: behind dataset_batch, before it is pulled.
 *
 * An evaluation and loss ce: the whole catalog. sampled: model.negatives items, bce: one a place that is predicted,
 * drawn uniformly and without repetition; a function of seed, epoch and the batch's place in the epoch's order, so a
 * batch that is read again after a reset, by whomever, is the same.
 */
#ifndef PENSTOCK_WORKER_CANDIDATES_H
#define PENSTOCK_WORKER_CANDIDATES_H

#include <stdbool.h>

#include "common/data/catalog.h"
#include "common/data/dataset.h"

struct candidates {
    const struct job *job; /* borrowed */
    bool on;               /* the job's model ranks; else nothing happens here */
    struct catalog catalog;
    uint64_t *drawn; /* owned scratch */
    size_t drawn_cap;
};

/* For a model that doesn't rank this reads nothing. ST_BAD_DATA, ST_NOT_FOUND name the catalog's path. */
MUST_CHECK enum status candidates_open(struct candidates *c, const struct job *job,
                                       const char *cache_dir, struct errbuf *err);
void candidates_close(struct candidates *c); /* also of a zeroed one */
void candidates_all(struct candidates *c, struct batch *b);
/* first: position of the batch's first record in the order of the epoch. */
void candidates_train(struct candidates *c, struct batch *b, uint64_t epoch, uint64_t first);

#endif
