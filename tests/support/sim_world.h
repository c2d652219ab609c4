/* sim_world.h - a whole cluster in one process: the shipped cores, real stores, cuts and fences, a seeded
 * scheduler with virtual time, and an oracle that knows what must be true. tests/sim/README.md tells more.
 *
 * A history is a function of struct sim_conf: the same conf, the same history. Every message goes through
 * codec_encode and codec_decode; the network of conf delays, reorders, doubles and loses them.
 */
#ifndef PENSTOCK_TESTS_SUPPORT_SIM_WORLD_H
#define PENSTOCK_TESTS_SUPPORT_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/job.h"
#include "common/base/rng.h"
#include "ps/snapshot/cut_file.h"
#include "ps/snapshot/fence.h"
#include "ps/train/head_step.h"
#include "ps/train/shard_step.h"
#include "worker/client_step.h"

#define SIM_SHARDS_MAX  8u
#define SIM_WORKERS_MAX 8u
#define SIM_FLIGHTS_MAX 8u
#define SIM_TRACE_LINES 400u
#define SIM_SLICES      4u /* bsp: of a step */
#define SIM_ASKED_MAX   4u /* permits */
#define SIM_ANSWERS_MAX 64u

/* Routes: who a message is from or to. */
enum { SIM_HEAD = 1, SIM_SHARD = 100, SIM_WORKER = 200, SIM_ROUTES = 300 };

/* Planted bug, 0 = none (common/wire/sim_bug.h); blind: production's own checks look away, so that the oracle
 * has to find it. */
extern int sim_bug;
extern bool sim_blind;

struct sim_conf {
    uint64_t seed;
    uint32_t shards, workers, permits;
    uint64_t records, batch, epochs;
    uint32_t keys; /* universe of keys */
    bool bsp;      /* workers: 1, 2 or 4; permits: 1 */
    bool ssp;
    bool allreduce; /* train.dense */
    bool has_valid;
    bool replay;           /* table emb: Adam with exact L2 instead of Adagrad */
    double plateau_factor; /* 1: the rate never changes */
    /* -- the network; delays are spread around delay_us -- */
    bool in_order; /* every message takes delay_us, none is lost */
    uint64_t delay_us;
    double loss, twice, late; /* late: takes up to 300 ms */
    /* -- cuts -- */
    uint64_t cut_every_us, hold_us, write_us, full_every;
    double disk_fail, commit_fail;
    double commit_lost; /* the manifest is there, but can't be synced: the head ends at once */
    uint32_t keep;      /* manifests that pruning leaves */
    double disk_slow;   /* a file, a manifest or a base takes up to twice write_us */
    uint64_t undo_bytes_max, handle_bytes_max;
    double pause; /* before an event: its receiver stands still for up to 400 ms */
    /* -- ends, 0 = never -- */
    uint64_t stop_us;   /* HEAD_STOP */
    uint64_t kill_us;   /* death at this moment of this life ... */
    uint32_t kill_who;  /* ... of this route alone; 0: of everything */
    uint64_t revive_us; /* so much later a fresh process stands in its place; 0: never */
    bool check_all;     /* invariants that cost: files read back, replay, digests */
};

/* A sane little cluster in order; change what a test is about. */
struct sim_conf sim_conf_quiet(uint64_t seed);
/* A random one: sizes, permits, optimizer and network out of the seed. */
struct sim_conf sim_conf_lossy(uint64_t seed);

enum sim_kind {
    SIM_MSG,
    SIM_TICK,
    SIM_GRADS,     /* worker: a flight is computed */
    SIM_EVALUATED, /* worker: all ranks have evaluated */
    SIM_SUMMED,    /* worker: all ranks have computed a step; allreduce */
    SIM_FENCED,
    SIM_COMMITTED,
    SIM_STOP,
    SIM_LOADED,
    SIM_SLICE,
    SIM_DURABLE,
    SIM_REVIVE
};

struct sim_event {
    uint64_t at_us, order;
    enum sim_kind kind;
    uint32_t to, from;
    uint64_t life; /* of the receiver; a SIM_MSG may outlive it */
    uint64_t e;    /* of a message */
    /* -- SIM_MSG -- */
    struct buffer env;
    struct frame frame[MSG_FRAMES_MAX];
    uint32_t frames;
    /* -- answers -- */
    struct flight *flight;
    enum status status;
    uint64_t k;
    struct manifest_file file;
    struct client_result result;
};

struct sim_rows { /* a copy of a shard's rows, by table, keys rising */
    uint64_t *key[PLAN_TABLES_MAX];
    uint8_t *record[PLAN_TABLES_MAX];
    size_t n[PLAN_TABLES_MAX];
};

struct sim_push { /* one that a shard has applied */
    uint32_t rank;
    uint64_t seq, tag, epoch, split, begin, end;
    uint64_t step, dense_step; /* that it was */
    bool dense;                /* it brought dense gradients */
    uint64_t *key;             /* (n) this shard's keys in the order of the gradients; owned */
    uint32_t n;
    float *grad[PLAN_TABLES_MAX]; /* owned */
};

