/* head.h - inside of the head; for ps/train/head_*.c only. See head_step.c for the story.
 *
 * Calls run one way: head_step -> head_peers -> head_cut -> head_commit, head_epoch -> head_lease ->
 * head_log -> head_order; head_report and head_check only read.
 */
#ifndef PENSTOCK_PS_TRAIN_HEAD_H
#define PENSTOCK_PS_TRAIN_HEAD_H

#include "common/wire/sim_bug.h"
#include "ps/train/head_step.h"

#define HEAD_LEASES    2u /* of one worker at a time */
#define HEAD_OPENED    4u /* dealt: leases remembered for those that have not got them yet */
#define HEAD_NOTICES   8u
#define HEAD_TRIES_MAX 8u /* failed cuts in a row where one must succeed */

enum head_phase {
    HEAD_FENCING,  /* waits for its incarnation */
    HEAD_GATHER,   /* waits for a fresh boot of every shard */
    HEAD_RECOVER,  /* shards go to the base; waits for them and for one whole world of workers */
    HEAD_RUN,      /* orders RUN; a cut may be written meanwhile */
    HEAD_HOLD,     /* waits for every worker's HELD */
    HEAD_TAKE,     /* waits for every shard's take */
    HEAD_STOPPING, /* orders STOP, waits a little for the answers */
    HEAD_ENDED
};

enum head_stage {                 /* of the epoch */
                  STAGE_TRAIN,    /* leases are given and worked on */
                  STAGE_WAIT,     /* live: for the next segment of the growing log */
                  STAGE_JUDGE,    /* live: it is judged, before anybody trains on it */
                  STAGE_EVALUATE, /* all records are applied; rank 0 owes a result */
                  STAGE_DECIDED,  /* the recipe has decided: a cut with the decision must follow */
                  STAGE_COMMIT, /* that cut is taken; the log stands at the next epoch, no lease yet */
                  STAGE_FINISHED /* nothing is left to train */
};

enum head_write {
    WRITE_NONE,
    WRITE_FILES /* shards write */,
    WRITE_COMMIT /* the shell commits */
};

struct head_peer {
    bool seen;   /* boot, route and times are valid */
    bool joined; /* told a STATE with our e: `state` is valid */
    uint64_t boot, route, seen_us;
};

struct head_shard {
    struct head_peer peer;
    struct msg_shard_state state;
};

struct head_worker {
    struct head_peer peer;
    struct msg_worker_state state;
    uint64_t granted;                    /* number of the last lease */
    struct msg_lease lease[HEAD_LEASES]; /* number n at n % HEAD_LEASES */
    uint64_t lease_us;
};

struct head_log { /* the log of the epoch under way */
    uint64_t epoch, records, split_records, splits;
    uint64_t first;        /* record of the train part that its order begins at: by window, not 0 */
    uint64_t before;       /* records of all former epochs */
    uint64_t *upto;        /* (splits) known progress; owned */
    uint64_t next;         /* first split never leased */
    uint64_t lent;         /* dealt: records before it are in leases */
    uint64_t done_records; /* sum of upto - begin */
};

struct head_cut {
    enum head_write write;
    uint64_t k;          /* under way: from TAKE to its end */
    uint64_t hold_n;     /* the HOLD that must be answered */
    uint64_t clock;      /* dealt: what that HOLD lets everybody push up to; 0: nothing */
    bool full, decided;  /* decided: it holds an epoch's decision */
    struct head_log log; /* positions as of HELD */
    char *recipe;        /* as of the take; owned */
    uint64_t best;
    uint64_t deadline_us;             /* of hold or write */
    uint64_t write_us, last_write_us; /* when it began; how long the last one took */
    uint64_t next_us;                 /* the next one by time */
    uint64_t retry_us, back_us;       /* none before; back-off */
    uint32_t tries;                   /* musts that failed in a row */
    uint64_t taken_done;              /* log position of the last complete cut: epoch, records */
    uint64_t taken_epoch;
    struct manifest manifest; /* being committed */
};

