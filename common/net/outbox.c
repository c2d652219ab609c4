/* outbox.c - a list of messages, oldest first (outbox.h has the policy).
 *
 * A box is empty nearly always: it fills when a peer stops reading. So a plain linked list with an
 * allocation an item is enough, and replacing an older STATE may walk it.
 */
#include "common/net/outbox.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/mem.h"

struct outbox_item {
    struct msg *m; /* owned */
    uint64_t bytes;
    struct outbox_item *next;
};

enum { ENVELOPE_BYTES = 512 };

uint64_t outbox_msg_bytes(const struct msg *m)
{
    uint64_t bytes = ENVELOPE_BYTES;
    for (uint32_t i = 0; i < m->frames; i++)
        bytes += m->frame[i].bytes;
    if (m->kind == MSG_ORDER)
        bytes += sizeof(m->u.order) + m->u.order.shards * sizeof(struct msg_member);
    return bytes;
}

bool outbox_is_control(enum msg_kind kind)
{
    return kind != MSG_PULL && kind != MSG_ROWS && kind != MSG_PUSH && kind != MSG_ACK;
}

static bool is_level(enum msg_kind kind)
{
    return kind == MSG_ORDER || kind == MSG_WORKER_STATE || kind == MSG_SHARD_STATE;
}

/* Unlink `item`, whose predecessor is `before` (NULL: it is the first), and free it. */
static void drop(struct outbox *o, struct outbox_item *before, struct outbox_item *item)
{
    if (before != NULL)
        before->next = item->next;
    else
        o->first = item->next;
    if (o->last == item)
        o->last = before;
    o->bytes -= item->bytes;
    o->used--;
    msg_free(item->m);
    free(item);
}

/* Free the oldest item that `kind` replaces (level) or that makes room (control). */
static bool drop_oldest(struct outbox *o, bool level, enum msg_kind kind)
{
    struct outbox_item *before = NULL;
    for (struct outbox_item *i = o->first; i != NULL; before = i, i = i->next) {
        if (level ? i->m->kind == kind : outbox_is_control(i->m->kind)) {
            drop(o, before, i);
            return true;
        }
    }
    return false;
}

enum status outbox_put(struct outbox *o, struct msg **m, uint64_t bytes_max, uint64_t *out_dropped)
{
    uint64_t bytes = outbox_msg_bytes(*m), dropped = 0;
    if (is_level((*m)->kind))
        (void)drop_oldest(o, true, (*m)->kind);
    while (o->bytes + bytes > bytes_max && drop_oldest(o, false, (*m)->kind))
        dropped++;
    *out_dropped = dropped;
    if (o->bytes + bytes > bytes_max) {
        msg_free(*m);
        *m = NULL;
        return ST_AGAIN;
    }
    struct outbox_item *item = mem_zalloc(sizeof(*item));
    item->m = *m;
    item->bytes = bytes;
    *m = NULL;
    if (o->last != NULL)
        o->last->next = item;
    else
        o->first = item;
    o->last = item;
    o->bytes += bytes;
    o->used++;
    return ST_OK;
}

struct msg *outbox_first(const struct outbox *o)
{
    return o->first != NULL ? o->first->m : NULL;
}

void outbox_pop(struct outbox *o)
{
    assert(o->first != NULL);
    drop(o, NULL, o->first);
}

void outbox_release(struct outbox *o)
{
    while (o->first != NULL)
        outbox_pop(o);
    assert(o->bytes == 0 && o->used == 0);
}
