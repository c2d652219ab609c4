/* job.h - a job as every process sees it: the job file held against the one option table.
 *
 * The front loads the user's YAML (job_load), applies --set, checks combinations (job_check) and writes
 * DIR/resolved.yaml, which all other processes load by the same function. `job_config_hash` covers all
 * that may not change over --resume.
 */
#ifndef PENSTOCK_COMMON_BASE_JOB_H
#define PENSTOCK_COMMON_BASE_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/errbuf.h"
#include "common/base/options.h"

enum job_format { /* data.format */
                  JOB_DELIMITED,
                  JOB_LIBSVM,
                  JOB_CRITEO,  /* delimited, its fields known */
                  JOB_RECBOLE, /* delimited, the header says name:type */
                  JOB_LIBFFM,  /* from here on a record's cells have names, not places */
                  JOB_SLOTS,
                  JOB_JSON,
                  JOB_TFRECORD,
                  JOB_PARQUET,
                  JOB_QUERY
};
enum job_records { JOB_EVENTS, JOB_SEQUENCES }; /* data.records */
enum job_split {                                /* data.split.by */
                 JOB_SPLIT_FILES,
                 JOB_SPLIT_RATIO,
                 JOB_SPLIT_TIME,
                 JOB_SPLIT_FOLD,
                 JOB_SPLIT_WINDOW,
                 JOB_SPLIT_LEAVE_ONE_OUT /* sequences only */
};
enum job_family { /* model.family */
                  JOB_LR,
                  JOB_FM,
                  JOB_MLP,
                  JOB_DCNV2,
                  JOB_WIDEDEEP,
                  JOB_DEEPFM,
                  JOB_DLRM,
                  JOB_FINALMLP,
                  JOB_FINALNET,
                  JOB_DIN,
                  JOB_MULTITASK,
                  JOB_CLICK_FAMILIES, /* below: a record's probability; from here: the next item */
                  JOB_SASREC = JOB_CLICK_FAMILIES,
                  JOB_LSTM,
                  JOB_GRU,
                  JOB_CNN,
                  JOB_FAMILIES
};
enum job_loss { JOB_LOSS_CE, JOB_LOSS_SAMPLED, JOB_LOSS_BCE };   /* model.loss */
enum job_activation { JOB_RELU, JOB_GELU, JOB_DICE };            /* model.activation */
enum job_pooling { JOB_POOL_SUM, JOB_POOL_MEAN };                /* model.pooling */
enum job_top { JOB_TOP_ALL, JOB_TOP_DOTS };                      /* model.dlrm.top */
enum job_gate { JOB_GATE_NONE, JOB_GATE_BIAS, JOB_GATE_FIELDS }; /* model.finalmlp.gate */
enum job_field_gate { JOB_FIELD_GATE_NONE, JOB_FIELD_GATE_SUM, JOB_FIELD_GATE_CONCAT };
enum job_mix { JOB_MIX_SUM, JOB_MIX_CONCAT };         /* model.finalnet.mix */
enum job_consistency { JOB_ASYNC, JOB_BSP, JOB_SSP }; /* train.consistency */
enum job_metric {
    JOB_METRIC_AUTO,
    JOB_METRIC_AUC,
    JOB_METRIC_NDCG,
    JOB_METRIC_LOGLOSS,
    JOB_METRIC_GAUC
};
enum job_optimizer {
    JOB_SGD,
    JOB_ADAGRAD,
    JOB_ROWWISE_ADAGRAD,
    JOB_ADAM,
    JOB_MOMENTUM,
    JOB_NESTEROV,
    JOB_ADAMW,
    JOB_AMSGRAD,
    JOB_ROWWISE_ADAM,
    JOB_FTRL
};
enum job_l2_mode { JOB_L2_EXACT, JOB_L2_TOUCHED };
enum job_dense { JOB_DENSE_PS, JOB_DENSE_ALLREDUCE }; /* train.dense */
enum field_type {
    FIELD_ID,     /* one 64-bit key */
    FIELD_IDS,    /* a bag of keys, cells separated by `sep` */
    FIELD_FLOAT,  /* one number */
    FIELD_TIME,   /* seconds since 1970 or a date; never a feature */
    FIELD_LABEL,  /* 0 or 1 (or above label_above) */
    FIELD_USER,   /* id; also names the user */
    FIELD_ITEM,   /* id; also names the item: the popularity baseline counts it */
    FIELD_SKIP,   /* a column that is not used */
    FIELD_HISTORY /* a bag of the same user's earlier ids of another field */
};
enum field_when { WHEN_ALL, WHEN_POSITIVE };
enum field_norm { NORM_NONE, NORM_LOG, NORM_STANDARD, NORM_MINMAX };

