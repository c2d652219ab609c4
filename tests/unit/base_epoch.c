/* base_epoch.c - grace periods: what a stamp waits for, and readers that race a writer who poisons what it retires. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/epoch.h"
#include "common/base/mem.h"

static void test_a_stamp_waits_for_those_inside(void **state)
{
    (void)state;
    struct epoch *e = mem_aligned(64, sizeof(*e));
    epoch_init(e);
    struct epoch_reader *a = epoch_join(e), *b = epoch_join(e);
    assert_ptr_not_equal(a, b);
    assert_true(epoch_passed(e, epoch_retire(e))); /* nobody inside */
    epoch_enter(e, a);
    uint64_t stamp = epoch_retire(e);
    assert_false(epoch_passed(e, stamp));
    epoch_enter(e, b); /* came later: does not hold it up */
    epoch_leave(a);
    assert_true(epoch_passed(e, stamp));
    uint64_t later = epoch_retire(e);
    epoch_enter(e, a);
    assert_false(epoch_passed(e, later)); /* b */
    epoch_leave(b);
    assert_true(epoch_passed(e, later)); /* a entered after it */
    epoch_leave(a);
    epoch_part(a);
    assert_ptr_equal(epoch_join(e), a); /* its place is free again */
    free(e);
}

static void test_places_run_out(void **state)
{
    (void)state;
    struct epoch *e = mem_aligned(64, sizeof(*e));
    epoch_init(e);
    for (size_t i = 0; i < EPOCH_READERS_MAX; i++)
        assert_non_null(epoch_join(e));
    assert_null(epoch_join(e));
    free(e);
}

enum { THINGS = 4, ROUNDS = 50000, READERS = 3 };

struct race {
    struct epoch *e;
    _Atomic(_Atomic uint64_t *) shown;
    atomic_bool stop;
    _Atomic uint64_t bad, seen;
};

static void *read_on(void *arg)
{
    struct race *r = arg;
    struct epoch_reader *me = epoch_join(r->e);
    while (!atomic_load(&r->stop)) {
        epoch_enter(r->e, me);
        _Atomic uint64_t *thing = atomic_load(&r->shown);
        for (int i = 0; i < 8; i++) /* a retired thing would turn 0 under the reader */
            if (atomic_load(thing) == 0)
                atomic_fetch_add(&r->bad, 1);
        epoch_leave(me);
        atomic_fetch_add(&r->seen, 1);
    }
    epoch_part(me);
    return NULL;
}

/* A ring of things, one shown at a time; one that is retired is set to 0 once its stamp has passed. */
static void test_no_reader_sees_what_has_passed(void **state)
{
    (void)state;
    static _Atomic uint64_t thing[THINGS];
    struct race r = {.e = mem_aligned(64, sizeof(struct epoch))};
    pthread_t readers[READERS];
    epoch_init(r.e);
    atomic_store(&thing[0], 1);
    atomic_store(&r.shown, &thing[0]);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_on, &r), 0);
    for (uint64_t i = 1; i < ROUNDS || atomic_load(&r.seen) < 1000; i++) {
        _Atomic uint64_t *old = atomic_load(&r.shown), *next = &thing[i % THINGS];
        atomic_store(next, i + 1);
        atomic_store(&r.shown, next);
        uint64_t stamp = epoch_retire(r.e);
        while (!epoch_passed(r.e, stamp))
            sched_yield();
        atomic_store(old, 0);
    }
    atomic_store(&r.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    assert_int_equal(atomic_load(&r.bad), 0);
    free(r.e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stamp_waits_for_those_inside),
        cmocka_unit_test(test_places_run_out),
        cmocka_unit_test(test_no_reader_sees_what_has_passed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
