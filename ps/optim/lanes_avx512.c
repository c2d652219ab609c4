/* lanes_avx512.c - lanes.inc with 16 floats in one AVX-512 register. */
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "ps/optim/kernels.h"

#pragma GCC target("avx512f")

#define LANES_TABLE optim_avx512

typedef __m512 lanes;

/* The first n floats, 0 behind them; nothing beyond n is read. */
static inline lanes load(const float *p, uint32_t n)
{
    return n >= 16 ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}

static inline void store(float *p, uint32_t n, lanes x)
{
    if (n >= 16)
        _mm512_storeu_ps(p, x);
    else
        _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), x);
}

static inline lanes all(float x)
{
    return _mm512_set1_ps(x);
}

static inline lanes add(lanes a, lanes b)
{
    return _mm512_add_ps(a, b);
}

static inline lanes sub(lanes a, lanes b)
{
    return _mm512_sub_ps(a, b);
}

static inline lanes mul(lanes a, lanes b)
{
    return _mm512_mul_ps(a, b);
}

static inline lanes divide(lanes a, lanes b)
{
    return _mm512_div_ps(a, b);
}

static inline lanes root(lanes a)
{
    return _mm512_sqrt_ps(a);
}

/* a > b ? a : b; a < b ? a : b. */
static inline lanes larger(lanes a, lanes b)
{
    return _mm512_max_ps(a, b);
}

static inline lanes smaller(lanes a, lanes b)
{
    return _mm512_min_ps(a, b);
}

static inline bool same_bits(lanes a, lanes b)
{
    return _mm512_cmpneq_epi32_mask(_mm512_castps_si512(a), _mm512_castps_si512(b)) == 0;
}

/* Halves added to halves: 8, 4, 2, 1. */
static inline float fold(lanes a)
{
    float p[16];
    _mm512_storeu_ps(p, a);
    __m256 h = _mm256_add_ps(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
}

#include "ps/optim/lanes.inc"

#endif
