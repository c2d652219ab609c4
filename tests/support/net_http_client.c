/* net_http_client.c - see net_http_client.h. */
#include "tests/support/net_http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS 10000

int client_connect(const char *address)
{
    const char *colon = strrchr(address, ':');
    struct sockaddr_in in = {.sin_family = AF_INET};
    in.sin_port = htons((unsigned short)atoi(colon + 1));
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&in, sizeof(in)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

bool client_send(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        bytes += sent;
        n -= (size_t)sent;
    }
    return true;
}

static ssize_t receive(int fd, char *to, size_t n, int wait_ms)
{
    struct pollfd p = {fd, POLLIN, 0};
    errno = 0;
    return poll(&p, 1, wait_ms) == 1 ? recv(fd, to, n, 0) : -1;
}

struct answer client_answer(int fd, bool head_only)
{
    struct answer a = {0};
    size_t used = 0;
    while (used < 4 || memcmp(a.head + used - 4, "\r\n\r\n", 4) != 0) {
        if (used + 1 == sizeof(a.head) || receive(fd, a.head + used, 1, WAIT_MS) != 1) {
            return a;
        }
        used++;
    }
    const char *length = strcasestr(a.head, "\r\ncontent-length:");
    a.body_n = length != NULL && !head_only ? strtoul(length + 17, NULL, 10) : 0;
    a.body = calloc(1, a.body_n + 1);
    for (size_t got = 0; got < a.body_n;) {
        ssize_t n = receive(fd, a.body + got, a.body_n - got, WAIT_MS);
        if (n <= 0) {
            return a;
        }
        got += (size_t)n;
    }
    a.code = atoi(a.head + 9);
    return a;
}

void answer_release(struct answer *a)
{
    free(a->body);
    memset(a, 0, sizeof(*a));
}

bool client_closed(int fd, int wait_ms)
{
    char c;
    ssize_t n = receive(fd, &c, 1, wait_ms);
    return n == 0 || (n < 0 && (errno == ECONNRESET || errno == EPIPE));
}

struct answer client_ask(const char *address, const char *bytes, size_t n)
{
    struct answer a = {0};
    int fd = client_connect(address);
    if (fd >= 0) {
        (void)client_send(fd, bytes, n);
        a = client_answer(fd, strncmp(bytes, "HEAD ", 5) == 0);
        a.closed = client_closed(fd, 0);
        close(fd);
    }
    return a;
}