/* What the oracle knows of a shard since its incarnation began. */
struct sim_history {
    struct sim_push *push;
    size_t used, cap, shadowed;     /* shadowed: how many the shadow has applied */
    uint8_t *count;                 /* (epochs * records) times applied, the base's included */
    uint64_t last[SIM_WORKERS_MAX]; /* seq applied */
    struct sim_push stored[SIM_WORKERS_MAX]; /* bsp: of the clock under way */
    struct sim_asked { /* pulls that were not answered at once; clock 0: none */
        uint64_t request, clock;
        bool dense; /* that part alone */
    } asked[SIM_WORKERS_MAX][2 * SIM_ASKED_MAX];
    /* -- at the take of k -- */
    uint64_t k, step;
    size_t take_used;
    uint8_t *take_count;
    struct sim_rows take_rows;
    struct store *shadow; /* the same pushes, without undo, cuts, handles or loss */
    struct applier *shadow_applier;
};

struct sim_shard {
    struct shard *core;
    struct cut_file *file;
    uint64_t file_k, file_e;
    bool slicing, ended;
    struct sim_history history;
    uint64_t pulls;
    int code;
    struct schedule schedule; /* of the last order obeyed */
    /* -- ROWS of this step -- */
    struct {
        uint32_t rank;
        uint64_t request;
    } answer[SIM_ANSWERS_MAX];
    uint32_t answers;
    /* -- as loaded by its last RECOVER -- */
    bool loaded;
    uint64_t base_k, base_hash[PLAN_TABLES_MAX], base_rows[PLAN_TABLES_MAX];
};

struct sim_worker {
    struct client *core;
    struct flight flight[SIM_FLIGHTS_MAX];
    bool busy[SIM_FLIGHTS_MAX];
    struct msg_lease lease[LEASES_MAX]; /* [0].begin moves */
    uint32_t leases;
    struct flight *lent[SIM_FLIGHTS_MAX]; /* first in, first out */
    uint32_t lents;
    struct flight *summing; /* allreduce: computed, waits for the other ranks */
    bool computing, ended;
    int code;
    /* -- evaluation -- */
    uint64_t evaluate, eval_at, eval_out;
    double eval_sum;
    bool eval_done;
    uint64_t epoch, seen; /* totals */
};

struct sim_head {
    struct head *core;
    struct fence fence;
    bool fenced, ended, stopped;
    int code;
    char text[512];
    struct head_view before;
    uint64_t committed_k, committed_e; /* the largest */
    uint64_t committed;                /* how many */
};

struct sim_world {
    struct sim_conf conf;
    char dir[256];
    bool own_dir;
    struct plan plan;
    struct job job;
    uint64_t job_id, now_us, born_us, life, order;
    struct rng rng;
    struct sim_event **heap;
    size_t heap_used, heap_cap;
    struct frame_pool *pool;
    struct store *scratch; /* for checks */
    struct sim_head head;
    struct sim_shard shard[SIM_SHARDS_MAX];
    struct sim_worker worker[SIM_WORKERS_MAX];
    /* -- by route -- */
    uint64_t peer_e[SIM_ROUTES], peer_n[SIM_ROUTES]; /* (e, n) obeyed: I16 */
    uint64_t peer_life[SIM_ROUTES], frozen_us[SIM_ROUTES];
    uint32_t victim; /* died alone in this life; 0: nobody */
    /* -- what must come out -- */
    bool failed, killed;
    char why[1024];
    /* -- trace -- */
    char (*line)[160];
    uint64_t lines;
    bool trace;
    /* -- figures -- */
    uint64_t steps, messages, commits, abandoned, holds;
};

/* dir: an empty or a finished run's folder; NULL makes a temporary one. */
struct sim_world *sim_new(const struct sim_conf *conf, const char *dir);
void sim_free(struct sim_world *w); /* the folder too, if sim_new made it */
/* Until the head has ended and all others too, or everything was killed (true: killed), or a failure. A death
 * of one alone (w->victim) must end the run like any other end. */
bool sim_run(struct sim_world *w);
/* Runs it; an assert that fails in there, in a core, is a failure of w like any other. */
void sim_guard(struct sim_world *w, void (*run)(void *), void *arg);
/* Everything dies; fresh processes on the same folder, perhaps with other numbers. Messages under way stay. */
void sim_restart(struct sim_world *w, const struct sim_conf *conf);
/* The end must be that of an undisturbed run: code 0, each record once, sums exact. */
void sim_check_end(struct sim_world *w);

