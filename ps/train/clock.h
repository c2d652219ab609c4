/* clock.h - bsp: the pushes of one step, until every worker's is in; and the pulls that wait for it.
 *
 * A clock is one step of all workers together. Its pushes are stored, and acknowledged; when the last one is
 * in, they are summed in the order of ranks as a pairwise tree (common/math/merge.h) and applied as one push.
 * A push without records counts as nothing: not as zeros, which would turn a -0 into a 0.
 *
 * One push and one pull a worker at most, so the bound is what the workers can send at once. Shard thread
 * only. No part of the shard's state: a cut lies between clocks, and RECOVER forgets all of it.
 */
#ifndef PENSTOCK_PS_TRAIN_CLOCK_H
#define PENSTOCK_PS_TRAIN_CLOCK_H

#include "common/base/errbuf.h"
#include "common/base/plan.h"
#include "common/math/merge.h"
#include "common/wire/msg.h"

struct clock_push {
    struct msg *msg;    /* NULL: not in yet; owned */
    struct frame keys;  /* u64 (n); owned */
    struct frame slots; /* u32 (sparse, n), guesses; owned */
};

struct clock_pull {
    struct msg *msg; /* NULL: none waits; owned */
    uint64_t from;
};

struct clock_step { /* all pushes of a clock as one; valid until clock_done */
    const struct msg *msg;
    const uint64_t *keys; /* (n) */
    uint32_t *slots;      /* (sparse, n) */
};

struct clock {
    uint32_t workers, stored;
    uint64_t applied;        /* clocks of this incarnation and world */
    struct clock_push *push; /* (workers) by rank; owned, as all below */
    struct clock_pull *pull; /* (workers) */
    struct merge merge;
    struct msg *merged;
    uint32_t *slots;
    size_t slots_cap;
    const float **list; /* (workers) scratch, as the next two */
    const uint64_t **key_list;
    size_t *n;
};

void clock_init(struct clock *c);
void clock_release(struct clock *c);
/* Forget everything; so many workers from here on. */
void clock_reset(struct clock *c, uint32_t workers);
/* Takes all three. Nothing of this rank is stored yet. */
void clock_store(struct clock *c, uint32_t rank, struct msg **push, struct frame *keys,
                 struct frame *slots);
bool clock_full(const struct clock *c);
/* The clock is full: its pushes as one. ST_FAULT: they are not parts of one step. */
MUST_CHECK enum status clock_merge(struct clock *c, const struct plan *plan, size_t sparse,
                                   struct frame_pool *pool, struct clock_step *out,
                                   struct errbuf *err);
void clock_done(struct clock *c); /* that step is applied: the next clock begins */
/* Keeps a pull until its clock is applied, instead of an older one of the same worker. */
void clock_wait(struct clock *c, uint64_t from, struct msg **pull);
/* The next pull that waits no longer, or NULL; the caller's. */
struct msg *clock_next_pull(struct clock *c, uint64_t *out_from);
void clock_check(const struct clock *c);

#endif
