/* stage.c - see stage.h.
 *
 * Sparse rows: of each row of a file its value so far (this stage's layer, else the newest version) is looked up. Equal
 * bytes: nothing happens. Else it goes into the layer, and the table's hash loses the old row's and gains the new
 * one's. Dense tensors are a flat copy, into which blocks are written; their hash is summed whole at the end.
 */
#include "ps/serve/stage.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/snapshot/cut_hash.h"

struct stage {
    struct versions *vs;
    const struct manifest *m;  /* borrowed */
    const struct plan *plan;   /* borrowed */
    const struct version *tip; /* NULL: this becomes the base */
    struct layer *layer;       /* owned */
    struct version *v;         /* owned; rows and hash grow here */
    bool anew, extend;
    struct rows *keys[PLAN_TABLES_MAX]; /* anew, with a tip: what the chain has; owned */
    uint8_t *have[PLAN_TABLES_MAX];     /* dense kinds: (blocks) in a file, or in the tip; owned */
    uint64_t seed[PLAN_TABLES_MAX];
};

static bool same_file(const struct manifest_file *a, const struct manifest_file *b)
{
    return a->xxh3 == b->xxh3 && a->bytes == b->bytes && strcmp(a->name, b->name) == 0;
}

static bool extends(const struct manifest *m, const struct version *tip)
{
    if (tip == NULL || m->files_used < tip->files_used) {
        return false;
    }
    for (size_t i = 0; i < tip->files_used; i++) {
        if (!same_file(&m->files[i], &tip->files[i])) {
            return false;
        }
    }
    return true;
}

static enum status check_tables(const struct manifest *m, const struct plan *plan,
                                struct errbuf *err)
{
    bool same = m->tables == plan->tables_used;
    for (uint32_t t = 0; same && t < m->tables; t++) {
        same = strcmp(m->table_name[t], plan->tables[t].name) == 0;
    }
    return same ? ST_OK
                : errbuf_set(err, ST_BAD_DATA,
                             "cut %" PRIu64 ": its tables are not those of the plan", m->k);
}

static float **flat_of(struct version *v, enum plan_kind kind)
{
    return kind == PLAN_DENSE ? &v->dense : &v->stat;
}

static void start_dense(struct stage *s, size_t t)
{
    const struct plan_table *pt = &s->plan->tables[t];
    float **flat = flat_of(s->v, pt->kind);
    *flat = mem_array(pt->blocks * DENSE_BLOCK, sizeof(**flat));
    s->have[t] = mem_array(pt->blocks, 1);
    if (s->tip != NULL && s->extend) {
        const float *old = pt->kind == PLAN_DENSE ? s->tip->dense : s->tip->stat;
        memcpy(*flat, old, pt->blocks * DENSE_BLOCK * sizeof(**flat));
        memset(s->have[t], 1, pt->blocks);
    }
}

static struct version *start_version(const struct stage *s)
{
    struct version *v = mem_zalloc(sizeof(*v));
    v->plan = s->plan;
    v->k = s->m->k;
    v->e = s->m->e;
    v->wall_us = s->m->wall_us;
    v->step = s->m->step;
    v->records = s->m->applied;
    v->files = mem_array(s->m->files_used, sizeof(*v->files));
    v->files_used = s->m->files_used;
    memcpy(v->files, s->m->files, s->m->files_used * sizeof(*v->files));
    if (s->tip != NULL) {
        memcpy(v->rows, s->tip->rows, sizeof(v->rows));
        memcpy(v->hash, s->tip->hash, sizeof(v->hash));
    }
    return v;
}

