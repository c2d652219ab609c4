/* events.h - the events of a log in memory, put into the order of users and, within a user, of time.
 *
 * A history has to be seen whole, and a log has its users in any order, so this is the one place where memory grows
 * with the log: EVENT_BYTES an event, and above bytes_max it ends with what to do about it. Users are numbered in
 * the order of their first events; a user's events of one time keep the order in which they were added.
 */
#ifndef PENSTOCK_COMMON_DATA_EVENTS_H
#define PENSTOCK_COMMON_DATA_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"

#define EVENT_BYTES 40u /* 32 of the event, 8 of its place */

struct event {
    uint64_t item;   /* key */
    int64_t time;    /* equal in all where a log has none */
    uint64_t offset; /* the caller's, and so is mark */
    uint32_t mark;
    uint32_t user; /* 0 .. users-1 */
};

struct events {
    struct event *item; /* (used) as added; owned */
    size_t used, cap;
    size_t users;
    uint64_t bytes_max;
    /* -- users by their keys: open addressing, 0 = empty, else number + 1 -- */
    uint64_t *key;  /* (slots); owned */
    uint32_t *user; /* (slots); owned */
    size_t slots;
    /* -- after events_order -- */
    uint64_t *order; /* (used) positions in item; owned */
    uint64_t *first; /* (users + 1) where a user begins in order; owned */
};

void events_init(struct events *e, uint64_t bytes_max);
void events_release(struct events *e); /* also of a zeroed one */
/* The event's user is set from the key. ST_NO_MEMORY says how many there were. */
MUST_CHECK enum status events_add(struct events *e, uint64_t user_key, const struct event *event,
                                  struct errbuf *err);
void events_order(struct events *e);

#endif
