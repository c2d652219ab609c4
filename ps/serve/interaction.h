/* interaction.h - the interaction log: what was shown and what came of it, as files that the job's reader reads.
 *
 * <dir>/<job>.<n, 8 digits>.<csv | tsv | json>; a new file behind log_bytes. Columns are those of the job's data.fields
 * (not histories, which the reader derives, and not what stands in a side file), by the same names, in the same format,
 * delimiter and header; where the job has no header, at the same places. Behind them stand, ignored by a reader that
 * goes by names: serve_rec, serve_version, serve_experiment, serve_variant, serve_propensity, serve_position (from 1),
 * serve_score. Formats that are written: delimited, criteo, recbole, json. With others there is no log, which is said.
 *
 * What is written here stands in the journal first (state.h, op 11) with its place, so after a death lines are put where
 * they belong, once. Nothing written is ever taken back: a reader may follow the file.
 */
#ifndef PENSTOCK_PS_SERVE_INTERACTION_H
#define PENSTOCK_PS_SERVE_INTERACTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/base/job_task.h"
#include "ps/serve/cells.h"

enum interaction_extra {
    EXTRA_REC,
    EXTRA_VERSION,
    EXTRA_EXPERIMENT,
    EXTRA_VARIANT,
    EXTRA_PROPENSITY,
    EXTRA_POSITION,
    EXTRA_SCORE,
    EXTRAS
};

struct interaction_column {
    char *name;       /* as it stands in the file; owned; NULL: a place nobody wants */
    char *type;       /* recbole, behind the name; owned or NULL */
    uint32_t field;   /* in fields, or FIELD_UNKNOWN */
    int kind;         /* enum field_type; FIELD_SKIP: an extra one */
    size_t task;      /* of a label */
    int extra;        /* enum interaction_extra, or -1 */
    bool is_position; /* the job's field of that name: where the thing stood */
};

struct interaction {
    bool on;
    char *dir, *stem; /* owned */
    const char *suffix;
    int format; /* enum job_format */
    char *delimiter, *quote;
    bool header;
    struct interaction_column *column; /* owned */
    size_t columns;
    size_t labels;                   /* of a row: tasks of the job, 0 of sequences */
    char *task[JOB_TASKS_MAX];       /* their names; owned */
    char negative[32], positive[32]; /* its texts */
    uint64_t bytes_max;
    /* -- writer only -- */
    uint32_t file; /* the newest; 0: none yet */
    uint64_t end;  /* where its next line goes; UINT64_MAX: not into this one */
    int fd;
    uint32_t fd_file;   /* which one is open */
    struct buffer owed; /* lines of `file` in the journal that it could not take yet */
    uint64_t owed_at;
};

/* joined: names of columns that come from side files. */
MUST_CHECK enum status interaction_open(struct interaction *x, const char *dir,
                                        const struct job *job, const struct fields *fields,
                                        const struct texts *joined, uint64_t bytes_max,
                                        struct errbuf *err);
void interaction_close(struct interaction *x);

struct interaction_row { /* the source of a line; all borrowed */
    const char *user, *item;
    size_t user_n, item_n; /* 0: none */
    int64_t time;
    const struct cells *sources[4]; /* the first that has a field counts; may be NULL */
    const char *extra[EXTRAS];      /* NULL: empty */
};
/* Appends a line in which the byte 1 + t stands for the label of task t; no cell holds such a byte. */
void interaction_line(const struct interaction *x, const struct interaction_row *row,
                      struct buffer *out);
/* A whole line from that. label: (labels) texts, NULL: the row says nothing about that task. */
void interaction_label(const struct interaction *x, const char *line, size_t n,
                       const char *const *label, struct buffer *out);
/* The task that an event type is the outcome of: that of its name, else the first. */
size_t interaction_task(const struct interaction *x, const char *type, size_t n);

/* Where the next group's lines begin; a new file if this one is full. The lines of a group stand in one file. */
void interaction_place(const struct interaction *x, uint32_t *out_file, uint64_t *out_at);
/* Lines that are durable in the journal, behind those before. They are owed until interaction_settle, which is tried
 * here, too, has written them; what is owed stays in memory, so no more groups may come before it is settled. */
void interaction_write(struct interaction *x, uint32_t file, uint64_t at, const char *text,
                       size_t n);
/* The same from a replay: what is there already, or was taken away with its file, is not written again. */
void interaction_replay(struct interaction *x, uint32_t file, uint64_t at, const char *text,
                        size_t n);
MUST_CHECK enum status interaction_settle(struct interaction *x, struct errbuf *err);
MUST_CHECK enum status interaction_sync(struct interaction *x, struct errbuf *err);

#endif
