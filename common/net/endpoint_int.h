/* endpoint_int.h - what endpoint.c and endpoint_recv.c share; nobody else includes it. */
#ifndef PENSTOCK_COMMON_NET_ENDPOINT_INT_H
#define PENSTOCK_COMMON_NET_ENDPOINT_INT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <zmq.h>

#include "common/base/bytes.h"
#include "common/net/endpoint.h"
#include "common/net/outbox.h"
#include "common/net/routes.h"

struct holder {
    zmq_msg_t part;
    struct endpoint_hub *hub;
    struct holder *next;
};

struct endpoint_hub {
    void *ctx;
    pthread_mutex_t lock;
    /* -- under lock -- */
    struct holder *idle; /* owned */
};

/* One line a second for what a peer can cause as often as it likes. */
struct quiet {
    uint64_t next_us, hidden;
};

struct endpoint {
    /* -- set once in open -- */
    struct endpoint_conf conf;
    struct endpoint_hub *hub; /* borrowed */
    void *socket;
    bool dialed;
    char address[ADDRESS_MAX];
    /* -- the owning thread only -- */
    struct routes *routes; /* bound */
    struct outbox out;     /* dialed */
    struct buffer envelope;
    struct endpoint_stats stats;
    struct quiet quiet_bad, quiet_foreign, quiet_drop;
    uint64_t refuse_next_us;
    bool unflushed; /* some route's outbox holds something */
};

enum sent { SENT, SENT_FULL, SENT_GONE };

/* true at most once a second: then *out_hidden is how often it was false since. */
bool endpoint_may_say(struct quiet *q, uint64_t *out_hidden);
/* route NULL: the one peer of a dialed endpoint. m keeps its frames unless SENT. */
enum sent endpoint_send_now(struct endpoint *ep, const struct route *route, struct msg *m);

/* A place to keep a big received part until its frame is released. */
struct holder *endpoint_holder(struct endpoint_hub *hub);
void endpoint_holder_release(void *data, void *holder);

#endif
