/* sequence.c - see sequence.h. */
#include "common/data/sequence.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/feature/number.h"

#define POLL_USERS 4096u

enum status sequence_init(struct sequence *q, const struct job *job, bool given, struct errbuf *err)
{
    memset(q, 0, sizeof *q);
    if (job->data.split.by != JOB_SPLIT_LEAVE_ONE_OUT && job->data.split.by != JOB_SPLIT_TIME)
        return errbuf_set(err, ST_USAGE,
                          "data.split.by: sequences are split by leave_one_out or time");
    if (job->data.format == JOB_LIBSVM || job->data.format == JOB_CRITEO)
        return errbuf_set(err, ST_USAGE,
                          "data.format: libsvm and criteo have no users to make sequences of");
    enum status st = encoder_new_events(job, &q->line, err);
    if (st != ST_OK)
        return st;
    q->job = job;
    q->given = given;
    events_init(&q->events, job->data.sequence.memory);
    return ST_OK;
}

void sequence_release(struct sequence *q)
{
    events_release(&q->events);
    encoder_free(q->line);
    memset(q, 0, sizeof *q);
}

/* ---- events ------------------------------------------------------------------------------------- */

static uint64_t key_of(const struct sequence *q, const struct cache_writer *w, size_t field)
{
    const struct schema *s = &q->line->schema;
    return w->key[w->keys - s->ids_used + s->field[field].slot];
}

static bool has_none(const struct sequence *q, const struct cache_writer *w, size_t field)
{
    return key_of(q, w, field) == encoder_key_missing(q->line, q->line->schema.field[field].slot);
}

const char *sequence_fault(const struct sequence *q, const struct cache_writer *w, int64_t time)
{
    const struct schema *s = &q->line->schema;
    if (has_none(q, w, s->user))
        return "no user";
    if (has_none(q, w, s->item))
        return "no item";
    if (s->time != SCHEMA_NONE && time == TIME_MISSING)
        return "no time, and a history is in the order of time";
    return NULL;
}

enum status sequence_add(struct sequence *q, struct cache_writer *w, int64_t time, uint32_t source,
                         uint64_t offset, struct errbuf *err)
{
    const struct schema *s = &q->line->schema;
    struct event event = {.item = key_of(q, w, s->item), .offset = offset, .mark = source};
    event.time = s->time != SCHEMA_NONE ? time : TIME_MISSING;
    uint64_t user = key_of(q, w, s->user);
    cache_writer_row_undo(w);
    return events_add(&q->events, user, &event, err);
}

/* ---- records ------------------------------------------------------------------------------------ */

struct user {              /* one user's events */
    const uint64_t *order; /* (n) positions in events.item */
    size_t n;
    size_t valid, test; /* where these parts begin */
};

static const struct event *event_at(const struct sequence *q, const struct user *u, size_t i)
{
    return &q->events.item[u->order[i]];
}

/* False: the user is left out. */
static bool user_of(const struct sequence *q, size_t number, struct user *out)
{
    uint64_t first = q->events.first[number], end = q->events.first[number + 1];
    struct user u = {.order = q->events.order + first, .n = (size_t)(end - first)};
    if (q->given) {
        u.valid = u.test = u.n;
        *out = u;
        return u.n > 0;
    }
    if (q->job->data.split.by == JOB_SPLIT_LEAVE_ONE_OUT) {
        u.valid = u.n > 2 ? u.n - 2 : 0;
        u.test = u.n - 1;
    } else {
        while (u.valid < u.n && event_at(q, &u, u.valid)->time < q->at.valid_from)
            u.valid++;
        /* Without a valid part its instant is at the end of time. */
        while (u.test < u.n && event_at(q, &u, u.test)->time < q->at.test_from)
            u.test++;
        u.valid = u.valid < u.test ? u.valid : u.test;
    }
    *out = u;
    return u.n >= q->job->data.sequence.min;
}

static void put_items(const struct sequence *q, const struct user *u, size_t from, size_t end,
                      struct cache_writer *w)
{
    for (size_t i = from; i < end; i++)
        cache_writer_key(w, event_at(q, u, i)->item);
    cache_writer_bag_end(w);
}

