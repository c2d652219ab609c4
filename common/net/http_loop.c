/* http_loop.c - see http_loop.h and http_server.h; the only user of microhttpd.h besides http_conn.c.
 *
 * What libmicrohttpd is for: bytes into requests, answers into bytes, keep-alive, pipelining (one request of a
 * connection at a time), 100-continue, chunks. What is ours: the rules (http_rules.h), bounds, deadlines, who waits where.
 * Everything here is on the loop's thread, but http_answer: from another thread it writes the answer, puts the connection
 * on the loop's stack of answered ones and wakes the loop. libmicrohttpd itself is called by the loop's thread alone: a
 * daemon without a thread of its own has no lock and nothing that would wake it (0.9.75).
 *
 * A refused request (404, 413 ...) with a body of moderate size is read to its end before it is answered: closing a socket
 * with bytes unread resets it, and the client may never see why.
 */
#include "common/net/http_loop.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/net/http_conn.h"

#define MEMORY_BYTES    ((size_t)16384) /* of a connection: its headers, both ways */
#define ROUND_MS        100             /* deadlines are looked at so often */
#define DISCARD_MAX     ((size_t)8 << 20)
#define ARRIVALS_MAX    4096u
#define ARRIVAL_WAIT_US 500000u

/* -- requests ----------------------------------------------------------------------------------- */

static enum http_method method_of(const char *word)
{
    static const struct {
        const char *word;
        enum http_method is;
    } known[] = {{"GET", HTTP_GET},
                 {"HEAD", HTTP_GET},
                 {"POST", HTTP_POST},
                 {"PUT", HTTP_PUT},
                 {"DELETE", HTTP_DELETE}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(word, known[i].word) == 0) {
            return known[i].is;
        }
    }
    return HTTP_OTHER;
}

static void drop_body(struct http_conn *k)
{
    k->loop->bodies -= k->body_cap;
    k->body_cap = 0;
    free(k->r.body);
    k->r.body = NULL;
    k->r.body_n = 0;
}

static bool is_open(const struct http_conf *conf, const char *url)
{
    for (size_t i = 0; conf->open_paths != NULL && conf->open_paths[i] != NULL; i++) {
        if (strcmp(conf->open_paths[i], url) == 0) {
            return true;
        }
    }
    return false;
}

static enum MHD_Result each_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                   size_t name_n, const char *value, size_t value_n)
{
    (void)kind;
    http_frame_header(arg, name, name_n, value != NULL ? value : "", value_n);
    return MHD_YES;
}

/* Who may ask, what, and with how large a body; the frame is sound. */
static void judge_head(struct http_conn *k, const struct http_frame *f, const char *url)
{
    struct http_loop *l = k->loop;
    const char *token = l->conf->token;
    const bool has_body = f->encodings > 0 || f->length > 0;
    if (token != NULL && token[0] != '\0' && !is_open(l->conf, url) &&
        !http_token_right(MHD_lookup_connection_value(k->mhd, MHD_HEADER_KIND, "Authorization"),
                          token)) {
        http_answer_header(&k->r, "WWW-Authenticate", "Bearer");
        http_conn_refuse(
            k, 401, "the header \"Authorization: Bearer TOKEN\" with this node's token is needed");
    } else if (has_body && k->r.method != HTTP_POST && k->r.method != HTTP_PUT) {
        http_conn_refuse(k, 400, "a body: only POST and PUT have one");
    } else if (!l->owner->head(l->owner->arg, l->index, &k->r)) {
        k->refused = true;
    } else if (f->length > k->r.body_max) {
        char why[128];
        snprintf(why, sizeof(why), "the body has %llu bytes, at most %zu are taken",
                 (unsigned long long)f->length, k->r.body_max);
        http_conn_refuse(k, 413, why);
    }
}

