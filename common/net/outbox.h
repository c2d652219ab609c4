/* outbox.h - messages to one peer that ZeroMQ would not take yet, bounded in bytes.
 *
 * Control messages repeat (ORDER and STATE are level-triggered), so a newer one takes the place of an older
 * one of its kind, and when the box is full the oldest control message goes first. Data (PULL, ROWS, PUSH,
 * ACK) is never pushed out: where there is no room the new one is refused, and the caller says so; the
 * protocol sends it again. Pure; owned by the endpoint's thread.
 */
#ifndef PENSTOCK_COMMON_NET_OUTBOX_H
#define PENSTOCK_COMMON_NET_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/wire/msg.h"

struct outbox_item;

struct outbox {
    struct outbox_item *first, *last; /* owned, oldest first */
    uint64_t bytes;                   /* estimate of what is kept */
    size_t used;
};

/* About what a message holds in memory and on the wire. */
uint64_t outbox_msg_bytes(const struct msg *m);
/* ORDER, STATE, LEASE and what the front asks: repeated by whoever sent it. */
bool outbox_is_control(enum msg_kind kind);
/* Append *m (taken, nulled). *out_dropped: control messages that made room. ST_AGAIN: no room (*m is
 * freed all the same). */
MUST_CHECK enum status outbox_put(struct outbox *o, struct msg **m, uint64_t bytes_max,
                                  uint64_t *out_dropped);
struct msg *outbox_first(const struct outbox *o); /* borrowed; NULL when empty */
void outbox_pop(struct outbox *o);                /* free the first */
void outbox_release(struct outbox *o);            /* free all; empty afterwards */

#endif
