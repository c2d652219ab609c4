/* net_outbox.c - what waits for a peer: replaced, pushed out, or refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/net/outbox.h"

static struct msg *rows(struct frame_pool *pool, uint64_t request, size_t bytes)
{
    struct msg *m = msg_new(MSG_ROWS);
    m->u.rows.request = request;
    m->frame[0] = frame_pool_get(pool, bytes);
    m->frames = 1;
    return m;
}

/* Level-triggered kinds: only the last one matters. */
static void replaces(void **state)
{
    (void)state;
    struct outbox o = {0};
    uint64_t dropped = 0;
    for (uint64_t n = 1; n <= 5; n++) {
        struct msg *m = msg_new(MSG_ORDER);
        m->u.order.n = n;
        assert_int_equal(outbox_put(&o, &m, 1 << 20, &dropped), ST_OK);
        assert_null(m);
        m = msg_new(MSG_LEASE);
        m->u.lease.number = n;
        assert_int_equal(outbox_put(&o, &m, 1 << 20, &dropped), ST_OK);
    }
    assert_int_equal(dropped, 0);
    assert_int_equal(o.used, 6); /* five leases, and the last order before the last of them */
    for (uint64_t n = 1; n <= 4; n++) {
        assert_int_equal(outbox_first(&o)->u.lease.number, n);
        outbox_pop(&o);
    }
    assert_int_equal(outbox_first(&o)->kind, MSG_ORDER);
    assert_int_equal(outbox_first(&o)->u.order.n, 5);
    outbox_pop(&o);
    assert_int_equal(outbox_first(&o)->u.lease.number, 5);
    outbox_pop(&o);
    assert_null(outbox_first(&o));
    assert_null(o.last);
    assert_int_equal(o.bytes, 0);
}

static void bound(void **state)
{
    (void)state;
    struct frame_pool *pool = frame_pool_new(8 << 20);
    struct outbox o = {0};
    uint64_t dropped = 0, all_dropped = 0;
    enum { MOST = 1 << 20, EACH = 100000 };
    struct msg *m = NULL;
    for (uint64_t n = 1; n <= 3; n++) {
        m = msg_new(MSG_LEASE);
        m->u.lease.number = n;
        assert_int_equal(outbox_put(&o, &m, MOST, &dropped), ST_OK);
    }
    /* Data pushes out control, and never data: the eleventh does not fit. */
    uint64_t n = 0;
    enum status st = ST_OK;
    while (st == ST_OK) {
        m = rows(pool, ++n, EACH);
        st = outbox_put(&o, &m, MOST, &dropped);
        assert_null(m);
        all_dropped += dropped;
        assert_true(o.bytes <= MOST);
    }
    assert_int_equal(st, ST_AGAIN);
    assert_int_equal(n, 11);
    assert_int_equal(all_dropped, 3);
    for (uint64_t i = 1; i <= 10; i++) {
        assert_int_equal(outbox_first(&o)->u.rows.request, i);
        outbox_pop(&o);
    }
    /* One that could never fit is refused and not kept. */
    m = rows(pool, 1, 2 * MOST);
    assert_int_equal(outbox_put(&o, &m, MOST, &dropped), ST_AGAIN);
    assert_int_equal(o.used, 0);
    m = rows(pool, 1, EACH);
    assert_int_equal(outbox_put(&o, &m, MOST, &dropped), ST_OK);
    outbox_release(&o);
    assert_int_equal(frame_pool_out_bytes(pool), 0);
    frame_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replaces),
        cmocka_unit_test(bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
