/* versions.c - see versions.h.
 *
 * Layers stand in one list, the base first. A version names its topmost layer, so a dropped version leaves a layer that
 * no version ends at any more. Such a layer L and the one above it, U, are then seen only together: everyone who
 * looks for a key of U finds it there and never looks at L. So U may be written into L in place while readers go
 * on, whether L is the base or an overlay (of a pinned version's list); when all of U is in L, whoever pointed to U
 * points to L, and U is freed once its readers have left. Overlays never add up: there are at most as many as versions.
 */
#include "ps/serve/versions.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define FOLD_GROUP  64u
#define FREE_CHUNKS 4u /* of 2 MiB: what one slice gives back */

struct dying {
    struct version *v; /* owned */
    uint64_t stamp;
};

struct leaving {         /* a layer whose rows are in the one below */
    struct layer *layer; /* owned */
    uint64_t stamp;
};

struct fold {
    bool on;
    size_t into; /* index of L; U is behind it */
    uint32_t table;
    uint64_t cursor;
};

struct versions {
    /* -- set once -- */
    const struct plan *plan;
    uint32_t keep;
    struct epoch epoch;
    /* -- readers load, the owner stores -- */
    _Atomic(struct version *) shown;
    _Atomic(struct version *) slot[VERSIONS_MAX];
    /* -- set by versions_add, the staging thread's; so it need not hold the lock to read it -- */
    struct version *tip; /* borrowed: the last of kept */
    /* -- the owner only -- */
    struct version *kept[VERSIONS_MAX]; /* owned; oldest first */
    size_t kept_used;
    uint64_t pinned;                 /* k; 0: the newest is shown */
    struct layer *layer[LAYERS_MAX]; /* owned; the base first */
    size_t layers;
    struct dying dying[LAYERS_MAX];
    size_t dying_used;
    struct leaving leaving[LAYERS_MAX];
    size_t leaving_used;
    struct fold fold;
    uint64_t refused[REFUSED_MAX]; /* a ring */
    size_t refused_used;
};

/* -- layers -- */

struct layer *layer_new(const struct plan *plan, const uint64_t *about, bool room,
                        struct epoch *epoch)
{
    struct layer *l = mem_zalloc(sizeof(*l));
    for (size_t t = 0; t < plan->tables_used && plan->tables[t].kind == PLAN_SPARSE; t++) {
        l->rows[t] = rows_new(plan->tables[t].dim, about[t], room, epoch);
    }
    return l;
}

void layer_free(struct layer *l)
{
    for (size_t t = 0; l != NULL && t < PLAN_TABLES_MAX; t++) {
        rows_free(l->rows[t]);
    }
    free(l);
}

/* True when nothing of it is left. */
static bool layer_free_some(struct layer *l, size_t chunks)
{
    for (size_t t = 0; t < PLAN_TABLES_MAX; t++) {
        if (l->rows[t] == NULL) {
            continue;
        }
        if (!rows_free_some(l->rows[t], chunks)) {
            return false;
        }
        l->rows[t] = NULL;
    }
    free(l);
    return true;
}

static uint64_t layer_bytes(const struct layer *l)
{
    uint64_t bytes = sizeof(*l);
    for (size_t t = 0; t < PLAN_TABLES_MAX; t++) {
        bytes += l->rows[t] != NULL ? rows_bytes(l->rows[t]) : 0;
    }
    return bytes;
}

/* -- versions -- */

struct versions *versions_new(const struct plan *plan, uint32_t keep)
{
    struct versions *vs = mem_aligned(64, (sizeof(*vs) + 63) & ~(size_t)63);
    assert(keep >= 1 && keep <= VERSIONS_MAX - 2);
    vs->plan = plan;
    vs->keep = keep;
    epoch_init(&vs->epoch);
    return vs;
}

