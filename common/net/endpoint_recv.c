/* endpoint_recv.c - what arrived, before it is believed (endpoint.h is the contract).
 *
 * Order of doubt: parts and their bytes are bounded; the identity (ROUTER) must be one of ours and of this
 * job; the codec holds envelope and frames against limits; the envelope must name the job and, again, the
 * sender of the identity. What fails is dropped whole: nothing of it reaches a core, and the peer stays
 * connected, since nonsense may be a bug and not malice. A peer of another job is told so once a second.
 *
 * Memory: a part that ZeroMQ decoded into its own 8 KiB buffer stands at any address, and our arrays want
 * 8-byte alignment; such small ones are copied into the pool. Big ones keep ZeroMQ's memory, held by a
 * holder until the frame is released, by whichever thread.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/net/endpoint_int.h"
#include "common/wire/codec.h"

enum {
    KEEP_BYTES_MIN = 4096, /* smaller frames are copied: cheaper than a holder */
    GARBAGE_A_CALL = 64,   /* bad messages looked at in one endpoint_recv */
    REFUSE_EVERY_US = 1000000
};

/* A received message before it is believed. */
struct parts {
    uint8_t identity[ROUTE_IDENTITY_BYTES];
    size_t identity_bytes; /* as received; may be more than were kept */
    zmq_msg_t envelope;
    struct frame frame[MSG_FRAMES_MAX];
    uint32_t frames;
    uint64_t bytes;
    const char *bad; /* why it is nonsense */
};

static struct frame take_frame(struct endpoint *ep, zmq_msg_t *part)
{
    void *data = zmq_msg_data(part);
    size_t n = zmq_msg_size(part);
    struct frame f = {0};
    TAKEN_OVER(data);
    if (n >= KEEP_BYTES_MIN && (uintptr_t)data % 8 == 0) {
        struct holder *h = endpoint_holder(ep->hub);
        zmq_msg_move(&h->part, part);
        f = (struct frame){zmq_msg_data(&h->part), n, endpoint_holder_release, h};
    } else if (n > 0) {
        f = frame_pool_get(ep->conf.pool, n);
        memcpy(f.data, data, n);
    }
    zmq_msg_close(part);
    return f;
}

/* Read the frames behind the envelope; too many or too much makes the message bad, but all is read. */
static void take_frames(struct endpoint *ep, struct parts *p, bool more)
{
    while (more) {
        zmq_msg_t part;
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, ep->socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&part);
            p->bad = "its last part is missing";
            return;
        }
        more = zmq_msg_more(&part) != 0;
        p->bytes += zmq_msg_size(&part);
        if (p->frames == MSG_FRAMES_MAX)
            p->bad = "too many frames";
        else if (p->bytes > ep->conf.message_bytes_max)
            p->bad = "too many bytes";
        if (p->bad != NULL)
            zmq_msg_close(&part);
        else
            p->frame[p->frames++] = take_frame(ep, &part);
    }
}

/* false: nothing has arrived. */
static bool take_parts(struct endpoint *ep, struct parts *p)
{
    bool more = true;
    p->identity_bytes = 0;
    p->frames = 0;
    p->bytes = 0;
    p->bad = NULL;
    zmq_msg_init(&p->envelope);
    if (!ep->dialed) {
        if (zmq_msg_recv(&p->envelope, ep->socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&p->envelope);
            return false;
        }
        p->identity_bytes = zmq_msg_size(&p->envelope);
        if (p->identity_bytes == ROUTE_IDENTITY_BYTES)
            memcpy(p->identity, zmq_msg_data(&p->envelope), ROUTE_IDENTITY_BYTES);
        more = zmq_msg_more(&p->envelope) != 0;
    }
    if (!more) {
        p->bad = "it has no envelope";
        return true;
    }
    if (zmq_msg_recv(&p->envelope, ep->socket, ZMQ_DONTWAIT) < 0) {
        if (ep->dialed) {
            zmq_msg_close(&p->envelope);
            return false;
        }
        p->bad = "it has no envelope";
        return true;
    }
    p->bytes = zmq_msg_size(&p->envelope);
    TAKEN_OVER(zmq_msg_data(&p->envelope));
    take_frames(ep, p, zmq_msg_more(&p->envelope) != 0);
    return true;
}

