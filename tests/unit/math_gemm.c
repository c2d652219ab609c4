/* math_gemm.c - both paths of the product against triple loops in double, over shapes that leave every
 * kind of rest; bias, add, strides, guards, and the promise about rows.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/math/gemm.h"

static float *normals(uint64_t key, size_t n)
{
    float *x = mem_array(n + 1, sizeof(*x));
    rng_normal_fill(key, 0, x, n);
    return x;
}

static void run(const struct gemm *p, bool ta, bool tb)
{
    if (ta)
        gemm_tn(p);
    else if (tb)
        gemm_nt(p);
    else
        gemm_nn(p);
}

enum { PLAIN_C, WITH_ADD, WITH_BIAS };

/* Every element of C, and the columns between n and ldc, which must stay. */
static void check(size_t m, size_t n, size_t k, bool ta, bool tb, int extra)
{
    struct gemm p = {
        .m = m,
        .n = n,
        .k = k,
        .lda = (ta ? m : k) + 3,
        .ldb = (tb ? k : n) + 1,
        .ldc = n + 2,
        .add = extra == WITH_ADD,
    };
    float *a = normals(1, (ta ? k : m) * p.lda), *b = normals(2, (tb ? n : k) * p.ldb);
    float *bias = normals(3, n), *got = normals(4, m * p.ldc), *want = normals(4, m * p.ldc);
    p.a = a;
    p.b = b;
    p.bias = extra == WITH_BIAS ? bias : NULL;
    p.c = want;
    gemm_plain(&p, ta, tb);
    p.c = got;
    run(&p, ta, tb);
    for (size_t i = 0; i < m * p.ldc; i++) {
        const double limit = i % p.ldc < n ? 2e-6 * sqrt((double)k + 1) * 4 : 0;
        if (!(fabs((double)got[i] - (double)want[i]) <= limit))
            fail_msg("%c%c m %zu n %zu k %zu extra %d [%zu]: %.9g, plain %.9g", ta ? 't' : 'n',
                     tb ? 't' : 'n', m, n, k, extra, i, (double)got[i], (double)want[i]);
    }
    free(a);
    free(b);
    free(bias);
    free(got);
    free(want);
}

static void check_all(size_t m, size_t n, size_t k)
{
    for (int extra = PLAIN_C; extra <= WITH_BIAS; extra++) {
        check(m, n, k, false, false, extra);
        check(m, n, k, false, true, extra);
        check(m, n, k, true, false, extra);
    }
}

static void shapes(void)
{
    for (size_t m = 1; m <= 30; m++)
        check_all(m, 5 + m % 3 * 16, 7);
    for (size_t n = 1; n <= 70; n++)
        check_all(9, n, 5);
    for (size_t k = 0; k <= 40; k++)
        check_all(17, 33, k);
    check_all(130, 100, 400);
    check_all(23, 40, 513);  /* two chunks of k */
    check_all(40, 23, 1300); /* three */
    check_all(20, 600, 500); /* two blocks of columns */
    check_all(20, 1100, 600);
}

static void test_own(void **state)
{
    (void)state;
    gemm_init();
    if (!gemm_force(true))
        print_message("    no AVX-512 here: OpenBLAS twice\n");
    shapes();
}

static void test_blas(void **state)
{
    (void)state;
    gemm_init();
    assert_false(gemm_force(false));
    shapes();
    (void)gemm_force(true);
}

struct seen {
    size_t next, rows;
    const struct gemm *p;
    bool doubled;
};

static void on_done(void *ctx, size_t from, size_t to)
{
    struct seen *s = ctx;
    assert_int_equal(from, s->next);
    assert_true(to > from && to <= s->rows);
    s->next = to;
    for (size_t i = from; i < to; i++)
        for (size_t j = 0; j < s->p->n; j++)
            s->p->c[i * s->p->ldc + j] *= 2;
}

/* `done` sees each row once, finished, in order, on both paths, also when k or n take several blocks. */
static void test_done(void **state)
{
    (void)state;
    gemm_init();
    const size_t sizes[][3] = {{5, 3, 4}, {300, 40, 30}, {300, 40, 1200}, {300, 1100, 600}};
    for (size_t i = 0; i < 4; i++) {
        for (int own = 0; own < 2; own++) {
            (void)gemm_force(own);
            const size_t m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
            float *a = normals(1, m * k), *b = normals(2, n * k);
            float *c = normals(3, m * n), *d = normals(3, m * n);
            struct gemm p = {
                .m = m, .n = n, .k = k, .a = a, .lda = k, .b = b, .ldb = k, .c = c, .ldc = n};
            struct seen seen = {.rows = m, .p = &p};
            gemm_plain(
                &(struct gemm){
                    .m = m, .n = n, .k = k, .a = a, .lda = k, .b = b, .ldb = k, .c = d, .ldc = n},
                false, true);
            p.done = on_done;
            p.ctx = &seen;
            gemm_nt(&p);
            assert_int_equal(seen.next, m);
            for (size_t j = 0; j < m * n; j++)
                assert_true(fabs((double)c[j] - 2 * (double)d[j]) < 1e-3);
            free(a);
            free(b);
            free(c);
            free(d);
        }
    }
}

/* A row of C does not depend on the other rows, bit for bit. */
static void test_rows_are_their_own(void **state)
{
    (void)state;
    gemm_init();
    if (!gemm_force(true))
        skip();
    const size_t m = 200, n = 70, k = 700;
    float *a = normals(1, m * k), *b = normals(2, n * k), *whole = normals(3, m * n);
    float *part = normals(4, m * n);
    struct gemm p = {
        .m = m, .n = n, .k = k, .a = a, .lda = k, .b = b, .ldb = k, .c = whole, .ldc = n};
    gemm_nt(&p);
    p.c = part;
    for (size_t from = 0; from + 8 <= m; from += 13) {
        p.m = 8 + from % 50 < m - from ? 8 + from % 50 : m - from;
        p.a = a + from * k;
        gemm_nt(&p);
        assert_memory_equal(part, whole + from * n, p.m * n * sizeof(float));
    }
    free(a);
    free(b);
    free(whole);
    free(part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own),
        cmocka_unit_test(test_blas),
        cmocka_unit_test(test_done),
        cmocka_unit_test(test_rows_are_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
