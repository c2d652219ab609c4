/* applier.c - where gradients meet rows.
 *
 * Work goes in chunks of 64 keys, so that what one stage prefetched is still in the first cache when the next
 * one comes: resolve the slots of a chunk (lookups prefetch the records), ask for the records of the next
 * chunk's guesses, then row by row: judge the gradient, image, update. The optimizer's kernel was chosen when
 * the table was made; there is no branch on its kind here.
 *
 * Order within a row: the gradient is judged before anything is made or changed, the image is taken before
 * the first change, and meta is written last. So a refused row costs nothing and leaves no trace.
 *
 * Duplicate keys in one push are a bug of the client (its gradients would be applied twice, as two steps with
 * one number), and must be seen before the first row changes. Keys in rising order, which is how clients
 * that sort send them and how blocks stand, are proved distinct by one pass of comparisons; others by a small
 * hash set. The verdict on a keys array is kept for the other tables of the same step.
 */
#include "ps/train/applier.h"

#include <assert.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "ps/optim/gradient.h"
#include "ps/optim/optim.h"

#define CHUNK 64u

struct applier {
    const struct plan *plan;              /* borrowed */
    struct store *store;                  /* borrowed */
    struct optim *optim[PLAN_TABLES_MAX]; /* owned */
    float limit[PLAN_TABLES_MAX];         /* on |g| */
    double clip[PLAN_TABLES_MAX];         /* on the norm of a row; INFINITY = none */
    float *state;                         /* scratch: the largest state; owned */
    float *scaled;                        /* scratch: the largest row; owned */
    /* -- the set of keys seen; an entry counts if its mark is the current one -- */
    uint64_t *seen; /* (seen_cap, a power of two); owned */
    uint32_t *mark; /* (seen_cap); owned */
    size_t seen_cap;
    uint32_t round;
    /* -- the keys array judged last -- */
    const uint64_t *judged;
    size_t judged_n;
    uint64_t judged_step;
};

/* What a push's rows share. */
struct push {
    struct applier *ap;
    struct table *table;
    struct optim *optim;
    uint32_t index;
    uint32_t dim;
    uint32_t step;
    struct undo *log;
    uint32_t stamp;
    struct applier_result *result;
};

struct applier *applier_new(const struct plan *plan, struct store *store, double clip_row,
                            double grad_max)
{
    struct applier *ap = mem_zalloc(sizeof *ap);
    ap->plan = plan;
    ap->store = store;
    size_t state = 1, dim = 1;
    for (size_t t = 0; t < plan->tables_used; t++) {
        const struct plan_table *pt = &plan->tables[t];
        const bool bounded = grad_max > 0 && grad_max < (double)FLT_MAX && pt->kind != PLAN_STAT;
        ap->optim[t] = optim_new(pt);
        ap->limit[t] = bounded ? (float)grad_max : FLT_MAX;
        ap->clip[t] = clip_row > 0 && pt->kind == PLAN_SPARSE ? clip_row : (double)INFINITY;
        state = optim_state_floats(pt) > state ? optim_state_floats(pt) : state;
        dim = pt->dim > dim ? pt->dim : dim;
        assert(table_state_floats(store->table[t]) == optim_state_floats(pt));
    }
    ap->state = mem_array(state, sizeof *ap->state);
    ap->scaled = mem_array(dim, sizeof *ap->scaled);
    return ap;
}

void applier_free(struct applier *ap)
{
    if (ap == NULL)
        return;
    for (size_t t = 0; t < ap->plan->tables_used; t++)
        optim_free(ap->optim[t]);
    free(ap->state);
    free(ap->scaled);
    free(ap->seen);
    free(ap->mark);
    free(ap);
}

void applier_schedule(struct applier *ap, const struct schedule *s)
{
    for (size_t t = 0; t < ap->plan->tables_used; t++)
        optim_schedule(ap->optim[t], s);
}