void sim_fail(struct sim_world *w, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void sim_line(struct sim_world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_print_tail(const struct sim_world *w, size_t lines);
uint64_t sim_rand(struct sim_world *w, uint64_t bound);
bool sim_chance(struct sim_world *w, double p);

/* sim_seeds.c: whole histories out of a seed */
/* SEED and SEEDS of the environment: SEEDS=n runs so many from SEED (1), SEED=n alone just that one. */
void sim_seeds(uint64_t or_else, uint64_t *out_first, uint64_t *out_n);
struct sim_world *sim_history_lossy(uint64_t seed, bool check_all); /* one life, to its end */
struct sim_world *sim_history_resume(uint64_t seed,
                                     bool check_all); /* several lives, then to the end */
struct sim_world *sim_history_stale(uint64_t seed, bool check_all); /* as that, much late traffic */
/* If it failed: why, its last lines, and how to run it again. True if it failed. */
bool sim_report(const struct sim_world *w, const char *program, uint64_t seed);

/* Histories of several lives by sim_seeds, and a line of what they had in them; false: one failed, and was reported. */
bool sim_lives(const char *program, const char *what,
               struct sim_world *(*history)(uint64_t seed, bool check_all), uint64_t or_else);

/* bsp: several lives, then the end must be, bit for bit, that of one worker on a perfect network. */
struct sim_world *sim_history_bsp(uint64_t seed, bool check_all);

/* ssp: several lives. */
struct sim_world *sim_history_ssp(uint64_t seed, bool check_all);

/* sim_outcome.c: what a run left, to be compared bit for bit */
struct sim_outcome {
    struct sim_rows rows;
    size_t record_bytes[PLAN_TABLES_MAX];
    uint64_t step, applied;
    char *recipe;
};
void sim_outcome_take(struct sim_world *w, struct sim_outcome *o);
void sim_outcome_release(struct sim_outcome *o);
/* What differs first, or NULL. The recipes' numbers of cuts may. */
const char *sim_outcome_differs(const struct sim_outcome *a, const struct sim_outcome *b);

/* sim_script.c: one shard and a scripted head, which recovers within the run; checked against the base */
struct sim_script_result {
    bool failed;
    char why[1024];
    uint64_t by_undo, by_files; /* ways back */
};
void sim_script(uint64_t seed, struct sim_script_result *out);

/* sim_net.c: the queue and the network */
struct sim_event *sim_after(struct sim_world *w, uint64_t in_us, enum sim_kind kind, uint32_t to);
struct sim_event *sim_pop(struct sim_world *w);
void sim_again(struct sim_world *w, struct sim_event *ev, uint64_t at_us); /* popped too early */
void sim_event_free(struct sim_event *ev);
/* All but messages of an incarnation. A process that had none yet spoke to a head that is dead now: what it
 * sent cannot reach another head's socket. */
void sim_forget(struct sim_world *w);
void sim_send(struct sim_world *w, uint32_t from, uint32_t to, struct msg *m); /* takes m */
struct msg *sim_copy_push(const struct msg *m);

/* sim_shells.c, sim_worker.c: one event for one peer */
void sim_head_start(struct sim_world *w, uint64_t boot);
void sim_shard_start(struct sim_world *w, uint32_t s, uint64_t boot);
void sim_head_event(struct sim_world *w, struct sim_event *ev, struct msg *m);
void sim_shard_event(struct sim_world *w, uint32_t s, struct sim_event *ev, struct msg *m);
void sim_worker_event(struct sim_world *w, uint32_t rank, struct sim_event *ev, struct msg *m);
void sim_worker_start(struct sim_world *w, uint32_t rank, uint64_t boot, uint64_t world);
void sim_worker_stop(struct sim_world *w, uint32_t rank);

/* sim_model.c: records, keys, gradients: pure functions of the job */
void sim_plan(struct plan *p, const struct sim_conf *conf);
void sim_job(struct job *j, const struct sim_conf *conf);
size_t sim_batch_keys(const struct sim_conf *conf, uint64_t epoch, uint64_t begin, uint64_t end,
                      uint64_t *out_keys, size_t cap);
void sim_gradients(const struct sim_conf *conf, struct flight *f, uint32_t rank);
/* The tree of all ranks' dense gradients, on each of them. */
void sim_sum_dense(const struct sim_conf *conf, struct flight *const *of_rank);
/* What table sum must hold after so many epochs: out[key], keys + 1 of them. */
void sim_expected_sums(const struct sim_conf *conf, uint64_t epochs, int64_t (*out)[2]);

/* sim_check.c: the invariants */
void sim_check_head(struct sim_world *w);                             /* after each step */
void sim_check_commit(struct sim_world *w, const struct manifest *m); /* before it */
void sim_check_committed(struct sim_world *w, uint64_t k);            /* after it */
void sim_check_obeyed(struct sim_world *w, uint32_t route, uint64_t e, uint64_t n);
void sim_check_fault(struct sim_world *w, const char *text); /* production's own check said so */
void sim_check_push(struct sim_world *w, uint32_t s, const struct shard_view *before,
                    const struct shard_view *after, const struct msg *push);
void sim_check_order(struct sim_world *w, uint32_t s, const struct shard_view *before,
                     const struct shard_view *after);
/* A pull came, or NULL; then the requests that the shard answered in this step. After sim_check_push. */
void sim_check_pulls(struct sim_world *w, uint32_t s, const struct shard_view *before,
                     const struct shard_view *after, const struct msg *pull);
uint64_t sim_digest(const struct store *store);
void sim_rows_take(struct sim_rows *r, const struct store *store);
void sim_rows_release(struct sim_rows *r);
void sim_history_release(struct sim_history *h);
/* All rows of cut k (0: the newest), into one store. */
struct store *sim_load(struct sim_world *w, uint64_t k, struct manifest *out_m);

#endif
