/* replica.h - a read replica of a model: loads a complete cut, follows training by complete cuts, shows one version.
 *
 * What is shown is one atomic pointer to a version (version.h). A version is shown when all files of its manifest are
 * in and the hash over weights of every table is the manifest's; until then, and whatever goes wrong, the one
 * before stays. The newest `keep` versions can be asked for by number and pinned; moving the pointer is O(1).
 *
 *   struct replica_reader *rd = replica_join(r);            once a thread
 *   const struct version *v = replica_enter(rd, 0);         a request, or a batch of them: one version for all
 *   version_rows(v, table, keys, n, out, &unknown);
 *   replica_leave(rd);
 */
#ifndef PENSTOCK_PS_SERVE_REPLICA_H
#define PENSTOCK_PS_SERVE_REPLICA_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/base/plan.h"
#include "common/data/catalog.h"
#include "common/feature/encode.h"
#include "ps/serve/version.h"

#define REPLICA_KEEP_MAX 32u

struct replica;        /* opaque */
struct replica_reader; /* opaque; one a thread */

struct replica_conf {
    /* One of the two: "DIR" or "DIR@k", loaded once (without k what the recipe restores, else the newest); or a
     * stream of cuts, "DIR" or "tcp://HOST:PORT". Borrowed until replica_open returns. */
    const char *snapshot, *follow;
    uint32_t keep;    /* versions, 1 to REPLICA_KEEP_MAX; 0: 3 */
    uint64_t wait_us; /* follow: how long replica_open may wait for the run and its first version */
    bool quiet;       /* nothing into the log: for use inside other programs */
    void (*shown)(
        void *
            ctx); /* may be NULL: called on the follower's thread after each change of what is shown */
    void *shown_ctx;
};

/* What belongs to the run and never changes while it is followed. */
struct serve_model {
    struct job job; /* resolved */
    struct plan plan;
    struct encoder *encoder;
    struct catalog catalog; /* n = 0: the job does not rank items of sequences */
    uint64_t job_id, plan_hash;
    const char *dir;   /* of the run, or the local copy of its small files when following tcp:// */
    const char *cache; /* where encoder.bin and catalog.bin are */
};

/* Loads the snapshot, or starts to follow and waits until a first version is shown, at most wait_us (none yet is no
 * error: enter answers NULL). ST_USAGE, ST_BAD_DATA (names file), ST_NOT_FOUND, ST_TIMEOUT (nobody answered at
 * tcp://), ST_NO_MEMORY. */
MUST_CHECK enum status replica_open(const struct replica_conf *conf, struct replica **out,
                                    struct errbuf *err);
void replica_close(struct replica *r); /* all readers have parted */
const struct serve_model *replica_model(const struct replica *r);

/* -- reading: no lock, no wait -- */

/* Any thread; what is returned belongs to it. NULL: 256 readers are there already. */
struct replica_reader *replica_join(struct replica *r);
void replica_part(struct replica_reader *rd);
/* The version shown now (k = 0), or that of cut k. NULL: there is none (or it isn't kept any more); leave is called
 * even so. Not nested. */
const struct version *replica_enter(struct replica_reader *rd, uint64_t k);
void replica_leave(struct replica_reader *rd);

/* -- control: any thread, takes a lock that no reader takes -- */

struct replica_version {
    uint64_t k, e, wall_us, shown_us;
    bool shown, pinned;
    bool
        refused; /* held weights that are not finite: never shown; nothing is kept of it but its number */
};
/* Kept and refused ones, by k, newest last; at most max; returns how many. */
size_t replica_list(struct replica *r, struct replica_version *out, size_t max);
/* Show cut k until unpin. ST_NOT_FOUND: it is not kept; ST_REFUSED: it was refused. */
MUST_CHECK enum status replica_pin(struct replica *r, uint64_t k, struct errbuf *err);
void replica_unpin(struct replica *r); /* show the newest again */
/* Pin the newest kept version older than the one shown. ST_NOT_FOUND: there is none. */
MUST_CHECK enum status replica_rollback(struct replica *r, uint64_t *out_k, struct errbuf *err);

struct replica_stats {
    uint64_t shown_k, newest_k; /* newest_k: the newest manifest seen */
    uint64_t shown_total, mismatch_total, refused_total, damaged_total, resync_total;
    uint64_t bytes;      /* memory of rows and dense copies, all kept versions */
    uint64_t base_bytes; /* of it, the lowest layer and one dense copy */
    uint64_t rows;       /* of the shown version, all sparse tables */
    uint64_t layers;
    uint64_t fetched_bytes, retried_total; /* tcp:// */
    uint64_t heard_us;                     /* monotonic: when the source last answered; 0: never */
    bool pinned, following;
    char why[256]; /* the last thing that went wrong, "" if nothing did since the last version */
};
void replica_stats(struct replica *r, struct replica_stats *out);

#endif