enum status stage_new(struct versions *vs, const struct manifest *m, bool anew, struct stage **out,
                      struct errbuf *err)
{
    const struct plan *plan = versions_plan(vs);
    enum status st = check_tables(m, plan, err);
    if (st != ST_OK) {
        return st;
    }
    struct stage *s = mem_zalloc(sizeof(*s));
    s->vs = vs;
    s->m = m;
    s->plan = plan;
    s->tip = versions_tip(vs);
    s->extend = !anew && extends(m, s->tip);
    s->anew = anew && s->tip != NULL;
    s->v = start_version(s);
    s->layer = layer_new(plan, m->rows, s->tip == NULL, versions_epoch(vs));
    atomic_store(&s->layer->below, NULL);
    for (size_t t = 0; t < plan->tables_used; t++) {
        s->seed[t] = cut_table_seed(plan->tables[t].name);
        if (plan->tables[t].kind != PLAN_SPARSE) {
            start_dense(s, t);
        } else if (s->anew) {
            s->keys[t] = rows_new(0, m->rows[t], true, versions_epoch(vs));
        }
    }
    *out = s;
    return ST_OK;
}

void stage_free(struct stage *s)
{
    if (s == NULL) {
        return;
    }
    for (size_t t = 0; t < PLAN_TABLES_MAX; t++) {
        rows_free(s->keys[t]);
        free(s->have[t]);
    }
    layer_free(s->layer);
    version_free(s->v);
    free(s);
}

size_t stage_first(const struct stage *s)
{
    return s->extend ? s->tip->files_used : 0;
}

/* -- rows -- */

static uint64_t hash_row(const struct stage *s, uint32_t t, uint64_t key, const void *w)
{
    return cut_weights_hash(s->seed[t], key, w, 4 * (size_t)s->plan->tables[t].dim);
}

/* The value of a key so far, or NULL. */
static const float *value_of(const struct stage *s, uint32_t t, uint64_t key, uint64_t h)
{
    const float *w = NULL;
    const enum rows_found mine = rows_find(s->layer->rows[t], key, h, &w);
    if (mine != ROWS_ABSENT || s->tip == NULL) {
        return w;
    }
    (void)layer_find(atomic_load(&s->tip->top), t, key, h, &w);
    return w;
}

static enum status put_row(struct stage *s, uint32_t t, uint64_t key, uint64_t h, const uint8_t *w,
                           struct errbuf *err)
{
    const size_t bytes = 4 * (size_t)s->plan->tables[t].dim;
    const float *old = value_of(s, t, key, h);
    if (s->anew) {
        enum status st = rows_put(s->keys[t], key, NULL, err);
        if (st != ST_OK) {
            return st;
        }
    }
    if (old != NULL && memcmp(old, w, bytes) == 0) {
        return ST_OK;
    }
    const uint64_t out = old != NULL ? hash_row(s, t, key, old) : 0;
    enum status st = rows_put(s->layer->rows[t], key, w, err);
    if (st == ST_OK) {
        s->v->hash[t] += hash_row(s, t, key, w) - out;
        s->v->rows[t] += old == NULL;
    }
    return st;
}

static enum status remove_row(struct stage *s, uint32_t t, uint64_t key, struct errbuf *err)
{
    const float *old = value_of(s, t, key, hash_u64(key));
    if (old == NULL) {
        return ST_OK;
    }
    const uint64_t out = hash_row(s, t, key, old);
    enum status st = rows_put_tomb(s->layer->rows[t], key, err);
    if (st == ST_OK) {
        s->v->hash[t] -= out;
        s->v->rows[t]--;
    }
    return st;
}

static enum status put_group(struct stage *s, uint32_t t, const struct part_table *from,
                             uint64_t first, size_t n, struct errbuf *err)
{
    uint64_t keys[LAYER_GROUP], h[LAYER_GROUP] = {0};
    for (size_t i = 0; i < n; i++) {
        keys[i] = part_key(from, first + i);
        h[i] = hash_u64(keys[i]);
    }
    layer_prefetch(s->layer, t, h, n);
    if (s->tip != NULL) {
        layer_prefetch(atomic_load(&s->tip->top), t, h, n);
    }
    for (size_t i = 0; i < n; i++) {
        enum status st =
            put_row(s, t, keys[i], h[i], from->weights + (first + i) * 4 * from->dim, err);
        if (st != ST_OK) {
            return st;
        }
    }
    return ST_OK;
}