static enum MHD_Result on_head(struct http_conn *k, const char *url, const char *method,
                               const char *version)
{
    struct http_loop *l = k->loop;
    struct http_frame f = {0};
    struct errbuf err = ERRBUF_INIT;
    k->headed = true;
    k->r.method = method_of(method);
    k->r.body_max = l->conf->body_max;
    (void)MHD_get_connection_values_n(k->mhd, MHD_HEADER_KIND, each_header, &f);
    unsigned code = http_frame_judge(&f, strcmp(version, "HTTP/1.1") == 0, &err);
    if (code == 0 && k->raw_error != NULL) {
        (void)errbuf_set(&err, ST_BAD_DATA, "%s", k->raw_error);
        code = 400;
    }
    if (code != 0) {
        atomic_fetch_add_explicit(&l->malformed, 1, memory_order_relaxed);
        k->close = true;
        http_conn_refuse(k, code, err.text);
        return http_conn_send(k); /* whatever follows is not believed to be a body */
    }
    judge_head(k, &f, url);
    if (k->refused && (f.length > DISCARD_MAX || f.expects > 0)) {
        k->close = true;
        return http_conn_send(k);
    }
    return MHD_YES;
}

static enum MHD_Result take_body(struct http_conn *k, const char *bytes, size_t n)
{
    struct http_loop *l = k->loop;
    struct http_request *r = &k->r;
    if (!k->refused && r->body_n + n > r->body_max) {
        char why[64];
        snprintf(why, sizeof(why), "the body has more than %zu bytes", r->body_max);
        http_conn_refuse(k, 413, why);
        drop_body(k);
    }
    if (!k->refused && r->body_n + n + 1 > k->body_cap) {
        size_t cap = k->body_cap > 0 ? k->body_cap * 2 : 2048;
        cap = cap < r->body_n + n + 1 ? r->body_n + n + 1 : cap;
        if (l->bodies - k->body_cap + cap > l->conf->bodies_max) {
            http_answer_header(r, "Retry-After", "1");
            http_conn_refuse(k, 503, "too many bodies are under way; try again");
            drop_body(k);
        } else {
            l->bodies += cap - k->body_cap;
            k->body_cap = cap;
            r->body = mem_realloc(r->body, cap);
        }
    }
    if (k->refused) {
        k->discarded += n;
        if (k->discarded > DISCARD_MAX) {
            return MHD_NO;
        }
        return MHD_YES;
    }
    memcpy(r->body + r->body_n, bytes, n);
    r->body_n += n;
    r->body[r->body_n] = '\0';
    return MHD_YES;
}

static enum MHD_Result on_whole(struct http_conn *k)
{
    struct http_loop *l = k->loop;
    if (!k->refused && l->held >= l->conf->held_max) {
        atomic_fetch_add_explicit(&l->too_busy, 1, memory_order_relaxed);
        http_answer_header(&k->r, "Retry-After", "1");
        http_conn_refuse(k, 429, "this node has as many requests under way as it takes; try again");
    }
    if (k->refused) {
        return http_conn_send(k);
    }
    k->r.whole_us = clock_now_us();
    http_conn_turn(k, CONN_HELD);
    l->batch[l->batch_n++] = &k->r;
    MHD_suspend_connection(k->mhd);
    return MHD_YES;
}

/* -- what libmicrohttpd calls ------------------------------------------------------------------- */

static struct http_conn *conn_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static void reset_request(struct http_conn *k)
{
    drop_body(k);
    http_target_release(&k->r.target);
    free(k->raw_error);
    free(k->body);
    k->raw_error = NULL;
    k->body = NULL;
    k->r = (struct http_request){0};
    k->headed = k->refused = k->answered = k->close = false;
    k->discarded = 0;
    k->headers = 0;
    k->code = 0;
}

/* The request line is in. */
static void *on_line(void *arg, const char *target, struct MHD_Connection *c)
{
    struct http_conn *k = conn_of(c);
    struct errbuf err = ERRBUF_INIT;
    (void)arg;
    if (k == NULL) {
        return NULL;
    }
    if (k->state == CONN_IDLE) {
        http_conn_turn(k, CONN_TAKING);
    }
    if (http_target_parse(target, &k->r.target, &err) != ST_OK) {
        k->raw_error = mem_strdup(err.text);
    }
    return k;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *bytes,
                                  size_t *bytes_n, void **state)
{
    struct http_conn *k = conn_of(c);
    (void)arg;
    (void)state;
    if (k == NULL) {
        return MHD_NO;
    }
    if (!k->headed) {
        return on_head(k, url, method, version);
    }
    if (k->state == CONN_HELD) {
        return k->answered ? http_conn_send(k) : MHD_NO;
    }
    if (*bytes_n > 0) {
        size_t n = *bytes_n;
        *bytes_n = 0;
        return take_body(k, bytes, n);
    }
    return on_whole(k);
}

