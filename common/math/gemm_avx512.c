/* gemm_avx512.c - C = A B in AVX-512: tiles of 14 x 32 in registers over a packed B.
 *
 * Why our own beside OpenBLAS (README.md has the figures): its Debian build chooses kernels by a table of
 * CPUs, and on a CPU younger than the table, or under OPENBLAS_CORETYPE, runs at half the machine's
 * rate; a layer's epilogue can meet rows that are still in the cache; and a row of C is the same bits
 * whatever the number of rows is, which is what makes W workers equal one.
 *
 * Shape of the loops, from outside in:
 *
 *     columns of C, as many as B's packed block holds
 *       k, in equal chunks of at most K_CHUNK: pack B (chunk, columns) into panels of 32 columns
 *         rows of C, ROW_BLOCK at a time: A's block stays in the L2 cache
 *           panels of B
 *             tiles of 14 rows: 28 accumulators, 2 vectors of B, 1 number of A: 31 of 32 registers
 *
 * A is never packed: a tile reads 14 streams of it (or, transposed, 14 neighbours a step) and broadcasts
 * each number from memory, which the load ports hide behind two FMAs. Strides that are multiples of
 * 1 KiB would make the streams collide in the cache; graph.c avoids them.
 *
 * Every element of C is one chain of FMAs over k in order (bias first), chunk by chunk. So it depends on k
 * and on nothing else: not on m, n, the tile's height or the place in the batch.
 *
 * Rows that don't fill a tile go through tiles of 8, 4, 2 and 1 rows; columns through a panel of 16 with a
 * mask.
 */
#if defined(__x86_64__) && !defined(PENSTOCK_REAL_DOUBLE)

#include <immintrin.h>

#include "common/math/gemm_avx512.h"

#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")

#define TILE_ROWS 14u
#define PANEL     32u /* columns */
#define K_CHUNK   512u
#define ROW_BLOCK 112u /* 8 tiles; 112 x 512 floats are 224 KiB of A */
#define PACKED    (512u * 512u)

/* B's packed block: panels of 32 columns, (k, 32) each; the last one (k, 16) if it has at most 16. 1 MiB a
 * thread that multiplies; not on the heap, since a step may not allocate. */
static _Thread_local float packed[PACKED] __attribute__((aligned(64)));

struct tile {
    size_t k;
    const float *a; /* its first row (or, transposed, column) at the chunk's first k */
    size_t lda;
    const float *b; /* panel */
    float *c;
    size_t ldc;
    __mmask16 last; /* columns of the panel's last vector that exist */
    bool add;       /* to what stands in C */
    const float *bias;
};

/* `rows` and `vectors` are constants in each caller, so that the accumulators are registers. */
static inline __attribute__((always_inline)) void
tile_begin(const struct tile *t, __m512 acc[TILE_ROWS][2], const size_t rows, const size_t vectors)
{
#pragma GCC unroll 14
    for (size_t i = 0; i < rows; i++) {
#pragma GCC unroll 2
        for (size_t v = 0; v < vectors; v++) {
            const __mmask16 mask = v + 1 == vectors ? t->last : (__mmask16)0xffff;
            acc[i][v] = _mm512_setzero_ps();
            if (t->add)
                acc[i][v] = _mm512_maskz_loadu_ps(mask, t->c + i * t->ldc + 16 * v);
            else if (t->bias)
                acc[i][v] = _mm512_maskz_loadu_ps(mask, t->bias + 16 * v);
        }
    }
}

static inline __attribute__((always_inline)) void
tile_end(const struct tile *t, __m512 acc[TILE_ROWS][2], const size_t rows, const size_t vectors)
{
#pragma GCC unroll 14
    for (size_t i = 0; i < rows; i++) {
#pragma GCC unroll 2
        for (size_t v = 0; v < vectors; v++) {
            const __mmask16 mask = v + 1 == vectors ? t->last : (__mmask16)0xffff;
            _mm512_mask_storeu_ps(t->c + i * t->ldc + 16 * v, mask, acc[i][v]);
        }
    }
}

