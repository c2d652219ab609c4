/* state.h - what a node knows of people and things: profiles, histories, exposures that wait for their outcome.
 *
 * Readers (loops) look records up without a lock (registry.h); one writer thread changes them, by frames of the
 * journal: a frame is put together (state_put_...), made durable with others (state_commit), and only then applied, by the
 * same code that replays it at a start. So what a reader sees is durable, and a restart knows what it saw.
 *
 * A user's events are kept in the order of time, the newest `history_max` of them; an event of a later time than now is
 * taken as of now. Positive is what the log's label would be: value > data.label_above where an event has a value,
 * else everything but the types impression, exposure, skip and dismiss. Events that are not positive stay in a
 * history only where some job's field is a history of all events (keep_negatives).
 *
 * A payload is a list of ops, each u8 kind and then (id: u16 bytes, text; digest: u64 hash, u64 check):
 *
 *   1 user       id, cells                         6 exposure   u8 rec[26], u64 time, digest of the user,
 *   2 user gone  digest                                         u16 n; of each id of the item, row
 *   3 item       id, u8 flags, cells               7 outcome    u8 rec[26], id of the item, u8 task
 *   4 events     id of the user, u16 n; of each    8 closed     u8 rec[26]
 *                u64 seen, i64 time, u8 positive,  9 lines      u32 file, u64 offset, u32 bytes, text
 *                id of the item, id as text: type
 *  10 served     u8 rec[26], u64 tag of the variant, u64 time, u64 unit, u8 n, f64 x n: covariates,
 *                u16 n; of each u64 hash of the item, f32 logit
 *  11 joined     u8 rec[26], u64 hash of the item, u8 bits: metrics, u8 positive, f64 value
 *  17 window     u64 closed up to, u64 forgotten up to: 10, 11 and 17 are online.h's
 *                -- in snapshots only --
 *  12 user       u64 lsn, u8 flags, id, cells, events as in 4, with their u16 n
 *  13 user gone  u64 lsn, digest                   15 seen       u32 n, u64 x n
 *  14 item       u64 lsn, id, u8 flags, cells      16 log        u32 file, u64 end
 *  18 figures    u64 lsn, u64 tag, u64 unmatched, u64 offset, u8 last, u32 n, piece of ab_online_save
 *  19 record     u8 rec[26], u64 tag, u64 time, u64 unit, u8 closed, u16 n; of each u64 hash of the item, f32
 *                logit, u8 done, u8 positive
 *  20 lsn        u64 of the last frame that the snapshot knows: a start goes on behind it, also without one more frame
 *                (in a journal: in the place of a frame that was lost, though the snapshot knows it)
 *
 *   row: u32 n, text: interaction.h. flags: 1 in stock, 2 known, 4 the profile is that of the job's side
 *   file (what the file says at this start counts, the cells are empty)
 */
#ifndef PENSTOCK_PS_SERVE_STATE_H
#define PENSTOCK_PS_SERVE_STATE_H

#include "common/base/epoch.h"
#include "ps/serve/cells.h"
#include "ps/serve/exposure.h"
#include "ps/serve/interaction.h"
#include "ps/serve/journal.h"
#include "ps/serve/online.h"
#include "ps/serve/registry.h"
#include "ps/serve/seen.h"

#define STATE_TYPES_MAX  256u  /* names of event types; more are all "other" */
#define STATE_EVENTS_MAX 1000u /* of one request */

struct happening {
    int64_t time;  /* us since 1970 */
    uint32_t item; /* its number */
    uint8_t type;
    bool positive;
};

struct user { /* head first: an entry */
    struct entry head;
    struct cells profile;
    const struct happening *event; /* (events) by time, the oldest first */
    uint32_t events;
    bool from_files;
};

struct item {
    struct entry head;
    struct cells profile;
    bool in_stock;
    bool known; /* somebody said what it is; else only events have named it */
    bool from_files;
};

#define HEAT_HALF_US (24ull * 3600 * 1000000)
struct heat { /* events, each half as much after HEAT_HALF_US; as of `time` */
    double sum;
    int64_t time;
};

struct pending { /* a frame that is not durable yet */
    uint64_t lsn;
    size_t n;
    uint8_t *payload; /* owned */
};

struct state_conf {
    const char *dir;
    size_t users_max, items_max, history_max, seen_max;
    size_t exposures_max;   /* bytes of exposures that wait */
    uint64_t compact_bytes; /* a journal of less is not worth a snapshot */
    bool keep_negatives;
    const struct fields *fields;     /* borrowed */
    struct interaction *interaction; /* borrowed; opened */
    struct online *online;           /* borrowed; NULL: no experiment */
};