struct head {
    struct head_conf conf;
    enum head_phase phase;
    enum head_stage stage;
    /* -- what ORDER says -- */
    uint64_t e, n;
    enum mode mode;
    uint64_t open, complete, complete_e, resolved, base, base_e;
    uint64_t world;
    uint16_t map[BUCKETS];
    bool full;
    uint64_t evaluate, evaluations; /* the one under way or 0; how many there were in this e */
    int stop_code;
    char why[WHY_MAX];
    /* -- members -- */
    struct head_shard *shard;           /* (conf.shards), owned */
    struct head_worker *worker;         /* (conf.workers), owned */
    uint64_t seen_world, seen_world_us; /* candidate until `world` is named */
    /* -- log, recipe, cut -- */
    struct head_log log;
    struct recipe recipe;
    struct head_cut cut;
    uint64_t judge_n;          /* live: the order that named the segment under way */
    uint64_t seen_us, done_us; /* wall: of the segment under way; of the last one that is done */
    double fresh, fresh_max;   /* seconds from a line's sight to its cut: the last; the most */
    double fresh_mean;
    uint64_t fresh_n;
    uint64_t opened;                          /* dealt: leases that every worker gets, in this e */
    struct msg_lease open_lease[HEAD_OPENED]; /* number n at n % HEAD_OPENED */
    struct manifest last;                     /* newest complete cut, or all zero */
    bool has_last;
    /* -- end -- */
    bool stop_wanted;   /* HEAD_STOP, or a front asked */
    bool stopped_early; /* ended by it with records left */
    uint64_t stop_us, recover_us;
    bool recover_told;
    /* -- for people -- */
    char text[512];
    char notice[HEAD_NOTICES][256];
    uint64_t notices;
    uint64_t start_us, run_us;     /* first step; first RUN */
    uint64_t refuse_us;            /* last REFUSED */
    uint64_t train_us, train_from; /* when this epoch or window went on, and with which record */
    double rate;                   /* records a second of the last one that ended; 0: none did */
    uint64_t attempts;             /* cuts tried */
    /* -- this step -- */
    uint64_t now_us, wall_us, beat_us;
    struct head_action *action;
    size_t actions, actions_cap;
};

/* head_order.c: what goes out. */
struct head_action *head_act(struct head *h, enum head_action_kind kind);
struct msg *head_msg(const struct head *h, enum msg_kind kind);
void head_send(struct head *h, uint64_t route, struct msg *m);
void head_order_all(struct head *h); /* repeat the order to all that are known */
void head_order_to(struct head *h, uint64_t route);
void head_order_new(struct head *h, enum mode mode); /* next n, to all */
void head_notice(struct head *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void head_refuse(struct head *h, uint64_t route, const struct msg *m,
                 const char *why); /* at most one a second */
void head_end(struct head *h, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void head_exit(struct head *h, int code, const char *text);
void head_last_cut_text(const struct head *h, char *dst, size_t cap);

/* head_log.c: positions. */
/* The log of this epoch or window. split_records 0: those of this run (bsp: one split). */
void head_log_begin(struct head *h, uint64_t epoch, uint64_t split_records, uint64_t before);
void head_log_release(struct head_log *l);
void head_log_copy(struct head_log *to, const struct head_log *from);
uint64_t head_log_split_records(uint64_t records, uint64_t batch, uint32_t workers);
uint64_t head_epochs(const struct head *h);                      /* or windows */
bool head_live(const struct head *h, uint64_t epoch);            /* it is a segment */
uint64_t head_segment(const struct head *h);                     /* number of the log's; 0: none */
uint64_t head_epoch_first(const struct head *h, uint64_t epoch); /* a record of the train part */
uint64_t head_epoch_records(const struct head *h, uint64_t epoch); /* behind the last: its own */
uint64_t head_split_begin(const struct head_log *l, uint64_t split);
uint64_t head_split_end(const struct head_log *l, uint64_t split);
bool head_log_moved(struct head_log *l, const struct msg_progress *p); /* false: nonsense */
bool head_log_done(const struct head_log *l);
uint64_t head_log_applied(const struct head_log *l); /* records over all epochs */

/* head_lease.c */
void head_lease_give(struct head *h, uint32_t rank);
void head_lease_again(struct head *h, uint32_t rank); /* not listed by STATE yet: once more */

/* head_epoch.c */
void head_epoch_segment(struct head *h, const struct head_event *ev);
void head_epoch_go_live(struct head *h);   /* from the log's epoch on */
void head_epoch_begins(struct head *h);    /* workers may go on with it from now on */
void head_epoch_check(struct head *h);     /* is the epoch's next stage due? */
void head_epoch_next(struct head *h);      /* at the take of the deciding cut */
void head_epoch_committed(struct head *h); /* that cut is complete */

/* head_cut.c */
void head_cut_check(struct head *h);       /* begins, goes on, gives up */
bool head_cut_fresh(const struct head *h); /* nothing was applied since the last one */
void head_cut_committed(struct head *h, enum status st, const char *text);

/* head_commit.c */
bool head_commit_sound(struct head *h); /* false: the run was ended */
void head_commit_manifest(const struct head *h, struct manifest *m);

/* head_peers.c */
void head_recv_worker(struct head *h, uint64_t route, const struct msg *m);
void head_recv_shard(struct head *h, uint64_t route, const struct msg *m);
void head_recv_status(struct head *h, uint64_t route, const struct msg *m);
void head_peers_check(struct head *h); /* deaths; gather and recover */

#endif
