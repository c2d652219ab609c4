/* net_endpoint.c - messages over real sockets: what arrives whole, and what a bad peer cannot do.
 *
 * Every wait has a deadline; nothing sleeps to synchronize. Bad peers are raw: a TCP connection that writes
 * noise, and ZeroMQ sockets that speak the transport and not our language.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/net/endpoint.h"
#include "common/net/routes.h"
#include "common/wire/codec.h"

enum { JOB = 77, BOOT = 5, DEADLINE_US = 20000000 };

struct pair {
    struct endpoint_hub *hub;
    struct frame_pool *pool;
    struct endpoint *bound, *dialed;
};

static struct endpoint_conf conf_of(struct frame_pool *pool, enum role role, uint64_t job)
{
    return (struct endpoint_conf){
        .job = job, .boot = BOOT, .role = role, .sender = 3, .pool = pool};
}

static int setup(void **state)
{
    struct pair *p = calloc(1, sizeof(*p));
    struct errbuf err = ERRBUF_INIT;
    log_set_level(LOG_ERROR);
    p->pool = frame_pool_new(64u << 20);
    struct endpoint_conf shard = conf_of(p->pool, ROLE_SHARD, JOB);
    struct endpoint_conf worker = conf_of(p->pool, ROLE_WORKER, JOB);
    shard.queue_bytes_max = 4u << 20;
    if (endpoint_hub_new(&p->hub, &err) != ST_OK ||
        endpoint_bind(p->hub, &shard, "tcp://127.0.0.1:*", &p->bound, &err) != ST_OK ||
        endpoint_dial(p->hub, &worker, endpoint_address(p->bound), &p->dialed, &err) != ST_OK)
        return -1;
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct pair *p = *state;
    endpoint_close(p->bound);
    endpoint_close(p->dialed);
    endpoint_hub_free(p->hub);
    if (frame_pool_out_bytes(p->pool) != 0)
        return -1; /* some frame was never given back */
    frame_pool_free(p->pool);
    free(p);
    return 0;
}

static struct msg *message(enum msg_kind kind, enum role role)
{
    struct msg *m = msg_new(kind);
    m->job = JOB;
    m->e = 1;
    m->boot = BOOT;
    m->role = role;
    m->sender = 3;
    return m;
}

/* The next message of ep; `other` is waited on too, so that its outbox moves. */
static struct msg *receive(struct endpoint *ep, struct endpoint *other, uint64_t *route)
{
    struct endpoint_set *set = endpoint_set_new();
    struct msg *m = NULL;
    uint64_t until = clock_now_us() + DEADLINE_US;
    endpoint_set_add(set, ep);
    if (other != NULL)
        endpoint_set_add(set, other);
    while (endpoint_recv(ep, &m, route) != ST_OK && clock_now_us() < until)
        endpoint_set_wait(set, 20000);
    endpoint_set_free(set);
    return m;
}

static struct msg *pull_of(struct pair *p, uint32_t n)
{
    struct msg *m = message(MSG_PULL, ROLE_WORKER);
    m->u.pull.request = n;
    m->u.pull.tables = 1;
    m->u.pull.n = n;
    m->frame[0] = frame_pool_get(p->pool, n * sizeof(uint64_t));
    for (uint32_t i = 0; i < n; i++)
        ((uint64_t *)m->frame[0].data)[i] = i * 7919ull;
    m->frames = 1;
    return m;
}

static struct msg *ack_of(uint64_t seq)
{
    struct msg *m = message(MSG_ACK, ROLE_SHARD);
    m->u.ack.seq = seq;
    return m;
}

/* dialed -> bound -> dialed works; the route of the dialed end. */
static uint64_t expect_alive(struct pair *p)
{
    uint64_t route = 0, back = 0;
    struct msg *m = pull_of(p, 5);
    assert_int_equal(endpoint_send(p->dialed, ENDPOINT_PEER, &m), ST_OK);
    assert_null(m);
    m = receive(p->bound, p->dialed, &route);
    assert_non_null(m);
    assert_int_equal(m->kind, MSG_PULL);
    msg_free(m);
    m = ack_of(9);
    assert_int_equal(endpoint_send(p->bound, route, &m), ST_OK);
    m = receive(p->dialed, p->bound, &back);
    assert_non_null(m);
    assert_int_equal(m->kind, MSG_ACK);
    assert_int_equal(m->u.ack.seq, 9);
    msg_free(m);
    return route;
}