void applier_begin(struct applier *ap)
{
    ap->judged = NULL;
}

void applier_damp(struct applier *ap, double factor)
{
    for (size_t t = 0; t < ap->plan->tables_used; t++)
        optim_damp(ap->optim[t], (float)factor);
}

/* -- pull -- */

static void pull_absent(struct applier *ap, uint32_t table, uint64_t key, uint64_t step, float *out)
{
    plan_init_row(ap->plan, table, key, out);
    if (!optim_replays(ap->optim[table]))
        return;
    memset(ap->state, 0, table_state_floats(ap->store->table[table]) * sizeof(float));
    optim_replay(ap->optim[table], out, ap->state, 0, step);
}

static void pull_row(struct applier *ap, uint32_t table, void *record, uint64_t step, float *out)
{
    const struct table *t = ap->store->table[table];
    const struct row_meta *meta = record;
    const float *w = row_weights(record);
    memcpy(out, w, table_dim(t) * sizeof *out);
    if (!optim_replays(ap->optim[table]) || meta->last_step >= step)
        return;
    memcpy(ap->state, w + table_dim(t), table_state_floats(t) * sizeof(float));
    optim_replay(ap->optim[table], out, ap->state, meta->last_step, step);
}

void applier_pull(struct applier *ap, uint32_t table, const uint64_t *keys, size_t n,
                  uint32_t *slots, uint64_t step, float *out)
{
    const struct table *t = ap->store->table[table];
    const size_t dim = table_dim(t);
    void *record[CHUNK];
    for (size_t from = 0; from < n; from += CHUNK) {
        const size_t m = n - from < CHUNK ? n - from : CHUNK;
        table_resolve(t, keys + from, m, slots + from);
        table_records(t, slots + from, m, record);
        for (size_t i = 0; i < m; i++) {
            float *to = out + (from + i) * dim;
            if (record[i] != NULL)
                pull_row(ap, table, record[i], step, to);
            else
                pull_absent(ap, table, keys[from + i], step, to);
        }
    }
}

/* -- duplicate keys -- */

static bool rising(const uint64_t *keys, size_t n)
{
    bool ok = true;
    for (size_t i = 1; i < n; i++)
        ok &= keys[i - 1] < keys[i];
    return ok;
}

static void seen_reset(struct applier *ap, size_t n)
{
    if (ap->seen_cap < 2 * n) {
        size_t cap = 1024;
        while (cap < 2 * n)
            cap *= 2;
        free(ap->seen);
        free(ap->mark);
        ap->seen = mem_array(cap, sizeof *ap->seen);
        ap->mark = mem_array(cap, sizeof *ap->mark);
        ap->seen_cap = cap;
        ap->round = 0;
    }
    if (++ap->round == 0) { /* after 2^32 rounds old marks would look new */
        memset(ap->mark, 0, ap->seen_cap * sizeof *ap->mark);
        ap->round = 1;
    }
}

/* The index of a key that is there before, or n. */
static size_t first_double(struct applier *ap, const uint64_t *keys, size_t n)
{
    if (rising(keys, n))
        return n;
    seen_reset(ap, n);
    for (size_t i = 0; i < n; i++) {
        size_t at = hash_u64(keys[i]) & (ap->seen_cap - 1);
        for (; ap->mark[at] == ap->round; at = (at + 1) & (ap->seen_cap - 1))
            if (ap->seen[at] == keys[i])
                return i;
        ap->mark[at] = ap->round;
        ap->seen[at] = keys[i];
    }
    return n;
}

static enum status judge_keys(struct applier *ap, const uint64_t *keys, size_t n, uint64_t step,
                              struct errbuf *err)
{
    if (ap->judged == keys && ap->judged_n == n && ap->judged_step == step)
        return ST_OK;
    const size_t at = first_double(ap, keys, n);
    if (at < n)
        return errbuf_set(err, ST_BAD_PEER, "key %" PRIu64 " stands in one push twice", keys[at]);
    ap->judged = keys;
    ap->judged_n = n;
    ap->judged_step = step;
    return ST_OK;
}