static enum status end_record(const struct event *last, struct cache_writer *w, struct errbuf *err)
{
    const float label = 1;
    const struct cache_row row = {
        .label = &label, .source = last->mark, .offset = last->offset, .time = last->time};
    return cache_writer_row_end(w, &row, err);
}

static enum status put_train(struct sequence *q, const struct user *u, struct cache_writer *w,
                             struct errbuf *err)
{
    size_t inputs = (size_t)q->job->data.sequence.max;
    size_t from = u->valid > inputs + 1 ? u->valid - inputs - 1 : 0;
    if (u->valid < 2)
        return ST_OK;
    put_items(q, u, from, u->valid, w);
    cache_writer_bag_end(w);
    cache_writer_bag_end(w);
    q->counts.positions += u->valid - from - 1;
    return end_record(event_at(q, u, u->valid - 1), w, err);
}

static enum status put_judged(struct sequence *q, const struct user *u, size_t target,
                              struct cache_writer *w, struct errbuf *err)
{
    size_t inputs = (size_t)q->job->data.sequence.max;
    size_t from = target > inputs ? target - inputs : 0;
    if (target == 0) {
        q->counts.no_history++;
        return ST_OK;
    }
    put_items(q, u, from, target, w);
    put_items(q, u, target, target + 1, w);
    put_items(q, u, 0, from, w);
    return end_record(event_at(q, u, target), w, err);
}

static bool is_judged(const struct sequence *q, const struct event *e)
{
    return e->mark >= q->judged_from;
}

/* Whether some file has this event of the job's log, too: it then is among those of its time, [from, end) of order. */
static bool is_theirs(const struct sequence *q, const struct event *e, uint64_t from, uint64_t end)
{
    const struct events *all = &q->events;
    if (is_judged(q, e) || e->time == TIME_MISSING)
        return false;
    for (uint64_t i = from; i < end; i++) {
        const struct event *x = &all->item[all->order[i]];
        if (x->item == e->item && is_judged(q, x))
            return true;
    }
    return false;
}

/* The job's log and the files may overlap: each event once. Places move up, user by user. */
static void drop_doubled(struct sequence *q)
{
    struct events *e = &q->events;
    uint64_t kept = 0, end = e->users > 0 ? e->first[0] : 0;
    for (size_t number = 0; number < e->users; number++) {
        uint64_t from = end, upto;
        end = e->first[number + 1];
        e->first[number] = kept;
        for (; from < end; from = upto) {
            const int64_t time = e->item[e->order[from]].time;
            for (upto = from; upto < end && e->item[e->order[upto]].time == time; upto++)
                continue;
            for (uint64_t i = from; i < upto; i++) {
                const uint64_t at = e->order[i];
                /* The job's stand first, so an equal one of a file is behind it, where nothing has moved yet. */
                if (!is_theirs(q, &e->item[at], i, upto))
                    e->order[kept++] = at;
            }
        }
    }
    if (e->users > 0)
        e->first[e->users] = kept;
}

static enum status put_given(struct sequence *q, const struct user *u, struct cache_writer *w,
                             struct errbuf *err)
{
    enum status st = ST_OK;
    for (size_t i = 0; st == ST_OK && i < u->n; i++)
        if (is_judged(q, event_at(q, u, i)))
            st = put_judged(q, u, i, w, err);
    return st;
}

static enum status put_user(struct sequence *q, const struct user *u, struct cache_writer *part,
                            struct errbuf *err)
{
    if (q->given)
        return put_given(q, u, &part[PART_TEST], err);
    enum status st = put_train(q, u, &part[PART_TRAIN], err);
    for (size_t i = u->valid; st == ST_OK && i < u->n; i++)
        st = put_judged(q, u, i, &part[i < u->test ? PART_VALID : PART_TEST], err);
    return st;
}

static void find_times(struct sequence *q)
{
    const struct events *e = &q->events;
    int64_t *times = mem_array(e->used + 1, sizeof *times);
    for (size_t i = 0; i < e->used; i++)
        times[i] = e->item[i].time;
    q->at = split_by_time(times, e->used, q->job->data.split.valid, q->job->data.split.test);
    free(times);
}

