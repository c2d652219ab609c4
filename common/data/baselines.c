/* baselines.c - see baselines.h.
 *
 * Popularity is counted and judged key by key. The running means need all records in the order of time: of the parts
 * together an order is made in memory (16 bytes a record, ROWS_MAX of them at most), which a window's log has already.
 * They are walked instant by instant: all records of one are scored first, then counted.
 */
#include "common/data/baselines.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/data/dataset_map.h"
#include "common/data/split.h"
#include "common/data/windows.h"
#include "common/feature/encode.h"
#include "common/feature/number.h"

#define STRENGTH 5.0
#define ROWS_MAX ((uint64_t)1 << 27)
#define SETS     (PARTS + 1)

static const char *const names[BASELINES] = {"popularity", "popularity_recent", "item_mean",
                                             "item_user_mean"};

/* Scores of judged records by one running mean. */
struct list {
    struct popularity_group *group; /* owned */
    size_t used, cap;
    double loss;
};

struct run {
    struct schema schema;
    struct dataset
        *set[SETS]; /* train, valid, test, others; NULL: not there. Owned but for borrowed */
    uint64_t before[SETS + 1];      /* records of the sets before */
    int judged;                     /* index of the set that is judged */
    bool borrowed;                  /* that set is the caller's */
    size_t item, user;              /* id slots; user SCHEMA_NONE: not known */
    struct popularity items, users; /* running, as of an instant */
    struct list list[2];            /* by item; by item and user */
};

struct row {
    uint64_t item, user;
    int64_t time;
    bool labelled, positive; /* by the first label */
};

const char *baseline_name(enum baseline_kind kind)
{
    return names[kind];
}

/* -- opening -- */

/* A user's key stands for one user. */
static size_t user_slot(const struct job *job, const struct schema *s)
{
    if (s->user == SCHEMA_NONE)
        return SCHEMA_NONE;
    for (size_t i = 0; i < job->data.fields_used; i++) {
        const struct job_field *f = &job->data.fields[i];
        if (f->type == FIELD_USER && (f->hash > 0 || f->min_count > 0))
            return SCHEMA_NONE;
    }
    return s->field[s->user].slot;
}

static void run_release(struct run *w)
{
    for (int i = 0; i < SETS; i++)
        if (!w->borrowed || i != w->judged)
            dataset_close(w->set[i]);
    popularity_release(&w->items);
    popularity_release(&w->users);
    for (int i = 0; i < 2; i++)
        free(w->list[i].group);
    schema_release(&w->schema);
}

static enum status open_set(const struct job *job, const char *dir, enum part p, struct run *w,
                            struct errbuf *err)
{
    enum status st = dataset_open(job, dir, p, &w->set[p], err);
    return st == ST_NOT_FOUND && p != PART_TRAIN && (int)p != w->judged ? ST_OK : st;
}

static enum status run_open(const struct job *job, const char *dir, int judged,
                            struct dataset *others, struct run *w, struct errbuf *err)
{
    memset(w, 0, sizeof *w);
    w->judged = judged;
    w->borrowed = others != NULL;
    w->set[PARTS] = others;
    if (job->data.records == JOB_SEQUENCES)
        return errbuf_set(err, ST_NOT_FOUND, "sequences have no labels; items are ranked instead");
    enum status st = schema_init(&w->schema, job, err);
    for (enum part p = PART_TRAIN; st == ST_OK && p < PARTS; p++)
        if (others == NULL || p != PART_TEST)
            st = open_set(job, dir, p, w, err);
    if (st == ST_OK)
        st = popularity_field(&w->schema, w->set[PART_TRAIN], &w->item, err);
    if (st == ST_OK && w->item == SCHEMA_NONE)
        st = errbuf_set(err, ST_NOT_FOUND, "no field gives each record one id to be popular");
    if (st != ST_OK)
        return st;
    w->user = user_slot(job, &w->schema);
    for (int i = 0; i < SETS; i++)
        w->before[i + 1] = w->before[i] + (w->set[i] != NULL ? dataset_rows(w->set[i]) : 0);
    return ST_OK;
}

static void name_field(const struct run *w, struct baselines *b)
{
    memset(b, 0, sizeof *b);
    snprintf(b->field, sizeof b->field, "%s", w->schema.field[w->schema.ids[w->item]].name);
}

/* -- running means -- */

static enum status look(const struct run *w, int set, uint64_t r, struct row *out,
                        struct errbuf *err)
{
    const struct cache_block *k;
    const size_t F = w->schema.ids_used;
    size_t i;
    enum status st = dataset_locate(w->set[set], r, &k, &i, err);
    if (st != ST_OK)
        return st;
    const size_t at = w->item, u = w->user == SCHEMA_NONE ? w->item : w->user;
    out->item = k->key[k->bag != NULL ? k->bag[i * F + at] : i * F + at];
    out->user = k->key[k->bag != NULL ? k->bag[i * F + u] : i * F + u];
    out->time = k->time != NULL ? k->time[i] : TIME_MISSING;
    const float label = k->label[i * w->set[set]->header.shape.labels];
    out->labelled = label >= 0;
    out->positive = label > 0;
    return ST_OK;
}