void versions_free(struct versions *vs)
{
    if (vs == NULL) {
        return;
    }
    for (size_t i = 0; i < vs->kept_used; i++) {
        version_free(vs->kept[i]);
    }
    for (size_t i = 0; i < vs->dying_used; i++) {
        version_free(vs->dying[i].v);
    }
    for (size_t i = 0; i < vs->leaving_used; i++) {
        layer_free(vs->leaving[i].layer);
    }
    for (size_t i = 0; i < vs->layers; i++) {
        layer_free(vs->layer[i]);
    }
    free(vs);
}

struct epoch *versions_epoch(struct versions *vs)
{
    return &vs->epoch;
}

const struct plan *versions_plan(const struct versions *vs)
{
    return vs->plan;
}

const struct version *versions_shown(struct versions *vs)
{
    return atomic_load(&vs->shown);
}

const struct version *versions_get(struct versions *vs, uint64_t k)
{
    for (size_t i = 0; i < VERSIONS_MAX; i++) {
        const struct version *v = atomic_load(&vs->slot[i]);
        if (v != NULL && v->k == k) {
            return v;
        }
    }
    return NULL;
}

const struct version *versions_tip(const struct versions *vs)
{
    return vs->tip;
}

static struct version *find_kept(const struct versions *vs, uint64_t k)
{
    for (size_t i = 0; i < vs->kept_used; i++) {
        if (vs->kept[i]->k == k) {
            return vs->kept[i];
        }
    }
    return NULL;
}

static void drop(struct versions *vs, size_t at)
{
    struct version *v = vs->kept[at];
    memmove(vs->kept + at, vs->kept + at + 1, (vs->kept_used - at - 1) * sizeof(struct version *));
    vs->kept_used--;
    for (size_t i = 0; i < VERSIONS_MAX; i++) {
        if (atomic_load(&vs->slot[i]) == v) {
            atomic_store(&vs->slot[i], NULL);
        }
    }
    vs->dying[vs->dying_used++] = (struct dying){v, epoch_retire(&vs->epoch)};
}

/* Show what is to be shown, then let go of what is beyond keep. The newest are behind, so the first that is neither
 * shown nor among them goes, until there are few enough. */
static void settle(struct versions *vs)
{
    struct version *v = vs->pinned != 0 ? find_kept(vs, vs->pinned) : vs->kept[vs->kept_used - 1];
    if (atomic_load(&vs->shown) != v) {
        atomic_store(&vs->shown, v);
    }
    for (size_t i = 0; i < vs->kept_used && vs->kept_used - i > vs->keep;) {
        if (vs->kept[i] == v) {
            i++;
        } else {
            drop(vs, i);
        }
    }
}

enum status versions_add(struct versions *vs, struct version *v, struct layer *layer,
                         struct errbuf *err)
{
    if (vs->layers == LAYERS_MAX || vs->dying_used + 2 > LAYERS_MAX) {
        return errbuf_set(err, ST_AGAIN, "%zu versions are still being read", vs->dying_used);
    }
    const struct version *tip = versions_tip(vs);
    atomic_store(&layer->below, tip != NULL ? atomic_load(&tip->top) : NULL);
    atomic_store(&v->top, layer);
    vs->layer[vs->layers++] = layer;
    vs->kept[vs->kept_used++] = v;
    vs->tip = v;
    size_t free_slot = 0;
    while (atomic_load(&vs->slot[free_slot]) != NULL) {
        free_slot++;
    }
    atomic_store(&vs->slot[free_slot], v);
    settle(vs);
    return ST_OK;
}

void versions_refuse(struct versions *vs, uint64_t k)
{
    if (!versions_refused(vs, k)) {
        vs->refused[vs->refused_used++ % REFUSED_MAX] = k;
    }
}

bool versions_refused(const struct versions *vs, uint64_t k)
{
    for (size_t i = 0; i < REFUSED_MAX && i < vs->refused_used; i++) {
        if (vs->refused[i] == k) {
            return true;
        }
    }
    return false;
}