/* One entry of data.join: a side file with a line an id, whose columns stand beside those of the log. */
struct job_join {
    char *file;           /* absolute after loading */
    char *on;             /* column of the log that holds the id */
    char *key;            /* column of the side file that holds it; default: on */
    struct texts fields;  /* its columns to be taken; empty: all but key */
    char *delimiter;      /* default: that of data.delimiter; of format recbole a tab, else "," */
    struct texts columns; /* names, for a file without a header */
};

/* One entry of data.fields. With format libsvm the schema is implied: label + one bag "features". */
struct job_field {
    char *name;
    int type;      /* enum field_type */
    char *column;  /* header name or column number from 0; default: the name, or the position */
    char *sep;     /* ids: separator inside the cell, default "|" */
    uint64_t hash; /* > 0: key = hash mod this many */
    uint64_t min_count; /* rarer ids share one out-of-vocabulary key of the field */
    int norm;           /* enum field_norm, floats */
    char *vocab;        /* fields with the same vocab share rows; default: the name */
    uint64_t ids_max;   /* ids: longer bags are cut to the first so many; default 1000 */
    char *of;           /* history: name of the field whose earlier values it holds */
    uint64_t max;       /* history: most of them */
    int when;           /* history: enum field_when, which records count */
    double weight;      /* label: of its task's loss (job_task.h) */
};

struct job_optim {
    int kind; /* enum job_optimizer */
    double rate;
    double l2;   /* in the gradient; adamw: decay beside it; ftrl: lambda2 */
    int l2_mode; /* enum job_l2_mode; tables only */
    double beta1, beta2, eps;
    double momentum; /* momentum, nesterov */
    double beta, l1; /* ftrl */
};

/* One entry of optimizer.tables. */
struct job_table {
    char *name; /* of the plan: "linear", "embedding", "dense" ... */
    struct job_optim optim;
};

