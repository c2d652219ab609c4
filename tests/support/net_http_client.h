/* net_http_client.h - raw bytes to an HTTP server and its answers back, for tests: nothing is made right on the way. */
#ifndef PENSTOCK_TESTS_SUPPORT_NET_HTTP_CLIENT_H
#define PENSTOCK_TESTS_SUPPORT_NET_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

struct answer {
    int code;        /* 0: none came, the connection was closed or the time is up */
    char head[2048]; /* status line and headers, terminated */
    char *body;      /* owned */
    size_t body_n;
    bool closed; /* only by client_closed */
};

int client_connect(const char *address); /* "127.0.0.1:80"; -1 */
bool client_send(int fd, const char *bytes, size_t n);
/* The next answer on this connection, within 10 s. head_only: to a HEAD. */
struct answer client_answer(int fd, bool head_only);
void answer_release(struct answer *a);
/* Whether the server closes (or resets) the connection within wait_ms, saying nothing more. */
bool client_closed(int fd, int wait_ms);
/* connect, send, one answer, close. */
struct answer client_ask(const char *address, const char *bytes, size_t n);

#endif