static void round_trip(void **state)
{
    struct pair *p = *state;
    for (uint32_t n = 1; n <= 1000; n *= 10) {
        uint64_t route = 0;
        struct msg *m = pull_of(p, n);
        assert_int_equal(endpoint_send(p->dialed, ENDPOINT_PEER, &m), ST_OK);
        m = receive(p->bound, p->dialed, &route);
        assert_non_null(m);
        assert_int_equal(m->u.pull.n, n);
        assert_int_equal(m->frames, 1);
        assert_int_equal(m->frame[0].bytes, n * sizeof(uint64_t));
        assert_int_equal((uintptr_t)m->frame[0].data % 8, 0);
        for (uint32_t i = 0; i < n; i++)
            assert_int_equal(((uint64_t *)m->frame[0].data)[i], i * 7919ull);
        msg_free(m);
    }
    expect_alive(p);
}

static void big_frame(void **state)
{
    struct pair *p = *state;
    enum { KEYS = 4 << 20 }; /* 32 MiB */
    uint64_t route = 0;
    for (int i = 0; i < 3; i++) {
        struct msg *m = pull_of(p, KEYS);
        assert_int_equal(endpoint_send(p->dialed, ENDPOINT_PEER, &m), ST_OK);
        m = receive(p->bound, p->dialed, &route);
        assert_non_null(m);
        assert_int_equal(m->frame[0].bytes, KEYS * sizeof(uint64_t));
        assert_int_equal(((uint64_t *)m->frame[0].data)[KEYS - 1], (KEYS - 1) * 7919ull);
        msg_free(m);
    }
}

static void unknown_route(void **state)
{
    struct pair *p = *state;
    struct msg *m = ack_of(1);
    assert_int_equal(endpoint_send(p->bound, 12345, &m), ST_NOT_FOUND);
    assert_null(m);
}

static int tcp_connect(const char *address)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    in.sin_port = htons((uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10));
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    return fd;
}

static void garbage_by_tcp(void **state)
{
    struct pair *p = *state;
    uint8_t noise[4096];
    for (unsigned round = 0; round < 16; round++) {
        int fd = tcp_connect(endpoint_address(p->bound));
        for (size_t i = 0; i < sizeof(noise); i++)
            noise[i] = (uint8_t)(round == 0 ? 0xff : (i * 2654435761u + round * 40503u) >> 8);
        if (round % 2 == 1) /* a greeting of ZMTP 3, then noise */
            memcpy(noise, "\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL", 16);
        ssize_t n = send(fd, noise, sizeof(noise), MSG_NOSIGNAL);
        assert_true(n > 0);
        close(fd);
    }
    expect_alive(p);
}

static void *raw_dealer(void *ctx, const char *address, const void *identity, size_t n)
{
    void *s = zmq_socket(ctx, ZMQ_DEALER);
    int linger = 0;
    assert_non_null(s);
    zmq_setsockopt(s, ZMQ_LINGER, &linger, sizeof(linger));
    if (n > 0)
        zmq_setsockopt(s, ZMQ_ROUTING_ID, identity, n);
    assert_int_equal(zmq_connect(s, address), 0);
    return s;
}

/* Wait until the bound end counted `bad` messages of nonsense. */
static void expect_nonsense(struct pair *p, uint64_t bad)
{
    struct endpoint_stats stats = {0};
    struct endpoint_set *set = endpoint_set_new();
    uint64_t until = clock_now_us() + DEADLINE_US, route = 0;
    struct msg *m = NULL;
    endpoint_set_add(set, p->bound);
    while (stats.nonsense < bad && clock_now_us() < until) {
        endpoint_set_wait(set, 20000);
        assert_int_equal(endpoint_recv(p->bound, &m, &route), ST_AGAIN);
        endpoint_stats(p->bound, &stats);
    }
    endpoint_set_free(set);
    assert_int_equal(stats.nonsense, bad);
}

static void identity_of(uint8_t out[ROUTE_IDENTITY_BYTES], uint64_t job, uint32_t sender)
{
    struct route_name name = {.job = job, .boot = BOOT, .role = ROLE_WORKER, .sender = sender};
    route_name_encode(&name, out);
}

static void garbage_by_zmq(void **state)
{
    struct pair *p = *state;
    uint8_t identity[ROUTE_IDENTITY_BYTES], noise[300];
    void *ctx = zmq_ctx_new();
    void *nobody = raw_dealer(ctx, endpoint_address(p->bound), NULL, 0);
    identity_of(identity, JOB, 4);
    void *liar = raw_dealer(ctx, endpoint_address(p->bound), identity, sizeof(identity));
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)((i * 2654435761u) >> 9);
    zmq_send(nobody, "hello", 5, 0);         /* no identity of ours */
    zmq_send(liar, "", 0, 0);                /* an empty envelope */
    zmq_send(liar, noise, sizeof(noise), 0); /* a wrong one */
    for (int i = 0; i < 500; i++)            /* too many frames */
        zmq_send(liar, noise, (size_t)i % 7, i < 499 ? ZMQ_SNDMORE : 0);
    struct msg *m = pull_of(p, 4); /* a good one, in another's name */
    struct buffer envelope = BUFFER_INIT;
    codec_encode(m, &envelope);
    zmq_send(liar, envelope.data, envelope.used, ZMQ_SNDMORE);
    zmq_send(liar, m->frame[0].data, m->frame[0].bytes, 0);
    zmq_send(liar, envelope.data, envelope.used, 0); /* and without its frame */
    expect_nonsense(p, 6);
    buffer_release(&envelope);
    msg_free(m);
    expect_alive(p);
    zmq_close(nobody);
    zmq_close(liar);
    zmq_ctx_term(ctx);
}