static enum status take_sparse(struct stage *s, uint32_t t, const struct part_table *from,
                               struct errbuf *err)
{
    for (uint64_t i = 0; i < from->tombs; i++) {
        const uint64_t key = part_tomb(from, i);
        enum status st = remove_row(s, t, key, err);
        if (st != ST_OK) {
            return st;
        }
        if (s->anew) {
            rows_remove(s->keys[t], key);
        }
    }
    for (uint64_t at = 0; at < from->n; at += LAYER_GROUP) {
        const uint64_t left = from->n - at;
        enum status st =
            put_group(s, t, from, at, left < LAYER_GROUP ? (size_t)left : LAYER_GROUP, err);
        if (st != ST_OK) {
            return st;
        }
    }
    return ST_OK;
}

static void take_dense(struct stage *s, uint32_t t, const struct part_table *from)
{
    float *flat = *flat_of(s->v, s->plan->tables[t].kind);
    for (uint64_t i = 0; i < from->n; i++) {
        const struct part_row *row = &from->block[i].row;
        char *to = (char *)(flat + from->block[i].key * DENSE_BLOCK);
        memcpy(to, row->weights, row->weight_bytes);
        memset(to + row->weight_bytes, 0, DENSE_BLOCK * sizeof(*flat) - row->weight_bytes);
        s->have[t][from->block[i].key] = 1;
    }
}

enum status stage_part(struct stage *s, const struct part *p, struct errbuf *err)
{
    assert(p->tables == s->plan->tables_used);
    for (uint32_t t = 0; t < p->tables; t++) {
        if (s->plan->tables[t].kind != PLAN_SPARSE) {
            take_dense(s, t, &p->table[t]);
            continue;
        }
        enum status st = take_sparse(s, t, &p->table[t], err);
        if (st != ST_OK) {
            return errbuf_wrap(err, st, "%s: table %s: ", p->name, s->plan->tables[t].name);
        }
    }
    return ST_OK;
}

/* -- the end: what is missing, what is wrong -- */

/* Of one layer of the tip: the keys that the chain has not. */
static enum status remove_lacking(struct stage *s, uint32_t t, const struct rows *of,
                                  struct errbuf *err)
{
    struct rows_entry entry[LAYER_GROUP];
    uint64_t cursor = 0;
    size_t n;
    while ((n = rows_scan(of, &cursor, LAYER_GROUP, entry)) > 0) {
        for (size_t i = 0; i < n; i++) {
            const float *w = NULL;
            const uint64_t key = entry[i].key;
            if (entry[i].w == NULL || rows_find(s->keys[t], key, hash_u64(key), &w) == ROWS_LIVE) {
                continue;
            }
            enum status st = remove_row(s, t, key, err);
            if (st != ST_OK) {
                return st;
            }
        }
    }
    return ST_OK;
}

/* The hash from the rows as they stand, not as it was carried along. */
static void sum_anew(struct stage *s, uint32_t t)
{
    struct rows_entry entry[LAYER_GROUP];
    uint64_t cursor = 0;
    size_t n;
    s->v->hash[t] = s->v->rows[t] = 0;
    while ((n = rows_scan(s->keys[t], &cursor, LAYER_GROUP, entry)) > 0) {
        for (size_t i = 0; i < n; i++) {
            const float *w = value_of(s, t, entry[i].key, hash_u64(entry[i].key));
            if (w != NULL) {
                s->v->hash[t] += hash_row(s, t, entry[i].key, w);
                s->v->rows[t]++;
            }
        }
    }
}

static enum status finish_anew(struct stage *s, uint32_t t, struct errbuf *err)
{
    for (const struct layer *l = atomic_load(&s->tip->top); l != NULL; l = atomic_load(&l->below)) {
        enum status st = remove_lacking(s, t, l->rows[t], err);
        if (st != ST_OK) {
            return st;
        }
    }
    sum_anew(s, t);
    return ST_OK;
}

