/* state.c - see state.h: frames put together, made durable, applied; a start; windows, snapshots. */
#include "ps/serve/state.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "ps/serve/ops.h"

#define CLOSE_EACH   1024u      /* exposures closed in one group */
#define CLOSE_GROUPS 16u        /* groups a tick */
#define SLICE_BYTES  (1u << 20) /* of a snapshot, a tick */
#define SLICES       8u
#define MISSING_MAX  (1u << 22) /* frames */

/* ---- life --------------------------------------------------------------------------------------- */

void state_open(struct state *s, const struct state_conf *conf)
{
    memset(s, 0, sizeof(*s));
    s->conf = *conf;
    epoch_init(&s->epoch);
    registry_init(&s->users, &s->epoch, conf->users_max);
    registry_init(&s->items, &s->epoch, conf->items_max);
    seen_init(&s->seen, conf->seen_max);
    exposures_init(&s->exposures);
    atomic_store(&s->type[0], mem_strdup("other"));
}

static enum status replayed(void *arg, uint64_t lsn, const uint8_t *payload, size_t n,
                            struct errbuf *err)
{
    return state_apply(arg, lsn, payload, n, err);
}

/* New frames may not look older than what the snapshot knows. Where no frame stands behind it they begin there. Where its
 * last ones are missing, which is damage, frames that say nothing new take their numbers: behind a gap nothing is read. */
static enum status catch_up(struct state *s, struct errbuf *err)
{
    struct journal *j = &s->journal;
    struct buffer b = BUFFER_INIT;
    if (j->lsn == 0)
        j->lsn = j->group_lsn = s->lsn_least;
    if (j->lsn >= s->lsn_least)
        return ST_OK;
    if (s->lsn_least - j->lsn > MISSING_MAX)
        return errbuf_set(err, ST_BAD_DATA,
                          "%s: the snapshot knows frames up to %" PRIu64
                          ", the journal ends at %" PRIu64,
                          s->conf.dir, s->lsn_least, j->lsn);
    buffer_u8(&b, OP_LSN);
    buffer_u64(&b, s->lsn_least);
    while (j->group_lsn < s->lsn_least)
        (void)journal_add(j, b.data, b.used);
    buffer_release(&b);
    return journal_sync(j, err);
}

enum status state_replay(struct state *s, struct errbuf *err)
{
    const struct journal_reader reader = {s, replayed};
    uint64_t cut = 0;
    s->replaying = true;
    enum status st = journal_open(&s->journal, s->conf.dir, &reader, &cut, err);
    s->replaying = false;
    if (st == ST_OK)
        st = catch_up(s, err);
    if (st != ST_OK)
        return st;
    if (cut > 0)
        log_warn("%s: the last %" PRIu64
                 " bytes of the journal are half a write, nobody was told that it is kept; "
                 "they were cut off",
                 s->conf.dir, cut);
    const uint32_t users = atomic_load(&s->users.used);
    for (uint32_t i = 0; i < users; i++) {
        const struct user *u = (const struct user *)registry_at(&s->users, i);
        for (size_t e = 0; e < u->events; e++)
            state_warm(s, &u->event[e]);
    }
    registry_reclaim(&s->users);
    registry_reclaim(&s->items);
    atomic_store(&s->journal_now, journal_bytes(&s->journal));
    log_info("%s: %" PRIu64 " users, %" PRIu64 " items, %zu exposures wait for their outcome",
             s->conf.dir, atomic_load(&s->users.alive), atomic_load(&s->items.alive),
             s->exposures.used);
    return ST_OK;
}

static void drop_pending(struct state *s)
{
    for (size_t i = 0; i < s->pending_used; i++)
        free(s->pending[i].payload);
    s->pending_used = 0;
    s->new_users = s->new_items = s->new_seen = 0;
    s->lines_file = 0;
}

void state_close(struct state *s)
{
    drop_pending(s);
    journal_close(&s->journal);
    registry_release(&s->users);
    registry_release(&s->items);
    seen_release(&s->seen);
    exposures_release(&s->exposures);
    for (size_t t = 0; t < STATE_TYPES_MAX; t++)
        free((void *)(uintptr_t)atomic_load(&s->type[t]));
    buffer_release(&s->frame);
    free(s->pending);
    free(s->heat);
    memset(s, 0, sizeof(*s));
}

