/* http_server.c - see http_server.h: the listening socket, its thread, and the loops' beginning and end. */
#include "common/net/http_server.h"
#include "common/net/listen_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/thread.h"
#include "common/net/http_conn.h"
#include "common/net/http_loop.h"
#include "common/net/wake.h"

#define BACKLOG      1024
#define FILES_SPARED 128u /* descriptors that the rest of the process keeps */
#define BACK_OFF_US  50000u

struct http_server {
    /* -- set once in start -- */
    struct http_conf conf;
    struct http_owner owner;
    struct http_loop *loop[HTTP_LOOPS_MAX];
    unsigned loops;
    char address[HTTP_ADDRESS_MAX];
    int listener;
    struct wake wake;
    struct thread acceptor;
    /* -- any thread -- */
    atomic_bool draining;
    _Atomic uint64_t accepted, refused;
};

enum status http_address_check(const char *address, const char *what, struct errbuf *err)
{
    struct sockaddr_in in;
    return listen_address_parse(address, what, &in, err);
}

static enum status listen_on(struct http_server *s, struct sockaddr_in *in, struct errbuf *err)
{
    socklen_t size = sizeof(*in);
    char host[INET_ADDRSTRLEN];
    int on = 1;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listener < 0) {
        return errbuf_errno(err, ST_IO, "%s: socket", s->conf.what);
    }
    /* Not SO_REUSEPORT: with it a second process would take the port unseen. */
    if (setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(s->listener, (struct sockaddr *)in, sizeof(*in)) != 0 ||
        listen(s->listener, BACKLOG) != 0 ||
        getsockname(s->listener, (struct sockaddr *)in, &size) != 0) {
        return errbuf_errno(err, ST_IO, "%s: can't listen on %s", s->conf.what, s->conf.address);
    }
    inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
    snprintf(s->address, sizeof(s->address), "%s:%u", host, ntohs(in->sin_port));
    return ST_OK;
}

/* -- the acceptor ------------------------------------------------------------------------------- */

static void place(struct http_server *s, int fd)
{
    unsigned best = 0;
    uint64_t least = UINT64_MAX, all = 0;
    int on = 1;
    for (unsigned i = 0; i < s->loops; i++) {
        uint64_t n = http_loop_connections(s->loop[i]);
        all += n;
        if (n < least) {
            least = n;
            best = i;
        }
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (all < s->conf.connections_max && http_loop_add(s->loop[best], fd)) {
        atomic_fetch_add(&s->accepted, 1);
        return;
    }
    atomic_fetch_add(&s->refused, 1);
    http_conn_turn_away(fd, 503, "this node has as many connections as it takes; try again");
    close(fd);
}

static void *acceptor_run(void *arg)
{
    struct http_server *s = arg;
    struct pollfd p[2] = {{s->listener, POLLIN, 0}, {s->wake.fd, POLLIN, 0}};
    while (!atomic_load(&s->draining)) {
        (void)poll(p, 2, 1000);
        for (;;) {
            int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (fd >= 0) {
                place(s, fd);
            } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                clock_sleep_us(BACK_OFF_US); /* they wait in the backlog */
                break;
            } else if (errno != EINTR && errno != ECONNABORTED) {
                break;
            }
            if (atomic_load(&s->draining)) {
                break;
            }
        }
    }
    return NULL;
}

/* -- beginning and end -------------------------------------------------------------------------- */

/* A connection is a descriptor: no more of them than the process may have. */
static void bound_connections(struct http_server *s)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    size_t most = limit.rlim_cur > 2 * FILES_SPARED ? limit.rlim_cur - FILES_SPARED : FILES_SPARED;
    if (s->conf.connections_max > most) {
        s->conf.connections_max = most;
    }
}

/* The parts that run, last first. */
static enum status take_down(struct http_server *s, uint64_t until_us)
{
    enum status all = ST_OK;
    atomic_store(&s->draining, true);
    if (s->wake.fd >= 0) {
        wake_signal(&s->wake);
    }
    thread_stop(&s->acceptor);
    if (s->listener >= 0) {
        close(s->listener);
        s->listener = -1;
    }
    for (unsigned i = 0; i < s->loops; i++) {
        enum status st = s->loop[i] != NULL ? http_loop_stop(s->loop[i], until_us) : ST_OK;
        s->loop[i] = st == ST_OK ? NULL : s->loop[i];
        all = st != ST_OK ? st : all;
    }
    if (all == ST_OK) {
        if (s->wake.fd >= 0) {
            wake_release(&s->wake);
        }
        free(s);
    }
    return all;
}

static enum status check(const struct http_conf *conf, struct sockaddr_in *in, struct errbuf *err)
{
    enum status st = listen_address_parse(conf->address, conf->what, in, err);
    const bool has_token = conf->token != NULL && conf->token[0] != '\0';
    if (st == ST_OK && (ntohl(in->sin_addr.s_addr) >> 24) != 127 && !has_token && !conf->anyone) {
        st = errbuf_set(err, ST_USAGE,
                        "%s: %s is not loopback: whoever reaches it could ask and change "
                        "everything; give a token, or listen on 127.0.0.1",
                        conf->what, conf->address);
    }
    return st;
}

enum status http_server_check(const struct http_conf *conf, struct errbuf *err)
{
    struct sockaddr_in in;
    return check(conf, &in, err);
}

enum status http_server_start(const struct http_conf *conf, const struct http_owner *owner,
                              struct http_server **out, struct errbuf *err)
{
    struct sockaddr_in in;
    enum status st = check(conf, &in, err);
    if (st != ST_OK) {
        return st;
    }
    struct http_server *s = mem_zalloc(sizeof(*s));
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned loops = conf->loops > 0 ? conf->loops : (unsigned)(cpus > 0 ? cpus : 1);
    loops = loops < HTTP_LOOPS_MAX ? loops : HTTP_LOOPS_MAX;
    s->conf = *conf;
    s->owner = *owner;
    s->listener = s->wake.fd = -1;
    bound_connections(s);
    st = listen_on(s, &in, err);
    if (st == ST_OK) {
        st = wake_init(&s->wake, err);
    }
    for (unsigned i = 0; i < loops && st == ST_OK; i++) {
        st = http_loop_start(&s->conf, &s->owner, i, &s->draining, &s->loop[i], err);
        s->loops += st == ST_OK;
    }
    if (st == ST_OK) {
        st = thread_start(&s->acceptor, "http-accept", acceptor_run, s, err);
    }
    if (st != ST_OK) {
        if (take_down(s, clock_now_us()) != ST_OK) {
            log_error("%s: the HTTP server's parts do not end", s->conf.what);
        }
        return st;
    }
    *out = s;
    return ST_OK;
}

const char *http_server_address(const struct http_server *s)
{
    return s->address;
}

unsigned http_server_loops(const struct http_server *s)
{
    return s->loops;
}

void http_server_stats(const struct http_server *s, struct http_stats *out)
{
    *out = (struct http_stats){0};
    out->accepted = atomic_load(&s->accepted);
    out->refused = atomic_load(&s->refused);
    for (unsigned i = 0; i < s->loops; i++) {
        http_loop_stats(s->loop[i], out);
    }
}

enum status http_server_stop(struct http_server *s, uint64_t wait_us)
{
    return s != NULL ? take_down(s, clock_now_us() + wait_us) : ST_OK;
}
