/* endpoint.c - ROUTER and DEALER sockets that carry struct msg (endpoint.h is the contract).
 *
 * Settings and their reasons (common/net/README.md tells what was tried):
 *   ROUTER_MANDATORY  else a full or unknown peer loses messages in silence
 *   ROUTER_HANDOVER   else a zombie's connection keeps its successor out
 *   IMMEDIATE (dial)  else messages pile up for a peer that is not there
 *   MAXMSGSIZE        else one header makes us allocate what it says
 *   HEARTBEAT_*       off by default; a stopped peer would never be noticed
 *   LINGER            endless by default; a dead peer would hold up our exit
 *   RECONNECT_IVL_MAX a back-off; without it every client knocks each 100 ms
 *   ZAP_DOMAIN        without a handler it does nothing but refuse ZMTP 1 and 2, and libzmq 4.3.4 aborts
 *                     the process (zmtp_engine.cpp:446) on noise that looks like ZMTP 1: the
 *                     unit test garbage_by_tcp found it
 *   SNDHWM, RCVHWM    count messages, so they are small; bytes are bounded by the outbox and the protocol
 *
 * A multi-part message is all or nothing in ZeroMQ: only its first part may answer EAGAIN (the identity
 * on a ROUTER, the envelope on a DEALER). So a full peer costs no half-sent message.
 *
 * The hub keeps a free list of holders (endpoint_recv.c) that any thread may give back to: its lock is the
 * only one here.
 */
#include "common/net/endpoint.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/net/endpoint_int.h"
#include "common/wire/codec.h"
#include "common/wire/limits.h"

enum {
    SOCKETS_MAX = 8192,
    HWM_MESSAGES = 64,
    LINGER_MS = 1000,
    HANDSHAKE_MS = 5000,
    RECONNECT_MS = 50,
    RECONNECT_MAX_MS = 1000,
    RETRY_MS = 5, /* a ROUTER cannot say when a full peer has room */
    ROUTES_MAX = 4096,
    SAY_EVERY_US = 1000000
};

/* -- hub -- */

enum status endpoint_hub_new(struct endpoint_hub **out, struct errbuf *err)
{
    void *ctx = zmq_ctx_new();
    if (ctx == NULL)
        return errbuf_errno(err, ST_IO, "cannot make a ZeroMQ context");
    zmq_ctx_set(ctx, ZMQ_MAX_SOCKETS, SOCKETS_MAX);
    struct endpoint_hub *hub = mem_zalloc(sizeof(*hub));
    hub->ctx = ctx;
    pthread_mutex_init(&hub->lock, NULL);
    *out = hub;
    return ST_OK;
}

void endpoint_hub_free(struct endpoint_hub *hub)
{
    if (hub == NULL)
        return;
    while (zmq_ctx_term(hub->ctx) != 0 && errno == EINTR)
        continue;
    while (hub->idle != NULL) {
        struct holder *h = hub->idle;
        hub->idle = h->next;
        free(h);
    }
    pthread_mutex_destroy(&hub->lock);
    free(hub);
}

void endpoint_version(char out[32])
{
    int major = 0, minor = 0, patch = 0;
    zmq_version(&major, &minor, &patch);
    snprintf(out, 32, "ZeroMQ %d.%d.%d", major, minor, patch);
}

struct holder *endpoint_holder(struct endpoint_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    struct holder *h = hub->idle;
    if (h != NULL)
        hub->idle = h->next;
    pthread_mutex_unlock(&hub->lock);
    if (h == NULL) {
        h = mem_zalloc(sizeof(*h));
        h->hub = hub;
    }
    zmq_msg_init(&h->part);
    return h;
}

void endpoint_holder_release(void *data, void *holder)
{
    TAKEN_OVER(data);
    struct holder *h = holder;
    struct endpoint_hub *hub = h->hub;
    HANDED_OVER(data);
    zmq_msg_close(&h->part);
    pthread_mutex_lock(&hub->lock);
    h->next = hub->idle;
    hub->idle = h;
    pthread_mutex_unlock(&hub->lock);
}

/* -- open and close -- */

static bool set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof(value)) == 0;
}

