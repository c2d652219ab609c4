/* lanes_avx2.c - lanes.inc with 16 floats in two AVX2 registers. */
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "ps/optim/kernels.h"

#pragma GCC target("avx2")

#define LANES_TABLE optim_avx2

typedef struct {
    __m256 lo, hi;
} lanes;

static inline __m256i first(uint32_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}

/* The first n floats, 0 behind them; nothing beyond n is read. */
static inline lanes load(const float *p, uint32_t n)
{
    if (n >= 16)
        return (lanes){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
    if (n <= 8)
        return (lanes){_mm256_maskload_ps(p, first(n)), _mm256_setzero_ps()};
    return (lanes){_mm256_loadu_ps(p), _mm256_maskload_ps(p + 8, first(n - 8))};
}

static inline void store(float *p, uint32_t n, lanes x)
{
    if (n <= 8) {
        _mm256_maskstore_ps(p, first(n), x.lo);
        return;
    }
    _mm256_storeu_ps(p, x.lo);
    if (n >= 16)
        _mm256_storeu_ps(p + 8, x.hi);
    else
        _mm256_maskstore_ps(p + 8, first(n - 8), x.hi);
}

static inline lanes all(float x)
{
    return (lanes){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

static inline lanes add(lanes a, lanes b)
{
    return (lanes){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}

static inline lanes sub(lanes a, lanes b)
{
    return (lanes){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}

static inline lanes mul(lanes a, lanes b)
{
    return (lanes){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}

static inline lanes divide(lanes a, lanes b)
{
    return (lanes){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}

static inline lanes root(lanes a)
{
    return (lanes){_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)};
}

/* a > b ? a : b; a < b ? a : b. */
static inline lanes larger(lanes a, lanes b)
{
    return (lanes){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}

static inline lanes smaller(lanes a, lanes b)
{
    return (lanes){_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}

static inline bool same_bits(lanes a, lanes b)
{
    const __m256i lo = _mm256_xor_si256(_mm256_castps_si256(a.lo), _mm256_castps_si256(b.lo));
    const __m256i hi = _mm256_xor_si256(_mm256_castps_si256(a.hi), _mm256_castps_si256(b.hi));
    const __m256i any = _mm256_or_si256(lo, hi);
    return _mm256_testz_si256(any, any) != 0;
}

/* Halves added to halves: 8, 4, 2, 1. */
static inline float fold(lanes a)
{
    __m256 h = _mm256_add_ps(a.lo, a.hi);
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
}

#include "ps/optim/lanes.inc"

#endif