/* ---- reading ------------------------------------------------------------------------------------ */

bool state_user_gone(const struct state *s, const char *id, size_t n)
{
    uint64_t hash, check;
    registry_hash(id, n, &hash, &check);
    const struct entry *e = registry_find_hash(&s->users, hash, check);
    return e != NULL && e->gone;
}

double state_heat(const struct state *s, uint32_t item, int64_t now)
{
    if (item >= s->heat_cap)
        return 0;
    const struct heat *h = &s->heat[item];
    return h->sum * exp2(-(double)(now > h->time ? now - h->time : 0) / (double)HEAT_HALF_US);
}

/* ---- frames ------------------------------------------------------------------------------------- */

static void put_id(struct buffer *out, const char *id, size_t n)
{
    buffer_u16(out, (uint16_t)n);
    buffer_put(out, id, n);
}

/* The frame that was begun is not meant: its lines leave no hole in the log. */
static void abandon(struct state *s)
{
    if (s->open) {
        s->lines_file = s->begin_file;
        s->lines_at = s->begin_at;
    }
    s->open = false;
    buffer_reset(&s->frame);
}

void state_begin(struct state *s)
{
    abandon(s);
    s->open = true;
    s->begin_file = s->lines_file;
    s->begin_at = s->lines_at;
}

static enum status room(const struct registry *r, const char *id, size_t n, size_t *fresh,
                        const char *what, struct errbuf *err)
{
    uint64_t hash, check;
    registry_hash(id, n, &hash, &check);
    if (registry_find_hash(r, hash, check) != NULL)
        return ST_OK;
    if (atomic_load(&r->used) + *fresh >= r->max)
        return errbuf_set(err, ST_AGAIN, "this node keeps %zu %s and has no room for another",
                          r->max, what);
    (*fresh)++;
    return ST_OK;
}

enum status state_put_user(struct state *s, const char *id, size_t n, const struct cells *profile,
                           struct errbuf *err)
{
    const enum status st = room(&s->users, id, n, &s->new_users, "users", err);
    if (st != ST_OK)
        return st;
    buffer_u8(&s->frame, OP_USER);
    put_id(&s->frame, id, n);
    cells_write(profile, &s->frame);
    return ST_OK;
}

void state_put_user_gone(struct state *s, const char *id, size_t n)
{
    uint64_t hash, check;
    registry_hash(id, n, &hash, &check);
    buffer_u8(&s->frame, OP_USER_GONE);
    buffer_u64(&s->frame, hash);
    buffer_u64(&s->frame, check);
}

enum status state_put_item(struct state *s, const struct item_put *p, struct errbuf *err)
{
    const enum status st = room(&s->items, p->id, p->id_n, &s->new_items, "items", err);
    if (st != ST_OK)
        return st;
    buffer_u8(&s->frame, OP_ITEM);
    put_id(&s->frame, p->id, p->id_n);
    buffer_u8(&s->frame, (uint8_t)(FLAG_KNOWN | (p->in_stock ? FLAG_IN_STOCK : 0)));
    cells_write(&p->profile, &s->frame);
    return ST_OK;
}

/* Its number and id stay, for histories have it; nothing recommends it any more. */
enum status state_put_item_gone(struct state *s, const char *id, size_t n, struct errbuf *err)
{
    static const struct cells none;
    const enum status st = room(&s->items, id, n, &s->new_items, "items", err);
    if (st != ST_OK)
        return st;
    buffer_u8(&s->frame, OP_ITEM);
    put_id(&s->frame, id, n);
    buffer_u8(&s->frame, 0);
    cells_write(&none, &s->frame);
    return ST_OK;
}