static void drop_parts(struct parts *p)
{
    zmq_msg_close(&p->envelope);
    for (uint32_t i = 0; i < p->frames; i++)
        frame_release(&p->frame[i]);
}

static void nonsense(struct endpoint *ep, const char *why)
{
    uint64_t hidden = 0;
    ep->stats.nonsense++;
    if (endpoint_may_say(&ep->quiet_bad, &hidden))
        log_warn("net: %s: a peer speaks nonsense (%s); dropped, %" PRIu64
                 " more since the last line",
                 ep->address, why, hidden);
}

/* Tell the peer that it is not of this job, at most once a second. */
static void refuse(struct endpoint *ep, const uint8_t *identity, const char *why)
{
    uint64_t now_us = clock_now_us();
    if (ep->dialed || now_us < ep->refuse_next_us)
        return;
    ep->refuse_next_us = now_us + REFUSE_EVERY_US;
    struct msg *m = msg_new(MSG_REFUSED);
    m->job = ep->conf.job;
    m->boot = ep->conf.boot;
    m->role = ep->conf.role;
    m->sender = ep->conf.sender;
    msg_set_text(m, why);
    struct route once = {0};
    memcpy(once.identity, identity, ROUTE_IDENTITY_BYTES);
    (void)endpoint_send_now(ep, &once, m);
    msg_free(m);
}

/* m is of another job. */
static void foreign(struct endpoint *ep, const struct parts *p, uint64_t job, const struct msg *m)
{
    uint64_t hidden = 0;
    char why[WHY_MAX], text[WHY_MAX];
    ep->stats.foreign++;
    snprintf(why, sizeof(why), "this is job %016" PRIx64 ", not %016" PRIx64, ep->conf.job, job);
    if (endpoint_may_say(&ep->quiet_foreign, &hidden)) {
        if (m != NULL && m->kind == MSG_REFUSED) {
            msg_text(m, text, sizeof(text));
            log_warn("net: %s refuses us: %s", ep->address, text);
        } else {
            log_warn("net: %s: a peer of another job is refused: %s (%" PRIu64
                     " more since the last line)",
                     ep->address, why, hidden);
        }
    }
    refuse(ep, p->identity, why);
}

/* What was received as a message of this job, or NULL (counted and said). */
static struct msg *believe(struct endpoint *ep, struct parts *p, struct route_name *name)
{
    struct errbuf err = ERRBUF_INIT;
    struct msg *m = NULL;
    if (p->bad != NULL) {
        nonsense(ep, p->bad);
        return NULL;
    }
    if (!ep->dialed && !route_name_decode(p->identity, p->identity_bytes, name)) {
        nonsense(ep, "its identity is not ours");
        return NULL;
    }
    if (!ep->dialed && !ep->conf.any_job && name->job != ep->conf.job) {
        foreign(ep, p, name->job, NULL);
        return NULL;
    }
    if (codec_decode(zmq_msg_data(&p->envelope), zmq_msg_size(&p->envelope), p->frame, p->frames,
                     &m, &err) != ST_OK) {
        nonsense(ep, err.text);
        return NULL;
    }
    p->frames = 0; /* the message has them now */
    if (m->job != ep->conf.job && !ep->conf.any_job) {
        foreign(ep, p, m->job, m);
    } else if (!ep->dialed &&
               (m->role != name->role || m->sender != name->sender || m->boot != name->boot)) {
        nonsense(ep, "its envelope and its identity differ");
    } else {
        return m;
    }
    msg_free(m);
    return NULL;
}

enum status endpoint_recv(struct endpoint *ep, struct msg **out, uint64_t *out_route)
{
    struct parts p;
    for (unsigned i = 0; i < GARBAGE_A_CALL; i++) {
        struct route_name name;
        if (!take_parts(ep, &p))
            return ST_AGAIN;
        struct msg *m = believe(ep, &p, &name);
        drop_parts(&p);
        if (m == NULL)
            continue;
        struct route *route = NULL;
        if (!ep->dialed) {
            route = routes_hear(ep->routes, p.identity, clock_now_us());
            if (route == NULL) {
                nonsense(ep, "too many peers");
                msg_free(m);
                continue;
            }
        }
        ep->stats.received++;
        *out_route = route != NULL ? route->handle : ENDPOINT_PEER;
        *out = m;
        return ST_OK;
    }
    return ST_AGAIN;
}
