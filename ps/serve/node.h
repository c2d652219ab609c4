/* node.h - a serving node: replica, service, HTTP server, and the threads between them.
 *
 *     thread      owns                                        waits on
 *     http-accept the listening socket                        connections
 *     http-<i>    its connections, worker, reader, batch      sockets; never a lock or a file
 *     writer      what is on its way to the disk              its queue (bounded), the disk
 *     follower    of the replica (replica.h)                  the source of cuts
 *     main        beginning and end                           signals
 *
 * A loop looks at all requests that came in by one round of its sockets, answers at once what needs no model, puts writes
 * into the writer's queue, and scores the rest as one batch. Each loop counts for itself; /metrics adds up.
 */
#ifndef PENSTOCK_PS_SERVE_NODE_H
#define PENSTOCK_PS_SERVE_NODE_H

#include <stdatomic.h>

#include "common/base/errbuf.h"
#include "common/base/queue.h"
#include "common/base/thread.h"
#include "common/net/http_server.h"
#include "ps/serve/replica.h"
#include "ps/serve/service.h"

#define NODE_BUCKETS    11u /* of latencies, in seconds; one more for what is longer */
#define NODE_ROUTES_MAX 48u

struct call;
struct node;

/* A row of the table of routes; http_routes.h. */
struct route {
    enum http_method method;
    const char *path;              /* "/v1/users/{id}" */
    void (*serve)(struct call *c); /* on the loop's thread: answers, or call_score, call_write */
    enum service_kind kind;        /* of those that are the service's */
    bool has_body;
    const char *name, *summary; /* for the description */
    const char *codes;          /* "200 400 404": all that it may answer, but those any route may */
    const char *request, *response; /* JSON schema, with ' for "; NULL: none */
};

struct node_counts { /* one writer, its loop; read by any */
    _Atomic uint64_t bucket[NODE_ROUTES_MAX][NODE_BUCKETS + 1];
    _Atomic uint64_t sum_us[NODE_ROUTES_MAX];
    _Atomic uint64_t code[600];
    _Atomic uint64_t batches, batch_requests;
};

struct node_loop {
    struct node *node; /* borrowed */
    unsigned index;
    struct service_worker *worker;
    struct replica_reader *reader;
    struct call **score; /* (held_max) what this round is to score */
    size_t score_n;
    struct service_request **ask; /* (held_max) */
    struct node_counts counts;
};

struct node_conf {
    const char *http;  /* [HOST:]PORT */
    const char *token; /* NULL: none */
    unsigned loops;    /* 0: one a CPU */
    size_t held_max, connections_max, body_max;
    uint64_t patience_us;
};

struct node {
    /* -- set once -- */
    struct node_conf conf;
    struct replica *replica; /* borrowed, both */
    struct service *service;
    struct http_server *server;
    const struct route *routes;
    size_t routes_used;
    struct node_loop *loop; /* (loops) */
    unsigned loops;
    char *openapi;      /* owned */
    char allow[16][40]; /* the Allow header for a set of methods */
    uint64_t started_us;
    /* -- the writer -- */
    struct queue *writes; /* struct call *, each with a holder */
    struct replica_reader *writer_reader;
    struct thread writer;
    _Atomic uint64_t exposures_dropped; /* the queue was full */
    _Atomic uint64_t event_bucket[NODE_BUCKETS + 1],
        event_us; /* a whole event until rankings see it */
    _Atomic uint64_t rollbacks;
    atomic_bool draining;
};

/* What node_start would refuse of conf before it listens; before a model is loaded for nothing. */
MUST_CHECK enum status node_check(const struct node_conf *conf, struct errbuf *err);
/* Starts everything and listens. replica, service: borrowed until node_stop has returned ST_OK. */
MUST_CHECK enum status node_start(const struct node_conf *conf, struct replica *replica,
                                  struct service *service, struct node **out, struct errbuf *err);
const char *node_address(const struct node *n);
/* Not ready any more; answer what has begun, write what is to be written, stop. At most wait_us, then ST_TIMEOUT, and the
 * process should end. */
MUST_CHECK enum status node_stop(struct node *n, uint64_t wait_us);

#endif