struct job {
    char *name; /* file name without .yaml */
    char *path; /* the job file, absolute */
    struct {
        char *root; /* put before relative paths */
        struct texts train, valid, test;
        struct texts follow; /* growing logs: trained on behind train, as they grow */
        uint64_t follow_every, follow_records; /* a segment: us; lines */
        uint64_t follow_for, follow_idle;      /* us until a live run ends by itself; 0: never */
        int format;
        char *delimiter; /* ",", "\t", "::", any text */
        bool header;
        char *quote;          /* "\"" or "" for none */
        struct texts missing; /* cells that mean missing: "", "NA", "null", "-" ... */
        double label_above;   /* label = cell > this; default .5 */
        double bad_max;       /* more bad lines than this part of the lines stop the run; .01 */
        uint64_t bytes_max;   /* of one file, inflated; default 1T */
        char *cache;          /* folder of caches; default DIR/cache */
        struct {
            int by;             /* files, ratio, time */
            double valid, test; /* parts, for ratio and time */
            uint64_t seed;
            uint64_t folds, fold; /* fold: users whose hash modulo folds is fold are test */
            uint64_t window;      /* window: width, us */
        } split;
        int records; /* enum job_records */
        struct {
            uint64_t max;    /* inputs of a record at most */
            uint64_t min;    /* events of a user at least */
            uint64_t memory; /* most bytes to bring events into order */
        } sequence;
        char *query;           /* query: SQL, {file} stands for each file of train, valid, test */
        char *duckdb;          /* query, parquet: the library; "" = found by its name */
        bool slot_last;        /* slots: value:slot instead of slot:value */
        struct job_join *join; /* owned */
        size_t joins_used;
        struct job_field *fields; /* owned */
        size_t fields_used;
    } data;
    struct {
        int family;
        uint64_t embedding;    /* dimension d of embedding rows */
        double embedding_init; /* std of N(0, std^2) */
        int pooling;           /* enum job_pooling: of a bag's rows */
        struct u64s hidden;    /* widths */
        struct u64s tower;     /* multitask: widths of each task's own layers */
        double dropout;
        bool batch_norm;
        uint64_t cross; /* DCN-v2 cross layers */
        struct {
            struct u64s hidden; /* FinalMLP's second stream, FinalNet's second block */
            double dropout;
        } second;
        struct {
            struct u64s bottom; /* hidden layers over the floats */
            int top;            /* enum job_top: what the top net sees */
        } dlrm;
        struct {
            uint64_t heads;
            int gate; /* enum job_gate */
            struct u64s gate_hidden;
        } finalmlp;
        struct {
            int gate;     /* enum job_field_gate; first block only */
            int mix;      /* enum job_mix */
            double teach; /* weight of the blocks' own losses; 0 = none */
        } finalnet;
        struct u64s attention; /* DIN: widths of the net that weighs an item of the history */
        bool attention_softmax;
        /* sequence families */
        uint64_t blocks, heads;
        uint64_t ffn;       /* width; 0 = embedding */
        int activation;     /* enum job_activation */
        uint64_t recurrent; /* width of lstm, gru; 0 = embedding */
        double input_dropout, recurrent_dropout;
        uint64_t kernel;       /* cnn: places a convolution sees */
        struct u64s dilations; /* cnn: one residual block each */
        int loss;              /* enum job_loss */
        uint64_t negatives;    /* sampled: of a batch */
        bool scale_embedding;  /* by sqrt d */
        bool tied; /* items are scored by their embedding; else by a table of its own and a bias */
    } model;
    struct {
        struct job_optim embedding; /* all sparse tables */
        struct job_optim dense;
        double damping; /* rate / (1 + damping * (tau - 1)) for stale gradients; 0 = off */
        struct job_table *tables; /* those with settings of their own; owned */
        size_t tables_used;
    } optimizer;
    struct {
        uint64_t epochs;
        uint64_t batch; /* records a push; bsp, ssp: a step, over all workers */
        uint64_t seed;
        int consistency;
        uint64_t staleness; /* permits beyond one: 0 = a batch is applied before the next pulls */
        uint64_t slices;    /* bsp only; 0 = number of workers: job_slices */
        int dense;
        bool shuffle;
        bool window; /* window after window, each judged before it is trained on; then one epoch */
        double clip; /* global norm of a push's gradient (data part); 0 = off */
        double clip_row; /* norm of one row's gradient; 0 = off */
        double grad_max; /* |g| above this is refused by the server, as non-finite is; 1e6 */
        uint64_t warmup; /* steps of linear warm-up */
        int metric;      /* enum job_metric; job_metric says which one auto is */
        char *task;      /* name of the label that it is of; empty: the first (job_task.h) */
        double ease;     /* lambda of the EASE baseline; 0 = without */
        struct {
            double factor;     /* rate *= factor at a stall; .1 */
            double rate_min;   /* floor of the rate; 1e-6 */
            double delta;      /* an improvement below this is a stall; 1e-6 */
            uint64_t patience; /* stalls in a row that stop the run; 2; 0 = never stop */
            uint64_t first;    /* stalls before this epoch (from 1) don't count; 1 */
        } plateau;
    } train;
    struct {
        uint64_t servers, shards, workers;
        uint64_t cut_every;   /* us */
        uint64_t full_every;  /* cuts between full ones; 8 */
        uint64_t table_bytes; /* budget of one shard's tables; 4G */
        uint64_t beat, hold, dead, write, recover, orphan,
            resend;    /* deadlines, us: ps/train/README.md, "Deadlines" */
        char *bind;    /* where servers listen, common/net/listen_address.h; 127.0.0.1 */
        char *agent;   /* "ssh -o BatchMode=yes": how another host is reached */
        char *metrics; /* "[HOST:]PORT" of the front's /metrics; "": nowhere */
        char *
            stream; /* "[HOST:]PORT" where the head's process serves cuts to followers; "": nowhere */
    } cluster;
};

