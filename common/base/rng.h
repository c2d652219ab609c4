/* rng.h - counter-based random numbers: a function of (key, counter), no hidden state.
 *
 * Philox 4x32-10 (Salmon et al. 2011). Initial values, dropout masks, shuffles and the generator are
 * functions of seeds and positions, so any process, at any time, makes the same number.
 */
#ifndef PENSTOCK_COMMON_BASE_RNG_H
#define PENSTOCK_COMMON_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* 4 words for the 128-bit counter (a, b) under the 64-bit key. */
void rng_philox(uint64_t key, uint64_t a, uint64_t b, uint32_t out[4]);
uint64_t rng_u64(uint64_t key, uint64_t a, uint64_t b);
double rng_unit(uint64_t key, uint64_t a, uint64_t b); /* [0, 1), 53 bits */
/* n floats of N(0, 1) for counters (a, 0), (a, 1) ...: value j depends on (key, a, j) only. */
void rng_normal_fill(uint64_t key, uint64_t a, float *out, size_t n);
/* n floats uniform in [-1, 1): value j depends on (key, a, j) only. */
void rng_uniform_fill(uint64_t key, uint64_t a, float *out, size_t n);
/* Mix of several values into a key: order matters, every bit counts. */
uint64_t rng_mix(uint64_t a, uint64_t b);
/* A random u64 from the operating system: job ids, boots. Aborts if there is none. */
uint64_t rng_os_u64(void);

/* A stream for code that just wants the next one (generator, sim scheduler): key + counter. */
struct rng {
    uint64_t key;
    uint64_t n;
};
uint64_t rng_next(struct rng *r);
double rng_next_unit(struct rng *r);
double rng_next_normal(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t bound); /* [0, bound), bound > 0, unbiased to 2^-64 */

/* The permutation of [0, n) keyed by `key`, at i: an 8-round Feistel walk, O(1) memory and time.
 * i < n. perm is a bijection for every key and n >= 1. */
uint64_t rng_permute(uint64_t key, uint64_t n, uint64_t i);

#endif
