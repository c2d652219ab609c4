/* auc.c - see auc.h: a histogram that adds, and the exact value to hold it against.
 *
 * The monotone image of a float: flip all bits of a negative one, set the sign bit of the others; then
 * unsigned order is the order of the numbers. Its upper 20 bits (sign, exponent, 11 bits of the fraction)
 * are the bin: neighbours differ by 1 part in 2048. -0 counts as 0. All NaN share the outermost bins, so a
 * broken model scores .5 and not 1.
 *
 * Sums are whole numbers of 128 bits: pairs of a billion records still count exactly.
 */
#include "common/metrics/auc.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define AUC_SHIFT 12u /* 32 - log2(AUC_BINS) */

_Static_assert(AUC_BINS == 1u << (32 - AUC_SHIFT), "bins are the upper bits of the image");

static uint32_t monotone(float x)
{
    x += 0.0f; /* -0 becomes 0 */
    uint32_t u;
    memcpy(&u, &x, sizeof(u));
    return u & UINT32_C(0x80000000) ? ~u : u | UINT32_C(0x80000000);
}

void auc_init(struct auc *a)
{
    a->bins = mem_array(2 * (size_t)AUC_BINS, sizeof(*a->bins));
}

void auc_release(struct auc *a)
{
    free(a->bins);
    a->bins = NULL;
}

void auc_reset(struct auc *a)
{
    memset(a->bins, 0, 2 * (size_t)AUC_BINS * sizeof(*a->bins));
}

void auc_add(struct auc *a, const float *logits, const float *labels, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (labels[i] < 0)
            continue;
        const size_t side = labels[i] > 0.5f ? AUC_BINS : 0;
        a->bins[side + (monotone(logits[i]) >> AUC_SHIFT)]++;
    }
}

bool auc_correct(struct auc *a, float logit)
{
    const size_t bin = monotone(logit) >> AUC_SHIFT;
    if (a->bins[bin] == 0)
        return false;
    a->bins[bin]--;
    a->bins[AUC_BINS + bin]++;
    return true;
}

void auc_merge(struct auc *into, const struct auc *from)
{
    for (size_t i = 0; i < 2 * (size_t)AUC_BINS; i++)
        into->bins[i] += from->bins[i];
}

struct auc_result auc_value(const struct auc *a)
{
    const uint64_t *negative = a->bins, *positive = a->bins + AUC_BINS;
    struct auc_result r = {.auc = 0.5};
    unsigned __int128 twice = 0, tied = 0; /* 2 * correct pairs; pairs inside a bin */
    for (size_t b = AUC_BINS; b-- > 0;) {
        const unsigned __int128 n = negative[b];
        twice += n * (2 * (unsigned __int128)r.positives + positive[b]);
        tied += n * positive[b];
        r.positives += positive[b];
        r.negatives += negative[b];
    }
    if (r.positives && r.negatives) {
        const double pairs = (double)r.positives * (double)r.negatives;
        r.auc = (double)twice / (2 * pairs);
        r.bound = (double)tied / (2 * pairs);
    }
    return r;
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

double auc_exact(const float *logits, const float *labels, size_t n)
{
    /* image << 1 | class: equal scores stand together. */
    uint64_t *keys = mem_array(n + 1, sizeof(*keys));
    for (size_t i = 0; i < n; i++)
        keys[i] = (uint64_t)monotone(logits[i]) << 1 | (labels[i] > 0.5f ? 1 : 0);
    qsort(keys, n, sizeof(*keys), compare);
    unsigned __int128 twice = 0;
    uint64_t below = 0, positives = 0; /* negatives with a lower score; all positives */
    for (size_t from = 0; from < n;) {
        uint64_t p = 0, q = 0;
        size_t i = from;
        for (; i < n && keys[i] >> 1 == keys[from] >> 1; i++) {
            p += keys[i] & 1;
            q += !(keys[i] & 1);
        }
        twice += (unsigned __int128)p * (2 * (unsigned __int128)below + q);
        below += q;
        positives += p;
        from = i;
    }
    free(keys);
    if (!positives || !below)
        return 0.5;
    return (double)twice / (2 * (double)positives * (double)below);
}