struct state {
    struct state_conf conf;
    struct epoch epoch;
    struct registry users, items;
    _Atomic(const char *) type[STATE_TYPES_MAX]; /* owned; [0] "other" */
    /* -- writer only -- */
    struct heat *heat; /* (heat_cap) by the item's number: recent positive events; owned */
    size_t heat_cap;
    struct journal journal;
    struct seen seen;
    struct exposures exposures;
    struct buffer frame;
    struct pending *pending; /* frames of the group, to be applied; owned */
    size_t pending_used, pending_cap;
    size_t new_users, new_items; /* at most so many new ids are in the group */
    size_t new_seen;             /* event ids of the group */
    uint32_t lines_file;         /* where the group's next lines go; 0: not asked yet */
    uint64_t lines_at;
    bool open; /* a frame is being put together; where lines went before it */
    uint32_t begin_file;
    uint64_t begin_at;
    bool replaying;
    uint64_t lsn_least;                    /* of a replay: what its snapshot knew */
    uint32_t snapshot_user, snapshot_item; /* how far */
    enum { SNAPSHOT_NONE, SNAPSHOT_ITEMS, SNAPSHOT_USERS, SNAPSHOT_REST } snapshot_at;
    uint64_t snapshot_live; /* bytes of the last one */
    /* -- counters, any thread reads -- */
    _Atomic uint64_t events, duplicates, outcomes, outcomes_late, failures, exposed, exposed_lost;
    _Atomic uint64_t journal_now;
    _Atomic bool read_only;
};

void state_open(struct state *s, const struct state_conf *conf);
void state_close(struct state *s);

/* -- readers, inside an entry of s->epoch -- */
static inline const struct user *state_user(const struct state *s, const char *id, size_t n)
{
    return (const struct user *)registry_find(&s->users, id, n);
}
static inline const struct item *state_item(const struct state *s, const char *id, size_t n)
{
    return (const struct item *)registry_find(&s->items, id, n);
}
static inline const struct item *state_item_at(const struct state *s, uint32_t number)
{
    return (const struct item *)registry_at(&s->items, number);
}
/* Whether this user was deleted and has not been put again. */
bool state_user_gone(const struct state *s, const char *id, size_t n);
const char *state_type(const struct state *s, uint8_t type);
/* Writer: how hot an item is at `now`. */
double state_heat(const struct state *s, uint32_t item, int64_t now);

struct item_put {
    const char *id;
    size_t id_n;
    struct cells profile;
    bool in_stock;
};
/* -- a start: state_open (nothing read), presets, state_replay -- */
MUST_CHECK enum status state_replay(struct state *s, struct errbuf *err);
MUST_CHECK enum status state_preset_item(struct state *s, const struct item_put *p,
                                         struct errbuf *err);
MUST_CHECK enum status state_preset_user(struct state *s, const char *id, size_t n,
                                         const struct cells *profile, struct errbuf *err);

/* -- writer: one frame a request; begin, put, end; then commit for all frames -- */
struct event_put {
    uint64_t seen; /* hash of the event's id */
    int64_t time;
    const char *item, *type;
    size_t item_n, type_n;
    bool positive;
};
void state_begin(struct state *s);
/* ST_AGAIN: no room for one more id. A frame is dropped by state_begin without state_end. */
MUST_CHECK enum status state_put_user(struct state *s, const char *id, size_t n,
                                      const struct cells *profile, struct errbuf *err);
void state_put_user_gone(struct state *s, const char *id, size_t n);
MUST_CHECK enum status state_put_item(struct state *s, const struct item_put *p,
                                      struct errbuf *err);
MUST_CHECK enum status state_put_item_gone(struct state *s, const char *id, size_t n,
                                           struct errbuf *err);
/* n <= STATE_EVENTS_MAX. */
MUST_CHECK enum status state_put_events(struct state *s, const char *user, size_t user_n,
                                        const struct event_put *event, size_t n,
                                        struct errbuf *err);
void state_put_exposure(struct state *s, const struct exposure_put *p);
void state_put_outcome(struct state *s, const char rec[EXPOSURE_REC], const char *item, size_t n,
                       size_t task);
/* Lines for the interaction log, whole ones. */
void state_put_lines(struct state *s, const char *text, size_t n);
/* ST_AGAIN: too much for one frame; nothing of it will happen. */
MUST_CHECK enum status state_end(struct state *s, struct errbuf *err);
/* An event of this id is new, and remembered from now on (until the group fails). */
bool state_see(struct state *s, uint64_t event);
void state_unsee(struct state *s, size_t n); /* the newest n of the group were not */
/* ST_IO: nothing of any frame has happened. */
MUST_CHECK enum status state_commit(struct state *s, struct errbuf *err);
/* About once a second: closes exposures older than `window`, a slice of a snapshot, frees. */
void state_tick(struct state *s, uint64_t now_us, uint64_t window_us);

/* -- inside ps/serve: state_apply.c, for state.c -- */
MUST_CHECK enum status state_apply(struct state *s, uint64_t lsn, const uint8_t *payload, size_t n,
                                   struct errbuf *err);
void state_warm(struct state *s, const struct happening *event);
/* Payloads of a snapshot. */
void state_full_user(const struct state *s, const struct user *u, struct buffer *out);
void state_full_item(const struct item *i, struct buffer *out);

#endif