static bool set_options(struct endpoint *ep)
{
    void *s = ep->socket;
    int64_t frame_max = (int64_t)ep->conf.frame_bytes_max;
    int beat_ms = (int)(ep->conf.heartbeat_us / 1000);
    bool ok = zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &frame_max, sizeof(frame_max)) == 0;
    ok = ok && set_int(s, ZMQ_LINGER, LINGER_MS) && set_int(s, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
    ok = ok && set_int(s, ZMQ_SNDHWM, HWM_MESSAGES) && set_int(s, ZMQ_RCVHWM, HWM_MESSAGES);
    ok = ok && set_int(s, ZMQ_HEARTBEAT_IVL, beat_ms);
    ok = ok && set_int(s, ZMQ_HEARTBEAT_TIMEOUT, 3 * beat_ms);
    ok = ok && set_int(s, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    ok = ok && set_int(s, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
    ok = ok && zmq_setsockopt(s, ZMQ_ZAP_DOMAIN, "penstock", 8) == 0;
    if (!ep->dialed)
        return ok && set_int(s, ZMQ_ROUTER_MANDATORY, 1) && set_int(s, ZMQ_ROUTER_HANDOVER, 1);
    uint8_t identity[ROUTE_IDENTITY_BYTES];
    struct route_name me = {.job = ep->conf.job,
                            .boot = ep->conf.boot,
                            .role = ep->conf.role,
                            .sender = ep->conf.sender};
    route_name_encode(&me, identity);
    return ok && set_int(s, ZMQ_IMMEDIATE, 1) &&
           zmq_setsockopt(s, ZMQ_ROUTING_ID, identity, sizeof(identity)) == 0;
}

static struct endpoint *make(struct endpoint_hub *hub, const struct endpoint_conf *conf,
                             bool dialed)
{
    struct endpoint *ep = mem_zalloc(sizeof(*ep));
    ep->conf = *conf;
    ep->hub = hub;
    ep->dialed = dialed;
    if (ep->conf.frame_bytes_max == 0)
        ep->conf.frame_bytes_max = WIRE_FRAME_MAX;
    if (ep->conf.message_bytes_max == 0)
        ep->conf.message_bytes_max = WIRE_MESSAGE_MAX;
    if (ep->conf.queue_bytes_max == 0)
        ep->conf.queue_bytes_max = 64ull << 20;
    if (ep->conf.heartbeat_us == 0)
        ep->conf.heartbeat_us = 1000000;
    if (!dialed)
        ep->routes = routes_new(conf->routes_max != 0 ? conf->routes_max : ROUTES_MAX);
    return ep;
}

static enum status open_endpoint(struct endpoint_hub *hub, const struct endpoint_conf *conf,
                                 bool dialed, const char *address, struct endpoint **out,
                                 struct errbuf *err)
{
    enum status st;
    struct endpoint *ep = make(hub, conf, dialed);
    size_t room = sizeof(ep->address);
    ep->socket = zmq_socket(hub->ctx, dialed ? ZMQ_DEALER : ZMQ_ROUTER);
    if (ep->socket == NULL) {
        st = errbuf_errno(err, ST_IO, "cannot make a ZeroMQ socket");
        goto close;
    }
    if (strlen(address) >= room) {
        st = errbuf_set(err, ST_USAGE, "address too long: %.80s...", address);
        goto close;
    }
    if (!set_options(ep)) {
        st = errbuf_errno(err, ST_INTERNAL, "a ZeroMQ option was refused");
        goto close;
    }
    if (dialed ? zmq_connect(ep->socket, address) != 0 : zmq_bind(ep->socket, address) != 0) {
        st = errbuf_errno(err, ST_IO, "cannot %s %s", dialed ? "connect to" : "listen on", address);
        goto close;
    }
    if (dialed)
        memcpy(ep->address, address, strlen(address) + 1);
    else if (zmq_getsockopt(ep->socket, ZMQ_LAST_ENDPOINT, ep->address, &room) != 0) {
        st = errbuf_errno(err, ST_IO, "cannot tell the port of %s", address);
        goto close;
    }
    *out = ep;
    return ST_OK;
close:
    endpoint_close(ep);
    return st;
}

enum status endpoint_bind(struct endpoint_hub *hub, const struct endpoint_conf *conf,
                          const char *address, struct endpoint **out, struct errbuf *err)
{
    return open_endpoint(hub, conf, false, address, out, err);
}

enum status endpoint_dial(struct endpoint_hub *hub, const struct endpoint_conf *conf,
                          const char *address, struct endpoint **out, struct errbuf *err)
{
    return open_endpoint(hub, conf, true, address, out, err);
}

void endpoint_close(struct endpoint *ep)
{
    if (ep == NULL)
        return;
    if (ep->socket != NULL)
        zmq_close(ep->socket);
    routes_free(ep->routes);
    outbox_release(&ep->out);
    buffer_release(&ep->envelope);
    free(ep);
}

const char *endpoint_address(const struct endpoint *ep)
{
    return ep->address;
}

void endpoint_stats(const struct endpoint *ep, struct endpoint_stats *out)
{
    *out = ep->stats;
    out->queued = ep->out.used;
    for (uint32_t i = 0; ep->routes != NULL && i < routes_slots(ep->routes); i++)
        if (routes_at(ep->routes, i) != NULL)
            out->queued += routes_at(ep->routes, i)->out.used;
}

/* -- sending -- */

bool endpoint_may_say(struct quiet *q, uint64_t *out_hidden)
{
    uint64_t now_us = clock_now_us();
    if (now_us < q->next_us) {
        q->hidden++;
        return false;
    }
    *out_hidden = q->hidden;
    q->hidden = 0;
    q->next_us = now_us + SAY_EVERY_US;
    return true;
}

/* Send one part made of bytes that are copied. */
static bool send_copy(void *socket, const void *bytes, size_t n, int flags)
{
    zmq_msg_t part;
    if (zmq_msg_init_size(&part, n) != 0)
        return false;
    if (n > 0)
        memcpy(zmq_msg_data(&part), bytes, n);
    if (zmq_msg_send(&part, socket, flags | ZMQ_DONTWAIT) >= 0)
        return true;
    int saved = errno;
    zmq_msg_close(&part);
    errno = saved;
    return false;
}

/* Send one frame without a copy where it owns its memory; the frame is empty afterwards. */
static bool send_frame(void *socket, struct frame *f, int flags)
{
    if (f->release == NULL || f->bytes == 0) {
        bool ok = send_copy(socket, f->data, f->bytes, flags);
        frame_release(f);
        return ok;
    }
    zmq_msg_t part;
    HANDED_OVER(f->data);
    if (zmq_msg_init_data(&part, f->data, f->bytes, f->release, f->hint) != 0)
        return false;
    *f = (struct frame){0};
    if (zmq_msg_send(&part, socket, flags | ZMQ_DONTWAIT) >= 0)
        return true;
    zmq_msg_close(&part);
    return false;
}

enum sent endpoint_send_now(struct endpoint *ep, const struct route *route, struct msg *m)
{
    if (route != NULL && !send_copy(ep->socket, route->identity, ROUTE_IDENTITY_BYTES, ZMQ_SNDMORE))
        return errno == EAGAIN ? SENT_FULL : SENT_GONE;
    buffer_reset(&ep->envelope);
    codec_encode(m, &ep->envelope);
    if (!send_copy(ep->socket, ep->envelope.data, ep->envelope.used,
                   m->frames > 0 ? ZMQ_SNDMORE : 0)) {
        if (route == NULL && errno == EAGAIN)
            return SENT_FULL;
        log_error("net: %s: the envelope was refused: %s", ep->address, zmq_strerror(errno));
        return SENT_GONE;
    }
    for (uint32_t i = 0; i < m->frames; i++) {
        if (!send_frame(ep->socket, &m->frame[i], i + 1 < m->frames ? ZMQ_SNDMORE : 0)) {
            log_error("net: %s: frame %" PRIu32 " was refused: %s", ep->address, i,
                      zmq_strerror(errno));
            return SENT_GONE;
        }
    }
    ep->stats.sent++;
    return SENT;
}

/* Whatever the box holds, as far as the peer takes it. false: the peer is gone. */
static bool flush_box(struct endpoint *ep, const struct route *route, struct outbox *out)
{
    for (struct msg *m; (m = outbox_first(out)) != NULL;) {
        enum sent sent = endpoint_send_now(ep, route, m);
        if (sent == SENT_FULL)
            return true;
        if (sent == SENT_GONE)
            return false;
        outbox_pop(out);
    }
    return true;
}

static void forget_gone(struct endpoint *ep, struct route *route)
{
    ep->stats.unreachable += 1 + route->out.used;
    routes_forget(ep->routes, route);
}

static void flush(struct endpoint *ep)
{
    if (ep->dialed) {
        /* A dialed socket is never gone, only not connected: then its first part says EAGAIN. */
        if (!flush_box(ep, NULL, &ep->out))
            outbox_pop(&ep->out);
        return;
    }
    if (!ep->unflushed)
        return;
    ep->unflushed = false;
    for (uint32_t i = 0; i < routes_slots(ep->routes); i++) {
        struct route *route = routes_at(ep->routes, i);
        if (route == NULL || route->out.used == 0)
            continue;
        if (!flush_box(ep, route, &route->out))
            forget_gone(ep, route);
        else if (route->out.used > 0)
            ep->unflushed = true;
    }
}

static enum status keep(struct endpoint *ep, struct outbox *out, struct msg **m)
{
    uint64_t replaced = 0, hidden = 0;
    enum msg_kind kind = (*m)->kind;
    enum status st = outbox_put(out, m, ep->conf.queue_bytes_max, &replaced);
    ep->stats.replaced += replaced;
    ep->unflushed = true;
    if (st != ST_OK) {
        ep->stats.dropped++;
        if (endpoint_may_say(&ep->quiet_drop, &hidden))
            log_warn("net: %s: a peer does not read; message of kind %d dropped with %" PRIu64
                     " bytes waiting (%" PRIu64 " more since the last line)",
                     ep->address, (int)kind, out->bytes, hidden);
    }
    return st;
}

enum status endpoint_send(struct endpoint *ep, uint64_t handle, struct msg **m)
{
    struct route *route = NULL;
    enum sent sent = SENT_FULL;
    if (!ep->dialed) {
        route = routes_find(ep->routes, handle);
        if (route == NULL) {
            ep->stats.unreachable++;
            msg_free(*m);
            *m = NULL;
            return ST_NOT_FOUND;
        }
    }
    struct outbox *out = route != NULL ? &route->out : &ep->out;
    /* Order is kept: nothing overtakes what already waits. */
    if (out->used == 0)
        sent = endpoint_send_now(ep, route, *m);
    if (sent == SENT_FULL)
        return keep(ep, out, m);
    msg_free(*m);
    *m = NULL;
    if (sent == SENT)
        return ST_OK;
    if (route != NULL)
        forget_gone(ep, route);
    return ST_NOT_FOUND;
}

/* -- waiting -- */

struct endpoint_set {
    struct endpoint **ep; /* (n) borrowed; NULL: a descriptor */
    zmq_pollitem_t *item; /* (n) */
    size_t ep_cap, item_cap, n;
};

struct endpoint_set *endpoint_set_new(void)
{
    return mem_zalloc(sizeof(struct endpoint_set));
}

void endpoint_set_free(struct endpoint_set *s)
{
    if (s == NULL)
        return;
    free(s->ep);
    free(s->item);
    free(s);
}

void endpoint_set_clear(struct endpoint_set *s)
{
    s->n = 0;
}

static size_t add(struct endpoint_set *s, struct endpoint *ep, int fd)
{
    mem_grow(&s->ep, &s->ep_cap, s->n + 1, sizeof(struct endpoint *));
    mem_grow(&s->item, &s->item_cap, s->n + 1, sizeof(zmq_pollitem_t));
    s->ep[s->n] = ep;
    s->item[s->n] = (zmq_pollitem_t){ep != NULL ? ep->socket : NULL, fd, ZMQ_POLLIN, 0};
    return s->n++;
}

size_t endpoint_set_add(struct endpoint_set *s, struct endpoint *ep)
{
    return add(s, ep, 0);
}

size_t endpoint_set_add_fd(struct endpoint_set *s, int fd)
{
    return add(s, NULL, fd);
}

void endpoint_set_wait(struct endpoint_set *s, uint64_t wait_us)
{
    long wait_ms = (long)((wait_us + 999) / 1000);
    for (size_t i = 0; i < s->n; i++) {
        s->item[i].events = ZMQ_POLLIN;
        s->item[i].revents = 0;
        if (s->ep[i] == NULL)
            continue;
        flush(s->ep[i]);
        if (s->ep[i]->dialed && s->ep[i]->out.used > 0)
            s->item[i].events = ZMQ_POLLIN | ZMQ_POLLOUT;
        else if (s->ep[i]->unflushed && wait_ms > RETRY_MS)
            wait_ms = RETRY_MS;
    }
    if (zmq_poll(s->item, (int)s->n, wait_ms) < 0)
        for (size_t i = 0; i < s->n; i++)
            s->item[i].revents = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->ep[i] != NULL && (s->item[i].revents & ZMQ_POLLOUT) != 0)
            flush(s->ep[i]);
}

bool endpoint_set_ready(const struct endpoint_set *s, size_t index)
{
    assert(index < s->n);
    return (s->item[index].revents & (ZMQ_POLLIN | ZMQ_POLLERR)) != 0;
}