static void foreign_job(void **state)
{
    struct pair *p = *state;
    struct errbuf err = ERRBUF_INIT;
    struct endpoint_conf conf = conf_of(p->pool, ROLE_WORKER, JOB + 1);
    struct endpoint *stranger = NULL;
    struct endpoint_stats here = {0}, there = {0};
    struct endpoint_set *set = endpoint_set_new();
    uint64_t until = clock_now_us() + DEADLINE_US, route = 0;
    assert_int_equal(endpoint_dial(p->hub, &conf, endpoint_address(p->bound), &stranger, &err),
                     ST_OK);
    struct msg *m = pull_of(p, 5);
    m->job = JOB + 1;
    assert_int_equal(endpoint_send(stranger, ENDPOINT_PEER, &m), ST_OK);
    endpoint_set_add(set, p->bound);
    endpoint_set_add(set, stranger);
    /* It is refused, and told so. */
    while ((here.foreign == 0 || there.foreign == 0) && clock_now_us() < until) {
        endpoint_set_wait(set, 20000);
        assert_int_equal(endpoint_recv(p->bound, &m, &route), ST_AGAIN);
        assert_int_equal(endpoint_recv(stranger, &m, &route), ST_AGAIN);
        endpoint_stats(p->bound, &here);
        endpoint_stats(stranger, &there);
    }
    endpoint_set_free(set);
    assert_int_equal(here.foreign, 1);
    assert_int_equal(there.foreign, 1);
    endpoint_close(stranger);
    expect_alive(p);
}

/* A peer that does not read: control messages go first, data is never pushed out, order has no hole. */
static void full_queue(void **state)
{
    struct pair *p = *state;
    uint8_t identity[ROUTE_IDENTITY_BYTES];
    void *ctx = zmq_ctx_new();
    identity_of(identity, JOB, 3);
    void *lazy = raw_dealer(ctx, endpoint_address(p->bound), identity, sizeof(identity));
    int hwm = 2, deadline_ms = DEADLINE_US / 1000;
    zmq_setsockopt(lazy, ZMQ_RCVHWM, &hwm, sizeof(hwm));
    zmq_setsockopt(lazy, ZMQ_RCVTIMEO, &deadline_ms, sizeof(deadline_ms));
    struct msg *m = pull_of(p, 4);
    struct buffer envelope = BUFFER_INIT;
    codec_encode(m, &envelope);
    zmq_send(lazy, envelope.data, envelope.used, ZMQ_SNDMORE);
    zmq_send(lazy, m->frame[0].data, m->frame[0].bytes, 0);
    msg_free(m);
    uint64_t route = 0, sent = 0;
    m = receive(p->bound, NULL, &route);
    assert_non_null(m);
    msg_free(m);
    enum status st = ST_OK;
    while (st == ST_OK && sent < 10000) {
        m = message(MSG_ROWS, ROLE_SHARD);
        m->u.rows.request = ++sent;
        m->u.rows.n = 1 << 14;
        m->frame[0] = frame_pool_get(p->pool, 1 << 16);
        memset(m->frame[0].data, 0, 1 << 16);
        m->frames = 1;
        st = endpoint_send(p->bound, route, &m);
    }
    assert_int_equal(st, ST_AGAIN);
    struct endpoint_stats stats;
    endpoint_stats(p->bound, &stats);
    assert_true(stats.queued > 32 && stats.queued <= 64);
    assert_int_equal(stats.dropped, 1);
    /* What was accepted arrives, in order, once somebody reads. */
    struct endpoint_set *set = endpoint_set_new();
    endpoint_set_add(set, p->bound);
    for (uint64_t i = 1; i < sent; i++) {
        struct frame frame = {0};
        zmq_msg_t part;
        zmq_msg_init(&part);
        endpoint_set_wait(set, 0);
        uint64_t until = clock_now_us() + DEADLINE_US;
        while (zmq_msg_recv(&part, lazy, ZMQ_DONTWAIT) < 0 && clock_now_us() < until)
            endpoint_set_wait(set, 1000);
        buffer_reset(&envelope);
        buffer_put(&envelope, zmq_msg_data(&part), zmq_msg_size(&part));
        assert_true(zmq_msg_recv(&part, lazy, 0) >= 0);
        frame = frame_pool_get(p->pool, zmq_msg_size(&part));
        memcpy(frame.data, zmq_msg_data(&part), frame.bytes);
        zmq_msg_close(&part);
        struct errbuf err = ERRBUF_INIT;
        assert_int_equal(codec_decode(envelope.data, envelope.used, &frame, 1, &m, &err), ST_OK);
        assert_int_equal(m->u.rows.request, i);
        msg_free(m);
    }
    endpoint_set_free(set);
    buffer_release(&envelope);
    zmq_close(lazy);
    zmq_ctx_term(ctx);
}