enum status sequence_deal(struct sequence *q, struct cache_writer *part, const volatile int *stop,
                          struct errbuf *err)
{
    enum status st = ST_OK;
    events_order(&q->events);
    if (q->given)
        drop_doubled(q);
    if (q->job->data.split.by == JOB_SPLIT_TIME)
        find_times(q);
    for (size_t number = 0; st == ST_OK && number < q->events.users; number++) {
        struct user u;
        if (user_of(q, number, &u)) {
            q->counts.users++;
            q->counts.events += u.n;
            st = put_user(q, &u, part, err);
        } else {
            q->counts.users_short++;
            q->counts.events_short += u.n;
        }
        if (st == ST_OK && number % POLL_USERS == 0 && stop != NULL && *stop != 0)
            st = errbuf_set(err, ST_REFUSED, "interrupted");
    }
    for (int p = 0; st == ST_OK && p < PARTS; p++)
        st = cache_writer_end_rows(&part[p], err);
    return st;
}

/* ---- what is learned from train ----------------------------------------------------------------- */

enum status sequence_fit(const struct sequence *q, struct fit *fit, struct errbuf *err)
{
    enum status st = ST_OK;
    uint64_t *keys = NULL;
    size_t cap = 0;
    for (size_t number = 0; st == ST_OK && number < q->events.users; number++) {
        struct user u;
        if (!user_of(q, number, &u))
            continue;
        mem_grow(&keys, &cap, u.valid + 1, sizeof *keys);
        for (size_t i = 0; i < u.valid; i++)
            keys[i] = event_at(q, &u, i)->item;
        uint32_t n = (uint32_t)u.valid;
        const uint32_t bags[SCHEMA_SEQUENCE_FIELDS + 1] = {0, n, n, n};
        st = fit_add(fit, &(struct encoder_rows){1, bags, keys, NULL}, err);
    }
    free(keys);
    return st;
}

/* The time from which on the newest tenth of train's events is; INT64_MAX where a log has no time. */
static int64_t recent_from(const struct sequence *q)
{
    const struct events *e = &q->events;
    int64_t from = INT64_MAX, *times = mem_array(e->used + 1, sizeof *times);
    size_t n = 0;
    for (size_t number = 0; number < e->users; number++) {
        struct user u;
        if (!user_of(q, number, &u))
            continue;
        for (size_t i = 0; i < u.valid && i < u.n; i++)
            times[n++] = event_at(q, &u, i)->time;
    }
    if (n > 0 && q->line->schema.time != SCHEMA_NONE) {
        uint64_t *order = split_time_order(times, n);
        from = times[order[n - (n / 10 > 0 ? n / 10 : 1)]];
        free(order);
    }
    free(times);
    return from;
}

static void take_counts(const struct keyset *train, const struct keyset *recent, struct catalog *c)
{
    c->count = mem_array(c->n + 1, sizeof *c->count);
    c->recent = mem_array(c->n + 1, sizeof *c->recent);
    for (size_t i = 0; i < c->n; i++) {
        c->count[i] = keyset_count(train, c->key[i]);
        c->recent[i] = keyset_count(recent, c->key[i]);
    }
}

enum status sequence_catalog(const struct sequence *q, const struct encoder *e, struct catalog *out,
                             struct errbuf *err)
{
    struct keyset all = {0}, train = {0}, recent = {0};
    struct catalog c = {.counts = q->counts};
    const int64_t from = recent_from(q);
    enum status st = ST_OK;
    for (size_t number = 0; st == ST_OK && number < q->events.users; number++) {
        struct user u;
        if (!user_of(q, number, &u))
            continue;
        for (size_t i = 0; st == ST_OK && i < u.n; i++) {
            uint64_t key = encoder_key_fitted(e, 0, event_at(q, &u, i)->item);
            st = keyset_add(&all, key, err);
            if (st == ST_OK && i < u.valid)
                st = keyset_add(&train, key, err);
            if (st == ST_OK && i < u.valid && event_at(q, &u, i)->time >= from)
                st = keyset_add(&recent, key, err);
        }
    }
    if (st == ST_OK)
        st = keyset_sorted(&all, 1, &c.key, &c.n, err);
    if (st == ST_OK) {
        take_counts(&train, &recent, &c);
        *out = c;
    }
    keyset_release(&all);
    keyset_release(&train);
    keyset_release(&recent);
    return st;
}
