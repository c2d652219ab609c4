/* node_ask.c - see node_ask.h. */
#include "launch/node_ask.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"

#define ANSWER_MAX ((size_t)1 << 20)

/* Wait until fd is ready for `what`; false: the time is up. */
static bool ready(int fd, short what, uint64_t until_us)
{
    uint64_t now = clock_now_us();
    struct pollfd p = {fd, what, 0};
    return now < until_us && poll(&p, 1, (int)((until_us - now) / 1000u) + 1) == 1;
}

static enum status dial(const char *node, uint64_t until_us, int *out, struct errbuf *err)
{
    char host[256];
    const char *colon = strrchr(node, ':');
    const struct addrinfo want = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (colon == NULL || colon == node || colon[1] == '\0' ||
        (size_t)(colon - node) >= sizeof(host)) {
        return errbuf_set(err, ST_USAGE, "%s: it must be HOST:PORT, as 127.0.0.1:8080", node);
    }
    snprintf(host, sizeof(host), "%.*s", (int)(colon - node), node);
    int code = getaddrinfo(host, colon + 1, &want, &found);
    if (code != 0) {
        return errbuf_set(err, ST_IO, "%s: %s", node, gai_strerror(code));
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failed =
        fd < 0 || (connect(fd, found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS);
    socklen_t n = sizeof(failed);
    freeaddrinfo(found);
    enum status st = ST_OK;
    if (failed) {
        st = errbuf_errno(err, ST_IO, "%s", node);
    } else if (!ready(fd, POLLOUT, until_us)) {
        st = errbuf_set(err, ST_TIMEOUT, "%s does not answer", node);
    } else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &n) != 0 || failed != 0) {
        errno = failed;
        st = errbuf_errno(err, ST_IO, "%s: no node listens there", node);
    }
    if (st != ST_OK && fd >= 0) {
        close(fd);
    } else if (st == ST_OK) {
        *out = fd;
    }
    return st;
}

static enum status talk(int fd, const char *node, struct buffer *b, uint64_t until_us,
                        struct errbuf *err)
{
    size_t sent = 0;
    while (sent < b->used) {
        ssize_t n = ready(fd, POLLOUT, until_us)
                        ? send(fd, b->data + sent, b->used - sent, MSG_NOSIGNAL)
                        : 0;
        if (n <= 0) {
            return errbuf_set(err, n == 0 ? ST_TIMEOUT : ST_IO, "%s does not take a request", node);
        }
        sent += (size_t)n;
    }
    buffer_reset(b);
    for (;;) {
        uint8_t part[4096];
        if (!ready(fd, POLLIN, until_us)) {
            return errbuf_set(err, ST_TIMEOUT, "%s does not answer", node);
        }
        ssize_t n = recv(fd, part, sizeof(part), 0);
        if (n < 0) {
            return errbuf_errno(err, ST_IO, "%s", node);
        }
        if (n == 0) {
            return ST_OK;
        }
        if (b->used + (size_t)n > ANSWER_MAX) {
            return errbuf_set(err, ST_BAD_PEER, "%s: an answer of more than %zu bytes", node,
                              ANSWER_MAX);
        }
        buffer_put(b, part, (size_t)n);
    }
}

/* "HTTP/1.1 200 OK\r\n...\r\n\r\n{...}" */
static enum status read_answer(struct buffer *b, const char *node, struct json **out,
                               struct errbuf *err)
{
    const char *text = buffer_text(b);
    const char *body = strstr(text, "\r\n\r\n");
    int code = strncmp(text, "HTTP/1.", 7) == 0 ? atoi(text + 8) : 0;
    struct json *j = NULL;
    if (code < 100 || body == NULL) {
        return errbuf_set(err, ST_BAD_PEER, "%s: no HTTP answer", node);
    }
    body += 4;
    enum status st = json_parse(body, strlen(body), "the answer", &j, err);
    if (st != ST_OK) {
        return errbuf_wrap(err, ST_BAD_PEER, "%s: code %d, ", node, code);
    }
    if (code / 100 != 2) {
        st = code == 404 ? ST_NOT_FOUND : code == 400 ? ST_USAGE : ST_REFUSED;
        st = errbuf_set(err, st, "%s: %s", node,
                        json_str(j, "error", "it refuses, and does not say why"));
        json_free(j);
        return st;
    }
    *out = j;
    return ST_OK;
}

enum status node_ask(const char *node, const char *method, const char *path, const char *token,
                     const char *body, uint64_t wait_us, struct json **out, struct errbuf *err)
{
    const uint64_t until_us = clock_now_us() + wait_us;
    struct buffer b = BUFFER_INIT;
    int fd = -1;
    node += strncasecmp(node, "http://", 7) == 0 ? 7 : 0;
    enum status st = dial(node, until_us, &fd, err);
    if (st != ST_OK) {
        return st;
    }
    buffer_printf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", method, path, node);
    if (token != NULL) {
        buffer_printf(&b, "Authorization: Bearer %s\r\n", token);
    }
    if (body != NULL) {
        buffer_printf(&b, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                      strlen(body));
    }
    buffer_printf(&b, "\r\n%s", body != NULL ? body : "");
    st = talk(fd, node, &b, until_us, err);
    if (st == ST_OK) {
        st = read_answer(&b, node, out, err);
    }
    close(fd);
    buffer_release(&b);
    return st;
}
