/* service_int.h - what service_*.c share: see service.h. */
#ifndef PENSTOCK_PS_SERVE_SERVICE_INT_H
#define PENSTOCK_PS_SERVE_SERVICE_INT_H

#include <pthread.h>

#include "ps/serve/popular.h"
#include "ps/serve/predict.h"
#include "ps/serve/service.h"
#include "ps/serve/shelf.h"
#include "ps/serve/state.h"

struct stream { /* a model and what is derived from it */
    struct model_view view;
    struct shelves shelves;
    struct popular popular;
};

struct service {
    struct service_conf conf; /* defaults filled in; texts owned */
    struct fields fields;
    uint32_t category; /* in fields */
    struct interaction interaction;
    struct state state;
    struct online *online; /* owned; NULL: no experiment */
    pthread_mutex_t gauges_lock;
    struct buffer gauges; /* under it: what /metrics says of the experiment */
    uint64_t gauges_us;   /* writer: when it was made */
    struct stream stream[SERVICE_STREAMS_MAX];
    size_t streams;
    _Atomic uint64_t rec; /* recommendation ids given */
    _Atomic uint64_t scored, unknown;
};

struct service_worker {
    struct service *service;
    struct epoch_reader *reader;
    struct replica_reader *replica[SERVICE_STREAMS_MAX];
    struct predict predict[SERVICE_STREAMS_MAX];
    /* -- scratch, grown in warm-up -- */
    struct ask *ask;
    struct candidate *candidate;
    struct cell *cell; /* INFER: own cells */
    double *score;
    uint32_t *unknown;
    float *state, *logit;
    uint32_t *number;
    struct top {
        double score;
        uint32_t at;
    } * top;
    size_t ask_cap, candidate_cap, cell_cap, score_cap, unknown_cap, state_cap, logit_cap,
        number_cap, top_cap;
};

struct span_text { /* in work->text, or of the JSON */
    size_t at;
    uint32_t n;
    bool there;
};

struct wanted { /* an item that a request names */
    struct span_text id;
    size_t cell, cells; /* in work->cell */
};

struct happened { /* an event of a request */
    struct span_text id, user, item, type, rec, value;
    int64_t time;
    bool positive, has_value;
    size_t cell, cells;
};

struct service_work {
    struct buffer text;
    struct cell *cell; /* the context first */
    size_t cells, cells_cap, context;
    struct span_text user, category, item;
    struct wanted *item_list; /* RANK's items, RECOMMEND's allow */
    size_t items, items_cap;
    struct span_text *deny, *categories;
    size_t denies, deny_cap, categories_used, categories_cap;
    struct happened *event;
    size_t events, events_cap;
    bool seen, in_stock, log, outputs, allow;
    int64_t time;
    uint64_t version;
    size_t n;
    /* -- scoring -- */
    const struct ask *ask; /* of the worker's, during service_score */
    bool done;
    size_t first; /* its candidates in the worker's */
    /* -- what was shown -- */
    char rec[SERVICE_REC_ID + 1];
    struct shown {
        struct span_text id; /* of an item of the request; else number */
        uint32_t number;     /* UINT32_MAX: by id */
        size_t wanted;       /* SIZE_MAX: it has no own cells */
        double score;
        const double *all; /* (tasks) during service_score only; NULL: not of the model */
    } * shown;
    size_t shown_n;
    float *
        shadow; /* (variants, shown_n) logits by shadow variants; NaN: not scored; owned; NULL: there are none */
};

static inline const char *work_text(const struct service_work *w, const struct span_text *t)
{
    return t->there ? (const char *)w->text.data + t->at : NULL;
}

/* service_check.c */
void service_answer_error(struct service_request *r, int status, const char *text);
/* service_experiment.c; the writer's, but for open, close and what only reads */
enum status service_experiment_open(struct service *s, struct errbuf *err);
void service_experiment_close(struct service *s);
void service_experiment_tick(struct service *s, uint64_t now_us);
void service_experiment_get(struct service *s, struct service_request *r);
/* Into the open frame: what r showed. */
void service_put_served(struct service *s, const struct service_request *r);
/* Into the open frame: an event that names a recommendation. */
void service_put_joined(struct service *s, const struct service_work *w, const struct happened *e);
float service_logit(const struct model_view *view, double score);
/* How many items count as shown, and the id of the one at place i; inside an entry, or by the writer. */
size_t service_shown_items(const struct service_work *w);
const char *service_shown_id(const struct service *s, const struct service_work *w, size_t i,
                             size_t *n);
/* service_score.c, service_answer.c */
void service_new_rec(struct service *s, uint64_t now_us, char out[SERVICE_REC_ID + 1]);
void service_rank(struct service_worker *w, uint32_t stream, const struct version *v,
                  struct service_request *const *r, size_t n);
void service_recommend(struct service_worker *w, uint32_t stream, const struct version *v,
                       const struct shelf *shelf, struct service_request *const *r, size_t n);
void service_similar(struct service_worker *w, const struct shelf *shelf,
                     struct service_request *r);
void service_get(struct service_worker *w, struct service_request *r);
/* Answers with what was shown; work->shown set. */
void service_answer_items(struct service *s, struct service_request *r, uint32_t stream,
                          uint64_t version, const uint32_t *unknown, const char *source);

#endif
