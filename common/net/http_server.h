/* http_server.h - an HTTP server for many small requests: what has come in is given to its owner in batches.
 *
 * One thread accepts; L loops, a thread each, own the connections (a new one goes to the loop with the fewest). A loop
 * reads requests, holds those that are whole, and after each round of its sockets gives them to the owner, all at once,
 * on its own thread: so the owner may work on them as one batch, with scratch of its own a loop, and no lock. The owner
 * answers each of them, then or later, from any thread.
 *
 * What the server answers by itself, always with {"error": "..."} and a sentence: 400 for what could be read in two
 * ways (http_rules.h), and the connection is closed; 401 without the token; 408 where a request is not whole in time; 413
 * for a body over its bound; 417; 429 with Retry-After when the loop holds held_max; 503 when there are too many
 * connections, or bytes of bodies. (libmicrohttpd's own answers to lines that are no HTTP stay HTML: they can't be
 * replaced from outside.)
 *
 * Bounds: connections, held requests, bytes of a body, bytes of all bodies of a loop, 16 KiB for a connection's headers.
 * One deadline rules slow clients: a connection has patience_us from its opening, or from the end of its last answer, until
 * the next request is whole; and again for taking an answer. A byte now and then does not extend it.
 */
#ifndef PENSTOCK_COMMON_NET_HTTP_SERVER_H
#define PENSTOCK_COMMON_NET_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/net/http_rules.h"

enum http_method {
    HTTP_GET, /* HEAD is one, too: its body is left out when it is sent */
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OTHER
};

struct http_request {
    /* -- as it came; the owner's to read until it answers -- */
    enum http_method method;
    struct http_target target;
    char *body; /* terminated; NULL: none */
    size_t body_n;
    uint64_t whole_us; /* clock_now_us when it was whole */
    /* -- the owner's own -- */
    void *of_owner;  /* NULL when it comes */
    size_t body_max; /* the owner may lower it in `head` */
};

struct http_owner {
    void *arg;
    /* Headers are in, the body isn't: true to have it, or answer now (404, 405, 413) and return false. */
    bool (*head)(void *arg, unsigned loop, struct http_request *r);
    /* n whole requests, n >= 1. Each must be answered, now or later. */
    void (*serve)(void *arg, unsigned loop, struct http_request **r, size_t n);
    /* After each round, also of one that brought nothing: a little work of the owner's own. True: there is more, come back
     * at once. May be NULL. */
    bool (*idle)(void *arg, unsigned loop);
    /* The answer is out, or lost with its connection; for metrics. May be NULL. */
    void (*done)(void *arg, unsigned loop, const struct http_request *r, unsigned code);
};

struct http_conf {
    const char *address; /* "[HOST:]PORT", see http_address_check */
    const char *what;    /* the name of the option that has it, for errors */
    const char *token;   /* bearer token that every request must show; NULL or "": none */
    bool anyone;         /* may listen beyond loopback without a token: nothing here is secret */
    const char *const *open_paths; /* NULL-terminated: need no token; may be NULL */
    unsigned loops;                /* 0: one a CPU */
    size_t connections_max;        /* the rest as HTTP_CONF_DEFAULT has them */
    size_t held_max;               /* a loop, waiting for their answers */
    size_t body_max, bodies_max;   /* bytes: of one, of all that a loop holds */
    uint64_t patience_us;
};

#define HTTP_CONF_DEFAULT                                                                          \
    {                                                                                              \
        .connections_max = 16384, .held_max = 1024, .body_max = (size_t)1 << 20,                   \
        .bodies_max = (size_t)64 << 20, .patience_us = 30000000                                    \
    }

#define HTTP_ADDRESS_MAX 64
#define HTTP_LOOPS_MAX   64u

struct http_stats {
    uint64_t connections, accepted, refused /* over connections_max */, cut /* by the deadline */;
    uint64_t too_busy /* 429 */, malformed;
};

struct http_server; /* opaque */

/* Only the form of "[HOST:]PORT", HOST an IPv4 address or localhost. */
MUST_CHECK enum status http_address_check(const char *address, const char *what,
                                          struct errbuf *err);

/* What http_server_start would refuse before it listens: the address, and one beyond loopback without a token. */
MUST_CHECK enum status http_server_check(const struct http_conf *conf, struct errbuf *err);
/* Listen and answer. owner, conf and what they point to: copied, but borrowed strings live as long as the server. Without HOST
 * on 127.0.0.1; port 0 is chosen by the system. Beyond loopback without a token: ST_USAGE. */
MUST_CHECK enum status http_server_start(const struct http_conf *conf,
                                         const struct http_owner *owner, struct http_server **out,
                                         struct errbuf *err);
const char *http_server_address(const struct http_server *s); /* "127.0.0.1:9100"; borrowed */
unsigned http_server_loops(const struct http_server *s);
void http_server_stats(const struct http_server *s, struct http_stats *out); /* any thread */
/* Accept nothing more, answer what has begun (every answer then closes its connection), stop. Waits up to wait_us, then
 * cuts what is still being received or sent. ST_TIMEOUT: the owner still holds requests; the threads live on, nothing is
 * freed; ask again, or end the process. NULL-safe. */
MUST_CHECK enum status http_server_stop(struct http_server *s, uint64_t wait_us);

/* Answer a request, once, from any thread; afterwards it is the server's again. body: from malloc, handed over; NULL:
 * none. type: a literal; NULL: application/json. */
void http_answer(struct http_request *r, unsigned code, char *body, size_t n, const char *type);
/* One header more, before the answer: name and value are literals. At most two. */
void http_answer_header(struct http_request *r, const char *name, const char *value);
/* {"error": "..."} */
void http_answer_error(struct http_request *r, unsigned code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
