/* rng.c - random numbers as a function of (key, counter).
 *
 * Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011). There
 * is no state to save in a cut and none to share between threads: a row's initial value, a dropout mask, the
 * place of a record in a shuffled epoch are each computed where they are needed, the same on any process.
 *
 * Normal numbers are Box-Muller with a logarithm and a sine written out here: libm's differ in the last bit
 * between its versions and between CPUs with and without FMA, and then two shards would make two different
 * "same" rows. Only +, -, *, / and sqrt are used, which IEEE 754 fixes to the bit; this file must be
 * compiled without contraction to FMA (-ffp-contract=off, or a CPU baseline without it).
 *
 * rng_permute is a Feistel network over the smallest even number of bits that holds n, walked until the
 * value falls below n again: a bijection for any round function, fewer than 4 steps on average.
 */
#include "common/base/rng.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u
#define PHILOX_W1 0xBB67AE85u

void rng_philox(uint64_t key, uint64_t a, uint64_t b, uint32_t out[4])
{
    uint32_t c0 = (uint32_t)a, c1 = (uint32_t)(a >> 32);
    uint32_t c2 = (uint32_t)b, c3 = (uint32_t)(b >> 32);
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)PHILOX_M0 * c0;
        uint64_t p1 = (uint64_t)PHILOX_M1 * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

uint64_t rng_u64(uint64_t key, uint64_t a, uint64_t b)
{
    uint32_t w[4];
    rng_philox(key, a, b, w);
    return (uint64_t)w[1] << 32 | w[0];
}

static double unit_of(uint64_t v)
{
    return (double)(v >> 11) * 0x1p-53;
}

double rng_unit(uint64_t key, uint64_t a, uint64_t b)
{
    return unit_of(rng_u64(key, a, b));
}

/* ln of (w + 1/2) / 2^32, to about 1e-11: ln m = 2 atanh((m-1)/(m+1)) for m in [sqrt 1/2, sqrt 2). */
static double log_of_word(uint32_t w)
{
    int e;
    double m = frexp((double)w + 0.5, &e);
    if (m < 0.70710678118654752) {
        m *= 2;
        e--;
    }
    double s = (m - 1) / (m + 1), q = s * s;
    double series = 1.0 / 13;
    series = series * q + 1.0 / 11;
    series = series * q + 1.0 / 9;
    series = series * q + 1.0 / 7;
    series = series * q + 1.0 / 5;
    series = series * q + 1.0 / 3;
    series = series * q + 1.0;
    return 2 * s * series + (double)(e - 32) * 0.69314718055994531;
}

/* Sine and cosine of 2 pi w / 2^32: the nearest quarter turn, and a Taylor series for the rest. */
static void turn_of_word(uint32_t w, double *out_sin, double *out_cos)
{
    uint32_t quarter = (w + 0x20000000u) >> 30;
    int32_t rest = (int32_t)(w - (quarter << 30)); /* in +-2^29: an eighth of a turn */
    double x = (double)rest * (6.28318530717958648 * 0x1p-32), q = x * x;
    double s = x * (1 + q * (-1.0 / 6 + q * (1.0 / 120 + q * (-1.0 / 5040 + q * (1.0 / 362880)))));
    double c =
        1 +
        q * (-0.5 + q * (1.0 / 24 + q * (-1.0 / 720 + q * (1.0 / 40320 - q * (1.0 / 3628800)))));
    switch (quarter & 3u) {
    case 0: *out_sin = s, *out_cos = c; break;
    case 1: *out_sin = c, *out_cos = -s; break;
    case 2: *out_sin = -s, *out_cos = -c; break;
    default: *out_sin = -c, *out_cos = s; break;
    }
}

static void normal_pair(uint32_t radius, uint32_t angle, double out[2])
{
    double r = sqrt(-2 * log_of_word(radius));
    double s, c;
    turn_of_word(angle, &s, &c);
    out[0] = r * c;
    out[1] = r * s;
}

void rng_normal_fill(uint64_t key, uint64_t a, float *out, size_t n)
{
    for (size_t at = 0; at < n; at += 4) {
        uint32_t w[4];
        double four[4];
        rng_philox(key, a, at / 4, w);
        normal_pair(w[0], w[1], four);
        normal_pair(w[2], w[3], four + 2);
        for (size_t j = 0; j < 4 && at + j < n; j++)
            out[at + j] = (float)four[j];
    }
}

void rng_uniform_fill(uint64_t key, uint64_t a, float *out, size_t n)
{
    for (size_t at = 0; at < n; at += 4) {
        uint32_t w[4];
        rng_philox(key, a, at / 4, w);
        for (size_t j = 0; j < 4 && at + j < n;
             j++) /* 24 bits, so that the float is exact and < 1 */
            out[at + j] = (float)(int32_t)(w[j] >> 8) * 0x1p-23f - 1.0f;
    }
}

/* The finalizer of SplitMix64 (Stafford's variant 13): a bijection. */
static uint64_t finalize(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

uint64_t rng_mix(uint64_t a, uint64_t b)
{
    return finalize(finalize(a + 0x9E3779B97F4A7C15u) ^ b);
}

uint64_t rng_os_u64(void)
{
    uint64_t v = 0;
    char *at = (char *)&v;
    size_t left = sizeof v;
    while (left > 0) {
        ssize_t n = getrandom(at, left, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            perror("getrandom");
            abort();
        }
        at += n;
        left -= (size_t)n;
    }
    return v;
}

/* A stream's counters have a b of their own, so that it never meets rng_u64 under the same key. */
#define STREAM_B 0x73747265616D0001u

uint64_t rng_next(struct rng *r)
{
    return rng_u64(r->key, r->n++, STREAM_B);
}

double rng_next_unit(struct rng *r)
{
    return unit_of(rng_next(r));
}

double rng_next_normal(struct rng *r)
{
    uint32_t w[4];
    double pair[2];
    rng_philox(r->key, r->n++, STREAM_B, w);
    normal_pair(w[0], w[1], pair);
    return pair[0];
}

uint64_t rng_below(struct rng *r, uint64_t bound)
{
    assert(bound > 0);
    return (uint64_t)((unsigned __int128)rng_next(r) * bound >> 64);
}

/* Measured, README: below 8 some orders of a few items are plainly more frequent than others. */
enum { FEISTEL_ROUNDS = 8 };

static uint64_t feistel(uint64_t key, unsigned half, uint64_t x)
{
    uint64_t mask = ((uint64_t)1 << half) - 1;
    uint64_t left = x >> half, right = x & mask;
    for (unsigned round = 0; round < FEISTEL_ROUNDS; round++) {
        uint64_t f = finalize((key + round * 0x9E3779B97F4A7C15u) ^ right);
        uint64_t next = left ^ (f >> 32 & mask);
        left = right;
        right = next;
    }
    return left << half | right;
}

uint64_t rng_permute(uint64_t key, uint64_t n, uint64_t i)
{
    assert(i < n);
    if (n == 1)
        return 0;
    unsigned bits = 64u - (unsigned)__builtin_clzll(n - 1);
    unsigned half = (bits + 1) / 2;
    uint64_t mixed = finalize(key ^ 0x5065726D75746521u);
    do
        i = feistel(mixed, half, i);
    while (i >= n);
    return i;
}