enum status state_put_events(struct state *s, const char *user, size_t user_n,
                             const struct event_put *event, size_t n, struct errbuf *err)
{
    enum status st = room(&s->users, user, user_n, &s->new_users, "users", err);
    for (size_t i = 0; st == ST_OK && i < n; i++)
        st = room(&s->items, event[i].item, event[i].item_n, &s->new_items, "items", err);
    if (st != ST_OK)
        return st;
    buffer_u8(&s->frame, OP_EVENTS);
    put_id(&s->frame, user, user_n);
    buffer_u16(&s->frame, (uint16_t)n);
    for (size_t i = 0; i < n; i++) {
        const struct event_put *e = &event[i];
        buffer_u64(&s->frame, e->seen);
        buffer_u64(&s->frame, (uint64_t)e->time);
        buffer_u8(&s->frame, e->positive);
        put_id(&s->frame, e->item, e->item_n);
        put_id(&s->frame, e->type, e->type_n);
    }
    return ST_OK;
}

void state_put_exposure(struct state *s, const struct exposure_put *p)
{
    buffer_u8(&s->frame, OP_EXPOSURE);
    exposure_write(p, &s->frame);
}

void state_put_outcome(struct state *s, const char rec[EXPOSURE_REC], const char *item, size_t n,
                       size_t task)
{
    buffer_u8(&s->frame, OP_OUTCOME);
    buffer_put(&s->frame, rec, EXPOSURE_REC);
    put_id(&s->frame, item, n);
    buffer_u8(&s->frame, (uint8_t)task);
}

void state_put_lines(struct state *s, const char *text, size_t n)
{
    if (!s->conf.interaction->on || n == 0)
        return;
    if (s->lines_file == 0)
        interaction_place(s->conf.interaction, &s->lines_file, &s->lines_at);
    buffer_u8(&s->frame, OP_LINES);
    buffer_u32(&s->frame, s->lines_file);
    buffer_u64(&s->frame, s->lines_at);
    buffer_u32(&s->frame, (uint32_t)n);
    buffer_put(&s->frame, text, n);
    s->lines_at += n;
}

enum status state_end(struct state *s, struct errbuf *err)
{
    if (s->frame.used > JOURNAL_FRAME_MAX) {
        const size_t n = s->frame.used;
        abandon(s);
        return errbuf_set(err, ST_AGAIN,
                          "%zu bytes to be kept for one request; at most %u: send less at once", n,
                          JOURNAL_FRAME_MAX);
    }
    s->open = false;
    if (s->frame.used == 0)
        return ST_OK;
    mem_grow(&s->pending, &s->pending_cap, s->pending_used + 1, sizeof(*s->pending));
    struct pending *p = &s->pending[s->pending_used++];
    p->n = s->frame.used;
    p->payload = mem_alloc(p->n);
    memcpy(p->payload, s->frame.data, p->n);
    p->lsn = journal_add(&s->journal, p->payload, p->n);
    buffer_reset(&s->frame);
    return ST_OK;
}

bool state_see(struct state *s, uint64_t event)
{
    if (!seen_add(&s->seen, event))
        return false;
    s->new_seen++;
    return true;
}

void state_unsee(struct state *s, size_t n)
{
    seen_undo(&s->seen, n);
    s->new_seen -= n;
}

enum status state_commit(struct state *s, struct errbuf *err)
{
    abandon(s);
    /* Lines that an earlier group still owes come first: what is owed is bounded by one group. */
    enum status st = interaction_settle(s->conf.interaction, err);
    if (st == ST_OK)
        st = journal_sync(&s->journal, err);
    else
        journal_drop(&s->journal);
    if (st != ST_OK)
        seen_undo(&s->seen, s->new_seen);
    for (size_t i = 0; st == ST_OK && i < s->pending_used; i++) {
        struct errbuf why = ERRBUF_INIT;
        /* What was put together here is understood here. */
        if (state_apply(s, s->pending[i].lsn, s->pending[i].payload, s->pending[i].n, &why) !=
            ST_OK)
            log_error("%s: %s", s->conf.dir, why.text);
    }
    if (st != ST_OK) {
        atomic_fetch_add(&s->failures, 1);
        if (!atomic_load(&s->read_only))
            log_warn("%s; writes are refused until it can be written again",
                     err != NULL ? err->text : s->conf.dir);
    }
    atomic_store(&s->read_only, st != ST_OK);
    drop_pending(s);
    registry_reclaim(&s->users);
    registry_reclaim(&s->items);
    atomic_store(&s->journal_now, journal_bytes(&s->journal));
    return st;
}

