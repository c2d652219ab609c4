/* vec_avx512.c - vec_simd.inc in vectors of 16 floats: AVX-512 F, BW, DQ, VL. Tails are masked. */
#if defined(__x86_64__) && !defined(PENSTOCK_REAL_DOUBLE)

#include <immintrin.h>
#include <math.h>

#include "common/math/vec_kernels.h"

#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")

#define VW        16u
#define VF        __m512
#define VI        __m512i
#define VEC_TABLE vec_avx512

static inline __mmask16 first(size_t k)
{
    return (__mmask16)((1u << k) - 1);
}

static inline VF v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline VF v_load_first(const float *p, size_t k)
{
    return _mm512_maskz_loadu_ps(first(k), p);
}

static inline void v_store(float *p, VF v)
{
    _mm512_storeu_ps(p, v);
}

static inline void v_store_first(float *p, size_t k, VF v)
{
    _mm512_mask_storeu_ps(p, first(k), v);
}

static inline VF v_first(VF v, size_t k) /* lanes from k on become 0 */
{
    return _mm512_maskz_mov_ps(first(k), v);
}

static inline VF v_all(float x)
{
    return _mm512_set1_ps(x);
}

static inline VF v_fma(VF a, VF b, VF c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline VF v_max(VF a, VF b) /* b if either is NaN */
{
    return _mm512_max_ps(a, b);
}

static inline VF v_min(VF a, VF b)
{
    return _mm512_min_ps(a, b);
}

static inline VF v_abs(VF a)
{
    return _mm512_abs_ps(a);
}

static inline VF v_if_above(VF x, VF limit, VF yes, VF no) /* x > limit ? yes : no */
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, limit, _CMP_GT_OQ), no, yes);
}

static inline VF v_round(VF x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline VF v_times_power(VF x, VF n) /* x 2^n, n whole; 0 and inf beyond the range */
{
    return _mm512_scalef_ps(x, n);
}

static inline float v_total(VF v)
{
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static inline VI i_all(uint32_t x)
{
    return _mm512_set1_epi32((int)x);
}

static inline VI i_columns(void)
{
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

static inline VI i_add(VI a, VI b)
{
    return _mm512_add_epi32(a, b);
}

static inline VI i_mul(VI a, VI b)
{
    return _mm512_mullo_epi32(a, b);
}

static inline VI i_xor(VI a, VI b)
{
    return _mm512_xor_si512(a, b);
}

#define i_shift_right(a, bits) _mm512_srli_epi32(a, bits)

static inline VF v_unless_below(VI h, VI limit, VF v) /* unsigned h < limit ? 0 : v */
{
    return _mm512_maskz_mov_ps(_mm512_cmpge_epu32_mask(h, limit), v);
}

#include "common/math/vec_simd.inc"

#else
struct vec_avx512_empty; /* a file is never empty */
#endif
