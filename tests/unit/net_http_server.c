/* net_http_server.c - a server and raw sockets: a corpus of malformed requests, slow clients, bodies over their bounds,
 * pipelining, a full loop, many connections, and the end while requests are under way.
 *
 * The owner here echoes method, path and body; it keeps /hold until it is told to let go, and makes /large/N bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/net/http.h"
#include "common/net/http_server.h"
#include "tests/support/net_http_client.h"

#define HOLDS_MAX 64u

struct world {
    struct http_server *server;
    const char *at;
    pthread_mutex_t lock;
    struct http_request *hold[HOLDS_MAX];
    size_t holds;
    _Atomic uint64_t batches, requests, batch_most, done, heads;
};

static bool owner_head(void *arg, unsigned loop, struct http_request *r)
{
    struct world *w = arg;
    (void)loop;
    atomic_fetch_add(&w->heads, 1);
    if (r->target.segments > 0 && strcmp(r->target.segment[0], "nowhere") == 0) {
        http_answer_error(r, 404, "there is no \"%s\"", r->target.segment[0]);
        return false;
    }
    if (r->target.segments > 0 && strcmp(r->target.segment[0], "small") == 0) {
        r->body_max = 8;
    }
    return true;
}

static void echo(struct http_request *r)
{
    char *text = mem_alloc(r->body_n + 4096);
    int n = snprintf(text, 256, "%d", (int)r->method);
    for (size_t i = 0; i < r->target.segments; i++) {
        n += snprintf(text + n, 512, "/%s", r->target.segment[i]);
    }
    n += sprintf(text + n, " ");
    memcpy(text + n, r->body != NULL ? r->body : "", r->body_n);
    http_answer(r, 200, text, (size_t)n + r->body_n, "text/plain");
}

static void owner_serve(void *arg, unsigned loop, struct http_request **r, size_t n)
{
    struct world *w = arg;
    (void)loop;
    atomic_fetch_add(&w->batches, 1);
    atomic_fetch_add(&w->requests, n);
    if (n > atomic_load(&w->batch_most)) {
        atomic_store(&w->batch_most, n);
    }
    for (size_t i = 0; i < n; i++) {
        const char *first = r[i]->target.segments > 0 ? r[i]->target.segment[0] : "";
        if (strcmp(first, "hold") == 0) {
            pthread_mutex_lock(&w->lock);
            w->hold[w->holds++] = r[i];
            pthread_mutex_unlock(&w->lock);
        } else if (strcmp(first, "large") == 0) {
            size_t size = strtoul(r[i]->target.segment[1], NULL, 10);
            char *text = mem_alloc(size);
            memset(text, 'x', size);
            http_answer(r[i], 200, text, size, "text/plain");
        } else {
            echo(r[i]);
        }
    }
}

static void owner_done(void *arg, unsigned loop, const struct http_request *r, unsigned code)
{
    struct world *w = arg;
    (void)loop;
    (void)r;
    (void)code;
    atomic_fetch_add(&w->done, 1);
}

static size_t holds(struct world *w)
{
    pthread_mutex_lock(&w->lock);
    size_t n = w->holds;
    pthread_mutex_unlock(&w->lock);
    return n;
}

static void wait_holds(struct world *w, size_t n)
{
    uint64_t end = clock_now_us() + 10000000u;
    while (holds(w) < n && clock_now_us() < end) {
        sched_yield();
    }
    assert_int_equal(holds(w), n);
}

static void let_go(struct world *w)
{
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < w->holds; i++) {
        echo(w->hold[i]);
    }
    w->holds = 0;
    pthread_mutex_unlock(&w->lock);
}

static struct http_conf conf_of(void)
{
    struct http_conf c = HTTP_CONF_DEFAULT;
    c.address = "0";
    c.what = "--http";
    c.loops = 2;
    c.body_max = 4096;
    return c;
}

static void begin(struct world *w, const struct http_conf *conf)
{
    struct errbuf err = ERRBUF_INIT;
    memset(w, 0, sizeof(*w));
    pthread_mutex_init(&w->lock, NULL);
    const struct http_owner owner = {w, owner_head, owner_serve, NULL, owner_done};
    if (http_server_start(conf, &owner, &w->server, &err) != ST_OK) {
        fail_msg("%s", err.text);
    }
    w->at = http_server_address(w->server);
}

static void finish(struct world *w)
{
    assert_int_equal(http_server_stop(w->server, 5000000), ST_OK);
    pthread_mutex_destroy(&w->lock);
}

static struct answer ask(const char *at, const char *text)
{
    return client_ask(at, text, strlen(text));
}

/* -- what is asked ------------------------------------------------------------------------------ */

