/* service.h - what a serving node does with a request: between HTTP (before and behind it) and replica and stores.
 *
 * HTTP parses bytes into a struct service_request of plain data; the service checks it, scores it or writes it, and
 * leaves a status and a JSON answer. Nothing here knows sockets, routes, headers or queues.
 *
 *     thread     calls                         may wait
 *     a loop     service_check, service_score  never: no lock, no file
 *     writer     service_write, service_tick   for the disk (fsync)
 *     any        service_stats, _inputs, _outputs
 *
 * Life of a request: zeroed; kind, stream, id, body, query, now_us set; service_check on the loop's worker. ST_OK: by
 * service_writes(kind) it waits for the loop's next service_score or for the writer's next service_write. Both set
 * `status` and `answer`, also of what goes wrong ({"error": text}), so that whoever sends need not look at why. What
 * service_check refuses has them set as well. When a scored request comes back with `logs` true, it goes to the writer
 * after its answer has been sent (or before: the answer is not touched), which appends its exposures. In the end
 * service_request_release, on any thread, once; the body and strings behind it must have lived until then.
 *
 * A worker is one loop's: model, scratch, readers. After warm-up it allocates nothing but the JSON answer and what a
 * request carries. A batch is scored under one entry of the replica for each (stream, version) in it: no answer mixes
 * two versions.
 *
 * BODIES. Ids may be strings or integers; 12 and "12" are one id. A cell is a string, a number, true, false (1, 0),
 * null (missing) or, of a field of type ids, an array of those. Field names are those of the job's data.fields; a field
 * that the job doesn't have is a 400 in `context` (a typing error would silently change scores), and kept but not
 * looked at in profiles. Numbers must be finite and in the field's range.
 *
 *   RANK       {"user_id"?, "items": [id | {"item_id", field: cell, ...}, ...], "context"?: {field: cell},
 *               "session_id"?, "scenario"?, "time"?, "version"?, "n"?, "outputs"?: bool, "log"?: bool}
 *           -> {"rec_id", "snapshot_version", "items": [{"item_id", "score", "outputs"?}, ...], "unknown": {field: n},
 *               "experiment"?, "variant"?, "propensity"?}      items by falling score (of several tasks that of
 *              train.task; `outputs`: of each), ties in the order asked. Shown to a user, the first 100 are exposures
 *              in the interaction log, unless log is false
 *   RECOMMEND  {"user_id"?, "n"?, "context"?, "filter"?: {"seen"?: bool, "in_stock"?: bool, "category"?: id | [ids],
 *               "allow"?: [ids], "deny"?: [ids]}, "session_id"?, "scenario"?, "time"?, "version"?, "log"?}
 *           -> as RANK, and "source": "sequence" | "ranked" | "popular"
 *   SIMILAR    id of the path, query n -> {"item_id", "snapshot_version", "items": [{"item_id", "score"}]}
 *   INFER      `table` instead of a body; `scores` instead of an answer
 *   EVENTS     {"user_id", "session_id"?, "events": [{"event_id", "type", "item_id", "ts"?, "value"?, "rec_id"?,
 *               "position"?, "context"?: {field: cell}}, ...]} or {"events": [each with its own "user_id"]}
 *           -> 202 {"accepted": n, "duplicates": n, "ignored"?: n of deleted users}
 *   USER_PUT   {"fields": {field: cell}}  -> 200 {"user_id"}; replaces the profile, keeps the history
 *   USER_GET   -> {"user_id", "fields", "history": [{"item_id", "type", "ts"}]}, or 404
 *   ITEM_PUT   {"fields": {field: cell}, "in_stock"?: bool, "category"?: id}; ITEM_GET, DELETE alike
 *   *_DELETE   -> 200 {"user_id" | "item_id", "deleted": bool}
 *
 * `time` and `ts`: seconds since 1970 (or ms, us: common/feature/number.h) or an ISO date; the default is now_us.
 * Query parameters come as an object of strings.
 */
