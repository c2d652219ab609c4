/* penstock_replica.c - see penstock_replica.h: the replica behind a C interface that stays.
 *
 * A call takes a reader's seat, enters, leaves and gives it back: a compare-and-swap and two stores, so that callers need
 * no handle a thread. Models for scoring are built on demand and kept in a small list, one a call at a time.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PENSTOCK_EXPORT __attribute__((visibility("default")))
#include "common/base/mem.h"
#include "ps/serve/client/penstock_replica.h"
#include "ps/serve/replica.h"
#include "ps/serve/score.h"

#define VERSIONS_SEEN 128u
#define SCORERS_KEPT  64u

struct penstock_replica {
    struct replica *replica;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* -- under lock -- */
    uint64_t turns; /* of what is shown */
    struct score *idle[SCORERS_KEPT];
    size_t idle_used;
};

static int result_of(enum status st)
{
    switch (st) {
    case ST_OK: return PENSTOCK_OK;
    case ST_USAGE: return PENSTOCK_USAGE;
    case ST_BAD_DATA: return PENSTOCK_BAD_DATA;
    case ST_NOT_FOUND: return PENSTOCK_NOT_FOUND;
    case ST_TIMEOUT: return PENSTOCK_TIMEOUT;
    default: return PENSTOCK_FAILED;
    }
}

static int tell(enum status st, const struct errbuf *err, char *why, size_t why_cap)
{
    if (st != ST_OK && why != NULL && why_cap > 0) {
        snprintf(why, why_cap, "%s", err->text);
    }
    return result_of(st);
}

static void on_shown(void *ctx)
{
    struct penstock_replica *r = ctx;
    pthread_mutex_lock(&r->lock);
    r->turns++;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

int penstock_replica_open(const char *where, int how, double wait_s, struct penstock_replica **out,
                          char *why, size_t why_cap)
{
    struct penstock_replica *r = mem_zalloc(sizeof(*r));
    struct errbuf err = ERRBUF_INIT;
    pthread_condattr_t attr;
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &attr);
    pthread_condattr_destroy(&attr);
    struct replica_conf conf = {.quiet = true, .shown = on_shown, .shown_ctx = r};
    conf.wait_us = wait_s > 0 && wait_s < 1e9 ? (uint64_t)(wait_s * 1e6) : 0;
    if (how == PENSTOCK_FOLLOW) {
        conf.follow = where;
    } else {
        conf.snapshot = where;
    }
    enum status st = replica_open(&conf, &r->replica, &err);
    if (st != ST_OK) {
        penstock_replica_close(r);
        return tell(st, &err, why, why_cap);
    }
    *out = r;
    return PENSTOCK_OK;
}

void penstock_replica_close(struct penstock_replica *r)
{
    if (r == NULL) {
        return;
    }
    for (size_t i = 0; i < r->idle_used; i++) {
        score_free(r->idle[i]);
    }
    replica_close(r->replica);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* -- versions -- */

static struct penstock_version spell(const struct version *v)
{
    return (struct penstock_version){.cut = version_cut(v),
                                     .incarnation = version_incarnation(v),
                                     .wall_us = version_wall_us(v),
                                     .shown_us = version_shown_us(v),
                                     .step = version_step(v),
                                     .records = version_records(v),
                                     .shown = 1};
}

/* Enters; NULL: no seat. The version may be NULL. */
static struct replica_reader *enter(struct penstock_replica *r, const struct version **out)
{
    struct replica_reader *rd = replica_join(r->replica);
    if (rd != NULL) {
        *out = replica_enter(rd, 0);
    }
    return rd;
}

static void leave(struct replica_reader *rd)
{
    replica_leave(rd);
    replica_part(rd);
}

int penstock_replica_version(struct penstock_replica *r, struct penstock_version *out)
{
    const struct version *v = NULL;
    struct replica_reader *rd = enter(r, &v);
    if (rd == NULL) {
        return PENSTOCK_FAILED;
    }
    if (v != NULL) {
        *out = spell(v);
    }
    leave(rd);
    return v != NULL ? PENSTOCK_OK : PENSTOCK_NOT_FOUND;
}

size_t penstock_replica_versions(struct penstock_replica *r, struct penstock_version *out,
                                 size_t max)
{
    struct replica_version list[VERSIONS_SEEN];
    const size_t n = replica_list(r->replica, list, max < VERSIONS_SEEN ? max : VERSIONS_SEEN);
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct penstock_version){.cut = list[i].k,
                                           .incarnation = list[i].e,
                                           .wall_us = list[i].wall_us,
                                           .shown_us = list[i].shown_us,
                                           .shown = list[i].shown,
                                           .pinned = list[i].pinned,
                                           .refused = list[i].refused};
    }
    return n;
}

