/* shard.h - inside of a shard; for ps/train/shard_*.c and recv_*.c only. See shard_step.c for the story.
 *
 * Calls run one way: shard_step -> recv_order, recv_push -> recv_pull -> shard_cut -> shard_log ->
 * shard_state (what goes out).
 */
#ifndef PENSTOCK_PS_TRAIN_SHARD_H
#define PENSTOCK_PS_TRAIN_SHARD_H

#include "common/base/bytes.h"
#include "common/base/stats.h"
#include "common/wire/sim_bug.h"
#include "ps/snapshot/undo.h"
#include "ps/train/applier.h"
#include "ps/train/clock.h"
#include "ps/train/handles.h"
#include "ps/train/shard_step.h"

struct shard_log { /* how far each split of the epoch has been applied */
    uint64_t epoch, records, split_records, splits;
    uint64_t *upto; /* (splits), owned; ssp: by all workers */
    uint64_t done;  /* sum of upto - begin */
};

struct shard_mark { /* scalars of a moment: now, at the take, at the last complete cut */
    uint64_t step, applied;
    struct shard_log log;
};

enum cut_phase {
    CUT_NONE,
    CUT_WRITING, /* SHARD_SLICE yields bytes */
    CUT_ENDED,   /* all bytes are out, the file is not durable yet */
    CUT_DURABLE,
    CUT_FAILED
};

struct shard_dense { /* this shard's run of a dense table */
    uint64_t *keys;  /* (n) blocks; owned */
    uint32_t *slots; /* (n); owned */
    size_t n;
};

struct shard {
    struct shard_conf conf;
    size_t sparse; /* tables [0, sparse) are sparse; dense kinds follow */
    bool deals;    /* pushes are parts of steps */
    bool parts;    /* and are applied as they come: not bsp */
    /* -- parameters -- */
    struct store *store;
    struct applier *applier;
    struct shard_dense dense[PLAN_TABLES_MAX]; /* [sparse, tables) are used */
    struct undo *log_open, *log_taken;
    uint32_t stamp;       /* of the open log; never used twice */
    struct cut_hash hash; /* as of complete */
    struct shard_mark now, at_take, at_complete;
    uint64_t rendered; /* step of the last full cut in the chain of complete */
    bool by_files;     /* images were given up since complete: the way back is LOAD */
    bool images_off;   /* and none are taken now: the next cut must be a full one */
    /* -- as of the last order obeyed -- */
    uint64_t e, n, open;
    enum mode mode;
    uint64_t complete, complete_e;
    uint64_t taken; /* 0: no unresolved cut */
    uint64_t world;
    uint32_t world_size;
    uint16_t map[BUCKETS];
    uint32_t shards;
    bool joined; /* named by a RECOVER of e */
    bool loading;
    uint64_t loading_k;
    struct msg *order; /* that RECOVER, for SHARD_LOAD; owned */
    uint64_t order_us;
    /* -- workers of this world -- */
    uint64_t *last;    /* (world_size) seq applied; owned */
    uint64_t *refused; /* (world_size) rows refused; owned */
    struct handles handles;
    struct clock clock; /* dealt logs */
    uint32_t *slots;    /* scratch for pushes with keys: (sparse, slots_cap); owned */
    size_t slots_cap;
    /* -- the taken cut -- */
    enum cut_phase cut_phase;
    struct cut *cut; /* owned; until resolved */
    bool cut_full;
    struct buffer bytes;
    struct manifest_file file; /* CUT_DURABLE */
    uint64_t failed_k;
    /* -- counters -- */
    uint64_t doubled, skipped, refused_rows, refused_worker;
    char refused_where[WHY_MAX];
    struct histogram staleness;
    uint64_t rss_bytes;
    bool fault;
    char why[WHY_MAX]; /* of the fault, or of failed_k */
    /* -- this step -- */
    uint64_t now_us, state_us, refuse_us;
    bool state_due, ended, want_told;
    struct shard_action *action;
    size_t actions, actions_cap;
    char text[512];
};

/* shard_state.c: what goes out. */
struct shard_action *shard_act(struct shard *s, enum shard_action_kind kind);
struct msg *shard_msg(const struct shard *s, enum msg_kind kind);
void shard_send(struct shard *s, uint64_t to, struct msg *m);
void shard_refuse(struct shard *s, uint64_t to, const struct msg *m,
                  const char *why); /* at most one a second */
void shard_fault(struct shard *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void shard_exit(struct shard *s, int code, const char *text);
void shard_state(struct shard *s);
bool shard_want_cut(const struct shard *s);

/* shard_log.c: positions. */
void shard_log_begin(struct shard_log *l, uint64_t epoch, uint64_t records, uint64_t split_records);
void shard_log_release(struct shard_log *l);
void shard_mark_copy(struct shard_mark *to, const struct shard_mark *from);
void shard_mark_release(struct shard_mark *m);
uint64_t shard_split_begin(const struct shard_log *l, uint64_t split);
uint64_t shard_split_end(const struct shard_log *l, uint64_t split);
/* The step of `batch` records that begins so many steps behind what all workers have applied; false: there is
 * none in this epoch. Of a log that is dealt, which is one split. */
bool shard_log_step(const struct shard_log *l, uint64_t batch, uint64_t ahead, uint64_t *out_begin,
                    uint64_t *out_end);
/* The order's epoch and geometry; false: they don't follow from what was applied. */
bool shard_log_adopt(struct shard_log *l, const struct msg_order *o);

/* shard_cut.c: take, write, resolve. */
void shard_take(struct shard *s, const struct msg_order *o);
void shard_resolve(struct shard *s, uint64_t resolved, uint64_t complete);
void shard_slice(struct shard *s, size_t max);
void shard_durable(struct shard *s, const struct shard_event *ev);
void shard_cut_drop(struct shard *s);   /* stop writing, forget the cut; logs stay */
void shard_bound_undo(struct shard *s); /* beyond the bound: images are given up */

/* recv_order.c */
void shard_recv_order(struct shard *s, struct msg *m); /* takes m */
void shard_loaded(struct shard *s, const struct shard_event *ev);

/* recv_pull.c, recv_push.c */
/* What is kept for later is taken: *m = NULL. */
void shard_recv_pull(struct shard *s, uint64_t from, struct msg **m);
void shard_recv_push(struct shard *s, uint64_t from, struct msg **m);
/* Step of the last dense gradient that was applied. */
uint64_t shard_dense_step(const struct shard *s);
void shard_answer_pulls(struct shard *s); /* those that waited for a clock that is applied now */

#endif
