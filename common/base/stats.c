/* stats.c - a histogram of u64 with two significant bits.
 *
 * 0 to 7 have a bin each; above, each octave [2^e, 2^(e+1)) has four: a quantile is at most a quarter too
 * high, over the whole range of 64 bits, in 2 KiB. Bins are fixed, so histograms of shards, workers and
 * epochs merge by adding, in any order. 8 + 61 * 4 = 252 bins are used.
 */
#include "common/base/stats.h"

static unsigned bin_of(uint64_t v)
{
    if (v < 8)
        return (unsigned)v;
    unsigned e = 63u - (unsigned)__builtin_clzll(v);
    return 8 + (e - 3) * 4 + (unsigned)(v >> (e - 2) & 3u);
}

static uint64_t upper_edge(unsigned bin)
{
    if (bin < 8)
        return bin;
    unsigned e = (bin - 8) / 4 + 3;
    uint64_t part =
        (bin - 8) % 4 + 5; /* one bin further; (8 << 61) wraps to 0, and 0 - 1 is right */
    return (part << (e - 2)) - 1;
}

void histogram_add(struct histogram *h, uint64_t v)
{
    h->bin[bin_of(v)]++;
    h->count++;
    h->sum += v;
    if (v > h->max)
        h->max = v;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BINS; i++)
        into->bin[i] += from->bin[i];
    into->count += from->count;
    into->sum += from->sum;
    if (from->max > into->max)
        into->max = from->max;
}

double histogram_mean(const struct histogram *h)
{
    return h->count == 0 ? 0 : (double)h->sum / (double)h->count;
}

uint64_t histogram_quantile(const struct histogram *h, double q)
{
    if (h->count == 0)
        return 0;
    double wanted = q * (double)h->count;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BINS; i++) {
        seen += h->bin[i];
        if (h->bin[i] > 0 && (double)seen >= wanted) {
            uint64_t edge = upper_edge(i);
            return edge < h->max ? edge : h->max;
        }
    }
    return h->max;
}