#define H "Host: x\r\n"

static void good_requests(void **state)
{
    (void)state;
    struct world w;
    struct http_conf conf = conf_of();
    begin(&w, &conf);
    static const struct {
        const char *text, *body;
    } cases[] = {
        {"GET /a/b HTTP/1.1\r\n" H "\r\n", "0/a/b "},
        {"GET / HTTP/1.0\r\n\r\n", "0/ "},
        {"POST /p HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello", "1/p hello"},
        {"POST /p HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", "1/p "},
        {"PUT /p HTTP/1.1\r\n" H
         "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
         "2/p hello"},
        {"DELETE /a%2Fb HTTP/1.1\r\n" H "\r\n", "3/a/b "},
        {"PATCH /a HTTP/1.1\r\n" H "\r\n", "4/a "},
        {"GET http://x/abs HTTP/1.1\r\n" H "\r\n", "0/abs "},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer a = ask(w.at, cases[i].text);
        if (a.code != 200 || strcmp(a.body, cases[i].body) != 0) {
            fail_msg("%s: %d \"%s\"", cases[i].text, a.code, a.body != NULL ? a.body : "");
        }
        answer_release(&a);
    }
    struct answer a = ask(w.at, "HEAD /a/b HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(a.code, 200);
    assert_non_null(strstr(a.head, "Content-Length: 6\r\n"));
    answer_release(&a);
    a = ask(w.at, "GET /nowhere HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(a.code, 404);
    assert_string_equal(a.body, "{\"error\": \"there is no \\\"nowhere\\\"\"}");
    answer_release(&a);
    finish(&w);
}

/* code 0: any 4xx or 5xx, or a closed connection: libmicrohttpd's own business, but never a 2xx. */
static const struct {
    const char *text;
    int code;
} malformed[] = {
    {"GET /a HTTP/1.1\r\n\r\n", 400},
    {"GET /a HTTP/1.1\r\n" H H "\r\n", 400},
    {"POST /a HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400},
    {"POST /a HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde", 400},
    {"POST /a HTTP/1.1\r\n" H
     "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\n" H "\r\n",
     400},
    {"POST /a HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400},
    {"POST /a HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400},
    {"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
    {"POST /a HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n", 0},
    {"POST /a HTTP/1.1\r\n" H "Content-Length: +1\r\n\r\na", 0},
    {"POST /a HTTP/1.1\r\n" H "Content-Length: 1a\r\n\r\na", 0},
    {"POST /a HTTP/1.1\r\n" H "Content-Length: 99999999999999999999999\r\n\r\na", 0},
    {"POST /a HTTP/1.1\r\n" H "Content-Length : 3\r\n\r\nabc", 400},
    {"POST /a HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", 0},
    {"POST /a HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 0},
    {"POST /a HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 0},
    {"GET /a HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", 400},
    {"DELETE /a HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", 400},
    {"GET /a%zz HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /a%00 HTTP/1.1\r\n" H "\r\n", 400},
    {"GET a HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /a?x=1&x=2 HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /a HTTP/1.1\r\n" H "X: \x01\r\n\r\n", 400},
    {"GET /a HTTP/1.1\r\n" H "Expect: magic\r\n\r\n", 417},
    {"GET /a b HTTP/1.1\r\n" H "\r\n", 0},
    {"GET /a HTTP/9.9\r\n" H "\r\n", 0},
    {"GET /a FTP/1.1\r\n" H "\r\n", 0},
    {"GET\r\n\r\n", 0},
    {"GET /a HTTP/1.1\r\nno colon here\r\n\r\n", 0},
    {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 0},
    {"SSH-2.0-OpenSSH_9.2\r\n\r\n", 0},
};

static void a_corpus_of_malformed_requests(void **state)
{
    (void)state;
    struct world w;
    struct http_conf conf = conf_of();
    conf.patience_us = 200000;
    begin(&w, &conf);
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
        int fd = client_connect(w.at);
        assert_true(fd >= 0 && client_send(fd, malformed[i].text, strlen(malformed[i].text)));
        struct answer a = client_answer(fd, false);
        if (malformed[i].code != 0 ? a.code != malformed[i].code : a.code / 100 == 2) {
            fail_msg("\"%s\": %d, not %d", malformed[i].text, a.code, malformed[i].code);
        }
        if (a.code == malformed[i].code && a.code != 0) {
            struct json *j = NULL;
            assert_int_equal(json_parse(a.body, a.body_n, "answer", &j, NULL), ST_OK);
            assert_true(strlen(json_str(j, "error", "")) > 8);
            json_free(j);
        }
        answer_release(&a);
        /* What follows on the same connection is never taken for a request of its own. */
        if (strstr(malformed[i].text, "Content-Length: 3\r\n\r\nabc") == NULL &&
            strstr(malformed[i].text, "GET /a%") == NULL) {
            (void)client_send(fd, "GET /after HTTP/1.1\r\n" H "\r\n", 32);
            a = client_answer(fd, false);
            if (malformed[i].code == 400 && a.code == 200) {
                fail_msg("\"%s\": the connection went on", malformed[i].text);
            }
            answer_release(&a);
        }
        close(fd);
    }
    assert_int_equal(atomic_load(&w.requests), 0);
    struct answer a = ask(w.at, "GET /alive HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(a.code, 200);
    answer_release(&a);
    finish(&w);
}

/* Bytes from a generator, and good requests with bytes of them changed: no answer matters, but that it lives. */
static void noise(void **state)
{
    (void)state;
    struct world w;
    struct http_conf conf = conf_of();
    conf.patience_us = 300000;
    begin(&w, &conf);
    static const char good[] =
        "POST /a/b?c=d HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    uint64_t x = 88172645463325252ull;
    for (int i = 0; i < 2000; i++) {
        char text[sizeof(good)];
        memcpy(text, good, sizeof(good));
        for (int k = 0; k < 1 + i % 4; k++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            text[x % (sizeof(good) - 1)] = (char)(x >> 32);
        }
        int fd = client_connect(w.at);
        assert_true(fd >= 0);
        (void)client_send(fd, text, sizeof(good) - 1 - (size_t)(i % 7));
        close(fd);
    }
    struct answer a = ask(w.at, "GET /alive HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(a.code, 200);
    answer_release(&a);
    finish(&w);
}

static void keep_alive_and_pipelining(void **state)
{
    (void)state;
    struct world w;
    struct http_conf conf = conf_of();
    begin(&w, &conf);
    int fd = client_connect(w.at);
    enum { N = 50 };
    char text[N * 96], want[64];
    size_t n = 0;
    for (int i = 0; i < N; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n,
                              "POST /n/%d HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\n%03d", i, i);
    }
    assert_true(client_send(fd, text, n));
    for (int i = 0; i < N; i++) {
        struct answer a = client_answer(fd, false);
        snprintf(want, sizeof(want), "1/n/%d %03d", i, i);
        assert_int_equal(a.code, 200);
        assert_string_equal(a.body, want);
        answer_release(&a);
    }
    for (int i = 0; i < 5; i++) { /* and one after the other, refused ones with bodies among them */
        const char *one = i % 2 == 0 ? "GET /k HTTP/1.1\r\n" H "\r\n"
                                     : "POST /nowhere HTTP/1.1\r\n" H
                                       "Content-Length: 3\r\n\r\nabc";
        assert_true(client_send(fd, one, strlen(one)));
        struct answer a = client_answer(fd, false);
        assert_int_equal(a.code, i % 2 == 0 ? 200 : 404);
        answer_release(&a);
    }
    close(fd);
    finish(&w);
    assert_int_equal(atomic_load(&w.done), N + 5);
}

static struct answer post_of(const char *at, const char *path, size_t n, bool chunked)
{
    char *text = calloc(1, n + 256);
    size_t used = (size_t)sprintf(text, "POST %s HTTP/1.1\r\n" H, path);
    used += (size_t)(chunked ? sprintf(text + used, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", n)
                             : sprintf(text + used, "Content-Length: %zu\r\n\r\n", n));
    memset(text + used, 'b', n);
    used += n;
    used += (size_t)(chunked ? sprintf(text + used, "\r\n0\r\n\r\n") : 0);
    struct answer a = client_ask(at, text, used);
    free(text);
    return a;
}

static void bodies_too_large(void **state)
{
    (void)state;
    struct world w;
    struct http_conf conf = conf_of();
    conf.bodies_max = 100000;
    begin(&w, &conf);
    static const struct {
        const char *path;
        size_t n;
        bool chunked;
        int code;
    } cases[] = {
        {"/p", 4096, false, 200},    {"/p", 4096, true, 200},     {"/p", 4097, false, 413},
        {"/p", 4097, true, 413},     {"/p", 3000000, false, 413}, {"/p", 3000000, true, 413},
        {"/small", 8, false, 200},   {"/small", 9, false, 413},   {"/small", 9, true, 413},
        {"/p", 12000000, false, -1}, {"/p", 12000000, true, -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer a = post_of(w.at, cases[i].path, cases[i].n, cases[i].chunked);
        /* Beyond what is read and thrown away, the answer may be lost with the connection. */
        bool right = cases[i].code > 0 ? a.code == cases[i].code : a.code == 0 || a.code == 413;
        if (!right) {
            fail_msg("%s %zu: %d", cases[i].path, cases[i].n, a.code);
        }
        answer_release(&a);
    }
    struct answer a = ask(w.at, "POST /p HTTP/1.1\r\n" H
                                "Content-Length: 999999\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(a.code, 413); /* at once: the body was never sent */
    answer_release(&a);
    finish(&w);
}

/* Many bodies that are not whole yet: their bytes are bounded over all connections of the loop. */
static void bodies_are_bounded_together(void **state)
{
    (void)state;
    struct world w;
    struct http_conf conf = conf_of();
    conf.loops = 1;
    conf.bodies_max = 30000;
    begin(&w, &conf);
    enum { N = 20 };
    int fd[N], ok = 0, busy = 0;
    static char part[4000];
    memset(part, 'b', sizeof(part));
    static const char head[] = "POST /p HTTP/1.1\r\n" H "Content-Length: 4001\r\n\r\n";
    for (int i = 0; i < N; i++) {
        fd[i] = client_connect(w.at);
        assert_true(client_send(fd[i], head, sizeof(head) - 1) &&
                    client_send(fd[i], part, sizeof(part)));
    }
    struct answer a = ask(w.at, "GET /a HTTP/1.1\r\n" H "\r\n"); /* no body: always */
    assert_int_equal(a.code, 200);
    answer_release(&a);
    for (int i = 0; i < N; i++) {
        assert_true(client_send(fd[i], "b", 1));
    }
    for (int i = 0; i < N; i++) {
        a = client_answer(fd[i], false);
        ok += a.code == 200;
        busy += a.code == 503 && strstr(a.head, "Retry-After: 1") != NULL;
        answer_release(&a);
        close(fd[i]);
    }
    assert_int_equal(ok + busy, N);
    assert_true(ok >= 3 && busy >= 3);
    finish(&w);
}

/* -- slow clients, full loops ------------------------------------------------------------------- */

static void slow_clients_are_cut(void **state)
{
    (void)state;
    struct world w;
    struct http_conf conf = conf_of();
    conf.patience_us = 400000;
    begin(&w, &conf);
    static const char slow[] = "GET /slow HTTP/1.1\r\nX-Padding: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    int drip = client_connect(w.at), idle = client_connect(w.at), body = client_connect(w.at),
        reader = client_connect(w.at);
    static const char half[] = "POST /p HTTP/1.1\r\n" H "Content-Length: 10\r\n\r\nabc";
    static const char large[] = "GET /large/50000000 HTTP/1.1\r\n" H "\r\n";
    assert_true(client_send(body, half, sizeof(half) - 1));
    assert_true(client_send(reader, large, sizeof(large) - 1));
    uint64_t t0 = clock_now_us();
    bool cut = false;
    for (size_t i = 0; i < sizeof(slow) - 1 && !cut; i++) { /* a byte each 50 ms: 3 s in all */
        cut = !client_send(drip, slow + i, 1) || client_closed(drip, 50) ||
              clock_now_us() - t0 > 2500000;
        char c;
        cut = cut || recv(drip, &c, 1, MSG_DONTWAIT | MSG_PEEK) == 1;
    }
    assert_true(cut && clock_now_us() - t0 < 2000000);
    struct answer a = client_answer(body, false);
    assert_int_equal(a.code, 408);
    answer_release(&a);
    assert_true(client_closed(idle, 2000));  /* without a word */
    uint64_t end = clock_now_us() + 5000000; /* the one that doesn't read loses its answer */
    struct http_stats stats;
    do {
        http_server_stats(w.server, &stats);
    } while (stats.connections > 0 && clock_now_us() < end);
    assert_int_equal(stats.connections, 0);
    assert_true(stats.cut >= 4);
    close(drip), close(idle), close(body), close(reader);
    /* A held request has no such deadline: it is not the client that is slow. */
    int fd = client_connect(w.at);
    static const char hold[] = "GET /hold HTTP/1.1\r\n" H "\r\n";
    assert_true(client_send(fd, hold, sizeof(hold) - 1));
    wait_holds(&w, 1);
    assert_false(client_closed(fd, 900));
    let_go(&w);
    a = client_answer(fd, false);
    assert_int_equal(a.code, 200);
    answer_release(&a);
    close(fd);
    finish(&w);
}

static void a_full_loop_says_429(void **state)
{
    (void)state;
    struct world w;
    struct http_conf conf = conf_of();
    conf.loops = 1;
    conf.held_max = 4;
    begin(&w, &conf);
    static const char hold[] = "POST /hold HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi";
    int fd[4];
    for (int i = 0; i < 4; i++) {
        fd[i] = client_connect(w.at);
        assert_true(client_send(fd[i], hold, sizeof(hold) - 1));
    }
    wait_holds(&w, 4);
    for (int i = 0; i < 3; i++) {
        struct answer a = ask(w.at, "GET /x HTTP/1.1\r\n" H "\r\n");
        assert_int_equal(a.code, 429);
        assert_non_null(strstr(a.head, "Retry-After: 1\r\n"));
        assert_non_null(strstr(a.body, "{\"error\":"));
        answer_release(&a);
    }
    let_go(&w);
    for (int i = 0; i < 4; i++) {
        struct answer a = client_answer(fd[i], false);
        assert_int_equal(a.code, 200);
        assert_string_equal(a.body, "1/hold hi");
        answer_release(&a);
        close(fd[i]);
    }
    struct answer a = ask(w.at, "GET /x HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(a.code, 200);
    answer_release(&a);
    struct http_stats stats;
    http_server_stats(w.server, &stats);
    assert_int_equal(stats.too_busy, 3);
    finish(&w);
}

/* A client that goes away while its request is held: the answer goes nowhere, and nothing else. */
static void clients_that_leave(void **state)
{
    (void)state;
    struct world w;
    struct http_conf conf = conf_of();
    begin(&w, &conf);
    static const char hold[] = "POST /hold HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi";
    for (int i = 0; i < 8; i++) {
        int fd = client_connect(w.at);
        assert_true(client_send(fd, hold, sizeof(hold) - 1));
        wait_holds(&w, (size_t)i + 1);
        close(fd);
    }
    let_go(&w);
    finish(&w);
    assert_int_equal(atomic_load(&w.done), 8);
}

static void batches(void **state)
{
    (void)state;
    struct world w;
    struct http_conf conf = conf_of();
    conf.loops = 1;
    begin(&w, &conf);
    enum { C = 32, ROUNDS = 50 };
    int fd[C];
    for (int i = 0; i < C; i++) {
        fd[i] = client_connect(w.at);
    }
    for (int k = 0; k < ROUNDS; k++) {
        for (int i = 0; i < C; i++) {
            assert_true(client_send(fd[i], "GET /b HTTP/1.1\r\n" H "\r\n", 28));
        }
        for (int i = 0; i < C; i++) {
            struct answer a = client_answer(fd[i], false);
            assert_int_equal(a.code, 200);
            answer_release(&a);
        }
    }
    for (int i = 0; i < C; i++) {
        close(fd[i]);
    }
    assert_int_equal(atomic_load(&w.requests), C * ROUNDS);
    assert_true(atomic_load(&w.batch_most) > 1);
    finish(&w);
}

static void connections_over_the_bound(void **state)
{
    (void)state;
    struct world w;
    struct http_conf conf = conf_of();
    conf.connections_max = 4;
    begin(&w, &conf);
    int fd[4];
    for (int i = 0; i < 4; i++) {
        fd[i] = client_connect(w.at);
        assert_true(client_send(fd[i], "GET /b HTTP/1.1\r\n" H "\r\n", 28));
        struct answer a = client_answer(fd[i], false);
        assert_int_equal(a.code, 200);
        answer_release(&a);
    }
    int more = client_connect(w.at);
    struct answer a = client_answer(more, false);
    assert_int_equal(a.code, 503);
    assert_non_null(strstr(a.body, "as many connections"));
    answer_release(&a);
    assert_true(client_closed(more, 2000));
    close(more);
    for (int i = 0; i < 4; i++) {
        close(fd[i]);
    }
    finish(&w);
}

/* The clients are another process, so that each has its own descriptors. */
static int ten_thousand_clients(const char *at, int n)
{
    int *fd = calloc((size_t)n, sizeof(*fd));
    int bad = 0;
    for (int i = 0; i < n; i++) {
        fd[i] = client_connect(at);
        bad += fd[i] < 0 || !client_send(fd[i], "GET /m HTTP/1.1\r\n" H "\r\n", 28);
    }
    for (int round = 0; round < 2 && bad == 0; round++) {
        for (int i = 0; i < n && bad == 0; i++) {
            struct answer a = client_answer(fd[i], false);
            bad += a.code != 200;
            answer_release(&a);
            bad += round == 0 && !client_send(fd[i], "GET /m HTTP/1.1\r\n" H "\r\n", 28);
        }
    }
    return bad;
}

static void many_connections(void **state)
{
    (void)state;
    enum { N = 10000 };
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < N + 256) {
        print_message("10,000 connections: only %llu descriptors are allowed (ulimit -n)\n",
                      (unsigned long long)limit.rlim_cur);
        skip();
    }
    struct world w;
    struct http_conf conf = conf_of();
    conf.patience_us = 100000000;
    conf.held_max = 2 * N; /* no 429 here */
    begin(&w, &conf);
    uint64_t t0 = clock_now_us(), rss = mem_rss_bytes();
    pid_t child = fork();
    if (child == 0) {
        _exit(ten_thousand_clients(w.at, N) == 0 ? 0 : 1);
    }
    int how = -1;
    struct http_stats stats;
    uint64_t most = 0;
    while (waitpid(child, &how, WNOHANG) == 0 && clock_now_us() - t0 < 100000000) {
        http_server_stats(w.server, &stats);
        most = stats.connections > most ? stats.connections : most;
        clock_sleep_us(1000);
    }
    assert_int_equal(how, 0);
    assert_int_equal(atomic_load(&w.requests), 2 * N);
    assert_int_equal(most, N);
    print_message("10,000 connections, 2 requests each: %.1f s, %.1f KiB a connection\n",
                  (double)(clock_now_us() - t0) * 1e-6,
                  (double)(mem_rss_peak_bytes() - rss) / 1024 / N);
    finish(&w);
}

/* -- who may ask, and the end ------------------------------------------------------------------- */

static void tokens_and_addresses(void **state)
{
    (void)state;
    struct errbuf err = ERRBUF_INIT;
    struct http_conf conf = conf_of();
    struct http_server *none = NULL;
    struct world w;
    const struct http_owner owner = {&w, owner_head, owner_serve, NULL, owner_done};
    static const char *const open_paths[] = {"/healthz", NULL};
    static const char *const bad[] = {"", "x", "1.2.3:80", "127.0.0.1:", ":65536", "host:80"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        conf.address = bad[i];
        assert_int_equal(http_server_start(&conf, &owner, &none, &err), ST_USAGE);
        assert_non_null(strstr(err.text, "--http: \""));
        assert_int_equal(http_address_check(bad[i], "--http", &err), ST_USAGE);
    }
    conf.address = "0.0.0.0:0";
    assert_int_equal(http_server_start(&conf, &owner, &none, &err), ST_USAGE);
    assert_non_null(strstr(err.text, "not loopback"));
    conf.token = "";
    assert_int_equal(http_server_start(&conf, &owner, &none, &err), ST_USAGE);
    conf.token = "sesame";
    conf.open_paths = open_paths;
    begin(&w, &conf);
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        {"GET /a HTTP/1.1\r\n" H "\r\n", 401},
        {"GET /a HTTP/1.1\r\n" H "Authorization: Bearer sesam\r\n\r\n", 401},
        {"POST /a HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", 401},
        {"GET /a HTTP/1.1\r\n" H "Authorization: Bearer sesame\r\n\r\n", 200},
        {"GET /healthz HTTP/1.1\r\n" H "\r\n", 200},
        {"GET /healthz/../a HTTP/1.1\r\n" H "\r\n", 401},
        {"GET /healthz%2f HTTP/1.1\r\n" H "\r\n", 401},
        {"GET /nowhere HTTP/1.1\r\n" H "\r\n", 401}, /* not even what there is */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer a = ask(w.at, cases[i].text);
        if (a.code != cases[i].code) {
            fail_msg("%s: %d", cases[i].text, a.code);
        }
        assert_true(a.code != 401 || strstr(a.head, "WWW-Authenticate: Bearer\r\n") != NULL);
        answer_release(&a);
    }
    /* The port is taken: said, not shared. */
    struct http_conf second = conf_of();
    char at[64];
    snprintf(at, sizeof(at), "127.0.0.1:%s", strrchr(w.at, ':') + 1);
    second.address = at;
    assert_int_equal(http_server_start(&second, &owner, &none, &err), ST_IO);
    assert_non_null(strstr(err.text, "can't listen"));
    finish(&w);
}

struct stopping {
    struct world *w;
    enum status st;
};

static void *stop_run(void *arg)
{
    struct stopping *s = arg;
    s->st = http_server_stop(s->w->server, 5000000);
    return NULL;
}

static void stop_while_requests_are_under_way(void **state)
{
    (void)state;
    struct world w;
    struct http_conf conf = conf_of();
    begin(&w, &conf);
    static const char hold[] = "POST /hold HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi";
    static const char half[] = "POST /p HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\nab";
    char at[64];
    snprintf(at, sizeof(at), "%s", w.at);
    int held[3], late = client_connect(at), idle = client_connect(at);
    assert_true(client_send(late, half, sizeof(half) - 1));
    for (int i = 0; i < 3; i++) {
        held[i] = client_connect(at);
        assert_true(client_send(held[i], hold, sizeof(hold) - 1));
    }
    wait_holds(&w, 3);
    while (atomic_load(&w.heads) < 4) {
        sched_yield();
    }
    /* First the owner that doesn't answer: the server says so and stays. */
    assert_int_equal(http_server_stop(w.server, 0), ST_TIMEOUT);
    struct stopping s = {&w, ST_INTERNAL};
    pthread_t id;
    pthread_create(&id, NULL, stop_run, &s);
    int fd = client_connect(at);
    assert_true(fd < 0 || client_closed(fd, 2000)); /* nobody accepts any more */
    let_go(&w);
    for (int i = 0; i < 3; i++) {
        struct answer a = client_answer(held[i], false);
        assert_int_equal(a.code, 200);
        assert_non_null(strstr(a.head, "Connection: close\r\n"));
        answer_release(&a);
        close(held[i]);
    }
    pthread_join(id, NULL);
    assert_int_equal(s.st, ST_OK);
    assert_true(client_closed(late, 2000) && client_closed(idle, 2000));
    close(late), close(idle);
    pthread_mutex_destroy(&w.lock);
}

static void a_request_that_comes_in_while_it_stops(void **state)
{
    (void)state;
    struct world w;
    struct http_conf conf = conf_of();
    begin(&w, &conf);
    static const char half[] = "POST /p HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\nab";
    int late = client_connect(w.at);
    assert_true(client_send(late, half, sizeof(half) - 1));
    while (atomic_load(&w.heads) < 1) {
        sched_yield();
    }
    struct stopping s = {&w, ST_INTERNAL};
    pthread_t id;
    pthread_create(&id, NULL, stop_run, &s);
    assert_false(client_closed(late, 300));
    assert_true(client_send(late, "cd", 2));
    struct answer a = client_answer(late, false);
    assert_int_equal(a.code, 200);
    assert_string_equal(a.body, "1/p abcd");
    answer_release(&a);
    pthread_join(id, NULL);
    assert_int_equal(s.st, ST_OK);
    close(late);
}

static void a_page(void **state)
{
    (void)state;
    struct http_page *p = NULL;
    assert_int_equal(http_page_open("0", "x", "/metrics", "text/plain", &p, NULL), ST_OK);
    http_page_set(p, "one 1\n", 6);
    struct answer a = ask(http_page_address(p), "GET /metrics HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(a.code, 200);
    assert_string_equal(a.body, "one 1\n");
    answer_release(&a);
    a = ask(http_page_address(p), "POST /metrics HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nx");
    assert_int_equal(a.code, 405);
    answer_release(&a);
    a = ask(http_page_address(p), "GET /other HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(a.code, 404);
    answer_release(&a);
    http_page_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_requests),
        cmocka_unit_test(a_corpus_of_malformed_requests),
        cmocka_unit_test(noise),
        cmocka_unit_test(keep_alive_and_pipelining),
        cmocka_unit_test(bodies_too_large),
        cmocka_unit_test(bodies_are_bounded_together),
        cmocka_unit_test(slow_clients_are_cut),
        cmocka_unit_test(a_full_loop_says_429),
        cmocka_unit_test(clients_that_leave),
        cmocka_unit_test(batches),
        cmocka_unit_test(connections_over_the_bound),
        cmocka_unit_test(many_connections),
        cmocka_unit_test(tokens_and_addresses),
        cmocka_unit_test(stop_while_requests_are_under_way),
        cmocka_unit_test(a_request_that_comes_in_while_it_stops),
        cmocka_unit_test(a_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