enum status versions_pin(struct versions *vs, uint64_t k, struct errbuf *err)
{
    if (versions_refused(vs, k)) {
        return errbuf_set(err, ST_REFUSED,
                          "cut %" PRIu64 " was refused: its weights are not finite", k);
    }
    if (find_kept(vs, k) == NULL) {
        return errbuf_set(err, ST_NOT_FOUND, "cut %" PRIu64 " is not kept here", k);
    }
    vs->pinned = k;
    settle(vs);
    return ST_OK;
}

void versions_unpin(struct versions *vs)
{
    vs->pinned = 0;
    if (vs->kept_used > 0) {
        settle(vs);
    }
}

enum status versions_rollback(struct versions *vs, uint64_t *out_k, struct errbuf *err)
{
    const struct version *shown = atomic_load(&vs->shown);
    uint64_t k = 0;
    for (size_t i = 0; shown != NULL && i < vs->kept_used && vs->kept[i] != shown; i++) {
        k = vs->kept[i]->k;
    }
    if (k == 0) {
        return errbuf_set(err, ST_NOT_FOUND, "no version before the one shown is kept here");
    }
    vs->pinned = k;
    settle(vs);
    *out_k = k;
    return ST_OK;
}

/* -- tidying -- */

static void bury(struct versions *vs)
{
    size_t kept = 0;
    for (size_t i = 0; i < vs->dying_used; i++) {
        if (epoch_passed(&vs->epoch, vs->dying[i].stamp)) {
            version_free(vs->dying[i].v);
        } else {
            vs->dying[kept++] = vs->dying[i];
        }
    }
    vs->dying_used = kept;
}

static void free_leaving(struct versions *vs)
{
    for (size_t i = 0; i < vs->leaving_used; i++) {
        if (epoch_passed(&vs->epoch, vs->leaving[i].stamp)) {
            if (layer_free_some(vs->leaving[i].layer, FREE_CHUNKS)) {
                vs->leaving[i] = vs->leaving[--vs->leaving_used];
            }
            return;
        }
    }
}

static bool ends_at(const struct versions *vs, const struct layer *l)
{
    for (size_t i = 0; i < vs->kept_used; i++) {
        if (atomic_load(&vs->kept[i]->top) == l) {
            return true;
        }
    }
    for (size_t i = 0; i < vs->dying_used; i++) {
        if (atomic_load(&vs->dying[i].v->top) == l) {
            return true;
        }
    }
    return false;
}

static bool find_fold(struct versions *vs)
{
    for (size_t i = 0; i + 1 < vs->layers; i++) {
        if (!ends_at(vs, vs->layer[i])) {
            vs->fold = (struct fold){true, i, 0, 0};
            return true;
        }
    }
    return false;
}

static enum status fold_entry(const struct versions *vs, struct rows *to,
                              const struct rows_entry *e, struct errbuf *err)
{
    if (e->w != NULL) {
        return rows_put(to, e->key, e->w, err);
    }
    if (vs->fold.into > 0) {
        return rows_put_tomb(to, e->key, err);
    }
    rows_remove(to, e->key); /* nothing stands below the base */
    return ST_OK;
}

/* U is all in L: nobody need look at U any more. */
static void unhook(struct versions *vs)
{
    const size_t i = vs->fold.into;
    struct layer *l = vs->layer[i], *u = vs->layer[i + 1];
    if (i + 2 < vs->layers) {
        atomic_store(&vs->layer[i + 2]->below, l);
    }
    for (size_t v = 0; v < vs->kept_used; v++) {
        if (atomic_load(&vs->kept[v]->top) == u) {
            atomic_store(&vs->kept[v]->top, l);
        }
    }
    for (size_t v = 0; v < vs->dying_used; v++) {
        if (atomic_load(&vs->dying[v].v->top) == u) {
            atomic_store(&vs->dying[v].v->top, l);
        }
    }
    memmove(vs->layer + i + 1, vs->layer + i + 2, (vs->layers - i - 2) * sizeof(struct layer *));
    vs->layers--;
    vs->leaving[vs->leaving_used++] = (struct leaving){u, epoch_retire(&vs->epoch)};
    vs->fold.on = false;
}