static double mean_of(const struct popularity *t, uint64_t key, double mean)
{
    return (keyset_count(&t->positive, key) + STRENGTH * mean) /
           (keyset_count(&t->all, key) + STRENGTH);
}

static void put_score(struct list *l, double p, bool positive)
{
    const double sure = p < 1e-6 ? 1e-6 : p > 1 - 1e-6 ? 1 - 1e-6 : p;
    mem_grow(&l->group, &l->cap, l->used + 1, sizeof *l->group);
    l->group[l->used++] = (struct popularity_group){p, positive, !positive};
    l->loss -= positive ? log(sure) : log1p(-sure);
}

static void score(struct run *w, const struct row *r)
{
    const double mean = w->items.records > 0 ? w->items.positives / w->items.records : .5;
    const double item = mean_of(&w->items, r->item, mean);
    put_score(&w->list[0], item, r->positive);
    if (w->user != SCHEMA_NONE)
        put_score(&w->list[1], item + mean_of(&w->users, r->user, mean) - mean, r->positive);
}

static enum status count_one(struct popularity *t, uint64_t key, bool positive, struct errbuf *err)
{
    enum status st = keyset_add(&t->all, key, err);
    if (st == ST_OK && positive)
        st = keyset_add(&t->positive, key, err);
    t->records++;
    t->positives += positive;
    return st;
}

static enum status count(struct run *w, const struct row *r, struct errbuf *err)
{
    if (r->time == TIME_MISSING || !r->labelled)
        return ST_OK;
    enum status st = count_one(&w->items, r->item, r->positive, err);
    if (st == ST_OK && w->user != SCHEMA_NONE)
        st = count_one(&w->users, r->user, r->positive, err);
    return st;
}

static int set_of(const struct run *w, uint64_t at)
{
    int set = 0;
    while (at >= w->before[set + 1])
        set++;
    return set;
}

/* Walk [begin, end) of the order (NULL: as the sets stand); both lie between two instants. */
static enum status walk(struct run *w, const uint64_t *order, uint64_t begin, uint64_t end,
                        struct errbuf *err)
{
    enum status st = ST_OK;
    for (uint64_t at = begin, upto = begin; st == ST_OK && at < end; at = upto) {
        int64_t instant = 0;
        for (uint64_t i = at; st == ST_OK && i < end; i++, upto = i) {
            const uint64_t n = order != NULL ? order[i] : i;
            const int set = set_of(w, n);
            struct row r;
            st = look(w, set, n - w->before[set], &r, err);
            if (st != ST_OK || (i > at && r.time != instant))
                break;
            instant = r.time;
            if (set == w->judged && r.labelled)
                score(w, &r);
        }
        for (uint64_t i = at; st == ST_OK && i < upto; i++) {
            const uint64_t n = order != NULL ? order[i] : i;
            const int set = set_of(w, n);
            struct row r;
            st = look(w, set, n - w->before[set], &r, err);
            if (st == ST_OK)
                st = count(w, &r, err);
        }
    }
    return st;
}

/* What the lists say; they are empty again. */
static void take_lists(struct run *w, struct baselines *b)
{
    for (int i = 0; i < 2; i++) {
        struct list *l = &w->list[i];
        if (l->used > 0)
            b->of[BASELINE_ITEM + i] = (struct baseline){.there = true,
                                                         .auc = popularity_auc(l->group, l->used),
                                                         .logloss = l->loss / (double)l->used};
        l->used = 0;
        l->loss = 0;
    }
}

/* -- of a part -- */

static enum status times_of(const struct run *w, int64_t **out, struct errbuf *err)
{
    const uint64_t n = w->before[SETS];
    int64_t *times = mem_array(n + 1, sizeof *times);
    for (uint64_t at = 0; at < n; at++) {
        const int set = set_of(w, at);
        struct row r;
        enum status st = look(w, set, at - w->before[set], &r, err);
        if (st != ST_OK) {
            free(times);
            return st;
        }
        times[at] = r.time;
    }
    *out = times;
    return ST_OK;
}

/* The time from which on the newest tenth of train is. */
static int64_t recent_from(const struct run *w, const int64_t *times, const uint64_t *order)
{
    uint64_t left = w->before[1] / 10 > 0 ? w->before[1] / 10 : 1;
    for (uint64_t i = w->before[SETS]; i-- > 0;)
        if (order[i] < w->before[1] && --left == 0)
            return times[order[i]];
    return INT64_MIN;
}

