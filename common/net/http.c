/* http.c - see http.h. microhttpd's own thread answers; the one lock is around the text. */
#include "common/net/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "common/base/mem.h"

#define CONNECTIONS_MAX 32u
#define IDLE_SECONDS    10u
#define MEMORY_BYTES    ((size_t)16384)

struct http_page {
    /* -- set once in open -- */
    struct MHD_Daemon *daemon;
    const char *path, *content_type; /* borrowed */
    char address[HTTP_ADDRESS_MAX];
    /* -- under the lock -- */
    pthread_mutex_t lock;
    char *text; /* owned */
    size_t n;
};

static enum status parse(const char *address, const char *what, struct sockaddr_in *out,
                         struct errbuf *err)
{
    const char *colon = strrchr(address, ':');
    const char *port = colon != NULL ? colon + 1 : address;
    size_t digits = strspn(port, "0123456789");
    size_t n = colon != NULL ? (size_t)(colon - address) : 0;
    char host[INET_ADDRSTRLEN] = "127.0.0.1";
    if (n > 0 && n < sizeof(host)) {
        memcpy(host, address, n);
        host[n] = '\0';
        if (strcmp(host, "localhost") == 0) {
            snprintf(host, sizeof(host), "127.0.0.1");
        }
    }
    memset(out, 0, sizeof(*out));
    out->sin_family = AF_INET;
    if (digits == 0 || digits > 5 || port[digits] != '\0' || n >= sizeof(host) ||
        strtoul(port, NULL, 10) > 65535 || inet_pton(AF_INET, host, &out->sin_addr) != 1) {
        return errbuf_set(err, ST_USAGE,
                          "%s: \"%s\": it must be [HOST:]PORT with an IPv4 address, as 9100 (on "
                          "loopback) or 10.0.0.1:9100; port 0 is chosen by the system",
                          what, address);
    }
    out->sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    return ST_OK;
}

enum status http_page_check(const char *address, const char *what, struct errbuf *err)
{
    struct sockaddr_in in;
    return parse(address, what, &in, err);
}

static enum MHD_Result answer_text(struct MHD_Connection *c, unsigned code, const char *text,
                                   size_t n, const char *type)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(n, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (r == NULL) {
        return MHD_NO;
    }
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    enum MHD_Result done = MHD_queue_response(c, code, r);
    MHD_destroy_response(r);
    return done;
}

static enum MHD_Result refuse(struct MHD_Connection *c, unsigned code, const char *why)
{
    return answer_text(c, code, why, strlen(why), "text/plain; charset=utf-8");
}

static bool has_body(struct MHD_Connection *c)
{
    const char *length =
        MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return (length != NULL && strcmp(length, "0") != 0) ||
           MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING) !=
               NULL;
}

static enum MHD_Result answer(void *arg, struct MHD_Connection *c, const char *url,
                              const char *method, const char *version, const char *body,
                              size_t *body_n, void **state)
{
    struct http_page *p = arg;
    (void)version;
    (void)body;
    (void)body_n;
    (void)state;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        return refuse(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET\n");
    }
    if (has_body(c)) {
        return refuse(c, MHD_HTTP_BAD_REQUEST, "a request with a body\n");
    }
    if (strcmp(url, p->path) != 0) {
        char why[64];
        snprintf(why, sizeof(why), "there is only %s\n", p->path);
        return refuse(c, MHD_HTTP_NOT_FOUND, why);
    }
    pthread_mutex_lock(&p->lock);
    enum MHD_Result done = answer_text(c, MHD_HTTP_OK, p->text, p->n, p->content_type);
    pthread_mutex_unlock(&p->lock);
    return done;
}

static enum status listen_on(struct http_page *p, struct sockaddr_in *in, const char *what,
                             const char *address, struct errbuf *err)
{
    socklen_t size = sizeof(*in);
    char host[INET_ADDRSTRLEN];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd < 0) {
        return errbuf_errno(err, ST_IO, "%s: socket", what);
    }
    /* Not SO_REUSEPORT: with it a second process would take the port unseen. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)in, sizeof(*in)) != 0 || listen(fd, CONNECTIONS_MAX) != 0 ||
        getsockname(fd, (struct sockaddr *)in, &size) != 0) {
        enum status st = errbuf_errno(err, ST_IO, "%s: can't listen on %s", what, address);
        close(fd);
        return st;
    }
    inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
    snprintf(p->address, sizeof(p->address), "%s:%u", host, ntohs(in->sin_port));
    p->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, answer, p,
                                 MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                                 CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS,
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY_BYTES, MHD_OPTION_END);
    if (p->daemon == NULL) {
        close(fd);
        return errbuf_set(err, ST_IO, "%s: the HTTP thread doesn't start", what);
    }
    return ST_OK;
}

enum status http_page_open(const char *address, const char *what, const char *path,
                           const char *content_type, struct http_page **out, struct errbuf *err)
{
    struct sockaddr_in in;
    enum status st = parse(address, what, &in, err);
    if (st != ST_OK) {
        return st;
    }
    struct http_page *p = mem_zalloc(sizeof(*p));
    p->path = path;
    p->content_type = content_type;
    p->text = mem_strdup("");
    pthread_mutex_init(&p->lock, NULL);
    st = listen_on(p, &in, what, address, err);
    if (st != ST_OK) {
        http_page_close(p);
        return st;
    }
    *out = p;
    return ST_OK;
}

void http_page_set(struct http_page *p, const char *text, size_t n)
{
    char *copy = mem_alloc(n > 0 ? n : 1);
    memcpy(copy, text, n);
    pthread_mutex_lock(&p->lock);
    char *old = p->text;
    p->text = copy;
    p->n = n;
    pthread_mutex_unlock(&p->lock);
    free(old);
}

const char *http_page_address(const struct http_page *p)
{
    return p->address;
}

void http_page_close(struct http_page *p)
{
    if (p == NULL) {
        return;
    }
    if (p->daemon != NULL) {
        MHD_stop_daemon(p->daemon);
    }
    pthread_mutex_destroy(&p->lock);
    free(p->text);
    free(p);
}