static enum status finish_dense(struct stage *s, uint32_t t, struct errbuf *err)
{
    const struct plan_table *pt = &s->plan->tables[t];
    const float *flat = *flat_of(s->v, pt->kind);
    s->v->hash[t] = 0;
    s->v->rows[t] = pt->blocks;
    for (uint64_t b = 0; b < pt->blocks; b++) {
        if (s->have[t][b] == 0) {
            return errbuf_set(err, ST_BAD_DATA, "block %" PRIu64 " of table %s is in no file", b,
                              pt->name);
        }
        s->v->hash[t] += hash_row(s, t, b, flat + b * DENSE_BLOCK);
    }
    return ST_OK;
}

static enum status prove(const struct stage *s, uint32_t t, struct errbuf *err)
{
    const char *name = s->plan->tables[t].name;
    if (s->v->rows[t] != s->m->rows[t]) {
        const enum status st = s->tip != NULL && !s->anew && !s->extend ? ST_AGAIN : ST_BAD_DATA;
        return errbuf_set(err, st, "table %s: %" PRIu64 " rows, the manifest says %" PRIu64, name,
                          s->v->rows[t], s->m->rows[t]);
    }
    if (s->v->hash[t] != s->m->weights[t]) {
        return errbuf_set(err, ST_BAD_DATA,
                          "table %s: the hash of its weights is %016" PRIx64
                          ", the manifest says %016" PRIx64,
                          name, s->v->hash[t], s->m->weights[t]);
    }
    return ST_OK;
}

/* All exponent bits set: not a number, or infinite. */
static bool finite_row(const float *w, size_t n)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, w + i, 4);
        bad |= (uint32_t)((bits & 0x7f800000u) == 0x7f800000u);
    }
    return bad == 0;
}

static enum status refuse(const struct stage *s, uint32_t t, uint64_t key, struct errbuf *err)
{
    return errbuf_set(err, ST_REFUSED,
                      "cut %" PRIu64 " is refused: row %" PRIu64
                      " of table %s has a weight that is not finite",
                      s->m->k, key, s->plan->tables[t].name);
}

static enum status check_finite(const struct stage *s, uint32_t t, struct errbuf *err)
{
    const struct plan_table *pt = &s->plan->tables[t];
    if (pt->kind != PLAN_SPARSE) {
        const float *flat = *flat_of(s->v, pt->kind);
        for (uint64_t b = 0; b < pt->blocks; b++) {
            if (!finite_row(flat + b * DENSE_BLOCK, DENSE_BLOCK)) {
                return refuse(s, t, b, err);
            }
        }
        return ST_OK;
    }
    struct rows_entry entry[LAYER_GROUP];
    uint64_t cursor = 0;
    size_t n;
    while ((n = rows_scan(s->layer->rows[t], &cursor, LAYER_GROUP, entry)) > 0) {
        for (size_t i = 0; i < n; i++) {
            if (entry[i].w != NULL && !finite_row(entry[i].w, pt->dim)) {
                return refuse(s, t, entry[i].key, err);
            }
        }
    }
    return ST_OK;
}

enum status stage_prove(struct stage *s, struct errbuf *err)
{
    enum status st = ST_OK;
    for (uint32_t t = 0; st == ST_OK && t < s->plan->tables_used; t++) {
        if (s->plan->tables[t].kind != PLAN_SPARSE) {
            st = finish_dense(s, t, err);
        } else if (s->anew) {
            st = finish_anew(s, t, err);
        }
        if (st == ST_OK) {
            st = prove(s, t, err);
        }
    }
    for (uint32_t t = 0; st == ST_OK && t < s->plan->tables_used; t++) {
        st = check_finite(s, t, err);
    }
    return st;
}

enum status stage_commit(struct stage *s, uint64_t now_wall_us, struct errbuf *err)
{
    s->v->shown_us = now_wall_us;
    enum status st = versions_add(s->vs, s->v, s->layer, err);
    if (st == ST_OK) {
        s->v = NULL;
        s->layer = NULL;
    }
    return st;
}
