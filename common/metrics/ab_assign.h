/* ab_assign.h - which variant a user gets: a hash of (seed, user), so every node and every front end agrees.
 *
 * The numbers are those of GrowthBook's SDKs (hash versions 1 and 2, spec 0.7.1) and of Optimizely's
 * (murmur3), so a shop's own code in any language gives the same answer. Values are hashed as bytes: of text
 * outside ASCII the bytes of UTF-8.
 */
#ifndef PENSTOCK_COMMON_METRICS_AB_ASSIGN_H
#define PENSTOCK_COMMON_METRICS_AB_ASSIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AB_VARIANTS_MAX 16u

enum ab_hash {
    AB_HASH_V2, /* fnv1a32(decimal(fnv1a32(seed value))) % 10000 / 10000 */
    AB_HASH_V1, /* fnv1a32(value seed) % 1000 / 1000: experiments side by side are not independent */
    AB_HASH_MURMUR3 /* floor(murmur3_x86_32(value seed, 1) / 2^32 * 10000) / 10000 */
};

struct ab_range {
    double from, to; /* [from, to) */
};

uint32_t ab_fnv1a32(const void *bytes, size_t n);
uint32_t ab_murmur3(const void *bytes, size_t n, uint32_t seed); /* x86, 32 bits */

/* The assignment number, in [0, 1). */
double ab_number(enum ab_hash hash, const char *seed, const char *value);
/* Ranges of k variants, k in 1 .. AB_VARIANTS_MAX. Coverage is clamped to [0, 1] (NaN is 0); weights
 * (weights_n of them) are equal ones unless weights_n == k and they sum to [.99, 1.01]. Range i begins at the
 * sum of the weights before it and is coverage * weight wide: raising the coverage moves nobody. */
void ab_ranges(size_t k, double coverage, const double *weights, size_t weights_n,
               struct ab_range *out);
/* The first range that holds n, or -1: not in the experiment. */
int ab_choose(double n, const struct ab_range *ranges, size_t k);
/* Mutual exclusion: experiments of one namespace take disjoint parts of it. */
double ab_namespace_number(const char *name, const char *value);
bool ab_namespace_holds(const char *name, struct ab_range part, const char *value);

#endif