static inline __attribute__((always_inline)) void tile_rows(const struct tile *t, const size_t rows,
                                                            const size_t vectors)
{
    __m512 acc[TILE_ROWS][2];
    tile_begin(t, acc, rows, vectors);
    /* Five pointers three rows apart: each row is one of them plus 0, 1 or 2 strides, which is an
     * addressing mode; 14 pointers would not fit the registers. */
    const size_t lda = t->lda;
    const float *a[5];
#pragma GCC unroll 5
    for (size_t i = 0; i < 5; i++)
        a[i] = 3 * i < rows ? t->a + 3 * i * lda : t->a;
    const float *b = t->b;
#pragma GCC unroll 4
    for (size_t k = 0; k < t->k; k++, b += 16 * vectors) {
        const __m512 b0 = _mm512_load_ps(b);
        const __m512 b1 = vectors > 1 ? _mm512_load_ps(b + 16) : b0;
#pragma GCC unroll 14
        for (size_t i = 0; i < rows; i++) {
            const __m512 x = _mm512_set1_ps(a[i / 3][i % 3 * lda]);
            acc[i][0] = _mm512_fmadd_ps(x, b0, acc[i][0]);
            if (vectors > 1)
                acc[i][1] = _mm512_fmadd_ps(x, b1, acc[i][1]);
        }
        a[0]++, a[1]++, a[2]++, a[3]++, a[4]++;
    }
    tile_end(t, acc, rows, vectors);
}

static inline __attribute__((always_inline)) void
tile_columns(const struct tile *t, const size_t rows, const size_t vectors)
{
    __m512 acc[TILE_ROWS][2];
    tile_begin(t, acc, rows, vectors);
    const float *a = t->a, *b = t->b;
    for (size_t k = 0; k < t->k; k++, a += t->lda, b += 16 * vectors) {
        const __m512 b0 = _mm512_load_ps(b);
        const __m512 b1 = vectors > 1 ? _mm512_load_ps(b + 16) : b0;
#pragma GCC unroll 14
        for (size_t i = 0; i < rows; i++) {
            const __m512 x = _mm512_set1_ps(a[i]);
            acc[i][0] = _mm512_fmadd_ps(x, b0, acc[i][0]);
            if (vectors > 1)
                acc[i][1] = _mm512_fmadd_ps(x, b1, acc[i][1]);
        }
    }
    tile_end(t, acc, rows, vectors);
}

/* The tiles that exist: 14, 8, 4, 2, 1 rows; 1 or 2 vectors; A as rows or as columns. */
#define TILE(kind, rows)                                                                           \
    static void kind##_##rows##_1(const struct tile *t)                                            \
    {                                                                                              \
        kind(t, rows, 1);                                                                          \
    }                                                                                              \
    static void kind##_##rows##_2(const struct tile *t)                                            \
    {                                                                                              \
        kind(t, rows, 2);                                                                          \
    }

TILE(tile_rows, 14)
TILE(tile_rows, 8)
TILE(tile_rows, 4)
TILE(tile_rows, 2)
TILE(tile_rows, 1)
TILE(tile_columns, 14)
TILE(tile_columns, 8)
TILE(tile_columns, 4)
TILE(tile_columns, 2)
TILE(tile_columns, 1)

static const struct {
    size_t rows;
    void (*run[2][2])(const struct tile *t); /* [A transposed][vectors - 1] */
} tiles[] = {
    {14, {{tile_rows_14_1, tile_rows_14_2}, {tile_columns_14_1, tile_columns_14_2}}},
    {8, {{tile_rows_8_1, tile_rows_8_2}, {tile_columns_8_1, tile_columns_8_2}}},
    {4, {{tile_rows_4_1, tile_rows_4_2}, {tile_columns_4_1, tile_columns_4_2}}},
    {2, {{tile_rows_2_1, tile_rows_2_2}, {tile_columns_2_1, tile_columns_2_2}}},
    {1, {{tile_rows_1_1, tile_rows_1_2}, {tile_columns_1_1, tile_columns_1_2}}},
};

static inline size_t at_most(size_t x, size_t limit)
{
    return x < limit ? x : limit;
}

