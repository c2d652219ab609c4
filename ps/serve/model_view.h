/* model_view.h - a stream's model as requests see it: which field comes from where. Set once, then only read.
 *
 * A field of the job is found for a candidate in this order, the first that has it:
 *
 *     the candidate's own cells, the request's context, the user's or item's id (fields of type user, item), the user's
 *     history (fields of type history), the user's profile, the item's profile, nothing: missing
 *
 * A model of sequences looks at the user's history alone.
 */
#ifndef PENSTOCK_PS_SERVE_MODEL_VIEW_H
#define PENSTOCK_PS_SERVE_MODEL_VIEW_H

#include "common/base/job_task.h"
#include "ps/serve/cells.h"
#include "ps/serve/replica.h"
#include "ps/serve/service.h"

#define BATCH_HISTORIES                                                                            \
    64u /* sequences scored at once: each is up to data.sequence.max rows in every layer */

struct view_field { /* of the schema */
    uint32_t field; /* in fields */
    bool is_user, is_item, is_history;
    uint32_t of; /* history: field in fields; FIELD_UNKNOWN: the item's id */
    size_t of_slot;
    bool of_label, positive;
};

struct model_view {
    struct replica *replica;         /* borrowed */
    const struct serve_model *model; /* borrowed */
    const struct encoder *encoder;   /* borrowed */
    size_t fields, floats;           /* F, D */
    struct view_field *id;           /* (F) owned */
    struct view_field *num;          /* (D) owned */
    size_t tasks, judged;            /* T scores of a record; the one that things are ordered by */
    const char *output[JOB_TASKS_MAX]; /* (tasks) their names; borrowed from the job */
    bool ranks;                        /* a sequence family */
    size_t item_slot;   /* id slot of the item's vocab; SCHEMA_NONE: the model knows no items */
    size_t history_max; /* events a request needs at most */
    bool needs_negatives;
    int items_table, bias_table; /* plan tables with the items' rows; -1: none */
    size_t width;                /* of an item's row */
    size_t batch_max;
    struct service_input *input; /* owned; names borrowed */
    size_t inputs;
};

/* Adds the job's fields to `fields`. ST_USAGE: a job that can't be served says why. */
MUST_CHECK enum status model_view_init(struct model_view *v, struct replica *replica,
                                       size_t batch_max, struct fields *fields, struct errbuf *err);
void model_view_release(struct model_view *v);
/* The key of an item's id, as the model knows it; false: its id is missing. */
bool model_view_item_key(const struct model_view *v, const char *id, size_t n, uint64_t *out);
/* A field's cell can't be encoded: what is wrong; NULL: fine. field: in fields. */
const char *model_view_fault(const struct model_view *v, const struct cell *cell);

#endif
