/* msg.h - the messages between processes as plain structs (ps/train/README.md, "Messages").
 *
 * On the wire: frame 0 is the protobuf envelope (proto/), arrays follow as raw little-endian frames, in the
 * order the comments give. common/wire/codec.h turns one into the other and checks every count against
 * common/wire/limits.h before use. A decoded message owns its frames.
 */
#ifndef PENSTOCK_COMMON_WIRE_MSG_H
#define PENSTOCK_COMMON_WIRE_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/hash.h"
#include "common/base/job_task.h"
#include "common/base/plan.h"
#include "common/wire/frame.h"
#include "common/wire/schedule.h"

#define SHARDS_MAX     4096u
#define WORKERS_MAX    65536u
#define ADDRESS_MAX    96u
#define LEASES_MAX     16u                   /* of one worker at a time */
#define MSG_FRAMES_MAX (PLAN_TABLES_MAX + 2) /* behind the envelope */
#define WHY_MAX        160u
#define FILE_NAME_MAX  96u

enum role { ROLE_HEAD = 1, ROLE_SHARD = 2, ROLE_WORKER = 3, ROLE_FRONT = 4, ROLE_FOLLOWER = 5 };

enum msg_kind {
    MSG_ORDER = 1,        /* head -> all */
    MSG_WORKER_STATE = 2, /* worker -> head */
    MSG_SHARD_STATE = 3,  /* shard -> head */
    MSG_LEASE = 4,        /* head -> worker */
    MSG_PULL = 5,         /* worker -> shard; frames: keys u64 (n) */
    MSG_ROWS = 6, /* shard -> worker; frames: for each set bit of the pull's `tables`, rising, rows
                             f32 (n, dim); then, if dense was asked for, always two: dense f32, stat f32
                             (this shard's block run; empty where the plan has no such table) */
    MSG_PUSH = 7, /* worker -> shard; frames: keys u64 (n), empty with a handle; for each sparse
                             table gradients f32 (n, dim); dense f32; stat f32 (empty as above) */
    MSG_ACK = 8,  /* shard -> worker */
    MSG_STATUS = 9,   /* front -> head: asks; `want_stop` asks for the graceful end */
    MSG_REPORT = 10,  /* head -> front; frame: JSON text */
    MSG_REFUSED = 11, /* anyone -> sender of a foreign or stale message; frame: text why */
    MSG_WATCH = 12,   /* follower -> the head's process: is there a newer complete cut? */
    MSG_CUT = 13,     /* its answer */
    MSG_FETCH = 14,   /* follower -> the head's process: bytes of a file */
    MSG_PIECE = 15    /* its answer; frame: the bytes */
};
#define MSG_KIND_LAST MSG_PIECE

enum mode { MODE_RECOVER = 1, MODE_RUN = 2, MODE_HOLD = 3, MODE_TAKE = 4, MODE_STOP = 5 };

struct msg_member {
    uint64_t boot;
    char address[ADDRESS_MAX]; /* "tcp://10.0.0.1:4711" */
};

/* shards = 0 (and n = 0): the head still gathers its peers; a sign of life, nothing to obey. */
struct msg_order {
    uint64_t n;
    enum mode mode;
    uint64_t open, complete, complete_e, resolved, base, base_e;
    bool full; /* TAKE: write this cut full */
    uint32_t shards;
    struct msg_member *member; /* (shards); owned by the message */
    uint64_t world;            /* 0 = none yet */
    uint32_t world_size;
    uint16_t map[BUCKETS];           /* bucket -> shard */
    struct schedule schedule;        /* for the open interval */
    uint64_t split_records, records; /* geometry of the log: splits of the epoch */
    uint64_t epoch;
    uint64_t evaluate;                         /* number of the evaluation to do now; 0 = none */
    uint64_t evaluate_first, evaluate_records; /* of these records of the train part; 0 = valid */
    uint64_t evaluate_segment; /* of this segment instead of the train part; 0 = none */
    int32_t stop_code;         /* MODE_STOP: exit code everybody ends with */
    char why[WHY_MAX];         /* MODE_STOP: in words, for logs */
    uint64_t
        clock; /* bsp, ssp, MODE_HOLD: workers behind it start pushes until they have given so many */
};

struct msg_progress {            /* records [begin of split, upto) of the split have been pushed */
    uint64_t epoch, split, upto; /* upto: absolute offset in the epoch's order */
};

struct msg_task { /* what an evaluation says of one task; rate: of positives */
    double auc, logloss, rate;
};

struct msg_worker_state {
    uint64_t n;    /* order obeyed */
    uint64_t held; /* n of the HOLD answered, or 0 */
    uint64_t world;
    uint32_t rank, world_size;
    uint64_t leased; /* number of the last LEASE taken (msg_lease.number) */
    uint32_t leases; /* entries of progress: the last leases taken, finished ones too */
    struct msg_progress progress[LEASES_MAX];
    uint32_t room; /* leases it can still take */
    bool idle;     /* nothing in flight, nothing unacked, no lease unfinished */
    /* running totals, for people */
    uint64_t totals_epoch; /* epoch that loss and AUC below are of */
    double loss_sum;
    uint64_t loss_count;              /* records computed in this epoch; places of sequences */
    double train_auc, train_accuracy; /* of this epoch's records so far */
    uint64_t refused;                 /* rows the shards refused since e began */
    uint64_t rss_bytes;
    uint64_t stall_us_max; /* longest wait of a kept batch */
    /* result of evaluation `evaluated` (rank 0 only; 0 = none yet) */
    uint64_t evaluated;
    double auc, auc_bound, logloss, accuracy; /* of several tasks those of train.task */
    double gauc;                              /* NaN unless train.metric is gauc */
    uint32_t tasks;                           /* entries of task; 0: there is but one */
    struct msg_task task[JOB_TASKS_MAX];
    double hr10, ndcg10, mrr; /* of next-item models, which have no AUC; else NaN */
    uint64_t eval_count;
    char fault[WHY_MAX]; /* not empty: this worker can't go on */
    int32_t fault_code;  /* exit code that the run ends with for it: 3 the data, 1 anything else */
    uint64_t clock;      /* pushes started since e began */
};