/* ---- windows ------------------------------------------------------------------------------------ */

/* Rows without an outcome are negatives; where histories hold those, the user's does, too. */
static void close_one(struct state *s, const struct exposure *e, struct buffer *lines)
{
    const struct interaction *x = s->conf.interaction;
    struct event_put event[EXPOSURE_ITEMS_MAX];
    const char *label[JOB_TASKS_MAX] = {NULL};
    size_t n = 0;
    buffer_reset(lines);
    for (size_t i = 0; i < e->put.rows; i++) {
        const struct exposure_row *r = &e->put.row[i];
        /* With one label a row that something came of is written already. */
        if (e->done[i] && x->labels <= 1)
            continue;
        for (size_t t = 0; t < x->labels; t++)
            label[t] = e->done[i] & 1u << t ? x->positive : x->negative;
        if (x->on && x->labels > 0)
            interaction_label(x, r->text, r->n, label, lines);
        if (e->done[i])
            continue;
        event[n++] = (struct event_put){.time = (int64_t)e->put.time,
                                        .item = r->item,
                                        .item_n = r->item_n,
                                        .type = "impression",
                                        .type_n = 10};
    }
    state_begin(s);
    state_put_lines(s, (const char *)lines->data, lines->used);
    const struct entry *user = registry_find_hash(&s->users, e->put.user_hash, e->put.user_check);
    struct errbuf full = ERRBUF_INIT;
    if (s->conf.keep_negatives && n > 0 && user != NULL && !user->gone &&
        state_put_events(s, user->id, user->id_n, event, n, &full) != ST_OK)
        log_warn("%s", full.text);
    buffer_u8(&s->frame, OP_CLOSED);
    buffer_put(&s->frame, e->put.rec, EXPOSURE_REC);
    if (state_end(s, &full) != ST_OK)
        log_warn("%s", full.text);
}

static void close_windows(struct state *s, uint64_t now_us, uint64_t window_us)
{
    struct buffer lines = BUFFER_INIT;
    enum status st = ST_OK;
    for (size_t group = 0; group < CLOSE_GROUPS && st == ST_OK; group++) {
        size_t n = 0, bytes = s->exposures.bytes;
        const struct exposure *e = s->exposures.oldest;
        for (; e != NULL && n < CLOSE_EACH &&
               (e->put.time + window_us <= now_us || bytes > s->conf.exposures_max);
             e = e->newer, n++) {
            bytes -= e->bytes;
            close_one(s, e, &lines);
        }
        if (n == 0)
            break;
        st = state_commit(s, NULL);
    }
    buffer_release(&lines);
}

static void close_online(struct state *s, uint64_t now_us)
{
    struct errbuf full = ERRBUF_INIT;
    state_begin(s);
    online_put_window(s->conf.online, now_us, &s->frame);
    if (s->frame.used == 0)
        return;
    if (state_end(s, &full) != ST_OK)
        log_warn("%s", full.text);
    (void)!state_commit(s, NULL);
}

/* ---- snapshots ---------------------------------------------------------------------------------- */

