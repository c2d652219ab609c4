/* sim_check.c - the oracle: what ps/train/README.md ("Invariants") says must hold, asserted from outside the cores.
 *
 * The oracle sees what the cores can't hide: a shard's step before and after each message (so which pushes
 * it really applied), and a deep copy of its rows at each take. Everything else follows from these.
 *
 *   I1   each commit     every shard had applied the same pushes of the same workers at its take
 *   I2   each push       a record is applied at most once in this history, on each shard
 *   I3   each commit     records applied at the take = records before the manifest's positions
 *   I4   each commit     numbers and incarnations grow; only the newest incarnation commits
 *   I5   each commit     the files, read back by restore_load, equal the rows at the take
 *   I6   each take       the rows equal those of a shadow that only applied the same pushes in order
 *   I7   push, order     tag and e are the open ones; open grows by one
 *   I8   each RECOVER    the hashes of the loaded rows, over all shards, are those of the base's manifest
 *   I9   each step       nobody calls a cut complete before its manifest is there
 *   I10  the end         every record is in the last cut once; a run ends, in time, with code 0
 *   I11  each TAKE       all pushes given are applied on all shards, everybody answered this very HOLD
 *   I12  each push       the rows it touched carry the stamp of the open interval, or the way back is by files
 *   I13  each commit     snapshot_verify recomputes the hashes
 *   I14  each step       bounds of handles, images and permits
 *   I15  each pull       no row is made; each 8th: no byte of any row changes
 *   I16  each step       (e, n) obeyed never falls
 *   I17  push, pull      dealt: nobody is more than `permits` clocks ahead of another; no rows miss an older one
 *   I18  each step       dealt: no pull waits whose clock is open
 *   I19  each batch      allreduce, bsp: its dense part is that of all records before the step, and of no other
 *
 * A starred name is production's own check of the same thing, which ends the run: sim_check_fault.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "ps/optim/optim.h"
#include "ps/snapshot/restore.h"
#include "ps/train/applier.h"
#include "tests/support/sim_world.h"

/* ---- copies of rows ---- */

struct ref {
    uint64_t key;
    uint32_t slot;
};