struct msg_shard_state {
    uint64_t n;
    uint32_t shard;
    char address[ADDRESS_MAX];
    uint64_t open;
    uint64_t complete; /* what it stands on: base or last complete cut */
    bool loading;      /* RECOVER obeyed but files still load */
    /* the last taken cut once its file is durable */
    uint64_t durable_e, durable_k;
    char file[FILE_NAME_MAX];
    bool file_full;
    uint64_t bytes, rows_written, xxh3;
    uint32_t tables;
    uint64_t hash[PLAN_TABLES_MAX], rows[PLAN_TABLES_MAX], weights[PLAN_TABLES_MAX];
    uint64_t step, rendered; /* as of the take: pushes applied; step of the last full cut */
    uint64_t cut_applied;    /* as of the take: records applied, in the history of this log */
    uint64_t failed_k;       /* cut of this e that could not be written, with why */
    char why[WHY_MAX];
    uint64_t undo_bytes;
    bool want_cut;
    bool need_full; /* images were given up: only a full cut can be written next */
    bool fault;     /* an invariant broke; `why` says which */
    /* running totals; pushes and applied as of base plus what came since (base's step and records) */
    uint64_t pushes, applied, doubled, skipped, refused, refused_worker;
    char refused_where[WHY_MAX]; /* last refusal: table, key, worker, records */
    uint64_t table_bytes, rows_live, rss_bytes;
    double staleness_mean;
    uint64_t staleness_p99;
};

struct msg_lease {
    uint64_t number; /* 1, 2, 3 ... of this worker in this e: taken in order, each once */
    uint64_t epoch, split, begin, end; /* records of the epoch's order still to do */
    uint64_t first, records; /* that order is of the train part's [first, first + records) */
    uint64_t segment;        /* or of this segment's (data/segments.h); 0 = the train part */
};

struct msg_pull {
    uint64_t request;
    uint64_t tables; /* bit t: rows of sparse table t wanted */
    bool dense;      /* dense and stat wanted */
    bool handle;     /* a push will follow */
    uint32_t n;      /* keys */
    uint64_t
        clock; /* bsp, ssp: of its batch: how many of its worker came before it in e; may have to wait */
};

struct msg_rows {
    uint64_t request;
    uint64_t handle; /* 0 = none kept */
    uint32_t n;
    uint64_t step; /* pushes applied when it was answered */
};

struct msg_push {
    uint32_t rank;
    uint64_t seq, tag;                 /* tag = the open interval */
    uint64_t handle;                   /* 0: the keys frame is filled */
    uint32_t n;                        /* keys */
    uint64_t epoch, split, begin, end; /* record range it stands for */
    uint64_t pulled_step; /* step of the rows it was computed on: staleness = applied - this */
};

struct msg_ack {
    uint64_t seq;     /* last applied in order */
    uint64_t refused; /* rows of this worker's pushes refused since e began */
    bool keys;        /* the handle of seq + 1 is gone: send it again with keys */
};

struct msg_refused { /* of the message that was refused: its sender and incarnation */
    uint64_t boot, e;
};

struct msg_watch {
    uint64_t request, after, below; /* in (after, below); below 0: no bound */
    uint64_t wait_us;
};

struct msg_cut {
    uint64_t request, k; /* 0: none */
};

struct msg_fetch {
    uint64_t request;
    char name[FILE_NAME_MAX];
    uint64_t offset, bytes;
};

struct msg_piece {
    uint64_t request;
    bool gone;                    /* no such file, or none that may be asked for */
    uint64_t offset, total, xxh3; /* total: of the file; xxh3: of the frame */
};

struct msg {
    enum msg_kind kind;
    uint64_t job, e, boot; /* of the sender */
    enum role role;
    uint32_t sender; /* shard, rank; 0 for head and front */
    union {
        struct msg_order order;
        struct msg_worker_state worker;
        struct msg_shard_state shard;
        struct msg_lease lease;
        struct msg_pull pull;
        struct msg_rows rows;
        struct msg_push push;
        struct msg_ack ack;
        struct msg_refused refused;
        struct msg_watch watch;
        struct msg_cut cut;
        struct msg_fetch fetch;
        struct msg_piece piece;
        bool want_stop;
    } u;
    struct frame frame[MSG_FRAMES_MAX]; /* owned */
    uint32_t frames;
};

/* Zeroed, except that order.map is only so for MSG_ORDER. From a small locked free list: threads may hand
 * messages to each other. Aborts without memory. */
struct msg *msg_new(enum msg_kind kind);
void msg_free(struct msg *m); /* releases frames and members; NULL-safe */
/* Frame 0 = a copy of the text, without its 0 (REPORT, REFUSED). */
void msg_set_text(struct msg *m, const char *text);
/* Frame 0 as text, at most cap - 1 bytes, control characters made '?'. */
void msg_text(const struct msg *m, char *dst, size_t cap);
const char *msg_kind_name(enum msg_kind kind);
const char *mode_name(enum mode mode);
const char *role_name(enum role role);

#endif
