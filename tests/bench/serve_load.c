/* serve_load.c - asks a serving node as fast as it answers, and prints how fast that was; tests/bench/serve_rank.sh runs it.
 *
 *     serve_load HOST:PORT CONNECTIONS SECONDS CANDIDATES USERS ITEMS
 *
 * POST /v1/rank of CANDIDATES random items for a random user. Each connection has one request under way (closed loop), all
 * connections are one thread's. The first tenth of the time is not counted.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

#define BODIES      128u
#define LATENCY_MAX ((size_t)1 << 22)

struct conn {
    int fd;
    struct buffer in;
    size_t need; /* bytes of the answer; 0: its head is not in */
    const struct buffer *out;
    size_t sent;
    uint64_t t0;
};

struct load {
    struct buffer body[BODIES];
    uint32_t *latency_us;
    size_t answers, bad;
    uint64_t count_from;
    uint64_t x;
};

static uint64_t next(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static void make_bodies(struct load *l, size_t candidates, uint64_t users, uint64_t items)
{
    for (unsigned b = 0; b < BODIES; b++) {
        struct buffer json = BUFFER_INIT;
        buffer_printf(&json, "{\"user_id\": %llu, \"items\": [",
                      (unsigned long long)(1 + next(&l->x) % users));
        for (size_t i = 0; i < candidates; i++) {
            buffer_printf(&json, "%s%llu", i > 0 ? ", " : "",
                          (unsigned long long)(1 + next(&l->x) % items));
        }
        buffer_printf(&json, "]}");
        buffer_printf(&l->body[b],
                      "POST /v1/rank HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                      "Content-Length: %zu\r\n\r\n",
                      json.used);
        buffer_put(&l->body[b], json.data, json.used);
        buffer_release(&json);
    }
}

static int dial(const char *address)
{
    const char *colon = strrchr(address, ':');
    struct sockaddr_in in = {.sin_family = AF_INET};
    char host[64];
    int on = 1;
    if (colon == NULL) {
        return -1;
    }
    snprintf(host, sizeof(host), "%.*s", (int)(colon - address), address);
    in.sin_port = htons((uint16_t)atoi(colon + 1));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || inet_pton(AF_INET, host, &in.sin_addr) != 1 ||
        connect(fd, (struct sockaddr *)&in, sizeof(in)) != 0) {
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void push(struct conn *c)
{
    while (c->sent < c->out->used) {
        ssize_t n = send(c->fd, c->out->data + c->sent, c->out->used - c->sent, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        c->sent += (size_t)n;
    }
}

static void ask(struct load *l, struct conn *c)
{
    buffer_reset(&c->in);
    c->need = 0;
    c->out = &l->body[next(&l->x) % BODIES];
    c->sent = 0;
    c->t0 = clock_now_us();
    push(c);
}

static void answered(struct load *l, struct conn *c)
{
    uint64_t now = clock_now_us();
    if (now >= l->count_from && l->answers < LATENCY_MAX) {
        l->latency_us[l->answers++] = (uint32_t)(now - c->t0);
        l->bad += memcmp(c->in.data, "HTTP/1.1 200", 12) != 0;
    }
    ask(l, c);
}

/* False: the connection is gone. */
static int pull(struct load *l, struct conn *c)
{
    for (;;) {
        uint8_t part[65536];
        ssize_t n = recv(c->fd, part, sizeof(part), 0);
        if (n <= 0) {
            return n < 0 && errno == EAGAIN;
        }
        buffer_put(&c->in, part, (size_t)n);
        if (c->need == 0) {
            const char *text = buffer_text(&c->in), *end = strstr(text, "\r\n\r\n");
            const char *length = strcasestr(text, "content-length: ");
            c->need = end != NULL && length != NULL
                          ? (size_t)(end + 4 - text) + strtoul(length + 16, NULL, 10)
                          : 0;
        }
        if (c->need > 0 && c->in.used >= c->need) {
            answered(l, c);
        }
    }
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int run(struct load *l, const char *address, size_t conns, double seconds)
{
    struct conn *c = mem_array(conns, sizeof(*c));
    int ep = epoll_create1(0);
    uint64_t begin = clock_now_us(), end = begin + (uint64_t)(seconds * 1e6);
    l->count_from = begin + (end - begin) / 10;
    for (size_t i = 0; i < conns; i++) {
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &c[i]};
        c[i].fd = dial(address);
        if (c[i].fd < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, c[i].fd, &e) != 0) {
            fprintf(stderr, "%s: no connection\n", address);
            return 1;
        }
        ask(l, &c[i]);
    }
    while (clock_now_us() < end) {
        struct epoll_event e[64];
        int n = epoll_wait(ep, e, 64, 100);
        for (int i = 0; i < n; i++) {
            struct conn *k = e[i].data.ptr;
            push(k);
            if (!pull(l, k)) {
                fprintf(stderr, "a connection was closed\n");
                return 1;
            }
        }
    }
    double took = (double)(clock_now_us() - l->count_from) * 1e-6;
    if (l->answers == 0) {
        fprintf(stderr, "no answer in time\n");
        return 1;
    }
    qsort(l->latency_us, l->answers, sizeof(*l->latency_us), by_size);
    printf("%4zu connections: %9.1f requests/s, p50 %8.2f ms, p99 %8.2f ms, max %8.2f ms, not 200: "
           "%zu\n",
           conns, (double)l->answers / took, l->latency_us[l->answers / 2] * 1e-3,
           l->latency_us[l->answers * 99 / 100] * 1e-3, l->latency_us[l->answers - 1] * 1e-3,
           l->bad);
    return l->bad > 0;
}

int main(int argc, char **argv)
{
    static struct load l;
    if (argc != 7) {
        printf("serve_load: tests/bench/serve_rank.sh runs it against a node\n");
        return 0;
    }
    l.x = 88172645463325252ull;
    l.latency_us = mem_array(LATENCY_MAX, sizeof(*l.latency_us));
    make_bodies(&l, (size_t)atol(argv[4]), (uint64_t)atol(argv[5]), (uint64_t)atol(argv[6]));
    return run(&l, argv[1], (size_t)atol(argv[2]), atof(argv[3]));
}