#ifndef PENSTOCK_PS_SERVE_SERVICE_H
#define PENSTOCK_PS_SERVE_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/json.h"
#include "common/metrics/experiment.h"

struct replica;        /* ps/serve/replica.h */
struct service;        /* opaque; one a process, shared by all threads */
struct service_worker; /* opaque; one a loop */
struct service_work;   /* opaque; what the service keeps of a request between check and release */

#define SERVICE_STREAMS_MAX 8u
#define SERVICE_REC_ID      26u /* characters of a recommendation id */

enum service_kind {
    SERVICE_RANK,
    SERVICE_RECOMMEND,
    SERVICE_SIMILAR,
    SERVICE_INFER,
    SERVICE_USER_GET,
    SERVICE_ITEM_GET,
    SERVICE_EVENTS, /* from here on the writer's */
    SERVICE_USER_PUT,
    SERVICE_USER_DELETE,
    SERVICE_ITEM_PUT,
    SERVICE_ITEM_DELETE,
    SERVICE_EXPERIMENT, /* not checked: figures of the one named by id, NULL: a list; the writer's, whose they are */
    SERVICE_KINDS
};

struct service_conf {
    const char *state;           /* folder of users, items, events; made if it isn't there */
    const char *interactions;    /* folder of the interaction log; NULL: <state>/interactions */
    size_t batch_max;            /* records that the model scores at once; 0: 512 */
    size_t candidates_max;       /* items of a RANK, records of an INFER; 0: 1000 */
    size_t n_max;                /* n of RECOMMEND and SIMILAR; 0: 500 */
    size_t history_max;          /* events kept a user; 0: 200 */
    size_t users_max, items_max; /* 0: 10 M, 10 M; beyond: 503 */
    size_t seen_max;             /* event ids remembered; 0: 1 M */
    uint64_t log_bytes;     /* the interaction log goes on in a new file behind this; 0: 256 MiB */
    uint64_t window_us;     /* an exposure without an outcome is a negative after it; 0: 30 min */
    uint64_t compact_bytes; /* a journal of less is left as it is; 0: 64 MiB */
    uint64_t seed;          /* of recommendation ids; 0: from the system */
    const struct experiment
        *experiment; /* borrowed; NULL: none. Its window takes the place of window_us */
    uint32_t variant_stream[AB_VARIANTS_MAX];  /* by variant: which replica */
    uint64_t variant_version[AB_VARIANTS_MAX]; /* and which cut of it; 0: what it shows */
};

/* A cell as text, as it would stand in the log; not terminated; borrowed. */
struct service_cell {
    const char *text;
    size_t n;
};

struct service_table { /* of SERVICE_INFER; all borrowed */
    size_t records, columns;
    const char *const *name; /* (columns) of service_inputs; absent ones are missing cells */
    const struct service_cell *cell; /* (columns, records): a column is contiguous */
};

struct service_request {
    /* -- the caller's, before service_check -- */
    enum service_kind kind;
    uint32_t stream;          /* which replica */
    uint64_t version;         /* cut to be scored with; 0: the body's, else what is shown now */
    bool shadow;              /* score and log; `answer` is not sent to anyone */
    uint64_t now_us;          /* when it came in, since 1970 */
    const char *id;           /* of the path, decoded; borrowed; NULL: none */
    const struct json *body;  /* borrowed; NULL: none */
    const struct json *query; /* borrowed object of strings; NULL: none */
    const char *experiment,
        *variant;        /* borrowed; go into the answer and the exposure; NULL: none */
    double propensity;   /* with a variant */
    uint32_t variant_at; /* with a variant: which one of the experiment */
    uint64_t unit;       /* with a variant: hash of who was assigned */
    const struct service_table *table;
    float *scores; /* INFER: (records, service_outputs); the caller's memory */
    /* -- set by check, score, write -- */
    int status;           /* HTTP: 200, 202, 400, 404, 409, 429, 503 */
    struct json *answer;  /* the caller's to free; NULL for a good INFER */
    uint64_t answered;    /* the version that scored it; 0: none did */
    uint64_t incarnation; /* and its incarnation */
    bool logs;            /* hand it to service_write, too */
    struct service_work *work;
};