static inline __mmask16 first(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

/* -- packing B -- */

/* (k, columns) as it stands: copy rows. */
static float *pack_rows(float *to, const float *b, size_t ldb, size_t k, size_t columns)
{
    const size_t vectors = columns > 16 ? 2 : 1;
    const __mmask16 last = first(columns - 16 * (vectors - 1));
    for (size_t i = 0; i < k; i++, b += ldb, to += 16 * vectors) {
        if (vectors > 1)
            _mm512_store_ps(to, _mm512_loadu_ps(b));
        _mm512_store_ps(to + 16 * (vectors - 1),
                        _mm512_maskz_loadu_ps(last, b + 16 * (vectors - 1)));
    }
    return to;
}

/* 16 rows of 16 floats, transposed in registers in four rounds of interleaving. */
static inline __attribute__((always_inline)) void transpose_16(__m512 r[16])
{
    __m512 s[16];
#pragma GCC unroll 8
    for (size_t i = 0; i < 16; i += 2) {
        s[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        s[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
        for (size_t j = 0; j < 2; j++) {
            const __m512d x = _mm512_castps_pd(s[i + j]), y = _mm512_castps_pd(s[i + j + 2]);
            r[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
            r[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
        }
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        s[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        s[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        s[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        s[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_f32x4(s[i], s[i + 8], 0x88);
        r[i + 4] = _mm512_shuffle_f32x4(s[i + 4], s[i + 12], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(s[i], s[i + 8], 0xdd);
        r[i + 12] = _mm512_shuffle_f32x4(s[i + 4], s[i + 12], 0xdd);
    }
}

/* (columns, k) as it stands: blocks of 16 x 16, transposed. */
static float *pack_columns(float *to, const float *b, size_t ldb, size_t k, size_t columns)
{
    const size_t vectors = columns > 16 ? 2 : 1, step = 16 * vectors;
    for (size_t v = 0; v < vectors; v++) {
        const size_t rows = at_most(columns - 16 * v, 16);
        for (size_t i = 0; i < k; i += 16) {
            const size_t left = at_most(k - i, 16);
            __m512 r[16];
            for (size_t j = 0; j < 16; j++)
                r[j] = j < rows ? _mm512_maskz_loadu_ps(first(left), b + (16 * v + j) * ldb + i)
                                : _mm512_setzero_ps();
            transpose_16(r);
            for (size_t j = 0; j < left; j++)
                _mm512_store_ps(to + (i + j) * step + 16 * v, r[j]);
        }
    }
    return to + k * step;
}

/* -- the loops -- */

struct block { /* one packed block of B: columns [j, j + n) of C, [k0, k0 + k) of the sum */
    size_t j, n, k0, k;
    bool ta, tb;
};

static void pack(const struct gemm *p, const struct block *b)
{
    float *to = packed;
    for (size_t j = 0; j < b->n; j += PANEL) {
        const size_t columns = at_most(b->n - j, PANEL);
        if (b->tb)
            to = pack_columns(to, p->b + (b->j + j) * p->ldb + b->k0, p->ldb, b->k, columns);
        else
            to = pack_rows(to, p->b + b->k0 * p->ldb + b->j + j, p->ldb, b->k, columns);
    }
}

static void multiply_rows(const struct gemm *p, const struct block *b, size_t from, size_t to)
{
    const float *panel = packed;
    for (size_t j = 0; j < b->n; j += PANEL) {
        const size_t columns = at_most(b->n - j, PANEL), vectors = columns > 16 ? 2 : 1;
        struct tile t = {
            .k = b->k,
            .lda = p->lda,
            .b = panel,
            .ldc = p->ldc,
            .last = first(columns - 16 * (vectors - 1)),
            .add = p->add || b->k0 > 0,
            .bias = p->bias ? p->bias + b->j + j : NULL,
        };
        size_t kind = 0;
        for (size_t i = from; i < to; i += tiles[kind].rows) {
            while (tiles[kind].rows > to - i)
                kind++;
            t.a = b->ta ? p->a + b->k0 * p->lda + i : p->a + i * p->lda + b->k0;
            t.c = p->c + i * p->ldc + b->j + j;
            tiles[kind].run[b->ta][vectors - 1](&t);
        }
        panel += b->k * 16 * vectors;
    }
}

void gemm_avx512(const struct gemm *p, bool a_transposed, bool b_transposed)
{
    const size_t chunks = p->k <= K_CHUNK ? 1 : (p->k + K_CHUNK - 1) / K_CHUNK;
    const size_t chunk = p->k / chunks + (p->k % chunks > 0);
    const size_t room = chunk ? PACKED / chunk / PANEL * PANEL : p->n;
    for (size_t j = 0; j < p->n; j += room) {
        struct block b = {
            .j = j, .n = at_most(p->n - j, room), .ta = a_transposed, .tb = b_transposed};
        size_t k0 = 0;
        do { /* once even if k is 0: C must be written */
            b.k0 = k0;
            b.k = at_most(p->k - k0, chunk);
            pack(p, &b);
            const bool whole = j + b.n == p->n && k0 + b.k == p->k;
            for (size_t i = 0; i < p->m; i += ROW_BLOCK) {
                const size_t to = i + at_most(p->m - i, ROW_BLOCK);
                multiply_rows(p, &b, i, to);
                if (whole && p->done)
                    p->done(p->ctx, i, to);
            }
            k0 += chunk;
        } while (k0 < p->k);
    }
}

#else
struct gemm_avx512_empty; /* a file is never empty */
#endif
