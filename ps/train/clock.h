/* clock.h - bsp, ssp: how many steps of all workers are applied, and the pulls that wait for one.
 *
 * A clock is one step of all workers together: one push of each. A pull names the clock of its batch, which is the
 * number of batches of its worker before it, and waits until so many clocks less `slack` are applied.
 *
 * bsp (slack 0): a clock's pushes are stored, and acknowledged; when the last one is in, they are summed in the
 * order of ranks as a pairwise tree (common/math/merge.h) and applied as one push. A push without records counts
 * as nothing: not as zeros, which would turn a -0 into a 0.
 * ssp (slack = train.staleness): pushes are applied as they come; a clock is when the slowest rank's is.
 *
 * allreduce: the dense gradients of a clock come with one rank's push, the carrier's. A pull of clock c for the dense
 * part alone waits for c of its pushes, and misses no update: `carried` of them are applied.
 *
 * One stored push and slack + 1 waiting pulls (allreduce: of each kind) a worker at most, so the bound is what the workers can send at once.
 * Shard thread only. No part of the shard's state: a cut lies between clocks, and RECOVER forgets all of it.
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
    uint32_t slack, carrier;
    uint64_t applied;        /* clocks of this incarnation and world */
    uint64_t fastest;        /* pushes of the rank that is ahead of all */
    uint64_t carried;        /* pushes of the carrier */
    struct clock_push *push; /* (workers) by rank; owned, as all below */
    struct clock_pull
        *pull; /* (2, workers, slack + 1): of clock c at c % (slack + 1); [1]: dense */
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
#define CLOCK_NOBODY UINT32_MAX
/* Forget everything; so many workers from here on. carrier: CLOCK_NOBODY where all bring dense gradients. */
void clock_reset(struct clock *c, uint32_t workers, uint32_t slack, uint32_t carrier);
/* Takes all three. Nothing of this rank is stored yet. */
void clock_store(struct clock *c, uint32_t rank, struct msg **push, struct frame *keys,
                 struct frame *slots);
bool clock_full(const struct clock *c);
/* The clock is full: its pushes as one. ST_FAULT: they are not parts of one step. */
MUST_CHECK enum status clock_merge(struct clock *c, const struct plan *plan, size_t sparse,
                                   struct frame_pool *pool, struct clock_step *out,
                                   struct errbuf *err);
void clock_done(struct clock *c); /* that step is applied: the next clock begins */
/* A push was applied as it came; last: (workers) how many of each rank were. True: all have made a step more. */
MUST_CHECK bool clock_count(struct clock *c, const uint64_t *last);
bool clock_open(const struct clock *c, const struct msg_pull *pull); /* it may be answered now */
/* Keeps a pull until its clock is open, instead of an older one of the same worker and place. */
void clock_wait(struct clock *c, uint64_t from, struct msg **pull);
/* The next pull that waits no longer, or NULL; the caller's. */
struct msg *clock_next_pull(struct clock *c, uint64_t *out_from);
void clock_check(const struct clock *c);

#endif
