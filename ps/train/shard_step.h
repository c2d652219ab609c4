/* shard_step.h - one shard: a pure state machine (ps/train/README.md, "The shard"). No socket, file, thread or clock.
 *
 *   SHARD_MSG      a decoded message; consumed
 *   SHARD_TICK     at least every beat: STATE goes out
 *   SHARD_LOADED   answer to SHARD_LOAD: base is in the store (or status says why not)
 *   SHARD_SLICE    there is room for up to `max` more bytes of the cut's file
 *   SHARD_DURABLE  the writer finished the file (or failed: status, text)
 */
#ifndef PENSTOCK_PS_TRAIN_SHARD_STEP_H
#define PENSTOCK_PS_TRAIN_SHARD_STEP_H

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/wire/msg.h"
#include "ps/snapshot/cut.h"
#include "ps/snapshot/manifest.h"
#include "ps/store/table.h"

struct shard_conf {
    uint64_t job, boot;
    uint32_t shard;
    const struct plan *plan;   /* borrowed */
    const char *address;       /* where this shard listens; borrowed */
    uint64_t bytes_max;        /* table budget */
    uint64_t undo_bytes_max;   /* bound U; at U/2 want_cut; 0 = a quarter of bytes_max */
    uint64_t handle_bytes_max; /* bound of remembered pulls */
    double clip_row, grad_max;
    double damping; /* of stale gradients; 0 = off */
    uint64_t beat_us, orphan_us;
    uint32_t workers_max;
    enum job_consistency consistency;
    bool allreduce; /* one rank brings the dense gradients of all: job_carrier */
    uint64_t batch; /* dealt logs: records of a step, over all workers */
    uint32_t
        staleness; /* permits of a worker beyond one; ssp: steps that one may be behind another */
    struct frame_pool *pool; /* borrowed; ROWS frames */
};

enum shard_event_kind { SHARD_MSG, SHARD_TICK, SHARD_LOADED, SHARD_SLICE, SHARD_DURABLE };

struct shard_event {
    enum shard_event_kind kind;
    uint64_t now_us;
    struct msg *msg;
    uint64_t from;        /* SHARD_MSG: opaque route of the sender, given back in SHARD_SEND */
    size_t max;           /* SHARD_SLICE */
    enum status status;   /* SHARD_LOADED, SHARD_DURABLE */
    const char *text;     /* why not */
    struct manifest base; /* SHARD_LOADED: of the base, or all zero for a fresh start; borrowed */
    struct manifest_file file; /* SHARD_DURABLE: name, k, e, bytes, xxh3 (k and e on failure too) */
};

enum shard_action_kind {
    SHARD_SEND, /* msg to route `to` (SHARD_TO_HEAD = the head); the shell frees it */
    SHARD_LOAD, /* load base `k` (0: none) into shard_store(), which is empty, and shard_hash() by the
                         order's map, then SHARD_LOADED; a newer SHARD_LOAD makes an older one void */
    SHARD_FILE_BEGIN, /* cut k of e, full or not, n = total bytes: open its file */
    SHARD_FILE_BYTES, /* bytes: append (borrowed until the next step) */
    SHARD_FILE_END,   /* finish it, then SHARD_DURABLE */
    SHARD_FILE_ABORT, /* cut k of e was abandoned: remove what is there; its SHARD_DURABLE is ignored */
    SHARD_NOTE,       /* text: for the log */
    SHARD_EXIT        /* code, text; send what was given before */
};

#define SHARD_TO_HEAD UINT64_MAX

struct shard_action {
    enum shard_action_kind kind;
    uint64_t to;
    struct msg *msg;
    uint64_t e, k;
    bool full;
    const void *bytes;
    size_t n;
    const struct msg_order *order; /* SHARD_LOAD: map and shards; borrowed */
    int code;
    const char *text;
};

struct shard; /* opaque */

MUST_CHECK enum status shard_new(const struct shard_conf *conf, struct shard **out,
                                 struct errbuf *err);
void shard_free(struct shard *s);
void shard_step(struct shard *s, const struct shard_event *ev, const struct shard_action **out,
                size_t *out_n);
/* Told in STATE: memory of the process; by one shard of it only. */
void shard_totals(struct shard *s, uint64_t rss_bytes);
struct store *shard_store(struct shard *s);
struct cut_hash *shard_hash(struct shard *s); /* filled by restore_load in answer to SHARD_LOAD */
bool shard_writing(const struct shard *s);    /* SHARD_SLICE makes sense */
struct shard_view {
    uint64_t e, n, open, complete, taken; /* taken: 0 = no unresolved cut */
    uint64_t step, applied, doubled, skipped, refused;
    uint64_t pushes; /* of this world in this e that were taken in order */
    uint64_t undo_bytes, handle_bytes;
    uint32_t stored; /* bsp: pushes of the clock under way */
    bool loading, by_files, fault;
    uint32_t stamp;
};
void shard_view(const struct shard *s, struct shard_view *out);
void shard_check(const struct shard *s);

#endif