/* -- push -- */

/* The gradient as it will be applied, or NULL: refused. */
static const float *judge_gradient(const struct push *p, uint64_t key, const float *g)
{
    const struct applier *ap = p->ap;
    if (!gradient_fits(g, p->dim, ap->limit[p->index])) {
        if (p->result->refused++ == 0)
            p->result->refused_key = key;
        return NULL;
    }
    const double clip = ap->clip[p->index];
    if (isinf(clip))
        return g;
    const double norm2 = gradient_norm2(g, p->dim);
    if (norm2 <= clip * clip)
        return g;
    gradient_scale(g, p->dim, (float)(clip / sqrt(norm2)), ap->scaled);
    p->result->clipped++;
    return ap->scaled;
}

/* A row for an absent key, or SLOT_NONE: no room. */
static uint32_t make_row(const struct push *p, uint64_t key)
{
    uint32_t slot = SLOT_NONE;
    if (table_add(p->table, key, &slot, NULL) != ST_OK) {
        if (p->result->full++ == 0)
            p->result->full_key = key;
        return SLOT_NONE;
    }
    if (p->log != NULL)
        undo_added(p->log, p->ap->store, p->index, slot, key, p->stamp);
    p->result->added++;
    return slot;
}

static void push_row(const struct push *p, uint64_t key, uint32_t *slot, void *record,
                     const float *grad)
{
    const float *g = judge_gradient(p, key, grad);
    if (g == NULL)
        return;
    if (record == NULL) {
        if ((*slot = make_row(p, key)) == SLOT_NONE)
            return;
        record = table_record(p->table, *slot);
    } else if (p->log != NULL) {
        undo_touch(p->log, p->ap->store, p->index, *slot, key, p->stamp);
    }
    struct row_meta *meta = record;
    float *w = row_weights(record);
    optim_apply(p->optim, w, w + p->dim, g, meta->last_step, p->step);
    meta->last_step = p->step;
    meta->freq = (uint16_t)(meta->freq + (meta->freq < UINT16_MAX));
}

enum status applier_push(struct applier *ap, uint32_t table, const uint64_t *keys, uint32_t *slots,
                         size_t n, const float *grads, uint64_t step, struct undo *log,
                         uint32_t stamp, struct applier_result *result, struct errbuf *err)
{
    if (step > UINT32_MAX)
        return errbuf_set(err, ST_REFUSED, "step %" PRIu64 " is beyond what a row can note", step);
    enum status st = judge_keys(ap, keys, n, step, err);
    if (st != ST_OK)
        return st;
    struct table *t = ap->store->table[table];
    const struct push p = {ap,    t,     ap->optim[table], table, table_dim(t), (uint32_t)step, log,
                           stamp, result};
    void *record[CHUNK];
    for (size_t from = 0; from < n; from += CHUNK) {
        const size_t m = n - from < CHUNK ? n - from : CHUNK;
        table_resolve(t, keys + from, m, slots + from);
        table_records(t, slots + from, m, record);
        if (from + m < n)
            table_prefetch(t, slots + from + m, n - from - m < CHUNK ? n - from - m : CHUNK);
        for (size_t i = 0; i < m; i++)
            push_row(&p, keys[from + i], &slots[from + i], record[i], grads + (from + i) * p.dim);
    }
    result->rows += n;
    return ST_OK;
}

void applier_render(void *ctx, uint32_t table, void *record, uint64_t step)
{
    struct applier *ap = ctx;
    struct row_meta *meta = record;
    if (!optim_replays(ap->optim[table]) || meta->last_step >= step)
        return;
    float *w = row_weights(record);
    optim_replay(ap->optim[table], w, w + table_dim(ap->store->table[table]), meta->last_step,
                 step);
    meta->last_step = (uint32_t)step;
}
