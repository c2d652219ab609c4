/* snapshot_world.c - see snapshot_world.h. Asserts are plain ones: a broken world is the test's fault. */
#include "tests/support/snapshot_world.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/options.h"
#include "ps/snapshot/cut_file.h"

#define SLICE 4096u

void world_plan(struct plan *p)
{
    const struct job_optim optim = {.kind = JOB_ADAM, .rate = .01};
    memset(p, 0, sizeof *p);
    p->seed = 7;
    plan_add_sparse(p, "embedding", 8, PLAN_NORMAL, .1, &optim);
    plan_add_sparse(p, "linear", 1, PLAN_ZERO, 0, &optim);
    plan_add_tensor(p, PLAN_DENSE, "mlp.0.weight", 2, (uint64_t[]){40, 17}, PLAN_NORMAL, .1,
                    &optim);
    plan_add_tensor(p, PLAN_DENSE, "mlp.0.bias", 1, (uint64_t[]){40}, PLAN_ZERO, 0, &optim);
    plan_add_tensor(p, PLAN_DENSE, "mlp.1.weight", 2, (uint64_t[]){64, 40}, PLAN_NORMAL, .1,
                    &optim);
    plan_add_tensor(p, PLAN_STAT, "bn.mean", 1, (uint64_t[]){300}, PLAN_ZERO, 0, &optim);
}

static void shard_init(struct world *w, uint32_t i)
{
    struct world_shard *s = &w->shard[i];
    struct errbuf err;
    enum status st = store_new(&w->plan, w->state, (uint64_t)64 << 20, &s->store, &err);
    assert(st == ST_OK);
    for (uint32_t t = 0; t < w->plan.tables_used; t++) {
        uint64_t first, end;
        if (w->plan.tables[t].kind == PLAN_SPARSE)
            continue;
        plan_blocks_of(&w->plan.tables[t], i, w->shards, &first, &end);
        for (uint64_t b = first; b < end; b++) {
            uint32_t slot;
            st = table_add(s->store->table[t], b, &slot, &err);
            assert(st == ST_OK);
        }
    }
    s->open = undo_new();
    s->taken = undo_new();
    s->stamp = 1;
    cut_hash_init(&s->hash, w->plan.tables_used);
}

void world_init(struct world *w, uint32_t shards, uint64_t seed)
{
    assert(shards <= WORLD_SHARDS);
    memset(w, 0, sizeof *w);
    world_plan(&w->plan);
    for (uint32_t t = 0; t < w->plan.tables_used; t++)
        w->state[t] = w->plan.tables[t].kind == PLAN_STAT ? 0 : 2 * w->plan.tables[t].dim;
    w->shards = shards;
    w->rng.key = seed;
    w->e = 1;
    for (uint32_t b = 0; b < BUCKETS; b++)
        w->map[b] = (uint16_t)(b * shards / BUCKETS);
    for (uint32_t i = 0; i < shards; i++)
        shard_init(w, i);
}

void world_remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return;
    const struct dirent *entry;
    while ((entry = readdir(d)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(d), entry->d_name, 0) != 0) {
            char *sub = file_join(dir, entry->d_name);
            world_remove_dir(sub);
            free(sub);
        }
    }
    closedir(d);
    rmdir(dir);
}

void world_release(struct world *w)
{
    for (uint32_t i = 0; i < w->shards; i++) {
        store_free(w->shard[i].store);
        undo_free(w->shard[i].open);
        undo_free(w->shard[i].taken);
        cut_hash_release(&w->shard[i].hash);
    }
    if (w->dir[0] != '\0')
        world_remove_dir(w->dir);
    manifest_release(&w->last);
    plan_release(&w->plan);
}

const char *world_dir(struct world *w)
{
    const char *tmp = option_env("TMPDIR");
    snprintf(w->dir, sizeof w->dir, "%s/snapshot.XXXXXX", tmp != NULL ? tmp : "/tmp");
    const char *made = mkdtemp(w->dir);
    assert(made != NULL);
    char *plan = plan_text(&w->plan), *path = file_join(w->dir, "plan.json");
    enum status st = file_write_atomic(path, plan, strlen(plan), NULL);
    assert(st == ST_OK);
    free(path);
    free(plan);
    return w->dir;
}

