/* ranking.h - HR@K, NDCG@K and MRR of one target a record, as sums; add over workers, then divide.
 *
 * A rank is 1 + those above the target + half of those that tie with it, so it may end in a half, and a model that
 * gives every item the same score stands in the middle. With one target the ideal DCG is 1: a record's NDCG@K is
 * 1 / log2(1 + rank) for a rank of at most K, and its HR@K (also called recall@K) is 1. MRR has no cut.
 */
#ifndef PENSTOCK_COMMON_METRICS_RANKING_H
#define PENSTOCK_COMMON_METRICS_RANKING_H

#include <stdint.h>

enum { RANKING_5, RANKING_10, RANKING_20, RANKING_CUTS }; /* K = 5, 10, 20 */

struct ranking { /* sums over records; of ranking_value their means */
    double hr[RANKING_CUTS], ndcg[RANKING_CUTS], mrr;
    uint64_t count;
};

/* rank: at least 1; one that is no number counts as last of all. */
void ranking_add(struct ranking *r, double rank);
void ranking_merge(struct ranking *into, const struct ranking *from);
struct ranking
ranking_value(const struct ranking *r); /* means over count records; zeros if empty */

#endif