/* Opens (and replays) the state folder. replicas: borrowed until service_free; [0] is the default and its job says how
 * the interaction log looks. Stores are shared by all streams. ST_BAD_DATA, ST_IO: the state folder can't be used;
 * ST_REFUSED: another process has it open. */
MUST_CHECK enum status service_new(const struct service_conf *conf, struct replica *const *replicas,
                                   size_t streams, struct service **out, struct errbuf *err);
void service_free(struct service *s); /* after its workers */

/* On the thread that will use it, or before that thread starts. */
MUST_CHECK enum status service_worker_new(struct service *s, struct service_worker **out,
                                          struct errbuf *err);
void service_worker_free(struct service_worker *w);

bool service_writes(enum service_kind kind);
/* Whom an experiment would assign: the body's "user_id" as text, else its "session_id"; NULL: neither. Before
 * service_check. `room`: (room_n) for ids that are numbers. */
const char *service_unit(const struct service_request *r, char *room, size_t room_n);

/* Gives a RANK or RECOMMEND of a unit that takes part its variant: stream, version, experiment, variant, propensity
 * (the variant's weight among those who take part). Before service_check. A variant whose stream shows nothing yet, or
 * whose cut is not kept, is counted as missing, and the request is the live model's and in no experiment; so is one
 * that asks for a version itself. */
void service_assign(struct service_worker *w, struct service_request *r);
/* Behind the answer to a request with `logs`: what it showed is scored by the experiment's shadow variants, too. */
void service_shadow(struct service_worker *w, struct service_request *r);
/* The experiment's gauges as of the last service_tick, for Prometheus; nothing without an experiment. Any thread. */
void service_experiment_metrics(struct service *s, struct buffer *out);

/* Validates and keeps what scoring needs. ST_USAGE (400): err says what was expected where; ST_NOT_FOUND (404);
 * ST_AGAIN (429). */
MUST_CHECK enum status service_check(struct service_worker *w, struct service_request *r,
                                     struct errbuf *err);
/* Checked requests that don't write, n >= 1, any mix. A version that is gone: 404; no version yet: 503. */
void service_score(struct service_worker *w, struct service_request *const *r, size_t n);
/* Checked requests that write, and scored ones with `logs`; one fsync for all of them, then their status: 202 (200)
 * means on disk. A log that can't be written (a full disk): 503 and nothing of this request has happened. */
void service_write(struct service *s, struct service_request *const *r, size_t n);
/* Writer thread, about once a second: closes windows of exposures, compacts, frees what no reader sees. */
void service_tick(struct service *s, uint64_t now_us);
void service_request_release(struct service_request *r);

/* What a loop may do beside requests: prepares the retrieval matrix of a new version in slices of at most about a
 * millisecond. True: there is more to do. Any number of loops may call it; one works, the others return false. */
bool service_prepare(struct service_worker *w);

struct service_input {
    const char *name; /* borrowed, for the service's life */
    int type; /* enum field_type: FIELD_FLOAT is FP32, else BYTES (or integers, as their text) */
};
/* What an INFER may name, and what comes out: "probability", of sequence models "score", of several tasks their names.
 * Borrowed. */
size_t service_inputs(const struct service *s, uint32_t stream, const struct service_input **out);
size_t service_outputs(const struct service *s, uint32_t stream, const char *const **out);

struct service_stats { /* since the start; sums over threads, each read without a lock */
    uint64_t users, items, users_bytes, items_bytes;
    uint64_t events, events_duplicate;
    uint64_t exposures, exposures_lost; /* lost: the log could not be written */
    uint64_t outcomes, outcomes_late;
    uint64_t records_scored, ids_unknown;
    uint64_t journal_bytes, journal_failures;
    bool read_only; /* the last write failed: writes are answered with 503 until one works */
};
void service_stats(const struct service *s, struct service_stats *out);

#endif
