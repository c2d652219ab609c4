/* http_conn.h - a connection of an HTTP loop and its answer; what http_loop.c and http_conn.c share. Inside common/net only.
 *
 * A connection's states; the deadline runs in all but HELD:
 *
 *   IDLE     nothing of a request is here    -> TAKING at its first line
 *   TAKING   headers, body                   -> HELD when whole; -> SENDING when refused
 *   HELD     suspended, with the owner       -> SENDING when the owner has answered
 *   SENDING  the answer goes out             -> IDLE, or closed
 */
#ifndef PENSTOCK_COMMON_NET_HTTP_CONN_H
#define PENSTOCK_COMMON_NET_HTTP_CONN_H

#include <stdatomic.h>

#include <microhttpd.h>

#include "common/base/queue.h"
#include "common/base/thread.h"
#include "common/net/http_server.h"
#include "common/net/wake.h"

#define HTTP_HEADERS_MAX 2u

enum conn_state { CONN_IDLE, CONN_TAKING, CONN_HELD, CONN_SENDING };

struct http_conn {
    struct http_request r; /* first: http_answer gets from it to here */
    struct http_loop *loop;
    struct MHD_Connection *mhd;
    struct http_conn *answered_next;  /* in the stack of those answered elsewhere */
    struct http_conn *before, *after; /* in the loop's list by since_us, in all states but HELD */
    uint64_t since_us;
    enum conn_state state;
    bool headed, refused, answered, close;
    size_t discarded;
    size_t body_cap; /* counted in the loop's bodies */
    char *raw_error; /* what is wrong with the target, until the headers are in; owned */
    /* -- the answer -- */
    unsigned code;
    char *body; /* owned until it is queued */
    size_t body_n;
    const char *type;
    const char *header[HTTP_HEADERS_MAX][2];
    unsigned headers;
};

struct http_loop {
    /* -- set once -- */
    const struct http_conf *conf;
    const struct http_owner *owner;
    unsigned index;
    const atomic_bool *draining;
    struct MHD_Daemon *daemon;
    int epoll; /* the daemon's */
    struct wake wake;
    struct queue *arrivals; /* sockets, as pointers */
    struct thread thread;
    /* -- loop thread only -- */
    struct http_conn *oldest, *newest; /* all that have a deadline */
    struct http_request **batch;       /* (held_max) */
    size_t batch_n, held, busy;        /* busy: neither IDLE nor HELD */
    size_t bodies;
    bool resumed; /* there is something to do at once */
    /* -- any thread -- */
    _Atomic uint64_t stop_us; /* 0: not yet */
    atomic_bool ended;
    struct http_conn *_Atomic answered; /* a stack */
    _Atomic uint64_t connections, cut, too_busy, malformed;
};

/* All but the last two: on the loop's thread. */
void http_conn_loop_is(struct http_loop *l); /* this thread is that loop's */
void http_conn_list(struct http_conn *k);    /* its deadline begins; the newest of all */
void http_conn_unlist(struct http_conn *k);
void http_conn_turn(struct http_conn *k, enum conn_state to);
/* The server's own answer: kept until the request is whole, or sent at once. */
void http_conn_refuse(struct http_conn *k, unsigned code, const char *why);
enum MHD_Result http_conn_send(struct http_conn *k);
/* Whom other threads have answered: on they go. */
void http_conn_take_answered(struct http_loop *l);
/* Ends it from our side, with a code and a word (0: without). */
void http_conn_cut(struct http_conn *k, unsigned code, const char *why);
/* An answer by hand into a socket that is about to be closed; what does not fit at once is lost. Any thread. */
void http_conn_turn_away(int fd, unsigned code, const char *why);

#endif
