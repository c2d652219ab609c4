/* wire_frame.c - the pool of frames: sizes, alignment, bounds, reuse, and a second thread that gives back. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/wire/frame.h"

static void test_sizes(void **state)
{
    (void)state;
    struct frame_pool *p = frame_pool_new(256u << 20);
    static const size_t sizes[] = {1,   63,   64,    65,      127,      128,
                                   129, 4095, 65536, 1000003, 64 << 20, (64 << 20) + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct frame f = frame_pool_get(p, sizes[i]);
        assert_int_equal(f.bytes, sizes[i]);
        assert_int_equal((uintptr_t)f.data % 64, 0);
        assert_int_equal(frame_pool_out_bytes(p), sizes[i]);
        memset(f.data, 0xa5, sizes[i]); /* SAN=address: all of it is ours */
        frame_release(&f);
        assert_null(f.data);
        assert_int_equal(f.bytes, 0);
        assert_int_equal(frame_pool_out_bytes(p), 0);
    }
    assert_int_equal(frame_pool_misses(p), 1); /* the one above the largest class */
    frame_pool_free(p);
}

static void test_empty(void **state)
{
    (void)state;
    struct frame_pool *p = frame_pool_new(0);
    struct frame f = frame_pool_get(p, 0);
    assert_null(f.data);
    assert_null(f.release);
    frame_release(&f);
    frame_release(&f); /* an empty one may be released again */
    assert_int_equal(frame_pool_misses(p), 0);
    frame_pool_free(p);
    frame_pool_free(NULL);
}

static void test_reuse(void **state)
{
    (void)state;
    struct frame_pool *p = frame_pool_new(1 << 20);
    struct frame a = frame_pool_get(p, 1000);
    void *first = a.data;
    frame_release(&a);
    struct frame b = frame_pool_get(p, 600); /* of the same class: 1024 */
    assert_ptr_equal(b.data, first);
    assert_int_equal(b.bytes, 600);
    struct frame c = frame_pool_get(p, 1024);
    assert_ptr_not_equal(c.data, first);
    frame_release(&b);
    frame_release(&c);
    frame_pool_free(p);
}

/* Beyond its bound a pool gives what malloc gives, counts it, and keeps none of it. */
static void test_bound(void **state)
{
    (void)state;
    struct frame_pool *p = frame_pool_new(4096);
    struct frame f[5];
    for (int i = 0; i < 5; i++)
        f[i] = frame_pool_get(p, 1024);
    assert_int_equal(frame_pool_misses(p), 1);
    assert_int_equal(frame_pool_out_bytes(p), 5 * 1024);
    for (int i = 0; i < 5; i++)
        frame_release(&f[i]);
    assert_int_equal(frame_pool_out_bytes(p), 0);
    for (int i = 0; i < 4; i++)
        f[i] = frame_pool_get(p, 1024); /* the four that it owns */
    assert_int_equal(frame_pool_misses(p), 1);
    f[4] = frame_pool_get(p, 1);
    assert_int_equal(frame_pool_misses(p),
                     2); /* what is held for one class is not there for another */
    for (int i = 0; i < 5; i++)
        frame_release(&f[i]);
    frame_pool_free(p);
}

/* As between a shard and the network: one thread takes and fills, the other looks and gives back. */
enum { HANDED = 20000, SLOTS = 64 };

static struct frame slot[SLOTS];
static int filled[SLOTS];

static void *give_back(void *arg)
{
    size_t *wrong = arg;
    for (int i = 0; i < HANDED; i++) {
        struct frame *f = &slot[i % SLOTS];
        while (__atomic_load_n(&filled[i % SLOTS], __ATOMIC_ACQUIRE) == 0)
            sched_yield();
        for (size_t b = 0; b < f->bytes; b += 97)
            *wrong += ((uint8_t *)f->data)[b] != (uint8_t)i;
        frame_release(f);
        __atomic_store_n(&filled[i % SLOTS], 0, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void test_two_threads(void **state)
{
    (void)state;
    struct frame_pool *p = frame_pool_new(1 << 20);
    struct rng r = {4, 0};
    pthread_t other;
    size_t wrong = 0;
    assert_int_equal(pthread_create(&other, NULL, give_back, &wrong), 0);
    for (int i = 0; i < HANDED; i++) {
        while (__atomic_load_n(&filled[i % SLOTS], __ATOMIC_ACQUIRE) != 0)
            sched_yield();
        slot[i % SLOTS] = frame_pool_get(p, 1 + (size_t)rng_below(&r, 5000));
        memset(slot[i % SLOTS].data, i, slot[i % SLOTS].bytes);
        __atomic_store_n(&filled[i % SLOTS], 1, __ATOMIC_RELEASE);
    }
    pthread_join(other, NULL);
    assert_int_equal(wrong, 0);
    assert_int_equal(frame_pool_out_bytes(p), 0);
    frame_pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),       cmocka_unit_test(test_empty),
        cmocka_unit_test(test_reuse),       cmocka_unit_test(test_bound),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