/* Up to n rows of U into L; false: no memory. */
static bool fold_slice(struct versions *vs, size_t n)
{
    struct fold *f = &vs->fold;
    struct layer *l = vs->layer[f->into], *u = vs->layer[f->into + 1];
    for (; f->table < PLAN_TABLES_MAX && l->rows[f->table] != NULL; f->table++, f->cursor = 0) {
        for (;;) {
            struct rows_entry entry[FOLD_GROUP];
            uint64_t h[FOLD_GROUP], next = f->cursor;
            if (n == 0) {
                return true;
            }
            const size_t group =
                rows_scan(u->rows[f->table], &next, n < FOLD_GROUP ? n : FOLD_GROUP, entry);
            if (group == 0) {
                break;
            }
            for (size_t i = 0; i < group; i++) {
                h[i] = hash_u64(entry[i].key);
            }
            rows_prefetch_lanes(l->rows[f->table], h, group);
            rows_prefetch_rows(l->rows[f->table], h, group);
            for (size_t i = 0; i < group; i++) {
                if (fold_entry(vs, l->rows[f->table], &entry[i], NULL) != ST_OK) {
                    return false;
                }
            }
            f->cursor = next;
            n -= group;
        }
        rows_reclaim(l->rows[f->table]);
    }
    unhook(vs);
    return true;
}

bool versions_tidy(struct versions *vs, size_t rows)
{
    bury(vs);
    free_leaving(vs);
    if (vs->leaving_used < LAYERS_MAX && (vs->fold.on || find_fold(vs))) {
        (void)fold_slice(vs, rows);
    }
    return vs->fold.on || vs->dying_used > 0 || vs->leaving_used > 0;
}

/* -- telling -- */

static int by_number(const void *a, const void *b)
{
    const struct versions_item *x = a, *y = b;
    return x->k < y->k ? -1 : x->k > y->k;
}

size_t versions_list(const struct versions *vs, struct versions_item *out, size_t max)
{
    struct versions_item all[VERSIONS_MAX + REFUSED_MAX];
    const struct version *shown = atomic_load(&vs->shown);
    size_t n = 0;
    for (size_t i = 0; i < vs->kept_used; i++) {
        const struct version *v = vs->kept[i];
        all[n++] = (struct versions_item){v, v->k, v == shown, v->k == vs->pinned};
    }
    for (size_t i = 0; i < REFUSED_MAX && i < vs->refused_used; i++) {
        all[n++] = (struct versions_item){NULL, vs->refused[i], false, false};
    }
    if (n > 0) {
        qsort(all, n, sizeof(all[0]), by_number);
    }
    const size_t skip = n > max ? n - max : 0;
    memcpy(out, all + skip, (n - skip) * sizeof(all[0]));
    return n - skip;
}

bool versions_pinned(const struct versions *vs)
{
    return vs->pinned != 0;
}

size_t versions_layers(const struct versions *vs)
{
    return vs->layers;
}

static uint64_t dense_bytes(const struct plan *plan)
{
    uint64_t bytes = 0;
    for (size_t t = 0; t < plan->tables_used; t++) {
        bytes += plan->tables[t].kind == PLAN_SPARSE ? 0 : plan->tables[t].blocks * DENSE_BLOCK * 4;
    }
    return bytes;
}

uint64_t versions_bytes(const struct versions *vs, uint64_t *out_base)
{
    const uint64_t dense = dense_bytes(vs->plan);
    uint64_t bytes = (vs->kept_used + vs->dying_used) * dense;
    *out_base = vs->layers > 0 ? layer_bytes(vs->layer[0]) + dense : 0;
    for (size_t i = 0; i < vs->layers; i++) {
        bytes += layer_bytes(vs->layer[i]);
    }
    for (size_t i = 0; i < vs->leaving_used; i++) {
        bytes += layer_bytes(vs->leaving[i].layer);
    }
    return bytes;
}