static void on_done(void *arg, struct MHD_Connection *c, void **state,
                    enum MHD_RequestTerminationCode how)
{
    struct http_loop *l = arg;
    struct http_conn *k = conn_of(c);
    (void)state;
    (void)how;
    if (k == NULL || !k->headed) {
        return;
    }
    if (l->owner->done != NULL) {
        l->owner->done(l->owner->arg, l->index, &k->r, k->code);
    }
    reset_request(k);
    http_conn_turn(k, CONN_IDLE);
}

static void on_connection(void *arg, struct MHD_Connection *c, void **socket_context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http_loop *l = arg;
    struct http_conn *k = *socket_context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        k = mem_zalloc(sizeof(*k));
        k->loop = l;
        k->mhd = c;
        http_conn_list(k);
        *socket_context = k;
        return;
    }
    if (k != NULL) {
        http_conn_turn(k, CONN_IDLE);
        http_conn_unlist(k);
        reset_request(k);
        free(k);
        *socket_context = NULL;
    }
    atomic_fetch_sub_explicit(&l->connections, 1, memory_order_relaxed);
}

/* Escapes are ours to read: "a%2Fb" is one part of a path. */
static size_t leave_escapes(void *arg, struct MHD_Connection *c, char *text)
{
    (void)arg;
    (void)c;
    return strlen(text);
}

/* -- the thread --------------------------------------------------------------------------------- */

static void cut_slow(struct http_loop *l, uint64_t now, uint64_t patience_us)
{
    while (l->oldest != NULL && now >= l->oldest->since_us + patience_us) {
        struct http_conn *k = l->oldest;
        atomic_fetch_add_explicit(&l->cut, 1, memory_order_relaxed);
        http_conn_cut(k, k->state == CONN_TAKING ? 408 : 0,
                      "the request was not whole in time; the connection is closed");
        http_conn_unlist(k); /* to the end: the socket's own event closes it */
        http_conn_list(k);
    }
}

/* MHD_add_connection works on the caller's thread, so it must be this one. */
static void take_arrivals(struct http_loop *l)
{
    static const struct sockaddr_in nobody = {.sin_family = AF_INET};
    void *item = NULL;
    while (queue_pop(l->arrivals, &item, 0) == ST_OK) {
        if (MHD_add_connection(l->daemon, (int)(intptr_t)item - 1, (const struct sockaddr *)&nobody,
                               sizeof(nobody)) != MHD_YES) {
            atomic_fetch_sub_explicit(&l->connections, 1, memory_order_relaxed);
        }
    }
}

/* One round of the sockets: waits for one of them, an arrival or an answer, at most ROUND_MS. (MHD_run_wait alone could not
 * be woken by an arrival.) */
static void round_of_sockets(struct http_loop *l)
{
    struct pollfd p[2] = {{l->epoll, POLLIN, 0}, {l->wake.fd, POLLIN, 0}};
    MHD_UNSIGNED_LONG_LONG due_ms = 0;
    int wait_ms = ROUND_MS;
    if (l->resumed) {
        wait_ms = 0;
    } else if (MHD_get_timeout(l->daemon, &due_ms) == MHD_YES && due_ms < ROUND_MS) {
        wait_ms = (int)due_ms;
    }
    l->resumed = false;
    (void)poll(p, 2, wait_ms);
    if (p[1].revents != 0) {
        wake_clear(&l->wake);
        take_arrivals(l);
        http_conn_take_answered(l);
    }
    (void)MHD_run(l->daemon);
}

static bool may_end(const struct http_loop *l, uint64_t now)
{
    uint64_t until = atomic_load(&l->stop_us);
    return until != 0 && l->held == 0 && (l->busy == 0 || now >= until);
}