static void change(struct world *w, struct world_shard *s, uint32_t table, uint32_t slot)
{
    struct row_meta *meta = table_record(s->store->table[table], slot);
    float *w_ = row_weights(meta);
    uint32_t floats =
        table_dim(s->store->table[table]) + table_state_floats(s->store->table[table]);
    if (table == 0) /* missed steps are replayed at the touch */
        world_render(NULL, table, meta, s->step - 1);
    meta->last_step = (uint32_t)s->step;
    meta->freq = (uint16_t)(meta->freq + (meta->freq < UINT16_MAX));
    if (table == 0) {
        for (uint32_t j = 0; j < floats; j++)
            w_[j] = (float)(int)(rng_next(&w->rng) % 4096);
        return;
    }
    uint32_t used =
        w->plan.tables[table].kind == PLAN_SPARSE ? floats : 40; /* padding stays zero */
    for (uint32_t j = 0; j < used; j++)
        w_[j] += (float)(rng_next_unit(&w->rng) - .5);
}

static void touch_row(struct world *w, struct world_shard *s, uint32_t table, uint64_t key)
{
    uint32_t slot;
    table_find(s->store->table[table], &key, 1, &slot);
    if (slot == SLOT_NONE) {
        enum status st = table_add(s->store->table[table], key, &slot, NULL);
        assert(st == ST_OK);
        undo_added(s->open, s->store, table, slot, key, s->stamp);
    } else {
        undo_touch(s->open, s->store, table, slot, key, s->stamp);
    }
    change(w, s, table, slot);
}

static void touch_blocks(struct world *w, struct world_shard *s, uint32_t i)
{
    for (uint32_t t = 0; t < w->plan.tables_used; t++) {
        uint64_t first, end;
        if (w->plan.tables[t].kind == PLAN_SPARSE)
            continue;
        plan_blocks_of(&w->plan.tables[t], i, w->shards, &first, &end);
        for (uint64_t b = first; b < end; b++)
            touch_row(w, s, t, b);
    }
}

void world_push(struct world *w, uint32_t n, uint64_t keys)
{
    bool dense = rng_below(&w->rng, 3) == 0;
    for (uint32_t i = 0; i < w->shards; i++)
        w->shard[i].step++;
    for (uint32_t j = 0; j < n; j++) {
        uint64_t key = hash_u64(rng_below(&w->rng, keys)); /* all 64 bits are used */
        struct world_shard *s = &w->shard[w->map[hash_bucket(key)]];
        touch_row(w, s, 0, key);
        if (key % 3 == 0)
            touch_row(w, s, 1, key);
    }
    for (uint32_t i = 0; i < w->shards && dense; i++)
        touch_blocks(w, &w->shard[i], i);
}

void world_take(struct world *w)
{
    for (uint32_t i = 0; i < w->shards; i++) {
        struct world_shard *s = &w->shard[i];
        struct undo *swap = s->taken;
        assert(undo_entries(s->taken) == 0);
        s->taken = s->open;
        s->open = swap;
        s->taken_step = s->step;
        s->stamp++;
    }
}

void world_complete(struct world *w, const struct cut_hash *const *hash)
{
    for (uint32_t i = 0; i < w->shards; i++) {
        struct world_shard *s = &w->shard[i];
        undo_reset(s->taken);
        for (uint32_t t = 0; t < w->plan.tables_used; t++) {
            memcpy(s->hash.bucket[t], hash[i]->bucket[t], BUCKETS * sizeof(uint64_t));
            s->hash.rows[t] = hash[i]->rows[t];
            s->hash.weights[t] = hash[i]->weights[t];
        }
    }
}

void world_abandon(struct world *w)
{
    for (uint32_t i = 0; i < w->shards; i++) {
        struct world_shard *s = &w->shard[i];
        undo_fold(s->taken, s->open, s->store, s->stamp);
        struct undo *swap = s->taken;
        s->taken = s->open;
        s->open = swap;
        undo_check(s->open, s->store, s->stamp);
    }
}

