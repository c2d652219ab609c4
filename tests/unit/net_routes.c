/* net_routes.c - identities, handles, and the bound of the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/net/routes.h"

static void name(uint8_t out[ROUTE_IDENTITY_BYTES], uint32_t sender)
{
    struct route_name n = {
        .job = 0x1122334455667788u, .boot = 0x99aabbccddeeff01u, .role = ROLE_WORKER};
    n.sender = sender;
    route_name_encode(&n, out);
}

static void names(void **state)
{
    (void)state;
    uint8_t bytes[ROUTE_IDENTITY_BYTES + 1];
    struct route_name n;
    name(bytes, 70000);
    assert_true(route_name_decode(bytes, ROUTE_IDENTITY_BYTES, &n));
    assert_true(n.job == 0x1122334455667788u && n.boot == 0x99aabbccddeeff01u);
    assert_int_equal(n.role, ROLE_WORKER);
    assert_int_equal(n.sender, 70000);
    assert_false(route_name_decode(bytes, ROUTE_IDENTITY_BYTES - 1, &n));
    assert_false(route_name_decode(bytes, ROUTE_IDENTITY_BYTES + 1, &n));
    bytes[9] = 0; /* no such role */
    assert_false(route_name_decode(bytes, ROUTE_IDENTITY_BYTES, &n));
    bytes[9] = ROLE_FOLLOWER + 1;
    assert_false(route_name_decode(bytes, ROUTE_IDENTITY_BYTES, &n));
    bytes[9] = ROLE_FRONT;
    bytes[0] = 0; /* ZeroMQ's own identities begin so */
    assert_false(route_name_decode(bytes, ROUTE_IDENTITY_BYTES, &n));
}

static void handles(void **state)
{
    (void)state;
    enum { PEERS = 1000 };
    struct routes *r = routes_new(PEERS);
    uint8_t id[ROUTE_IDENTITY_BYTES];
    uint64_t handle[PEERS];
    for (uint32_t i = 0; i < PEERS; i++) {
        name(id, i);
        struct route *p = routes_hear(r, id, i);
        assert_non_null(p);
        handle[i] = p->handle;
        assert_true(handle[i] != 0);
    }
    assert_int_equal(routes_used(r), PEERS);
    for (uint32_t i = 0; i < PEERS; i++) {
        name(id, i);
        assert_ptr_equal(routes_find(r, handle[i]), routes_hear(r, id, PEERS + i));
        assert_memory_equal(routes_find(r, handle[i])->identity, id, sizeof(id));
    }
    assert_null(routes_find(r, 0));
    assert_null(routes_find(r, UINT64_MAX));
    /* A forgotten one is nobody, also when its slot and its name are used again. */
    routes_forget(r, routes_find(r, handle[7]));
    assert_null(routes_find(r, handle[7]));
    name(id, 7);
    struct route *again = routes_hear(r, id, 5000);
    assert_true(again->handle != handle[7]);
    assert_null(routes_find(r, handle[7]));
    assert_ptr_equal(routes_find(r, handle[8])->identity, routes_at(r, 8)->identity);
    routes_free(r);
}

/* When it is full the peer that was silent longest goes, but never one that is owed something. */
static void bound(void **state)
{
    (void)state;
    struct routes *r = routes_new(3);
    uint8_t id[ROUTE_IDENTITY_BYTES];
    uint64_t handle[4], dropped = 0;
    for (uint32_t i = 0; i < 3; i++) {
        name(id, i);
        handle[i] = routes_hear(r, id, 10 + i)->handle;
    }
    struct msg *m = msg_new(MSG_ACK);
    assert_int_equal(outbox_put(&routes_find(r, handle[0])->out, &m, 1 << 20, &dropped), ST_OK);
    name(id, 3);
    handle[3] = routes_hear(r, id, 20)->handle;
    assert_int_equal(routes_used(r), 3);
    assert_non_null(routes_find(r, handle[0]));
    assert_null(routes_find(r, handle[1]));
    assert_non_null(routes_find(r, handle[2]));
    for (uint32_t i = 2; i < 4; i++) {
        m = msg_new(MSG_ACK);
        assert_int_equal(outbox_put(&routes_find(r, handle[i])->out, &m, 1 << 20, &dropped), ST_OK);
    }
    name(id, 9);
    assert_null(routes_hear(r, id, 30));
    routes_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(handles),
        cmocka_unit_test(bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