static void *loop_run(void *arg)
{
    struct http_loop *l = arg;
    uint64_t looked_us = 0;
    http_conn_loop_is(l);
    for (;;) {
        round_of_sockets(l);
        if (l->batch_n > 0) {
            size_t n = l->batch_n;
            l->batch_n = 0;
            l->owner->serve(l->owner->arg, l->index, l->batch, n);
        }
        if (l->owner->idle != NULL && l->owner->idle(l->owner->arg, l->index)) {
            l->resumed = true;
        }
        uint64_t now = clock_now_us();
        if (now - looked_us >= ROUND_MS * 1000u) {
            looked_us = now;
            cut_slow(l, now, l->conf->patience_us);
        }
        if (may_end(l, now)) {
            break;
        }
    }
    MHD_stop_daemon(l->daemon);
    l->daemon = NULL;
    atomic_store(&l->ended, true);
    return NULL;
}

static void loop_free(struct http_loop *l)
{
    void *item = NULL;
    if (l->daemon != NULL) {
        MHD_stop_daemon(l->daemon);
    }
    while (queue_pop(l->arrivals, &item, 0) == ST_OK) {
        close((int)(intptr_t)item - 1);
    }
    queue_free(l->arrivals);
    wake_release(&l->wake);
    free(l->batch);
    free(l);
}

enum status http_loop_start(const struct http_conf *conf, const struct http_owner *owner,
                            unsigned index, const atomic_bool *draining, struct http_loop **out,
                            struct errbuf *err)
{
    struct http_loop *l = mem_zalloc(sizeof(*l));
    char name[16];
    enum status st = wake_init(&l->wake, err);
    if (st != ST_OK) {
        free(l);
        return st;
    }
    l->conf = conf;
    l->owner = owner;
    l->index = index;
    l->draining = draining;
    l->arrivals = queue_new(ARRIVALS_MAX);
    l->batch = mem_array(conf->held_max, sizeof(*l->batch));
    l->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_ITC | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL,
        NULL, on_request, l, MHD_OPTION_CONNECTION_LIMIT, (unsigned)conf->connections_max + 64,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY_BYTES, MHD_OPTION_URI_LOG_CALLBACK, on_line, l,
        MHD_OPTION_NOTIFY_COMPLETED, on_done, l, MHD_OPTION_NOTIFY_CONNECTION, on_connection, l,
        MHD_OPTION_UNESCAPE_CALLBACK, leave_escapes, NULL, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        l->daemon != NULL ? MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (info == NULL) {
        loop_free(l);
        return errbuf_set(err, ST_IO, "loop %u of the HTTP server does not start", index);
    }
    l->epoll = info->epoll_fd;
    snprintf(name, sizeof(name), "http-%u", index);
    st = thread_start(&l->thread, name, loop_run, l, err);
    if (st != ST_OK) {
        loop_free(l);
        return st;
    }
    *out = l;
    return ST_OK;
}

bool http_loop_add(struct http_loop *l, int fd)
{
    atomic_fetch_add_explicit(&l->connections, 1, memory_order_relaxed);
    /* A loop in the middle of a long batch takes them later; the others wait in the backlog meanwhile. */
    if (queue_push(l->arrivals, (void *)(intptr_t)(fd + 1), ARRIVAL_WAIT_US) != ST_OK) {
        atomic_fetch_sub_explicit(&l->connections, 1, memory_order_relaxed);
        return false;
    }
    wake_signal(&l->wake);
    return true;
}

uint64_t http_loop_connections(const struct http_loop *l)
{
    return atomic_load_explicit(&l->connections, memory_order_relaxed);
}

void http_loop_stats(const struct http_loop *l, struct http_stats *add_to)
{
    add_to->connections += http_loop_connections(l);
    add_to->cut += atomic_load_explicit(&l->cut, memory_order_relaxed);
    add_to->too_busy += atomic_load_explicit(&l->too_busy, memory_order_relaxed);
    add_to->malformed += atomic_load_explicit(&l->malformed, memory_order_relaxed);
}

enum status http_loop_stop(struct http_loop *l, uint64_t until_us)
{
    atomic_store(&l->stop_us, until_us);
    while (!atomic_load(&l->ended)) {
        if (clock_now_us() > until_us + 1000000u) {
            return ST_TIMEOUT;
        }
        clock_sleep_us(2000);
    }
    thread_stop(&l->thread);
    loop_free(l);
    return ST_OK;
}