static void peer_gone(void **state)
{
    struct pair *p = *state;
    uint64_t route = expect_alive(p), until = clock_now_us() + DEADLINE_US;
    struct endpoint_set *set = endpoint_set_new();
    enum status st = ST_OK;
    endpoint_close(p->dialed);
    p->dialed = NULL;
    endpoint_set_add(set, p->bound);
    while (st == ST_OK && clock_now_us() < until) {
        struct msg *m = ack_of(1);
        st = endpoint_send(p->bound, route, &m);
        endpoint_set_wait(set, 10000);
    }
    endpoint_set_free(set);
    assert_int_equal(st, ST_NOT_FOUND);
}

/* Dial first, listen later, and again after the listener died. */
static void late_listener(void **state)
{
    struct pair *p = *state;
    struct errbuf err = ERRBUF_INIT;
    struct endpoint_conf conf = conf_of(p->pool, ROLE_SHARD, JOB);
    char address[ADDRESS_MAX];
    for (int round = 0; round < 2; round++) {
        uint64_t until = clock_now_us() + DEADLINE_US;
        snprintf(address, sizeof(address), "%s", endpoint_address(p->bound));
        endpoint_close(p->bound);
        p->bound = NULL;
        while (endpoint_bind(p->hub, &conf, address, &p->bound, &err) != ST_OK)
            assert_true(clock_now_us() < until);
        struct msg *m = NULL;
        uint64_t route = 0;
        while (m == NULL && clock_now_us() < until) {
            /* As the protocol does: what was lost with the connection is sent again. */
            struct msg *again = pull_of(p, 5);
            struct endpoint_set *set = endpoint_set_new();
            (void)endpoint_send(p->dialed, ENDPOINT_PEER, &again);
            endpoint_set_add(set, p->bound);
            endpoint_set_add(set, p->dialed);
            endpoint_set_wait(set, 50000);
            if (endpoint_recv(p->bound, &m, &route) != ST_OK)
                m = NULL;
            endpoint_set_free(set);
        }
        assert_non_null(m);
        msg_free(m);
    }
}

static void set_of_descriptors(void **state)
{
    struct pair *p = *state;
    struct endpoint_set *set = endpoint_set_new();
    int fd = eventfd(0, EFD_NONBLOCK);
    size_t a = endpoint_set_add(set, p->bound);
    size_t b = endpoint_set_add_fd(set, fd);
    endpoint_set_wait(set, 0);
    assert_false(endpoint_set_ready(set, a));
    assert_false(endpoint_set_ready(set, b));
    assert_int_equal(eventfd_write(fd, 1), 0);
    endpoint_set_wait(set, DEADLINE_US);
    assert_false(endpoint_set_ready(set, a));
    assert_true(endpoint_set_ready(set, b));
    endpoint_set_free(set);
    close(fd);
}

static void bad_addresses(void **state)
{
    struct pair *p = *state;
    struct errbuf err = ERRBUF_INIT;
    struct endpoint_conf conf = conf_of(p->pool, ROLE_SHARD, JOB);
    struct endpoint *ep = NULL;
    char endless[300];
    memset(endless, 'a', sizeof(endless) - 1);
    endless[sizeof(endless) - 1] = 0;
    assert_int_equal(endpoint_bind(p->hub, &conf, "tcp://999.1.2.3:*", &ep, &err), ST_IO);
    assert_int_equal(endpoint_bind(p->hub, &conf, endpoint_address(p->bound), &ep, &err), ST_IO);
    assert_non_null(strstr(err.text, "127.0.0.1"));
    assert_int_equal(endpoint_dial(p->hub, &conf, "nonsense", &ep, &err), ST_IO);
    assert_int_equal(endpoint_dial(p->hub, &conf, endless, &ep, &err), ST_USAGE);
    assert_null(ep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(big_frame, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_route, setup, teardown),
        cmocka_unit_test_setup_teardown(garbage_by_tcp, setup, teardown),
        cmocka_unit_test_setup_teardown(garbage_by_zmq, setup, teardown),
        cmocka_unit_test_setup_teardown(foreign_job, setup, teardown),
        cmocka_unit_test_setup_teardown(full_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(peer_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(late_listener, setup, teardown),
        cmocka_unit_test_setup_teardown(set_of_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_addresses, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
