/* state_apply.c - frames become records: the same code for what was just made durable and for a replay (state.h).
 *
 * Bytes of a journal are foreign: everything is read by a bounded reader, and what doesn't fit is ST_BAD_DATA, before
 * or after which every record is whole. An op whose lsn is not above that of the record it changes is passed by: a
 * snapshot had it already.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "ps/serve/ops.h"
#include "ps/serve/state.h"

/* ---- records ------------------------------------------------------------------------------------ */

struct id {
    const char *text;
    size_t n;
};

static size_t aligned(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

/* A record of `bytes` with room for its id at its end; behind the id `more` bytes, 8-aligned. */
static void *record_new(size_t bytes, struct id id, size_t more, uint64_t lsn, char **out_more)
{
    const size_t all = aligned(bytes) + aligned(id.n + 1) + more;
    struct entry *e = mem_zalloc(all);
    char *at = (char *)e + aligned(bytes);
    memcpy(at, id.text, id.n);
    e->id = at;
    e->id_n = (uint16_t)id.n;
    e->lsn = lsn;
    e->bytes = all;
    registry_hash(id.text, id.n, &e->hash, &e->check);
    *out_more = at + aligned(id.n + 1);
    return e;
}

static struct user *user_new(struct id id, const struct cells *profile,
                             const struct happening *event, size_t events, uint64_t lsn)
{
    char *at;
    struct user *u =
        record_new(sizeof(*u), id, events * sizeof(*event) + cells_bytes(profile), lsn, &at);
    if (events > 0)
        memcpy(at, event, events * sizeof(*event));
    u->event = (const struct happening *)at;
    u->events = (uint32_t)events;
    u->profile = cells_copy(profile, at + events * sizeof(*event));
    return u;
}

static struct item *item_new(struct id id, const struct cells *profile, unsigned flags,
                             uint64_t lsn)
{
    char *at;
    struct item *i = record_new(sizeof(*i), id, cells_bytes(profile), lsn, &at);
    i->profile = cells_copy(profile, at);
    i->in_stock = flags & FLAG_IN_STOCK;
    i->known = flags & FLAG_KNOWN;
    i->from_files = flags & FLAG_FROM_FILES;
    return i;
}

/* ---- reading ------------------------------------------------------------------------------------ */

static struct id read_id(struct reader *in)
{
    struct id id = {.n = reader_u16(in)};
    id.text = (const char *)reader_view(in, id.n);
    if (id.n == 0 || id.n > ID_MAX || (!in->bad && memchr(id.text, 0, id.n) != NULL))
        in->bad = true;
    return id;
}

static const struct user *find_user(const struct state *s, struct id id)
{
    uint64_t hash, check;
    registry_hash(id.text, id.n, &hash, &check);
    return (const struct user *)registry_find_hash(&s->users, hash, check);
}

/* The item's number; one that nobody has named before gets one. */
static enum status item_number(struct state *s, struct id id, uint32_t *out, struct errbuf *err)
{
    static const struct cells none;
    const struct item *there = state_item(s, id.text, id.n);
    if (there == NULL) {
        struct item *i = item_new(id, &none, FLAG_IN_STOCK, 0);
        const enum status st = registry_put(&s->items, &i->head, err);
        if (st != ST_OK) {
            free(i);
            return st;
        }
        there = i;
    }
    *out = there->head.number;
    return ST_OK;
}

static uint8_t type_of(struct state *s, struct id name)
{
    for (unsigned t = 0; t < STATE_TYPES_MAX; t++) {
        const char *have = atomic_load(&s->type[t]);
        if (have == NULL) {
            char *copy = mem_zalloc(name.n + 1);
            memcpy(copy, name.text, name.n);
            atomic_store(&s->type[t], copy);
            return (uint8_t)t;
        }
        if (strlen(have) == name.n && memcmp(have, name.text, name.n) == 0)
            return (uint8_t)t;
    }
    return 0;
}

const char *state_type(const struct state *s, uint8_t type)
{
    return atomic_load(&s->type[type]);
}

/* Exposures and seen ids carry no lsn of their own: a snapshot has them as of the frame that its op 20 names. In a
 * snapshot lsn is 0, and what is new is always above. */
static bool snapshot_knows(const struct state *s, uint64_t lsn)
{
    return lsn > 0 && lsn <= s->lsn_least;
}

/* ---- users -------------------------------------------------------------------------------------- */

static enum status put_user(struct state *s, struct user *u, struct errbuf *err)
{
    const enum status st = registry_put(&s->users, &u->head, err);
    if (st != ST_OK)
        free(u);
    return st;
}

static enum status apply_user(struct state *s, uint64_t lsn, struct reader *in, struct errbuf *err)
{
    struct cell cell[CELLS_MAX];
    struct cells profile;
    const struct id id = read_id(in);
    if (in->bad || !cells_read(s->conf.fields, in, cell, &profile))
        return ST_OK;
    const struct user *was = find_user(s, id);
    if (was != NULL && was->head.lsn >= lsn)
        return ST_OK;
    const bool alive = was != NULL && !was->head.gone;
    return put_user(
        s, user_new(id, &profile, alive ? was->event : NULL, alive ? was->events : 0, lsn), err);
}

static enum status apply_user_gone(struct state *s, uint64_t lsn, struct reader *in,
                                   struct errbuf *err)
{
    const uint64_t hash = reader_u64(in), check = reader_u64(in);
    if (in->bad)
        return ST_OK;
    const struct entry *was = registry_find_hash(&s->users, hash, check);
    if (was != NULL && was->lsn >= lsn)
        return ST_OK;
    struct user *u = mem_zalloc(sizeof(*u));
    u->head = (struct entry){
        .hash = hash, .check = check, .lsn = lsn, .bytes = sizeof(*u), .gone = true, .id = ""};
    if (!snapshot_knows(s, lsn))
        exposures_remove_user(&s->exposures, hash, check);
    return put_user(s, u, err);
}

void state_warm(struct state *s, const struct happening *event)
{
    if (!event->positive)
        return;
    if (event->item >= s->heat_cap) {
        const size_t had = s->heat_cap;
        mem_grow(&s->heat, &s->heat_cap, (size_t)event->item + 1, sizeof(*s->heat));
        memset(s->heat + had, 0, (s->heat_cap - had) * sizeof(*s->heat));
    }
    struct heat *h = &s->heat[event->item];
    const int64_t now = event->time > h->time ? event->time : h->time;
    h->sum = h->sum * exp2(-(double)(now - h->time) / (double)HEAT_HALF_US) +
             exp2(-(double)(now - event->time) / (double)HEAT_HALF_US);
    h->time = now;
}

static enum status read_event(struct state *s, struct reader *in, struct happening *out,
                              struct errbuf *err)
{
    const uint64_t event = reader_u64(in);
    out->time = (int64_t)reader_u64(in);
    out->positive = reader_u8(in) != 0;
    const struct id item = read_id(in), type = read_id(in);
    if (in->bad)
        return ST_OK;
    if (s->replaying && event != 0)
        (void)seen_add(&s->seen, event);
    out->type = type_of(s, type);
    return item_number(s, item, &out->item, err);
}

/* Behind those of the same time; the oldest gives way. ring: (history_max + 1) room. */
static size_t insert(struct happening *ring, size_t n, size_t max, const struct happening *event)
{
    size_t at = n;
    while (at > 0 && ring[at - 1].time > event->time)
        at--;
    memmove(ring + at + 1, ring + at, (n - at) * sizeof(*ring));
    ring[at] = *event;
    if (n + 1 <= max)
        return n + 1;
    memmove(ring, ring + 1, n * sizeof(*ring));
    return max;
}

/* n events behind those that ring holds. */
static enum status read_events(struct state *s, struct reader *in, struct happening *ring,
                               size_t *used, bool count, struct errbuf *err)
{
    const size_t n = reader_u16(in);
    enum status st = ST_OK;
    for (size_t i = 0; i < n && st == ST_OK && !in->bad; i++) {
        struct happening event = {0};
        st = read_event(s, in, &event, err);
        if (st != ST_OK || in->bad)
            break;
        if (event.positive || s->conf.keep_negatives)
            *used = insert(ring, *used, s->conf.history_max, &event);
        if (count)
            state_warm(s, &event);
    }
    return st;
}

static enum status apply_events(struct state *s, uint64_t lsn, struct reader *in,
                                struct errbuf *err)
{
    static const struct cells none;
    const struct id id = read_id(in);
    if (in->bad)
        return ST_OK;
    const struct user *was = find_user(s, id);
    const bool alive = was != NULL && !was->head.gone;
    const bool old = was != NULL && (was->head.lsn >= lsn || was->head.gone);
    struct happening *ring = mem_array(s->conf.history_max + 1, sizeof(*ring));
    size_t used = alive && was->events < s->conf.history_max ? was->events
                  : alive                                    ? s->conf.history_max
                                                             : 0;
    if (used > 0)
        memcpy(ring, was->event + (was->events - used), used * sizeof(*ring));
    enum status st = read_events(s, in, ring, &used, !s->replaying && !old, err);
    if (st == ST_OK && !in->bad && !old) {
        struct user *u = user_new(id, alive ? &was->profile : &none, ring, used, lsn);
        u->from_files = alive && was->from_files;
        st = put_user(s, u, err);
    }
    free(ring);
    return st;
}

static enum status apply_full_user(struct state *s, struct reader *in, struct errbuf *err)
{
    struct cell cell[CELLS_MAX];
    struct cells profile;
    const uint64_t lsn = reader_u64(in);
    const unsigned flags = reader_u8(in);
    const struct id id = read_id(in);
    if (in->bad || !cells_read(s->conf.fields, in, cell, &profile))
        return ST_OK;
    const struct user *was = find_user(s, id);
    if ((flags & FLAG_FROM_FILES) && was != NULL)
        profile = was->profile;
    struct happening *ring = mem_array(s->conf.history_max + 1, sizeof(*ring));
    size_t used = 0;
    enum status st = read_events(s, in, ring, &used, false, err);
    if (st == ST_OK && !in->bad && (was == NULL || was->head.lsn < lsn)) {
        struct user *u = user_new(id, &profile, ring, used, lsn);
        u->from_files = flags & FLAG_FROM_FILES;
        st = put_user(s, u, err);
    }
    free(ring);
    return st;
}

/* ---- items -------------------------------------------------------------------------------------- */

static enum status apply_item(struct state *s, uint64_t lsn, struct reader *in, struct errbuf *err)
{
    struct cell cell[CELLS_MAX];
    struct cells profile;
    const struct id id = read_id(in);
    const unsigned flags = reader_u8(in);
    if (in->bad || !cells_read(s->conf.fields, in, cell, &profile))
        return ST_OK;
    const struct item *was = state_item(s, id.text, id.n);
    if (was != NULL && was->head.lsn >= lsn && lsn > 0)
        return ST_OK;
    if ((flags & FLAG_FROM_FILES) && was != NULL)
        profile = was->profile;
    struct item *i = item_new(id, &profile, flags, lsn);
    const enum status st = registry_put(&s->items, &i->head, err);
    if (st != ST_OK)
        free(i);
    return st;
}

/* ---- the rest ----------------------------------------------------------------------------------- */

static void apply_exposure(struct state *s, uint64_t lsn, struct reader *in)
{
    struct exposure_row row[EXPOSURE_ITEMS_MAX];
    struct exposure_put put;
    if (!exposure_read(in, row, &put) || snapshot_knows(s, lsn))
        return;
    const struct entry *user = registry_find_hash(&s->users, put.user_hash, put.user_check);
    if (user == NULL || !user->gone)
        exposures_add(&s->exposures, &put);
}

static void apply_outcome(struct state *s, uint64_t lsn, struct reader *in)
{
    const char *rec = (const char *)reader_view(in, EXPOSURE_REC);
    const struct id item = read_id(in);
    const unsigned task = reader_u8(in);
    if (task >= JOB_TASKS_MAX)
        in->bad = true;
    if (in->bad || snapshot_knows(s, lsn))
        return;
    if (s->replaying)
        (void)seen_add(&s->seen, exposure_outcome(rec, item.text, item.n, task));
    struct exposure *e = exposures_find(&s->exposures, rec);
    const size_t at = e != NULL ? exposure_row_of(e, item.text, item.n) : SIZE_MAX;
    if (at != SIZE_MAX)
        e->done[at] |= (uint8_t)(1u << task);
}

static void apply_closed(struct state *s, uint64_t lsn, struct reader *in)
{
    const char *rec = (const char *)reader_view(in, EXPOSURE_REC);
    struct exposure *e =
        in->bad || snapshot_knows(s, lsn) ? NULL : exposures_find(&s->exposures, rec);
    if (e != NULL)
        exposures_remove(&s->exposures, e);
}

static enum status apply_lines(struct state *s, struct reader *in, struct errbuf *err)
{
    const uint32_t file = reader_u32(in);
    const uint64_t at = reader_u64(in);
    const size_t n = reader_u32(in);
    const char *text = (const char *)reader_view(in, n);
    if (in->bad)
        return ST_OK;
    if (!s->replaying) {
        interaction_write(s->conf.interaction, file, at, text, n);
        return ST_OK;
    }
    interaction_replay(s->conf.interaction, file, at, text, n);
    return interaction_settle(s->conf.interaction, err);
}

static void apply_seen(struct state *s, struct reader *in)
{
    const size_t n = reader_u32(in);
    if (n > reader_left(in) / 8)
        in->bad = true;
    for (size_t i = 0; i < n && !in->bad; i++)
        (void)seen_add(&s->seen, reader_u64(in));
}

static void apply_log(struct state *s, struct reader *in)
{
    struct interaction *x = s->conf.interaction;
    const uint32_t file = reader_u32(in);
    const uint64_t end = reader_u64(in);
    if (!in->bad && x->on && file > 0)
        interaction_replay(x, file, end, "", 0);
}

static enum status apply_one(struct state *s, uint64_t lsn, struct reader *in, struct errbuf *err)
{
    const unsigned kind = reader_u8(in);
    if (lsn == 0 && (kind == OP_FULL_USER_GONE || kind == OP_FULL_ITEM))
        lsn = reader_u64(in);
    switch (kind) {
    case OP_USER: return apply_user(s, lsn, in, err);
    case OP_USER_GONE:
    case OP_FULL_USER_GONE: return apply_user_gone(s, lsn, in, err);
    case OP_ITEM:
    case OP_FULL_ITEM: return apply_item(s, lsn, in, err);
    case OP_EVENTS: return apply_events(s, lsn, in, err);
    case OP_FULL_USER: return apply_full_user(s, in, err);
    case OP_EXPOSURE: apply_exposure(s, lsn, in); return ST_OK;
    case OP_OUTCOME: apply_outcome(s, lsn, in); return ST_OK;
    case OP_CLOSED: apply_closed(s, lsn, in); return ST_OK;
    case OP_LINES: return apply_lines(s, in, err);
    case OP_SEEN: apply_seen(s, in); return ST_OK;
    case OP_LOG: apply_log(s, in); return ST_OK;
    case OP_LSN: s->lsn_least = reader_u64(in); return ST_OK;
    case OP_SERVED:
    case OP_JOINED:
    case OP_WINDOW:
    case OP_FIGURES:
    case OP_RECORD: return online_apply(s->conf.online, kind, lsn, in, err);
    default: in->bad = true; return ST_OK;
    }
}

enum status state_apply(struct state *s, uint64_t lsn, const uint8_t *payload, size_t n,
                        struct errbuf *err)
{
    struct reader in;
    enum status st = ST_OK;
    reader_init(&in, payload, n);
    while (st == ST_OK && !in.bad && reader_left(&in) > 0)
        st = apply_one(s, lsn, &in, err);
    if (st == ST_OK && in.bad)
        st = errbuf_set(err, ST_BAD_DATA, "a frame (lsn %llu) that can't be understood",
                        (unsigned long long)lsn);
    return st;
}

/* ---- for snapshots and presets ------------------------------------------------------------------ */

static void put_id(struct buffer *out, const char *id, size_t n)
{
    buffer_u16(out, (uint16_t)n);
    buffer_put(out, id, n);
}

void state_full_user(const struct state *s, const struct user *u, struct buffer *out)
{
    static const struct cells none;
    if (u->head.gone) {
        buffer_u8(out, OP_FULL_USER_GONE);
        buffer_u64(out, u->head.lsn);
        buffer_u64(out, u->head.hash);
        buffer_u64(out, u->head.check);
        return;
    }
    buffer_u8(out, OP_FULL_USER);
    buffer_u64(out, u->head.lsn);
    buffer_u8(out, u->from_files ? FLAG_FROM_FILES : 0);
    put_id(out, u->head.id, u->head.id_n);
    cells_write(u->from_files ? &none : &u->profile, out);
    buffer_u16(out, (uint16_t)u->events);
    for (size_t i = 0; i < u->events; i++) {
        const struct happening *h = &u->event[i];
        const struct item *item = state_item_at(s, h->item);
        const char *type = state_type(s, h->type);
        buffer_u64(out, 0);
        buffer_u64(out, (uint64_t)h->time);
        buffer_u8(out, h->positive);
        put_id(out, item->head.id, item->head.id_n);
        put_id(out, type, strlen(type));
    }
}

void state_full_item(const struct item *i, struct buffer *out)
{
    static const struct cells none;
    buffer_u8(out, OP_FULL_ITEM);
    buffer_u64(out, i->head.lsn);
    put_id(out, i->head.id, i->head.id_n);
    buffer_u8(out, (uint8_t)((i->in_stock ? FLAG_IN_STOCK : 0) | (i->known ? FLAG_KNOWN : 0) |
                             (i->from_files ? FLAG_FROM_FILES : 0)));
    cells_write(i->from_files ? &none : &i->profile, out);
}

enum status state_preset_item(struct state *s, const struct item_put *p, struct errbuf *err)
{
    struct item *i = item_new((struct id){p->id, p->id_n}, &p->profile,
                              FLAG_KNOWN | FLAG_FROM_FILES | (p->in_stock ? FLAG_IN_STOCK : 0), 0);
    const enum status st = registry_put(&s->items, &i->head, err);
    if (st != ST_OK)
        free(i);
    return st;
}

enum status state_preset_user(struct state *s, const char *id, size_t n,
                              const struct cells *profile, struct errbuf *err)
{
    struct user *u = user_new((struct id){id, n}, profile, NULL, 0, 0);
    u->from_files = true;
    return put_user(s, u, err);
}