/* The one table, and those of lists' items. */
extern const struct option_table job_options;
extern const struct option_table job_field_options;
extern const struct option_table job_table_options; /* of optimizer.tables; no row has a default */
extern const struct option_table job_join_options;

/* Read a job file and hold it against the table; sets: "key=value" assignments, applied after the file.
 * Keys of the file must apply under the file's own choices, those of sets under the final ones; what no
 * longer applies goes back to its default, so `model.family=lr` may be set on a job written for dcnv2.
 * On success paths are absolute (globs kept): data.train, valid, test under data.root, else under the job
 * file's folder; data.root and data.cache under the job file's folder; a data.root of sets under the
 * current folder if it is there. ST_USAGE with file:line:col, also when the file can't be read.
 * Combinations are not judged: job_check. job_release gives it back. */
MUST_CHECK enum status job_load(const char *path, char *const *sets, size_t sets_used,
                                struct job *out, struct errbuf *err);
/* From memory (fuzzer, tests). `dir` is what relative paths are relative to. */
MUST_CHECK enum status job_parse(const char *text, size_t n, const char *name, const char *dir,
                                 char *const *sets, size_t sets_used, struct job *out,
                                 struct errbuf *err);
/* Combinations that single rows can't judge: labels present, shards >= servers, norm on floats ... */
MUST_CHECK enum status job_check(const struct job *job, struct errbuf *err);
void job_release(struct job *job);
/* Slices of a step: train.slices, or one a worker. bsp only. */
uint64_t job_slices(const struct job *job);
/* The log is dealt: every lease goes to all workers, and each computes its part of each step of train.batch
 * records (bsp, ssp, allreduce). Else a lease is one worker's, and so is each step. */
bool job_deals(const struct job *job);
/* data.follow: behind its epochs the run goes on with growing logs. */
bool job_follows(const struct job *job);
bool job_allreduces(const struct job *job); /* dense gradients: train.dense */
/* train.dense allreduce: the rank that brings a shard the summed dense gradient of a step. */
uint32_t job_carrier(uint32_t shard, uint32_t workers);
/* Where part s of S of the step [begin, end) begins; s = S: its end. */
uint64_t job_part_at(uint64_t begin, uint64_t end, uint64_t s, uint64_t S);
/* resolved.yaml: every key with its value; job_parse of it gives an equal job. */
void job_dump(const struct job *job, struct buffer *out);
/* xxh3-64 over all keys that --resume may not change. */
uint64_t job_config_hash(const struct job *job);
/* The first key in which two jobs differ that --resume may not change; NULL if none. The text of both
 * values goes to err. */
const char *job_resume_conflict(const struct job *was, const struct job *now, struct errbuf *err);
void job_help(const char *word, FILE *out);
/* The settings of a table of this name, which need not be there; "dense": of all dense tensors. */
const struct job_optim *job_optim_of(const struct job *job, const char *table);
const char *job_family_name(int family);
/* The family ranks items: next-item models of sequences. */
bool job_ranks(const struct job *job);
/* What epochs are judged by, never auto, and what it is called: "auc", "ndcg@10", "logloss", "gauc". */
enum job_metric job_metric(const struct job *job);
const char *job_metric_name(enum job_metric metric);
const char *job_optimizer_name(int kind);
const char *job_consistency_name(int consistency);
const char *job_dense_name(int dense);

#endif