int penstock_replica_wait(struct penstock_replica *r, uint64_t cut, double wait_s,
                          struct penstock_version *out)
{
    struct timespec until;
    const double s = wait_s > 0 && wait_s < 1e9 ? wait_s : 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)s;
    until.tv_nsec += (long)((s - floor(s)) * 1e9);
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    for (bool late = false;;) {
        pthread_mutex_lock(&r->lock);
        const uint64_t turns = r->turns;
        pthread_mutex_unlock(&r->lock);
        struct penstock_version v;
        const int got = penstock_replica_version(r, &v);
        if (got == PENSTOCK_OK && v.cut != cut) {
            *out = v;
            return PENSTOCK_OK;
        }
        if (late) {
            return PENSTOCK_TIMEOUT;
        }
        pthread_mutex_lock(&r->lock);
        while (!late && r->turns == turns) {
            late = pthread_cond_timedwait(&r->changed, &r->lock, &until) != 0;
        }
        pthread_mutex_unlock(&r->lock);
    }
}

int penstock_replica_pin(struct penstock_replica *r, uint64_t cut, char *why, size_t why_cap)
{
    struct errbuf err = ERRBUF_INIT;
    if (cut == 0) {
        replica_unpin(r->replica);
        return PENSTOCK_OK;
    }
    return tell(replica_pin(r->replica, cut, &err), &err, why, why_cap);
}

/* -- rows -- */

size_t penstock_replica_tables(const struct penstock_replica *r)
{
    return replica_model(r->replica)->plan.tables_used;
}

int penstock_replica_table(struct penstock_replica *r, size_t i, struct penstock_table *out,
                           uint64_t *cut)
{
    const struct plan *plan = &replica_model(r->replica)->plan;
    const struct version *v = NULL;
    if (i >= plan->tables_used) {
        return PENSTOCK_NOT_FOUND;
    }
    struct replica_reader *rd = enter(r, &v);
    if (rd == NULL) {
        return PENSTOCK_FAILED;
    }
    const struct plan_table *t = &plan->tables[i];
    *out =
        (struct penstock_table){.name = t->name, .dim = t->dim, .sparse = t->kind == PLAN_SPARSE};
    out->rows = v != NULL ? version_table_rows(v, (uint32_t)i) : 0;
    out->hash = v != NULL ? version_table_hash(v, (uint32_t)i) : 0;
    if (cut != NULL) {
        *cut = v != NULL ? version_cut(v) : 0;
    }
    leave(rd);
    return PENSTOCK_OK;
}

int penstock_replica_key(const struct penstock_replica *r, const char *field, const char *text,
                         size_t n, uint64_t *out)
{
    const struct encoder *e = replica_model(r->replica)->encoder;
    for (size_t i = 0; i < e->schema.ids_used; i++) {
        if (strcmp(e->schema.field[e->schema.ids[i]].name, field) == 0) {
            encoder_trim(&text, &n);
            const uint64_t raw = schema_missing(&e->schema, text, n) ? encoder_key_missing(e, i)
                                                                     : encoder_key(e, i, text, n);
            *out = encoder_key_fitted(e, i, raw);
            return PENSTOCK_OK;
        }
    }
    return PENSTOCK_NOT_FOUND;
}

