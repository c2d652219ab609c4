/* call.h - one HTTP request in work on a serving node: what came, which route it took, what the service is asked.
 *
 * Made when its headers are in, on the loop's thread. It ends when its answer is out and, where an exposure is to be
 * logged, the writer has done that: two holders at most, whoever is last frees it.
 */
#ifndef PENSTOCK_PS_SERVE_CALL_H
#define PENSTOCK_PS_SERVE_CALL_H

#include <stdatomic.h>

#include "common/base/json.h"
#include "common/net/http_server.h"
#include "ps/serve/infer.h"
#include "ps/serve/node.h"
#include "ps/serve/service.h"

#define CALL_IDS_MAX 2u

struct call {
    struct http_request *http; /* the server's; gone once it is answered */
    const struct route *route;
    struct node_loop *loop; /* borrowed: the loop it came by */
    const char
        *id[CALL_IDS_MAX]; /* what stands in the path for {...}; borrowed from http; NULL: none */
    struct json *body, *query; /* owned */
    struct service_request request;
    struct infer *infer; /* owned; NULL: of another route */
    /* Turns a scored request into its answer, where that is not request.answer as it is; NULL: it is. */
    void (*scored)(struct call *c);
    atomic_uint holders;
};

/* The upper edges of the buckets of latencies, in seconds. */
extern const double call_edges[NODE_BUCKETS];

struct call *call_new(struct node_loop *l, struct http_request *http, const struct route *route);
void call_drop(struct call *c); /* one holder less */

/* The body as JSON into c->body: an object of at most the route's bytes. False: answered with 400. */
bool call_parse_body(struct call *c);
/* The query as an object of strings into c->query. */
void call_parse_query(struct call *c);

/* Answer. answer: handed over; it gets snapshot_version and incarnation where it has none: those of the cut that scored
 * it (request.answered), else of what `reader` shows now. reader: of the thread that calls. */
void call_answer(struct call *c, struct replica_reader *reader, int status, struct json *answer);
void call_fail(struct call *c, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Into the loop's batch, scored when all that has come in has been looked at. */
void call_score(struct call *c);
/* To the writer; 429 when it has too much to do. */
void call_write(struct call *c);

#endif