static int by_key(const void *a, const void *b)
{
    const struct ref *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

static void clean_meta(void *record)
{
    struct row_meta *m = record;
    m->stamp = m->image = 0;
}

static void take_table(struct sim_rows *r, const struct table *t, size_t i)
{
    size_t bytes = table_record_bytes(t), used = 0, cap = 0, got;
    struct ref *ref = NULL; /* grows: under a planted bug table_rows may be wrong */
    uint64_t cursor = 0, keys[64];
    uint32_t slots[64];
    while ((got = table_scan(t, &cursor, 64, keys, slots)) > 0) {
        mem_grow(&ref, &cap, used + got, sizeof *ref);
        for (size_t j = 0; j < got; j++)
            ref[used++] = (struct ref){keys[j], slots[j]};
    }
    if (used > 0)
        qsort(ref, used, sizeof *ref, by_key);
    r->n[i] = used;
    r->key[i] = mem_array(used, sizeof(uint64_t));
    r->record[i] = mem_array(used, bytes);
    for (size_t j = 0; j < used; j++) {
        r->key[i][j] = ref[j].key;
        memcpy(r->record[i] + j * bytes, table_record(t, ref[j].slot), bytes);
        clean_meta(r->record[i] + j * bytes);
    }
    free(ref);
}

void sim_rows_take(struct sim_rows *r, const struct store *store)
{
    sim_rows_release(r);
    for (size_t i = 0; i < store->tables; i++)
        take_table(r, store->table[i], i);
}

void sim_rows_release(struct sim_rows *r)
{
    for (size_t i = 0; i < PLAN_TABLES_MAX; i++) {
        free(r->key[i]);
        free(r->record[i]);
    }
    *r = (struct sim_rows){0};
}

uint64_t sim_digest(const struct store *store)
{
    uint64_t sum = 0, cursor, keys[64];
    uint32_t slots[64];
    for (size_t i = 0; i < store->tables; i++) {
        const struct table *t = store->table[i];
        size_t got;
        for (cursor = 0; (got = table_scan(t, &cursor, 64, keys, slots)) > 0;) {
            for (size_t j = 0; j < got; j++)
                sum += hash_bytes(table_record(t, slots[j]), table_record_bytes(t), keys[j] + i);
        }
    }
    return sum;
}

/* Rows of b must be those of a, with missed steps replayed up to `step` on both sides. */
static bool same_rows(struct sim_world *w, const struct sim_rows *a, const struct sim_rows *b,
                      struct applier *apply, const struct store *store, uint64_t step,
                      const char *what, uint32_t s)
{
    for (size_t t = 0; t < w->plan.tables_used; t++) {
        size_t bytes = table_record_bytes(store->table[t]);
        uint8_t x[256 * 16], y[256 * 16];
        if (a->n[t] != b->n[t]) {
            sim_fail(w, what, "shard %u, table %s: %zu rows, expected %zu", s,
                     w->plan.tables[t].name, b->n[t], a->n[t]);
            return false;
        }
        for (size_t i = 0; i < a->n[t]; i++) {
            memcpy(x, a->record[t] + i * bytes, bytes);
            memcpy(y, b->record[t] + i * bytes, bytes);
            applier_render(apply, (uint32_t)t, x, step);
            applier_render(apply, (uint32_t)t, y, step);
            if (a->key[t][i] != b->key[t][i] || memcmp(x, y, bytes) != 0) {
                sim_fail(w, what, "shard %u, table %s, key %llu differs", s, w->plan.tables[t].name,
                         (unsigned long long)a->key[t][i]);
                return false;
            }
        }
    }
    return true;
}

/* ---- the history of a shard ---- */

struct msg *sim_copy_push(const struct msg *m)
{
    struct msg *c = msg_new(MSG_PUSH);
    c->e = m->e;
    c->u.push = m->u.push;
    c->frames = m->frames;
    for (uint32_t i = 0; i < m->frames; i++) {
        c->frame[i].bytes = m->frame[i].bytes;
        c->frame[i].data = mem_alloc(m->frame[i].bytes);
        if (m->frame[i].bytes > 0)
            memcpy(c->frame[i].data, m->frame[i].data, m->frame[i].bytes);
    }
    return c;
}

static void free_copy(struct msg *c)
{
    for (uint32_t i = 0; i < c->frames; i++) {
        free(c->frame[i].data);
        c->frame[i] = (struct frame){0};
    }
}

static void release_push(struct sim_push *q)
{
    free(q->key);
    for (size_t t = 0; t < PLAN_TABLES_MAX; t++)
        free(q->grad[t]);
    *q = (struct sim_push){0};
}

void sim_history_release(struct sim_history *h)
{
    for (size_t i = 0; i < h->used; i++)
        release_push(&h->push[i]);
    for (size_t i = 0; i < SIM_WORKERS_MAX; i++)
        release_push(&h->stored[i]);
    free(h->push);
    free(h->count);
    free(h->take_count);
    sim_rows_release(&h->take_rows);
    applier_free(h->shadow_applier);
    store_free(h->shadow);
    *h = (struct sim_history){0};
}

static size_t records(const struct sim_world *w)
{
    return (size_t)(w->conf.epochs * w->conf.records);
}

/* The records that the base holds. */
static void base_count(struct sim_world *w, uint64_t k, uint8_t *count)
{
    struct manifest m;
    if (k == 0)
        return;
    manifest_init(&m);
    if (manifest_read(w->dir, k, &m, NULL) != ST_OK) {
        sim_fail(w, "oracle", "the manifest of cut %llu is gone", (unsigned long long)k);
        return;
    }
    for (uint64_t r = 0; r < m.epoch * w->conf.records && r < records(w); r++)
        count[r] = 1;
    for (size_t i = 0; i < m.splits_used; i++) {
        uint64_t at = m.splits[i].split * m.split_records;
        for (; at < m.splits[i].upto; at++)
            count[m.epoch * w->conf.records + at] = 1;
    }
    manifest_release(&m);
}

static void copy_store(struct store *to, const struct store *from)
{
    struct errbuf err = ERRBUF_INIT;
    for (size_t t = 0; t < from->tables; t++) {
        uint64_t cursor = 0, keys[64];
        uint32_t slots[64], slot;
        size_t got;
        while ((got = table_scan(from->table[t], &cursor, 64, keys, slots)) > 0) {
            for (size_t j = 0; j < got; j++) {
                if (table_add(to->table[t], keys[j], &slot, &err) != ST_OK)
                    abort();
                memcpy(table_record(to->table[t], slot), table_record(from->table[t], slots[j]),
                       table_record_bytes(from->table[t]));
            }
        }
    }
}

static struct store *new_store(struct sim_world *w)
{
    uint32_t floats[PLAN_TABLES_MAX] = {0};
    struct errbuf err = ERRBUF_INIT;
    struct store *store;
    for (size_t t = 0; t < w->plan.tables_used; t++)
        floats[t] = optim_state_floats(&w->plan.tables[t]);
    if (store_new(&w->plan, floats, (uint64_t)1 << 32, &store, &err) != ST_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    return store;
}

/* An empty store that is kept: making one costs more than all the rest of a check. */
static struct store *scratch(struct sim_world *w)
{
    if (w->scratch == NULL)
        w->scratch = new_store(w);
    for (size_t t = 0; t < w->scratch->tables; t++)
        table_clear(w->scratch->table[t]);
    return w->scratch;
}

/* H(table) by the book, over what RECOVER left in the store. */
static void hash_base(struct sim_world *w, uint32_t s, uint64_t base)
{
    struct sim_shard *sh = &w->shard[s];
    struct sim_rows rows = {0};
    const struct store *store = shard_store(sh->core);
    sim_rows_take(&rows, store);
    sh->loaded = true;
    sh->base_k = base;
    for (size_t t = 0; t < store->tables; t++) {
        const struct plan_table *p = &w->plan.tables[t];
        size_t bytes = table_record_bytes(store->table[t]);
        sh->base_rows[t] = rows.n[t];
        sh->base_hash[t] = 0;
        for (size_t i = 0; i < rows.n[t]; i++)
            sh->base_hash[t] += cut_record_hash(p, optim_state_floats(p), rows.key[t][i],
                                                rows.record[t] + i * bytes);
    }
    sim_rows_release(&rows);
}

/* All shards together must be the base, once all are back. */
static void check_base(struct sim_world *w, uint64_t base)
{
    struct manifest m;
    for (uint32_t s = 0; s < w->conf.shards; s++) {
        if (!w->shard[s].loaded || w->shard[s].base_k != base)
            return;
    }
    manifest_init(&m);
    if (base == 0 || manifest_read(w->dir, base, &m, NULL) != ST_OK)
        return;
    for (size_t t = 0; t < w->plan.tables_used; t++) {
        uint64_t hash = 0, rows = 0;
        for (uint32_t s = 0; s < w->conf.shards; s++) {
            hash += w->shard[s].base_hash[t];
            rows += w->shard[s].base_rows[t];
        }
        if (hash != m.hash[t] || rows != m.rows[t])
            sim_fail(w, "I8", "table %s has %llu rows after RECOVER of cut %llu, the cut has %llu",
                     w->plan.tables[t].name, (unsigned long long)rows, (unsigned long long)base,
                     (unsigned long long)m.rows[t]);
    }
    manifest_release(&m);
}

static void begin_history(struct sim_world *w, uint32_t s, uint64_t base)
{
    struct sim_history *h = &w->shard[s].history;
    hash_base(w, s, base);
    check_base(w, base);
    sim_history_release(h);
    h->count = mem_array(records(w), 1);
    h->take_count = mem_array(records(w), 1);
    base_count(w, base, h->count);
    if (!w->conf.check_all)
        return;
    h->shadow = new_store(w);
    copy_store(h->shadow, shard_store(w->shard[s].core));
    h->shadow_applier = applier_new(&w->plan, h->shadow, 0, 1e6);
}

static float *copy_floats(const struct frame *f)
{
    float *p = mem_alloc(f->bytes + 4);
    if (f->bytes > 0)
        memcpy(p, f->data, f->bytes);
    return p;
}

static void read_push(struct sim_world *w, uint32_t s, const struct msg *m, struct sim_push *q)
{
    const struct msg_push *p = &m->u.push;
    uint64_t keys[512];
    *q = (struct sim_push){.rank = p->rank,
                           .seq = p->seq,
                           .tag = p->tag,
                           .epoch = p->epoch,
                           .split = p->split,
                           .begin = p->begin,
                           .end = p->end};
    q->dense = w->conf.allreduce ? p->rank == job_carrier(s, w->conf.workers) : p->begin < p->end;
    if (!w->conf.check_all)
        return;
    /* the keys come from the records, not from the message: a handle that shifts shows */
    size_t n = sim_batch_keys(&w->conf, p->epoch, p->begin, p->end, keys, 512);
    q->key = mem_array(n, sizeof *q->key);
    for (size_t i = 0; i < n; i++) {
        if (hash_bucket(keys[i]) * w->conf.shards / BUCKETS == s)
            q->key[q->n++] = keys[i];
    }
    for (uint32_t t = 0; t < w->plan.tables_used; t++)
        q->grad[t] = copy_floats(&m->frame[t + 1]);
}

/* Every row that a push changed has its image in the open log: that is what the open stamp says. */
static void check_images(struct sim_world *w, uint32_t s, const struct sim_push *q,
                         const struct shard_view *after)
{
    const struct store *store = shard_store(w->shard[s].core);
    if (after->by_files)
        return;
    for (uint32_t t = 0; t < w->plan.tables_used; t++) {
        const struct plan_table *p = &w->plan.tables[t];
        uint64_t first = 0, end = q->n;
        if (p->kind != PLAN_SPARSE && !q->dense)
            continue;
        if (p->kind != PLAN_SPARSE)
            plan_blocks_of(p, s, w->conf.shards, &first, &end);
        for (uint64_t i = first; i < end; i++) {
            uint64_t key = p->kind == PLAN_SPARSE ? q->key[i] : i;
            uint32_t slot;
            table_find(store->table[t], &key, 1, &slot);
            if (slot == SLOT_NONE)
                continue;
            const struct row_meta *meta = table_record(store->table[t], slot);
            if (meta->stamp != after->stamp) {
                sim_fail(w, "I12", "shard %u changed key %llu of table %s and kept no image", s,
                         (unsigned long long)key, p->name);
                return;
            }
        }
    }
}

static void count_records(struct sim_world *w, uint32_t s, const struct sim_push *p)
{
    struct sim_history *h = &w->shard[s].history;
    for (uint64_t r = p->begin; r < p->end; r++) {
        uint64_t at = p->epoch * w->conf.records + r;
        if (at >= records(w) || h->count[at]++ > 0) {
            sim_fail(w, "I2", "shard %u applied record %llu of epoch %llu twice", s,
                     (unsigned long long)r, (unsigned long long)p->epoch);
            return;
        }
    }
}

void sim_check_fault(struct sim_world *w, const char *text)
{
    static const struct {
        const char *what, *word;
    } by_word[] = {{"I7*", "is of interval"},          {"I7*", " open, this shard "},
                   {"I7*", "this shard has not"},      {"I9*", "called complete"},
                   {"I1*", "pushes, shard 0"},         {"I2*", "has records ["},
                   {"I3*", "its positions say"},       {"I3*", "the log has"},
                   {"I2*", "no split of this log"},    {"I7*", "of a step stored"},
                   {"I2*", "the one before it up to"}, {"I2*", "its part is ["},
                   {"I7*", "of a step applied"},       {"I17*", "clocks ahead"}};
    for (size_t i = 0; i < sizeof by_word / sizeof by_word[0]; i++) {
        if (strstr(text, by_word[i].word) != NULL) {
            sim_fail(w, by_word[i].what, "%s", text);
            return;
        }
    }
    sim_fail(w, "fault", "%s", text);
}

/* It was applied: takes q. */
static void remember(struct sim_world *w, uint32_t s, const struct sim_push *q,
                     const struct shard_view *after)
{
    struct sim_history *h = &w->shard[s].history;
    uint64_t most = 0;
    mem_grow(&h->push, &h->cap, h->used + 1, sizeof *h->push);
    h->push[h->used] = *q;
    count_records(w, s, q);
    if (q->rank < SIM_WORKERS_MAX)
        h->last[q->rank] = q->seq;
    for (uint32_t r = 0; r < w->conf.workers; r++)
        most = h->last[r] > most ? h->last[r] : most;
    h->push[h->used].step = h->push[h->used].dense_step = after->step;
    if (w->conf.allreduce &&
        !w->conf.bsp) /* steps are clocks; a dense gradient is that of its own */
        h->push[h->used].dense_step -= most - q->seq;
    h->used++;
    if (w->conf.check_all)
        check_images(w, s, q, after);
}

/* bsp: the shard stored it; when it is the clock's last all of them were applied. */
static void remember_clock(struct sim_world *w, uint32_t s, const struct sim_push *q,
                           const struct shard_view *before, const struct shard_view *after)
{
    struct sim_history *h = &w->shard[s].history;
    h->stored[q->rank] = *q;
    if (after->step == before->step)
        return;
    for (uint32_t r = 0; r < w->conf.workers; r++) {
        if (h->stored[r].seq != q->seq || h->stored[r].tag != before->open)
            sim_fail(w, "I7",
                     "shard %u applied push %llu, interval %llu of worker %u with clock %llu", s,
                     (unsigned long long)h->stored[r].seq, (unsigned long long)h->stored[r].tag, r,
                     (unsigned long long)q->seq);
        remember(w, s, &h->stored[r], after);
        h->stored[r] = (struct sim_push){0};
    }
}

void sim_check_push(struct sim_world *w, uint32_t s, const struct shard_view *before,
                    const struct shard_view *after, const struct msg *push)
{
    const struct msg_push *p = &push->u.push;
    struct sim_push q;
    bool stored = after->stored == before->stored + 1;
    bool clock = (w->conf.ssp || w->conf.allreduce) && !w->conf.bsp;
    if (after->step == before->step && !stored && !(clock && after->pushes != before->pushes))
        goto out;
    if (after->step != before->step + !stored && !(clock && after->step == before->step))
        sim_fail(w, "I2", "shard %u moved %llu steps for one push", s,
                 (unsigned long long)(after->step - before->step));
    if (p->tag != before->open || push->e != before->e)
        sim_fail(w, "I7",
                 "shard %u applied a push of interval %llu, e %llu in interval %llu, e %llu", s,
                 (unsigned long long)p->tag, (unsigned long long)push->e,
                 (unsigned long long)before->open, (unsigned long long)before->e);
    read_push(w, s, push, &q);
    if (w->conf.bsp)
        remember_clock(w, s, &q, before, after);
    else
        remember(w, s, &q, after);
    if (after->handle_bytes > w->conf.handle_bytes_max)
        sim_fail(w, "I14", "shard %u remembers %llu bytes of pulls", s,
                 (unsigned long long)after->handle_bytes);
out:
    free_copy((struct msg *)(uintptr_t)push);
}

/* Clocks that all workers' pushes have made; out_most: those of the fastest. */
static uint64_t clocks(const struct sim_world *w, uint32_t s, uint64_t *out_most)
{
    const uint64_t *last = w->shard[s].history.last;
    uint64_t least = UINT64_MAX;
    *out_most = 0;
    for (uint32_t r = 0; r < w->conf.workers; r++) {
        least = last[r] < least ? last[r] : least;
        *out_most = last[r] > *out_most ? last[r] : *out_most;
    }
    return least;
}

static struct sim_asked *find_asked(struct sim_history *h, uint32_t rank, uint64_t request)
{
    for (size_t i = 0; i < 2 * SIM_ASKED_MAX; i++) {
        if (h->asked[rank][i].clock != 0 && h->asked[rank][i].request == request)
            return &h->asked[rank][i];
    }
    return NULL;
}

static void note_asked(struct sim_world *w, uint32_t s, const struct msg *pull)
{
    struct sim_history *h = &w->shard[s].history;
    const struct msg_pull *p = &pull->u.pull;
    if (find_asked(h, pull->sender, p->request) != NULL || p->clock == 0)
        return;
    for (size_t i = 0; i < 2 * SIM_ASKED_MAX; i++) {
        if (h->asked[pull->sender][i].clock == 0) {
            h->asked[pull->sender][i] =
                (struct sim_asked){p->request, p->clock, p->tables == 0 && p->dense};
            return;
        }
    }
    sim_fail(w, "I14", "more pulls of worker %u wait than it has permits", pull->sender);
}

static bool may_answer(const struct sim_world *w, uint32_t s, const struct sim_asked *a,
                       uint64_t least)
{
    const uint64_t *last = w->shard[s].history.last;
    if (a->dense)
        return a->clock <= last[job_carrier(s, w->conf.workers)];
    return a->clock <= least + w->conf.permits - 1;
}

void sim_check_pulls(struct sim_world *w, uint32_t s, const struct shard_view *before,
                     const struct shard_view *after, const struct msg *pull)
{
    struct sim_shard *sh = &w->shard[s];
    struct sim_history *h = &sh->history;
    uint64_t most, least = clocks(w, s, &most);
    if ((!w->conf.ssp && !w->conf.bsp && !w->conf.allreduce) || before->e != after->e ||
        before->loading || after->loading || before->fault || after->fault)
        return;
    if (most - least > w->conf.permits)
        sim_fail(w, "I17", "shard %u applied clock %llu of one worker, %llu of another", s,
                 (unsigned long long)most, (unsigned long long)least);
    if (pull != NULL && pull->e == after->e)
        note_asked(w, s, pull);
    for (uint32_t i = 0; i < sh->answers; i++) {
        struct sim_asked *a = find_asked(h, sh->answer[i].rank, sh->answer[i].request);
        if (a != NULL && !may_answer(w, s, a, least))
            sim_fail(w, "I17", "shard %u answered a pull of clock %llu, some worker's are %llu", s,
                     (unsigned long long)a->clock, (unsigned long long)least);
        if (a != NULL)
            a->clock = 0;
    }
    for (uint32_t r = 0; r < w->conf.workers && !sh->ended; r++) {
        for (size_t i = 0; i < 2 * SIM_ASKED_MAX; i++) {
            uint64_t clock = h->asked[r][i].clock;
            if (clock != 0 && may_answer(w, s, &h->asked[r][i], least))
                sim_fail(w, "I18", "shard %u let a pull of clock %llu of worker %u wait at %llu", s,
                         (unsigned long long)clock, r, (unsigned long long)least);
        }
    }
}

/* ---- takes ---- */

static void shadow_push(struct sim_world *w, uint32_t s, const struct sim_push *q)
{
    struct sim_history *h = &w->shard[s].history;
    uint64_t block[8];
    uint32_t slots[512];
    applier_begin(h->shadow_applier);
    for (uint32_t t = 0; t < w->plan.tables_used; t++) {
        struct applier_result result = {0};
        struct errbuf err = ERRBUF_INIT;
        const uint64_t *keys = q->key;
        size_t n = q->n;
        uint64_t step = w->plan.tables[t].kind == PLAN_SPARSE ? q->step : q->dense_step;
        if (w->plan.tables[t].kind != PLAN_SPARSE) {
            uint64_t first, end;
            if (!q->dense)
                continue;
            plan_blocks_of(&w->plan.tables[t], s, w->conf.shards, &first, &end);
            for (n = 0; first + n < end; n++)
                block[n] = first + n;
            keys = block;
        }
        for (size_t i = 0; i < n; i++)
            slots[i] = SLOT_NONE;
        if (n > 0 && applier_push(h->shadow_applier, t, keys, slots, n, q->grad[t], step, NULL, 0,
                                  &result, &err) != ST_OK)
            sim_fail(w, "oracle", "%s", err.text);
    }
}

/* What the leaves [lo, hi) of the tree have for a key (table t, dim floats); false: nothing. The slow, obvious
 * way. */
static bool tree(const struct sim_push *leaf, size_t lo, size_t hi, size_t t, uint64_t key,
                 size_t dim, float *out)
{
    float right[256];
    if (hi - lo == 1) {
        for (size_t i = 0; i < leaf[lo].n; i++) {
            if (leaf[lo].key[i] == key) {
                memcpy(out, leaf[lo].grad[t] + i * dim, dim * sizeof *out);
                return true;
            }
        }
        return false;
    }
    size_t middle = lo + (hi - lo) / 2;
    bool l = tree(leaf, lo, middle, t, key, dim, out);
    bool r = tree(leaf, middle, hi, t, key, dim, right);
    for (size_t i = 0; i < dim && r; i++)
        out[i] = l ? out[i] + right[i] : right[i];
    return l || r;
}

/* The same for a dense block; a push without records has none. */
static bool tree_block(const struct sim_push *leaf, size_t lo, size_t hi, size_t t, size_t block,
                       float *out)
{
    float right[DENSE_BLOCK];
    if (hi - lo == 1) {
        if (leaf[lo].dense)
            memcpy(out, leaf[lo].grad[t] + block * DENSE_BLOCK, sizeof right);
        return leaf[lo].dense;
    }
    size_t middle = lo + (hi - lo) / 2;
    bool l = tree_block(leaf, lo, middle, t, block, out);
    bool r = tree_block(leaf, middle, hi, t, block, right);
    for (size_t i = 0; i < DENSE_BLOCK && r; i++)
        out[i] = l ? out[i] + right[i] : right[i];
    return l || r;
}

static size_t blocks_here(const struct sim_world *w, uint32_t t, uint32_t s)
{
    uint64_t first, end;
    plan_blocks_of(&w->plan.tables[t], s, w->conf.shards, &first, &end);
    return (size_t)(end - first);
}

/* One clock: all its pushes as one. */
static void shadow_clock(struct sim_world *w, uint32_t s, const struct sim_push *leaf)
{
    struct sim_push q = {.key = mem_array(512, sizeof *q.key),
                         .step = leaf[0].step,
                         .dense_step = leaf[0].step,
                         .dense = true};
    for (uint32_t r = 0; r < w->conf.workers; r++) {
        for (size_t i = 0; i < leaf[r].n; i++) {
            size_t j = 0;
            while (j < q.n && q.key[j] != leaf[r].key[i])
                j++;
            if (j == q.n)
                q.key[q.n++] = leaf[r].key[i];
        }
    }
    for (uint32_t t = 0; t < w->plan.tables_used; t++) {
        bool sparse = w->plan.tables[t].kind == PLAN_SPARSE;
        size_t dim = w->plan.tables[t].dim, n = sparse ? q.n : blocks_here(w, t, s);
        q.grad[t] = mem_array(n * dim + 1, sizeof(float));
        for (size_t i = 0; i < n; i++) {
            if (sparse)
                tree(leaf, 0, w->conf.workers, t, q.key[i], dim, q.grad[t] + i * dim);
            else
                tree_block(leaf, 0, w->conf.workers, t, i, q.grad[t] + i * dim);
        }
    }
    shadow_push(w, s, &q);
    release_push(&q);
}

static void check_shadow(struct sim_world *w, uint32_t s, uint64_t step)
{
    struct sim_history *h = &w->shard[s].history;
    struct sim_rows rows = {0};
    size_t each = w->conf.bsp ? w->conf.workers : 1; /* pushes a step */
    applier_schedule(h->shadow_applier, &w->shard[s].schedule);
    for (; h->shadowed < h->used; h->shadowed += each) {
        if (w->conf.bsp)
            shadow_clock(w, s, &h->push[h->shadowed]);
        else
            shadow_push(w, s, &h->push[h->shadowed]);
    }
    sim_rows_take(&rows, h->shadow);
    same_rows(w, &rows, &h->take_rows, h->shadow_applier, h->shadow, step, "I6", s);
    sim_rows_release(&rows);
}

void sim_check_order(struct sim_world *w, uint32_t s, const struct shard_view *before,
                     const struct shard_view *after)
{
    struct sim_history *h = &w->shard[s].history;
    if (before->loading && !after->loading)
        begin_history(w, s, after->complete);
    if (before->e == after->e && after->open != before->open && after->open != before->open + 1)
        sim_fail(w, "I7", "shard %u skipped a take: open %llu, then %llu", s,
                 (unsigned long long)before->open, (unsigned long long)after->open);
    if (after->undo_bytes > w->conf.undo_bytes_max)
        sim_fail(w, "I14", "shard %u has %llu bytes of images", s,
                 (unsigned long long)after->undo_bytes);
    if (after->complete > w->head.committed_k)
        sim_fail(w, "I9", "shard %u calls cut %llu complete before its manifest is there", s,
                 (unsigned long long)after->complete);
    if (after->taken == 0 || after->taken == before->taken)
        return;
    h->k = after->taken;
    h->step = after->step;
    h->take_used = h->used;
    memcpy(h->take_count, h->count, records(w));
    if (!w->conf.check_all)
        return;
    sim_rows_take(&h->take_rows, shard_store(w->shard[s].core));
    check_shadow(w, s, after->step);
}

/* ---- commits ---- */

static void check_same_pushes(struct sim_world *w, const struct manifest *m)
{
    for (uint32_t s = 0; s < w->conf.shards; s++) {
        const struct sim_history *h = &w->shard[s].history, *zero = &w->shard[0].history;
        uint64_t last[2][SIM_WORKERS_MAX] = {{0}};
        if (h->k != m->k) {
            sim_fail(w, "I1", "shard %u is at cut %llu, %llu is committed", s,
                     (unsigned long long)h->k, (unsigned long long)m->k);
            return;
        }
        for (size_t i = 0; i < h->take_used; i++)
            last[0][h->push[i].rank] = h->push[i].seq;
        for (size_t i = 0; i < zero->take_used; i++)
            last[1][zero->push[i].rank] = zero->push[i].seq;
        if (h->take_used != zero->take_used || memcmp(last[0], last[1], sizeof last[0]) != 0)
            sim_fail(w, "I1", "cut %llu has %zu pushes on shard %u, %zu on shard 0",
                     (unsigned long long)m->k, h->take_used, s, zero->take_used);
    }
}

static void check_positions(struct sim_world *w, const struct manifest *m)
{
    uint8_t *want = mem_array(records(w), 1);
    for (uint64_t r = 0; r < m->epoch * w->conf.records && r < records(w); r++)
        want[r] = 1;
    for (size_t i = 0; i < m->splits_used; i++) {
        for (uint64_t r = m->splits[i].split * m->split_records; r < m->splits[i].upto; r++)
            want[m->epoch * w->conf.records + r] = 1;
    }
    for (uint32_t s = 0; s < w->conf.shards && !w->failed; s++) {
        for (size_t r = 0; r < records(w); r++) {
            if (w->shard[s].history.take_count[r] != want[r]) {
                sim_fail(w, "I3", "cut %llu: record %zu is %s on shard %u, its positions say %s",
                         (unsigned long long)m->k, r,
                         w->shard[s].history.take_count[r] ? "in it" : "not in it", s,
                         want[r] ? "it is" : "it is not");
                break;
            }
        }
    }
    free(want);
}

void sim_check_commit(struct sim_world *w, const struct manifest *m)
{
    if (m->k <= w->head.committed_k || m->e != w->head.fence.e || m->e < w->head.committed_e)
        sim_fail(w, "I4", "cut %llu of e %llu after cut %llu", (unsigned long long)m->k,
                 (unsigned long long)m->e, (unsigned long long)w->head.committed_k);
    w->head.committed_e = m->e;
    check_same_pushes(w, m);
    if (!w->failed)
        check_positions(w, m);
}

static void check_files(struct sim_world *w, const struct manifest *m, uint32_t s)
{
    struct sim_history *h = &w->shard[s].history;
    struct errbuf err = ERRBUF_INIT;
    struct sim_rows rows = {0};
    struct store *store = scratch(w);
    uint64_t n;
    if (restore_load(w->dir, m, &w->plan, m->map, s, m->shards, store, NULL, &n, &err) != ST_OK) {
        sim_fail(w, "I5", "shard %u: %s", s, err.text);
    } else {
        sim_rows_take(&rows, store);
        same_rows(w, &h->take_rows, &rows, h->shadow_applier, store, m->step, "I5", s);
    }
    sim_rows_release(&rows);
}

void sim_check_committed(struct sim_world *w, uint64_t k)
{
    struct errbuf err = ERRBUF_INIT;
    struct verify_result result;
    struct manifest m;
    w->head.committed_k = k;
    w->head.committed++;
    w->commits++;
    if (!w->conf.check_all || w->failed)
        return;
    manifest_init(&m);
    if (manifest_read(w->dir, k, &m, &err) != ST_OK) {
        sim_fail(w, "I5", "%s", err.text);
        return;
    }
    for (uint32_t s = 0; s < w->conf.shards && !w->failed; s++)
        check_files(w, &m, s);
    if (!w->failed && snapshot_verify(w->dir, k, &w->plan, &result, &err) != ST_OK)
        sim_fail(w, "I13", "%s", err.text);
    manifest_release(&m);
}

/* ---- the head, and everybody ---- */

/* Each worker has answered this HOLD, and each push it ever gave is applied everywhere. */
static void check_take(struct sim_world *w, uint64_t hold_n)
{
    for (uint32_t r = 0; r < w->conf.workers; r++) {
        struct client_view c;
        if (w->worker[r].ended || w->victim == SIM_WORKER + r)
            continue; /* dead: what it last said is all there is */
        client_view(w->worker[r].core, &c);
        if (c.unacked > 0 || c.held != hold_n)
            sim_fail(w, "I11", "TAKE after HOLD %llu: worker %u answered %llu, %llu unacked",
                     (unsigned long long)hold_n, r, (unsigned long long)c.held,
                     (unsigned long long)c.unacked);
        for (uint32_t s = 0; s < w->conf.shards; s++) {
            if (w->victim != SIM_SHARD + s && w->shard[s].history.last[r] != c.seq)
                sim_fail(w, "I11", "TAKE: worker %u gave %llu pushes, shard %u applied %llu", r,
                         (unsigned long long)c.seq, s,
                         (unsigned long long)w->shard[s].history.last[r]);
        }
    }
}

void sim_check_head(struct sim_world *w)
{
    struct head_view v;
    head_view(w->head.core, &v);
    if (v.complete > w->head.committed_k)
        sim_fail(w, "I9", "the head calls cut %llu complete before its manifest is there",
                 (unsigned long long)v.complete);
    w->holds += v.mode == MODE_HOLD && w->head.before.mode != MODE_HOLD;
    if (v.mode == MODE_TAKE && w->head.before.mode == MODE_HOLD)
        check_take(w, w->head.before.n);
    w->abandoned += v.resolved != w->head.before.resolved &&
                    v.complete == w->head.before.complete && w->head.before.e != 0;
    w->head.before = v;
}

void sim_check_obeyed(struct sim_world *w, uint32_t route, uint64_t e, uint64_t n)
{
    if (e < w->peer_e[route] || (e == w->peer_e[route] && n < w->peer_n[route]))
        sim_fail(w, "I16", "peer %u obeyed (%llu, %llu) after (%llu, %llu)", route,
                 (unsigned long long)e, (unsigned long long)n, (unsigned long long)w->peer_e[route],
                 (unsigned long long)w->peer_n[route]);
    w->peer_e[route] = e;
    w->peer_n[route] = n;
}

struct store *sim_load(struct sim_world *w, uint64_t k, struct manifest *m)
{
    static const uint16_t one[BUCKETS];
    struct errbuf err = ERRBUF_INIT;
    struct store *store = new_store(w);
    uint64_t rows;
    manifest_init(m);
    enum status st =
        k == 0 ? manifest_newest(w->dir, m, NULL, &err) : manifest_read(w->dir, k, m, &err);
    if (st == ST_OK)
        st = restore_load(w->dir, m, &w->plan, one, 0, 1, store, NULL, &rows, &err);
    if (st != ST_OK)
        sim_fail(w, "load", "%s", err.text);
    return store;
}

static void check_sums(struct sim_world *w, const struct store *store)
{
    int64_t(*want)[2] = mem_array(w->conf.keys + 1, sizeof *want);
    sim_expected_sums(&w->conf, w->conf.epochs, want);
    for (uint64_t key = 1; key <= w->conf.keys && !w->failed; key++) {
        uint32_t slot;
        table_find(store->table[0], &key, 1, &slot);
        for (uint32_t d = 0; d < 2; d++) {
            float got = slot == SLOT_NONE ? 0 : row_weights(table_record(store->table[0], slot))[d];
            if (got != (float)want[key][d])
                sim_fail(w, "I10", "sum of key %llu is %g, expected %lld", (unsigned long long)key,
                         (double)got, (long long)want[key][d]);
        }
    }
    free(want);
}

/* Everybody ends with the head's code. Whom no STOP reached has given up by itself: 1. */
static void check_codes(struct sim_world *w)
{
    int code = w->head.code;
    for (uint32_t s = 0; s < w->conf.shards; s++) {
        if (w->shard[s].code != code && (w->conf.in_order || w->shard[s].code != 1))
            sim_fail(w, "I10", "shard %u ended with code %d, the head with %d", s, w->shard[s].code,
                     code);
    }
    for (uint32_t r = 0; r < w->conf.workers; r++) {
        if (w->worker[r].code != code && (w->conf.in_order || w->worker[r].code != 1))
            sim_fail(w, "I10", "worker %u ended with code %d, the head with %d", r,
                     w->worker[r].code, code);
    }
}

void sim_check_end(struct sim_world *w)
{
    struct manifest m;
    if (w->failed)
        return;
    if (w->head.code != 0) {
        sim_fail(w, "I10", "the run ended with code %d: %s", w->head.code, w->head.text);
        return;
    }
    struct store *store = sim_load(w, 0, &m);
    if (!w->failed && (m.epoch != w->conf.epochs || m.splits_used != 0 ||
                       m.applied != w->conf.epochs * w->conf.records))
        sim_fail(w, "I10", "the last cut stands in epoch %llu with %llu records applied",
                 (unsigned long long)m.epoch, (unsigned long long)m.applied);
    check_codes(w);
    bool sums = w->conf.plateau_factor == 1; /* else the rates of table sum were lowered, too */
    if (!w->failed && sums)
        check_sums(w, store);
    if (!w->failed && sums) {
        uint64_t block = 3;
        uint32_t slot;
        table_find(store->table[2], &block, 1, &slot);
        float got = slot == SLOT_NONE ? 0 : row_weights(table_record(store->table[2], slot))[0];
        if (got != (float)(w->conf.epochs * w->conf.records))
            sim_fail(w, "I10", "%g records are counted in the dense block", (double)got);
    }
    store_free(store);
    manifest_release(&m);
}