void world_render(void *ctx, uint32_t table, void *record, uint64_t step)
{
    struct row_meta *meta = record;
    (void)ctx;
    if (table != 0 || meta->last_step >= step)
        return;
    for (uint32_t j = 0; j < 8; j++)
        row_weights(record)[j] -= (float)(step - meta->last_step);
    meta->last_step = (uint32_t)step;
}

struct cut_conf world_cut_conf(struct world *w, uint32_t shard, uint64_t k, bool full)
{
    struct world_shard *s = &w->shard[shard];
    return (struct cut_conf){.plan = &w->plan,
                             .store = s->store,
                             .taken = s->taken,
                             .open = s->open,
                             .open_stamp = s->stamp,
                             .hash = &s->hash,
                             .render = world_render,
                             .job = 99,
                             .e = w->e,
                             .k = k,
                             .shard = shard,
                             .shards = w->shards,
                             .step = s->taken_step,
                             .rendered = w->rendered,
                             .full = full,
                             .audit = full};
}

static void write_file(struct world *w, struct cut *c, uint32_t shard, uint64_t k, bool full,
                       struct manifest_file *out, void (*between)(struct world *w))
{
    struct errbuf err = ERRBUF_INIT;
    struct cut_file *f;
    struct buffer bytes = BUFFER_INIT;
    bool done = false;
    enum status st = cut_file_open(w->dir, k, w->e, shard, full, false, &f, &err);
    assert(st == ST_OK);
    while (!done) {
        buffer_reset(&bytes);
        cut_next(c, SLICE, &bytes, &done);
        st = cut_file_add(f, bytes.data, bytes.used, &err);
        assert(st == ST_OK);
        if (between != NULL)
            between(w);
    }
    st = cut_file_finish(f, out, &err);
    assert(st == ST_OK && out->bytes == cut_total_bytes(c));
    out->rows = cut_rows(c);
    buffer_release(&bytes);
}

static void commit(struct world *w, uint64_t k, bool full, const struct manifest_file *files,
                   const struct cut_hash *const *hash)
{
    struct manifest *m = &w->last;
    size_t kept = full ? 0 : m->files_used;
    m->files = mem_realloc(m->files, (kept + w->shards) * sizeof *m->files);
    memcpy(m->files + kept, files, w->shards * sizeof *files);
    m->files_used = kept + w->shards;
    m->prev = full ? 0 : m->k;
    m->job = 99;
    m->k = k;
    m->e = w->e;
    m->shards = w->shards;
    memcpy(m->map, w->map, sizeof m->map);
    m->tables = (uint32_t)w->plan.tables_used;
    for (uint32_t t = 0; t < m->tables; t++) {
        m->hash[t] = m->rows[t] = m->weights[t] = 0;
        for (uint32_t i = 0; i < w->shards; i++) {
            m->hash[t] += cut_hash_sum(hash[i], t);
            m->rows[t] += hash[i]->rows[t];
            m->weights[t] += hash[i]->weights[t];
        }
        snprintf(m->table_name[t], sizeof m->table_name[t], "%s", w->plan.tables[t].name);
    }
    m->step = w->shard[0].taken_step;
    m->rendered = w->rendered;
    m->wall_us = 1700000000000000u + k;
    char name[32], *text = manifest_text(m), *cuts = file_join(w->dir, "cuts");
    snprintf(name, sizeof name, "%llu.json", (unsigned long long)k);
    enum status st = file_mkdirs(cuts, NULL);
    char *path = file_join(cuts, name);
    if (st == ST_OK)
        st = file_write_atomic(path, text, strlen(text), NULL);
    assert(st == ST_OK);
    free(path);
    free(cuts);
    free(text);
}

