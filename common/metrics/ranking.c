/* ranking.c - see ranking.h. Counts of hits are whole numbers in doubles, so they add exactly in any order. */
#include "common/metrics/ranking.h"

#include <math.h>

static const double cuts[RANKING_CUTS] = {[RANKING_5] = 5, [RANKING_10] = 10, [RANKING_20] = 20};

void ranking_add(struct ranking *r, double rank)
{
    r->count++;
    if (!(rank >= 1)) /* a NaN, too */
        return;
    r->mrr += 1 / rank;
    for (int k = 0; k < RANKING_CUTS; k++) {
        if (rank <= cuts[k]) {
            r->hr[k] += 1;
            r->ndcg[k] += 1 / log2(1 + rank);
        }
    }
}

void ranking_merge(struct ranking *into, const struct ranking *from)
{
    for (int k = 0; k < RANKING_CUTS; k++) {
        into->hr[k] += from->hr[k];
        into->ndcg[k] += from->ndcg[k];
    }
    into->mrr += from->mrr;
    into->count += from->count;
}

struct ranking ranking_value(const struct ranking *r)
{
    struct ranking v = {.count = r->count};
    if (r->count == 0)
        return v;
    const double n = (double)r->count;
    for (int k = 0; k < RANKING_CUTS; k++) {
        v.hr[k] = r->hr[k] / n;
        v.ndcg[k] = r->ndcg[k] / n;
    }
    v.mrr = r->mrr / n;
    return v;
}
