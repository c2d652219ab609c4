/* endpoint.h - messages over ZeroMQ; the only door to zmq.h.
 *
 * Two kinds: one that is bound and speaks to many peers by route (ROUTER), and one that is dialed and has
 * one peer (DEALER). A message goes as frame 0 = envelope (codec.h), then its frames without a copy.
 * Sending never blocks: what ZeroMQ will not take now waits in an outbox bounded in bytes and goes out at
 * a later wait. Nothing here promises delivery: a reconnect loses messages in silence, and the protocol
 * has sequence numbers and repeats for that.
 *
 * What comes in is foreign until proven: identity, envelope and frames are held against limits, the job
 * against ours, the identity against the envelope. What does not fit is counted, said at most once a
 * second, and dropped; a peer of another job is told so (MSG_REFUSED).
 *
 * An endpoint belongs to one thread at a time; the hub and frame pools are shared. Frames received may be
 * released by any thread, before endpoint_hub_free.
 */
#ifndef PENSTOCK_COMMON_NET_ENDPOINT_H
#define PENSTOCK_COMMON_NET_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/wire/msg.h"

struct endpoint_hub; /* one a process: ZeroMQ's context and its I/O thread */

MUST_CHECK enum status endpoint_hub_new(struct endpoint_hub **out, struct errbuf *err);
/* All endpoints closed before. Waits for what is still to be sent, at most the linger of each. */
void endpoint_hub_free(struct endpoint_hub *hub);

void endpoint_version(char out[32]); /* "ZeroMQ 4.3.4" */

struct endpoint_conf {
    uint64_t job, boot; /* of this process */
    enum role role;     /* who speaks here */
    uint32_t sender;
    struct frame_pool *pool;    /* borrowed; small and misaligned frames are copied into it */
    uint64_t frame_bytes_max;   /* of one incoming frame; 0 = limits.h */
    uint64_t message_bytes_max; /* of one incoming message; 0 = limits.h */
    uint64_t queue_bytes_max;   /* of one peer's outbox; 0 = 64 MiB */
    uint32_t routes_max;        /* bound endpoints: peers remembered; 0 = 4096 */
    uint64_t heartbeat_us;      /* 0 = 1 s; a peer silent for three is disconnected */
    bool
        any_job; /* peers of any job are heard: who follows a stream does not know the job before it hears of it */
};

struct endpoint;

/* address: "tcp://127.0.0.1:*"; the port comes from the system and stands in endpoint_address. */
MUST_CHECK enum status endpoint_bind(struct endpoint_hub *hub, const struct endpoint_conf *conf,
                                     const char *address, struct endpoint **out,
                                     struct errbuf *err);
/* Returns at once; the connection is made, and made again, in the background. */
MUST_CHECK enum status endpoint_dial(struct endpoint_hub *hub, const struct endpoint_conf *conf,
                                     const char *address, struct endpoint **out,
                                     struct errbuf *err);
void endpoint_close(struct endpoint *ep);                /* does not wait; NULL-safe */
const char *endpoint_address(const struct endpoint *ep); /* bound or dialed; borrowed */

#define ENDPOINT_PEER 0u /* the route of a dialed endpoint's one peer */

/* Takes *m in every case (and nulls it). ST_OK: sent or queued. ST_NOT_FOUND: the peer is gone.
 * ST_AGAIN: its outbox is full, the message is dropped and counted. */
enum status endpoint_send(struct endpoint *ep, uint64_t route, struct msg **m);
/* The next good message, or ST_AGAIN. *out_route may be given to endpoint_send. */
MUST_CHECK enum status endpoint_recv(struct endpoint *ep, struct msg **out, uint64_t *out_route);

struct endpoint_stats {
    uint64_t sent, received;
    uint64_t nonsense;    /* messages that were no message of ours */
    uint64_t foreign;     /* of another job */
    uint64_t queued;      /* now waiting in outboxes */
    uint64_t replaced;    /* control messages that made room */
    uint64_t dropped;     /* refused by a full outbox */
    uint64_t unreachable; /* to a peer that was gone */
};
void endpoint_stats(const struct endpoint *ep, struct endpoint_stats *out);

/* What one thread waits on: endpoints and file descriptors. Outboxes are flushed on the way. */
struct endpoint_set;

struct endpoint_set *endpoint_set_new(void);
void endpoint_set_free(struct endpoint_set *s);
void endpoint_set_clear(struct endpoint_set *s);
size_t endpoint_set_add(struct endpoint_set *s,
                        struct endpoint *ep); /* index; borrowed until clear */
size_t endpoint_set_add_fd(struct endpoint_set *s, int fd);
/* Until something is ready, at most wait_us. */
void endpoint_set_wait(struct endpoint_set *s, uint64_t wait_us);
bool endpoint_set_ready(const struct endpoint_set *s, size_t index);

#endif
