/* vec_avx2.c - vec_simd.inc in vectors of 8 floats: AVX2 and FMA. Tails go through vmaskmov. */
#if defined(__x86_64__) && !defined(PENSTOCK_REAL_DOUBLE)

#include <immintrin.h>
#include <math.h>

#include "common/math/vec_kernels.h"

#pragma GCC target("avx2,fma")

#define VW        8u
#define VF        __m256
#define VI        __m256i
#define VEC_TABLE vec_avx2

static inline __m256i first(size_t k)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)k), lanes);
}

static inline VF v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline VF v_load_first(const float *p, size_t k)
{
    return _mm256_maskload_ps(p, first(k));
}

static inline void v_store(float *p, VF v)
{
    _mm256_storeu_ps(p, v);
}

static inline void v_store_first(float *p, size_t k, VF v)
{
    _mm256_maskstore_ps(p, first(k), v);
}

static inline VF v_first(VF v, size_t k) /* lanes from k on become 0 */
{
    return _mm256_and_ps(_mm256_castsi256_ps(first(k)), v);
}

static inline VF v_all(float x)
{
    return _mm256_set1_ps(x);
}

static inline VF v_fma(VF a, VF b, VF c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline VF v_max(VF a, VF b) /* b if either is NaN */
{
    return _mm256_max_ps(a, b);
}

static inline VF v_min(VF a, VF b)
{
    return _mm256_min_ps(a, b);
}

static inline VF v_abs(VF a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}

static inline VF v_if_above(VF x, VF limit, VF yes, VF no) /* x > limit ? yes : no */
{
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(x, limit, _CMP_GT_OQ));
}

static inline VF v_round(VF x)
{
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* x 2^n, n whole; in two steps, since 2^n itself leaves the range before x 2^n does. */
static inline VF v_times_power(VF x, VF n)
{
    const __m256i whole = _mm256_cvtps_epi32(n);
    const __m256i low = _mm256_srai_epi32(whole, 1);
    const __m256i high = _mm256_sub_epi32(whole, low);
    const __m256i bias = _mm256_set1_epi32(127);
    const VF a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(low, bias), 23));
    const VF b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(high, bias), 23));
    return x * a * b;
}

static inline float v_total(VF v)
{
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static inline VI i_all(uint32_t x)
{
    return _mm256_set1_epi32((int)x);
}

static inline VI i_columns(void)
{
    return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
}

static inline VI i_add(VI a, VI b)
{
    return _mm256_add_epi32(a, b);
}

static inline VI i_mul(VI a, VI b)
{
    return _mm256_mullo_epi32(a, b);
}

static inline VI i_xor(VI a, VI b)
{
    return _mm256_xor_si256(a, b);
}

#define i_shift_right(a, bits) _mm256_srli_epi32(a, bits)

static inline VF v_unless_below(VI h, VI limit, VF v) /* unsigned h < limit ? 0 : v */
{
    const VI keep = _mm256_cmpeq_epi32(_mm256_max_epu32(h, limit), h);
    return _mm256_and_ps(_mm256_castsi256_ps(keep), v);
}

#include "common/math/vec_simd.inc"

#else
struct vec_avx2_empty; /* a file is never empty */
#endif
