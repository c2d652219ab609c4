/* fetcher.h - the follower's side of the stream: questions that are asked until they are answered well. Pure: time comes
 * in, messages go out as plain data; loses nothing when the network does. Private to ps/serve.
 *
 * One task at a time: a watch, or the ranges of one file. A file's ranges are cut into pieces of at most 1 MiB, of which
 * FETCHER_WINDOW are under way. A piece is taken if it answers a question that is open, has the place and length that
 * were asked for, and its checksum holds; else it is as if it had never come. What is not answered in time is asked
 * again, later and later, under the same number: files never change, so an answer that is late is as good. An answer to
 * a number that is not open any more is nothing.
 *
 *   fetcher_watch | fetcher_file -> (fetcher_next, send)* , (receive, fetcher_take)* -> FETCHER_DONE | FETCHER_GONE
 */
#ifndef PENSTOCK_PS_SERVE_FETCHER_H
#define PENSTOCK_PS_SERVE_FETCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/wire/msg.h"

#define FETCHER_WINDOW 8u

enum fetcher_state { FETCHER_IDLE, FETCHER_BUSY, FETCHER_DONE, FETCHER_GONE };

struct fetcher_range {
    uint64_t offset, bytes; /* of the file, and into the destination */
};

struct fetcher_ask {  /* a question that is open */
    uint64_t request; /* 0: none */
    uint64_t offset, bytes;
    uint64_t at_us, wait_us; /* asked at; to be asked again after */
};

struct fetcher {
    enum fetcher_state state;
    uint64_t request;     /* the last number given */
    uint64_t patience_us; /* first deadline of a question */
    /* the task */
    bool watching;
    struct msg_watch watch;
    char name[FILE_NAME_MAX];
    uint8_t *to;                 /* borrowed: the whole file's place */
    struct fetcher_range *range; /* owned */
    size_t ranges, at_range;
    uint64_t at_byte; /* of that range: asked for so far */
    struct fetcher_ask ask[FETCHER_WINDOW];
    struct msg_cut cut;                   /* FETCHER_DONE of a watch */
    uint64_t total;                       /* of the file, as the last good piece said */
    uint64_t got_bytes, retried, refused; /* since init; refused: answers that were not taken */
};

/* first_request: random, so that answers meant for an earlier process are not ours. patience_us: 0 = 500 ms. */
void fetcher_init(struct fetcher *f, uint64_t first_request, uint64_t patience_us);
void fetcher_release(struct fetcher *f);
/* Begin a task; one that was under way is forgotten. wait_us: how long the server may keep the question. */
void fetcher_watch(struct fetcher *f, uint64_t after, uint64_t below, uint64_t wait_us);
/* to: where byte 0 of the file belongs; room for the end of each range. Ranges are not empty. */
void fetcher_file(struct fetcher *f, const char *name, uint8_t *to,
                  const struct fetcher_range *range, size_t ranges);
/* The next message to send now: true, and *out is MSG_WATCH's or MSG_FETCH's body (*out_watch says which). */
struct fetcher_question {
    bool is_watch;
    struct msg_watch watch;
    struct msg_fetch fetch;
};
bool fetcher_next(struct fetcher *f, uint64_t now_us, struct fetcher_question *out);
uint64_t fetcher_wake_us(
    const struct fetcher *f); /* when fetcher_next has something again, if nothing comes */
/* An answer; true: it was one to an open question. bytes: (n) of the piece's frame. */
bool fetcher_take_cut(struct fetcher *f, const struct msg_cut *c);
bool fetcher_take_piece(struct fetcher *f, const struct msg_piece *p, const void *bytes, size_t n);

#endif