void world_write(struct world *w, uint64_t k, bool full, void (*between)(struct world *w))
{
    struct cut *c[WORLD_SHARDS];
    struct manifest_file file[WORLD_SHARDS];
    const struct cut_hash *hash[WORLD_SHARDS];
    for (uint32_t i = 0; i < w->shards; i++) {
        struct cut_conf conf = world_cut_conf(w, i, k, full);
        enum status st = cut_begin(&conf, &c[i], NULL);
        assert(st == ST_OK);
        hash[i] = cut_new_hash(c[i]);
    }
    for (uint32_t i = 0; i < w->shards; i++) {
        uint32_t table = 0;
        write_file(w, c[i], i, k, full, &file[i], between);
        assert(cut_sound(c[i], &table));
    }
    if (full)
        w->rendered = w->shard[0].taken_step;
    commit(w, k, full, file, hash);
    world_complete(w, hash);
    for (uint32_t i = 0; i < w->shards; i++)
        cut_free(c[i]);
}

void world_cut(struct world *w, uint64_t k, bool full, void (*between)(struct world *w))
{
    world_take(w);
    world_write(w, k, full, between);
}

/* -- photographs -- */

struct line {
    uint32_t table;
    uint64_t key;
    const struct store *store;
    uint32_t slot;
};

static int by_key(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    if (x->table != y->table)
        return x->table < y->table ? -1 : 1;
    return x->key < y->key ? -1 : x->key > y->key;
}

static void shot_of(struct shot *s, const struct store *const *stores, size_t n, uint64_t step)
{
    struct line *line = NULL;
    size_t used = 0, cap = 0;
    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < n; i++) {
        for (uint32_t t = 0; t < stores[i]->tables; t++) {
            uint64_t cursor = 0, key;
            uint32_t slot;
            while (table_scan(stores[i]->table[t], &cursor, 1, &key, &slot) > 0) {
                mem_grow(&line, &cap, used + 1, sizeof *line);
                line[used++] = (struct line){t, key, stores[i], slot};
            }
        }
    }
    if (used > 0)
        qsort(line, used, sizeof *line, by_key);
    uint8_t *copy = mem_alloc(1 << 16);
    for (size_t i = 0; i < used; i++) {
        const struct table *t = line[i].store->table[line[i].table];
        size_t bytes = table_record_bytes(t);
        memcpy(copy, table_record(t, line[i].slot), bytes);
        world_render(NULL, line[i].table, copy, step);
        buffer_u32(&s->bytes, line[i].table);
        buffer_u64(&s->bytes, line[i].key);
        buffer_put(&s->bytes, copy, 8);
        buffer_put(&s->bytes, copy + sizeof(struct row_meta), bytes - sizeof(struct row_meta));
    }
    s->rows = used;
    free(copy);
    free(line);
}

void shot_store(struct shot *s, const struct store *store)
{
    shot_of(s, &store, 1, 0);
}

static void shot_shards(struct shot *s, const struct world *w, uint64_t step)
{
    const struct store *stores[WORLD_SHARDS];
    for (uint32_t i = 0; i < w->shards; i++)
        stores[i] = w->shard[i].store;
    shot_of(s, stores, w->shards, step);
}

void shot_world(struct shot *s, const struct world *w)
{
    shot_shards(s, w, 0);
}

void shot_rendered(struct shot *s, const struct world *w, uint64_t step)
{
    shot_shards(s, w, step);
}

bool shot_equal(const struct shot *a, const struct shot *b)
{
    return a->rows == b->rows && a->bytes.used == b->bytes.used &&
           memcmp(a->bytes.data, b->bytes.data, a->bytes.used) == 0;
}

void shot_release(struct shot *s)
{
    buffer_release(&s->bytes);
}

uint64_t world_full_hash(const struct world *w, uint32_t shard, uint32_t table, uint64_t step)
{
    const struct table *t = w->shard[shard].store->table[table];
    uint8_t *copy = mem_alloc(table_record_bytes(t));
    uint64_t cursor = 0, key, sum = 0;
    uint32_t slot;
    while (table_scan(t, &cursor, 1, &key, &slot) > 0) {
        memcpy(copy, table_record(t, slot), table_record_bytes(t));
        world_render(NULL, table, copy, step);
        sum += cut_record_hash(&w->plan.tables[table], w->state[table], key, copy);
    }
    free(copy);
    return sum;
}
