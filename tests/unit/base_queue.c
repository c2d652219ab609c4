/* base_queue.c - the queue and the threads around it. Deadlines are generous: a loaded host is slow. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/queue.h"
#include "common/base/thread.h"

enum { LONG_US = 20000000 };

static void test_order_and_bounds(void **state)
{
    (void)state;
    struct queue *q = queue_new(3);
    int v[4];
    void *got = NULL;
    assert_int_equal(queue_pop(q, &got, 0), ST_TIMEOUT);
    for (int round = 0; round < 5; round++) { /* the ring wraps */
        for (int i = 0; i < 3; i++)
            assert_int_equal(queue_push(q, &v[i], 0), ST_OK);
        assert_int_equal(queue_push(q, &v[3], 0), ST_TIMEOUT);
        assert_int_equal(queue_push(q, &v[3], 1000), ST_TIMEOUT);
        assert_int_equal(queue_used(q), 3);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(queue_pop(q, &got, UINT64_MAX), ST_OK);
            assert_ptr_equal(got, &v[i]);
        }
        if (round % 2 == 0) { /* shift the start */
            assert_int_equal(queue_push(q, NULL, 0), ST_OK);
            assert_int_equal(queue_pop(q, &got, 0), ST_OK);
            assert_null(got);
        }
    }
    queue_free(q);
    queue_free(NULL);
}

static void test_deadline(void **state)
{
    (void)state;
    struct queue *q = queue_new(1);
    void *got = &q;
    uint64_t before = clock_now_us();
    assert_int_equal(queue_pop(q, &got, 30000), ST_TIMEOUT);
    assert_true(clock_now_us() - before >= 30000);
    assert_ptr_equal(got, &q); /* untouched */
    queue_free(q);
}

static void test_close_drains(void **state)
{
    (void)state;
    struct queue *q = queue_new(4);
    int v;
    void *got = NULL;
    assert_int_equal(queue_push(q, &v, 0), ST_OK);
    queue_close(q);
    queue_close(q);
    assert_int_equal(queue_push(q, &v, 0), ST_END);
    assert_int_equal(queue_pop(q, &got, 0), ST_OK);
    assert_ptr_equal(got, &v);
    assert_int_equal(queue_pop(q, &got, LONG_US), ST_END); /* at once */
    queue_free(q);
}

struct party {
    struct queue *q;
    struct queue *full;
    atomic_int pop_ended, push_ended;
    atomic_ulong sum;
    atomic_int signals_blocked;
};

static void *wait_for_close(void *arg)
{
    struct party *p = arg;
    void *got;
    if (queue_pop(p->q, &got, LONG_US) == ST_END)
        atomic_fetch_add(&p->pop_ended, 1);
    return NULL;
}

static void *push_until_close(void *arg)
{
    struct party *p = arg;
    if (queue_push(p->full, p, LONG_US) == ST_END)
        atomic_fetch_add(&p->push_ended, 1);
    return NULL;
}

static void test_close_wakes_all(void **state)
{
    (void)state;
    struct party p = {.q = queue_new(1), .full = queue_new(1)};
    struct errbuf err;
    struct thread t[6];
    uint64_t before = clock_now_us();
    assert_int_equal(queue_push(p.full, &p, 0), ST_OK);
    for (int i = 0; i < 6; i++)
        assert_int_equal(
            thread_start(&t[i], "w", i < 3 ? wait_for_close : push_until_close, &p, &err), ST_OK);
    queue_close(p.q);
    queue_close(p.full);
    for (int i = 0; i < 6; i++)
        thread_stop(&t[i]);
    assert_true(clock_now_us() - before < LONG_US / 2);
    assert_int_equal(p.pop_ended, 3);
    assert_int_equal(p.push_ended, 3);
    queue_free(p.q);
    queue_free(p.full);
}

enum { ITEMS = 20000 };

static void *produce(void *arg)
{
    struct party *p = arg;
    for (uintptr_t i = 1; i <= ITEMS; i++)
        if (queue_push(p->q, (void *)i, LONG_US) != ST_OK)
            break;
    return NULL;
}

static void *consume(void *arg)
{
    struct party *p = arg;
    void *got;
    while (queue_pop(p->q, &got, LONG_US) == ST_OK)
        atomic_fetch_add(&p->sum, (unsigned long)(uintptr_t)got);
    return NULL;
}

static void test_nothing_lost(void **state)
{
    (void)state;
    struct party p = {.q = queue_new(7)};
    struct errbuf err;
    struct thread in[3], out[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(thread_start(&in[i], "in", produce, &p, &err), ST_OK);
        assert_int_equal(thread_start(&out[i], "out", consume, &p, &err), ST_OK);
    }
    for (int i = 0; i < 3; i++)
        thread_stop(&in[i]);
    queue_close(p.q);
    for (int i = 0; i < 3; i++)
        thread_stop(&out[i]);
    assert_true(p.sum == 3ul * ITEMS * (ITEMS + 1) / 2);
    queue_free(p.q);
}

static void *look_at_signals(void *arg)
{
    struct party *p = arg;
    sigset_t mask;
    char name[32] = "";
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    pthread_getname_np(pthread_self(), name, sizeof name);
    atomic_store(&p->signals_blocked, sigismember(&mask, SIGTERM) && sigismember(&mask, SIGINT) &&
                                          !sigismember(&mask, SIGSEGV));
    return NULL;
}

static void test_threads_take_no_signals(void **state)
{
    (void)state;
    struct party p = {.q = NULL};
    struct errbuf err;
    struct thread t = {0};
    thread_stop(&t); /* never started */
    assert_int_equal(thread_start(&t, "a name far longer than fifteen", look_at_signals, &p, &err),
                     ST_OK);
    thread_stop(&t);
    thread_stop(&t);
    assert_int_equal(p.signals_blocked, 1);
    sigset_t mine;
    pthread_sigmask(SIG_SETMASK, NULL, &mine);
    assert_false(sigismember(&mine, SIGTERM)); /* the starter's mask is as before */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_bounds), cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_close_drains),     cmocka_unit_test(test_close_wakes_all),
        cmocka_unit_test(test_nothing_lost),     cmocka_unit_test(test_threads_take_no_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
