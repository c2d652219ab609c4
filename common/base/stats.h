/* stats.h - a histogram of u64 with 2 significant bits: staleness, latencies, stalls. Merges by adding. */
#ifndef PENSTOCK_COMMON_BASE_STATS_H
#define PENSTOCK_COMMON_BASE_STATS_H

#include <stdint.h>

#define HISTOGRAM_BINS 256

struct histogram {
    uint64_t bin[HISTOGRAM_BINS]; /* 0..7 exact, then 4 bins an octave */
    uint64_t count;
    uint64_t sum;
    uint64_t max;
};

void histogram_add(struct histogram *h, uint64_t v);
void histogram_merge(struct histogram *into, const struct histogram *from);
double histogram_mean(const struct histogram *h); /* 0 if empty */
uint64_t histogram_quantile(const struct histogram *h,
                            double q); /* upper edge of the bin, at most max; 0 if empty */

#endif
