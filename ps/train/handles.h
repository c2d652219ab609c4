/* handles.h - pulls a shard remembers, so that their pushes need not say the keys again.
 *
 * A handle keeps the pull's keys and, for each sparse table, the slot each key was found at (or none). It is
 * bounded in bytes: the oldest go first, and whoever names one that is gone is asked for the keys. No part
 * of the shard's state: not in cuts, not undone, forgotten at every RECOVER.
 */
#ifndef PENSTOCK_PS_TRAIN_HANDLES_H
#define PENSTOCK_PS_TRAIN_HANDLES_H

#include <stdint.h>

#include "common/wire/frame.h"

struct handle {
    uint64_t id;        /* 0: given up */
    uint32_t n;         /* keys */
    struct frame keys;  /* u64 (n); owned */
    struct frame slots; /* u32 (tables, n); owned */
};

struct handles {
    struct handle *ring; /* (cap, a power of two), owned; id at id % cap */
    uint64_t cap;
    uint64_t first, next; /* ids in [first, next) are in the ring; 0 is no id */
    uint64_t bytes, bytes_max;
};

void handles_init(struct handles *h, uint64_t bytes_max);
void handles_release(struct handles *h);
void handles_clear(struct handles *h); /* ids go on: an old one never names a new pull */
/* Takes both frames. 0 if they alone are beyond the bound (then they are released). */
uint64_t handles_add(struct handles *h, struct frame *keys, struct frame *slots, uint32_t n);
struct handle *handles_find(struct handles *h,
                            uint64_t id);          /* NULL: gone; valid until the next add */
void handles_drop(struct handles *h, uint64_t id); /* its push is applied */
/* As handles_drop, but both frames are the caller's from here on. id is there. */
void handles_take(struct handles *h, uint64_t id, struct frame *out_keys, struct frame *out_slots);
void handles_check(const struct handles *h);

#endif