int penstock_replica_lookup(struct penstock_replica *r, const char *table, const uint64_t *keys,
                            size_t n, float *out, size_t *unknown, uint64_t *cut)
{
    const struct plan *plan = &replica_model(r->replica)->plan;
    const struct version *v = NULL;
    const int t = plan_find(plan, table);
    if (t < 0 || plan->tables[t].kind != PLAN_SPARSE) {
        return PENSTOCK_NOT_FOUND;
    }
    struct replica_reader *rd = enter(r, &v);
    if (rd == NULL) {
        return PENSTOCK_FAILED;
    }
    if (v != NULL) {
        version_rows(v, (uint32_t)t, keys, n, out, unknown);
        if (cut != NULL) {
            *cut = version_cut(v);
        }
    }
    leave(rd);
    return v != NULL ? PENSTOCK_OK : PENSTOCK_NOT_FOUND;
}

static const struct plan_tensor *find_tensor(const struct plan *plan, const char *name,
                                             enum plan_kind *out_kind)
{
    for (size_t t = 0; t < plan->tables_used; t++) {
        for (size_t i = 0; i < plan->tables[t].tensors_used; i++) {
            if (strcmp(plan->tables[t].tensors[i].name, name) == 0) {
                *out_kind = plan->tables[t].kind;
                return &plan->tables[t].tensors[i];
            }
        }
    }
    return NULL;
}

size_t penstock_replica_dense(struct penstock_replica *r, const char *tensor, float *out,
                              size_t max)
{
    enum plan_kind kind = PLAN_DENSE;
    const struct version *v = NULL;
    const struct plan_tensor *x = find_tensor(&replica_model(r->replica)->plan, tensor, &kind);
    struct replica_reader *rd = x != NULL ? enter(r, &v) : NULL;
    if (rd == NULL) {
        return 0;
    }
    const size_t n = (size_t)(x->shape[0] * (x->dims == 2 ? x->shape[1] : 1));
    if (v != NULL) {
        const float *flat = kind == PLAN_DENSE ? version_dense(v) : version_stat(v);
        if (max > 0) {
            memcpy(out, flat + x->block_first * DENSE_BLOCK, (n < max ? n : max) * sizeof(*out));
        }
    }
    leave(rd);
    return v != NULL ? n : 0;
}

/* -- scores -- */

static struct score *take_score(struct penstock_replica *r, struct errbuf *err)
{
    struct score *s = NULL;
    pthread_mutex_lock(&r->lock);
    if (r->idle_used > 0) {
        s = r->idle[--r->idle_used];
    }
    pthread_mutex_unlock(&r->lock);
    if (s == NULL && score_new(replica_model(r->replica), &s, err) != ST_OK) {
        return NULL;
    }
    return s;
}

static void give_score(struct penstock_replica *r, struct score *s)
{
    pthread_mutex_lock(&r->lock);
    if (r->idle_used < SCORERS_KEPT) {
        r->idle[r->idle_used++] = s;
        s = NULL;
    }
    pthread_mutex_unlock(&r->lock);
    score_free(s);
}

int penstock_replica_score(struct penstock_replica *r, const char *const *fields, size_t fields_n,
                           const char *const *cells, size_t n, float *out, uint64_t *cut, char *why,
                           size_t why_cap)
{
    struct errbuf err = ERRBUF_INIT;
    const struct version *v = NULL;
    struct score *s = take_score(r, &err);
    if (s == NULL) {
        return tell(ST_USAGE, &err, why, why_cap);
    }
    enum status st = ST_NOT_FOUND;
    struct replica_reader *rd = enter(r, &v);
    if (v != NULL) {
        st = score_records(s, v, fields, fields_n, cells, n, out, &err);
        if (cut != NULL) {
            *cut = version_cut(v);
        }
    } else {
        (void)errbuf_set(&err, st, "no version is shown yet");
    }
    if (rd != NULL) {
        leave(rd);
    }
    give_score(r, s);
    return tell(st, &err, why, why_cap);
}

void penstock_replica_counts(struct penstock_replica *r, struct penstock_counts *out)
{
    struct replica_stats s;
    replica_stats(r->replica, &s);
    *out = (struct penstock_counts){.shown = s.shown_total,
                                    .mismatched = s.mismatch_total,
                                    .refused = s.refused_total,
                                    .damaged = s.damaged_total,
                                    .resynced = s.resync_total,
                                    .bytes = s.bytes,
                                    .fetched_bytes = s.fetched_bytes,
                                    .retried = s.retried_total};
}
