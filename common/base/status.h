/* status.h - what a function that can fail returns.
 *
 * Codes are grouped by the largest thing that broke, so that a process turns a group into policy
 * with one switch: answer the request, drop the peer, reload the shard, or exit.
 * Outputs of a function change only when it returns ST_OK.
 */
#ifndef PENSTOCK_COMMON_BASE_STATUS_H
#define PENSTOCK_COMMON_BASE_STATUS_H

#define MUST_CHECK __attribute__((warn_unused_result))

enum status {
    ST_OK = 0,
    /* -- request: this call is wrong, everything else goes on -- */
    ST_USAGE = 1,     /* the command line or the job file is wrong (exit 2) */
    ST_BAD_DATA = 2,  /* foreign bytes are wrong: log, cache, snapshot (exit 3) */
    ST_NOT_FOUND = 3, /* a named thing does not exist */
    ST_REFUSED = 4,   /* valid, but not now or not for this caller */
    ST_AGAIN = 5,     /* a bound is reached; try later */
    ST_END = 6,       /* no more items: a reader's normal end */
    ST_TIMEOUT = 7,   /* a deadline passed */
    /* -- peer: drop this peer -- */
    ST_BAD_PEER = 20, /* it spoke nonsense */
    ST_FOREIGN = 21,  /* it belongs to another job or incarnation */
    /* -- shard: its memory can't be trusted, reload it -- */
    ST_FAULT = 40, /* an invariant of the protocol was broken */
    /* -- process: exit and be restarted -- */
    ST_IO = 60, /* the file system or a socket failed (text has errno) */
    ST_NO_MEMORY = 61,
    ST_FENCED = 62,  /* a newer incarnation exists: this head must exit */
    ST_INTERNAL = 63 /* our bug */
};

/* Short lower-case name, for logs; never NULL. */
const char *status_name(enum status st);
/* Exit code of a program that ends with st: 0, 2 (usage), 3 (data), 1 anything else. */
int status_exit_code(enum status st);

#endif
