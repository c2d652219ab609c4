/* flight.h - one batch between pull and acknowledgement, and the two hot loops over it.
 *
 * The shell owns flights in a fixed pool and fills the top part; between CLIENT_BATCH and
 * CLIENT_DONE (or a reset) the client core uses it.
 */
#ifndef PENSTOCK_WORKER_FLIGHT_H
#define PENSTOCK_WORKER_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/plan.h"
#include "common/wire/msg.h"

struct flight_part {    /* what goes to one shard */
    const uint32_t *at; /* (n) positions in keys, rising; a view into the flight's own list */
    size_t n;
    uint64_t handle, step; /* of its ROWS */
    bool answered, need_keys;
    bool dense_answered;
};

/* Where a flight is: the core's own book-keeping. */
enum flight_at {
    FLIGHT_SHELL,
    FLIGHT_WAITING,
    FLIGHT_PULLING,
    FLIGHT_LENT,
    FLIGHT_KEPT,
    FLIGHT_STARTED
};

struct flight {
    /* -- set by the shell before CLIENT_BATCH -- */
    uint64_t epoch, split, begin,
        end;                       /* record range in the epoch's order; dealt: of the whole step */
    uint64_t part_begin, part_end; /* dealt: this worker's part of it, perhaps empty */
    bool eval;                     /* rows only: no permit, no handle, no push */
    const uint64_t *keys;          /* (unique), distinct; valid until done */
    size_t unique;
    /* -- memory made by flight_init, sized for unique_max; filled by the client before CLIENT_ROWS -- */
    float *rows[PLAN_TABLES_MAX]; /* sparse table t: (unique, dim) */
    float *dense, *stat;          /* (blocks * DENSE_BLOCK) */
    /* -- filled by the shell before CLIENT_GRADS -- */
    float *grad_rows[PLAN_TABLES_MAX];
    float *grad_dense, *grad_stat;
    /* -- client only -- */
    uint32_t *at;             /* (unique) positions by shard; owned, as are the next two */
    uint16_t *owner;          /* (unique) shard of each key */
    struct flight_part *part; /* (shards) */
    uint32_t parts, parts_cap;
    size_t unique_cap;
    uint32_t answered, acks; /* answers of shards; acks of shards */
    uint32_t answers;        /* that make it complete */
    enum flight_at where;
    bool dropped;              /* a reset made it void while it was lent */
    uint64_t request, clock;   /* of its pull */
    uint64_t dense_request;    /* 0: the dense part comes with the tables */
    uint64_t seq, tag;         /* of its push, the same on every shard */
    uint64_t sent_us, wait_us; /* last asking, and when to ask again */
    uint64_t kept_us;          /* computed and kept since, for the stall histogram */
    struct flight *next;
    /* -- shell only -- */
    void *user;
};

void flight_init(struct flight *f, const struct plan *plan, size_t unique_max);
/* Make room for a batch with more unique keys; outputs undefined. */
void flight_reserve(struct flight *f, const struct plan *plan, size_t unique);
void flight_release(struct flight *f, const struct plan *plan);
/* Split keys over shards by the map, in the order of keys; O(unique). */
void flight_partition(struct flight *f, const uint16_t *map, uint32_t shards);
/* One shard's ROWS into rows, dense, stat: the tables, the dense part, or both, as was asked. ST_BAD_PEER if sizes
 * don't fit. */
MUST_CHECK enum status flight_scatter(struct flight *f, const struct plan *plan, uint32_t shard,
                                      const struct msg *rows, struct errbuf *err);
/* One shard's PUSH frames out of grad_*, and push->u.push.n; keys frame filled if with_keys, dense and stat if
 * with_dense. */
void flight_gather(const struct flight *f, const struct plan *plan, uint32_t shard, bool with_keys,
                   bool with_dense, struct frame_pool *pool, struct msg *push);
/* One shard's PULL: its keys frame. */
void flight_keys(const struct flight *f, uint32_t shard, struct frame_pool *pool,
                 struct frame *out);

#endif