static enum status snapshot_rest(struct state *s, struct errbuf *err)
{
    struct buffer b = BUFFER_INIT;
    enum status st = ST_OK;
    for (const struct exposure *e = s->exposures.oldest; e != NULL && st == ST_OK; e = e->newer) {
        buffer_reset(&b);
        buffer_u8(&b, OP_EXPOSURE);
        exposure_write(&e->put, &b);
        for (size_t i = 0; i < e->put.rows * JOB_TASKS_MAX; i++) {
            const struct exposure_row *r = &e->put.row[i / JOB_TASKS_MAX];
            const size_t task = i % JOB_TASKS_MAX;
            if (!(e->done[i / JOB_TASKS_MAX] & 1u << task))
                continue;
            buffer_u8(&b, OP_OUTCOME);
            buffer_put(&b, e->put.rec, EXPOSURE_REC);
            put_id(&b, r->item, r->item_n);
            buffer_u8(&b, (uint8_t)task);
        }
        st = journal_snapshot_add(&s->journal, b.data, b.used, err);
    }
    for (size_t from = 0; from < s->seen.used && st == ST_OK; from += 65536) {
        const size_t n = s->seen.used - from < 65536 ? s->seen.used - from : 65536;
        buffer_reset(&b);
        buffer_u8(&b, OP_SEEN);
        buffer_u32(&b, (uint32_t)n);
        for (size_t i = 0; i < n; i++)
            buffer_u64(&b, seen_at(&s->seen, from + i));
        st = journal_snapshot_add(&s->journal, b.data, b.used, err);
    }
    if (st == ST_OK) {
        buffer_reset(&b);
        buffer_u8(&b, OP_LSN);
        buffer_u64(&b, s->journal.lsn);
        st = journal_snapshot_add(&s->journal, b.data, b.used, err);
    }
    if (st == ST_OK && s->conf.online != NULL)
        st = online_snapshot(s->conf.online, &s->journal, err);
    if (st == ST_OK)
        st = interaction_sync(s->conf.interaction, err);
    if (st == ST_OK) {
        buffer_reset(&b);
        buffer_u8(&b, OP_LOG);
        buffer_u32(&b, s->conf.interaction->file);
        buffer_u64(&b, s->conf.interaction->end);
        st = journal_snapshot_add(&s->journal, b.data, b.used, err);
    }
    buffer_release(&b);
    return st;
}

/* Records of a registry from *at on, about a slice of bytes; true: all are there. */
static bool snapshot_records(struct state *s, bool users, uint32_t *at, enum status *st,
                             struct errbuf *err)
{
    const struct registry *r = users ? &s->users : &s->items;
    struct buffer b = BUFFER_INIT;
    size_t bytes = 0;
    while (*at < atomic_load(&r->used) && bytes < SLICE_BYTES && *st == ST_OK) {
        const struct entry *e = registry_at(r, (*at)++);
        if (e->lsn == 0 && !e->gone)
            continue; /* of the job's files, or only named by events, which name it again */
        buffer_reset(&b);
        if (users)
            state_full_user(s, (const struct user *)e, &b);
        else
            state_full_item((const struct item *)e, &b);
        bytes += b.used;
        *st = journal_snapshot_add(&s->journal, b.data, b.used, err);
    }
    buffer_release(&b);
    return *at >= atomic_load(&r->used);
}

static void snapshot_slice(struct state *s)
{
    struct errbuf err = ERRBUF_INIT;
    enum status st = ST_OK;
    if (s->snapshot_at == SNAPSHOT_NONE) {
        const uint64_t bytes = journal_bytes(&s->journal);
        if (bytes < s->conf.compact_bytes || bytes < 2 * s->snapshot_live)
            return;
        st = journal_snapshot_begin(&s->journal, &err);
        s->snapshot_user = s->snapshot_item = 0;
        s->snapshot_at = SNAPSHOT_ITEMS;
    } else if (s->snapshot_at == SNAPSHOT_ITEMS) {
        if (snapshot_records(s, false, &s->snapshot_item, &st, &err))
            s->snapshot_at = SNAPSHOT_USERS;
    } else if (s->snapshot_at == SNAPSHOT_USERS) {
        if (snapshot_records(s, true, &s->snapshot_user, &st, &err))
            s->snapshot_at = SNAPSHOT_REST;
    } else {
        st = snapshot_rest(s, &err);
        if (st == ST_OK)
            st = journal_snapshot_end(&s->journal, &err);
        s->snapshot_live = s->journal.snapshot_bytes;
        s->snapshot_at = SNAPSHOT_NONE;
    }
    if (st != ST_OK) {
        log_warn("the journal could not be made shorter: %s", err.text);
        journal_snapshot_abandon(&s->journal);
        s->snapshot_at = SNAPSHOT_NONE;
    }
}

void state_tick(struct state *s, uint64_t now_us, uint64_t window_us)
{
    close_windows(s, now_us, window_us);
    if (s->conf.online != NULL)
        close_online(s, now_us);
    for (unsigned i = 0; i < SLICES; i++) {
        snapshot_slice(s);
        if (s->snapshot_at == SNAPSHOT_NONE)
            break;
    }
    (void)!interaction_settle(s->conf.interaction, NULL);
    registry_reclaim(&s->users);
    registry_reclaim(&s->items);
}
