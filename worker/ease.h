/* ease.h - EASE: what a linear model of whole histories makes of a part; the baseline beside next-item models.
 *
 * Harald Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", 2019: with X the 0/1 matrix of users and items,
 * P = (X'X + lambda I)^-1 and B = I - P diag(1 / P_jj), an item's score for a user is the sum of B over what the user
 * has seen. It knows no order and has one number to choose, and it is hard to beat on small logs.
 */
#ifndef PENSTOCK_WORKER_EASE_H
#define PENSTOCK_WORKER_EASE_H

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/data/dataset.h"
#include "common/metrics/ranking.h"

#define EASE_ITEMS_MAX 20000u

/* part: valid or test; each target among all items that its record has not seen, ties by half. X is of what the part's
 * own records have seen where each user has one (leave_one_out), else of the records of train. out: sums.
 * ST_REFUSED: too many items, or too little memory free. */
MUST_CHECK enum status ease_rank(const struct job *job, const char *cache_dir, enum part part,
                                 double lambda, struct ranking *out, struct errbuf *err);

#endif