static enum status judge_popular(const struct run *w, int64_t from, struct baseline *out,
                                 struct errbuf *err)
{
    struct popularity train = {0}, part = {0};
    struct dataset *judged = w->set[w->judged];
    enum status st =
        popularity_add(&train, w->set[PART_TRAIN], w->item,
                       &(struct popularity_of){0, dataset_rows(w->set[PART_TRAIN]), from}, err);
    if (st == ST_OK)
        st = popularity_add(&part, judged, w->item,
                            &(struct popularity_of){0, dataset_rows(judged), INT64_MIN}, err);
    if (st == ST_OK)
        st = popularity_judge(&train, &part, out, err);
    popularity_release(&train);
    popularity_release(&part);
    return st;
}

static enum status judge_part(struct run *w, struct baselines *b, struct errbuf *err)
{
    int64_t *times = NULL;
    enum status st = judge_popular(w, INT64_MIN, &b->of[BASELINE_POPULARITY], err);
    if (st != ST_OK || w->schema.time == SCHEMA_NONE || w->before[SETS] > ROWS_MAX)
        return st;
    st = times_of(w, &times, err);
    if (st != ST_OK)
        return st;
    uint64_t *order = split_time_order(times, w->before[SETS]);
    st = judge_popular(w, recent_from(w, times, order), &b->of[BASELINE_RECENT], err);
    if (st == ST_OK)
        st = walk(w, order, 0, w->before[SETS], err);
    if (st == ST_OK)
        take_lists(w, b);
    free(order);
    free(times);
    return st;
}

enum status baselines_of(const struct job *job, const char *cache_dir, enum part part,
                         struct dataset *judged, struct baselines *out, struct errbuf *err)
{
    struct run w;
    struct baselines b;
    enum status st = run_open(job, cache_dir, judged != NULL ? PARTS : (int)part, judged, &w, err);
    if (st == ST_OK) {
        name_field(&w, &b);
        st = judge_part(&w, &b, err);
    }
    if (st == ST_OK)
        *out = b;
    run_release(&w);
    return st;
}

/* -- of windows -- */

/* all: of all windows before this one; last: of the one before, then of this one. */
static enum status judge_window(struct run *w, const struct windows *win, size_t k,
                                struct popularity *all, struct popularity *last,
                                struct baselines *b, struct errbuf *err)
{
    const struct popularity_of of = {win->first[k], win->first[k + 1], INT64_MIN};
    struct popularity now = {0};
    enum status st = popularity_add(&now, w->set[PART_TRAIN], w->item, &of, err);
    if (st == ST_OK)
        st = popularity_judge(all, &now, &b->of[BASELINE_POPULARITY], err);
    if (st == ST_OK)
        st = popularity_judge(last, &now, &b->of[BASELINE_RECENT], err);
    if (st == ST_OK)
        st = popularity_add(all, w->set[PART_TRAIN], w->item, &of, err);
    if (st == ST_OK)
        st = walk(w, NULL, of.first, of.end, err);
    if (st == ST_OK)
        take_lists(w, b);
    if (k == 0) /* the model isn't judged on it either */
        memset(b->of, 0, sizeof b->of);
    popularity_release(last);
    *last = now;
    return st;
}

enum status baselines_windows(const struct job *job, const char *cache_dir, struct baselines **out,
                              size_t *out_n, struct errbuf *err)
{
    struct run w;
    struct windows win = {0};
    struct popularity all = {0}, last = {0};
    struct baselines *b = NULL;
    enum status st = run_open(job, cache_dir, PART_TRAIN, NULL, &w, err);
    if (st == ST_OK)
        st = windows_find(w.set[PART_TRAIN], job->data.split.window, &win, err);
    if (st == ST_OK)
        b = mem_array(win.used + 1, sizeof *b);
    for (size_t k = 0; st == ST_OK && k < win.used; k++) {
        name_field(&w, &b[k]);
        st = judge_window(&w, &win, k, &all, &last, &b[k], err);
    }
    if (st == ST_OK) {
        *out = b;
        *out_n = win.used;
        b = NULL;
    }
    free(b);
    popularity_release(&all);
    popularity_release(&last);
    windows_release(&win);
    run_release(&w);
    return st;
}

struct json *baselines_json(const struct baselines *b)
{
    struct json *named = json_object();
    for (int i = 0; i < BASELINES; i++) {
        if (!b->of[i].there)
            continue;
        struct json *o = json_object();
        json_set_f64(o, "auc", b->of[i].auc);
        json_set_f64(o, "logloss", b->of[i].logloss);
        json_set_str(o, "field", b->field);
        json_set(named, names[i], o);
    }
    return named;
}
