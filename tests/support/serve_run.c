/* serve_run.c - see serve_run.h. */
#include "tests/support/serve_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/feature/encode.h"

static const char job_text[] = "data:\n"
                               "  train: train.csv\n"
                               "  fields:\n"
                               "    - {name: label, type: label}\n"
                               "    - {name: user, type: user}\n"
                               "    - {name: item, type: item}\n"
                               "model: {family: lr}\n";

static void put_file(const struct world *w, const char *name, const char *text, size_t n)
{
    char *path = file_join(w->dir, name);
    struct errbuf err = ERRBUF_INIT;
    if (file_write_atomic(path, text, n, &err) != ST_OK) {
        fail_msg("%s", err.text);
    }
    free(path);
}

static void put_encoder(struct world *w)
{
    struct job job;
    struct encoder *e = NULL;
    struct errbuf err = ERRBUF_INIT;
    char *job_path = file_join(w->dir, "resolved.yaml"), *cache = file_join(w->dir, "cache");
    char *path = file_join(cache, "encoder.bin");
    if (job_load(job_path, NULL, 0, &job, &err) != ST_OK || encoder_new(&job, &e, &err) != ST_OK ||
        file_mkdirs(cache, &err) != ST_OK || encoder_save(e, path, &err) != ST_OK) {
        fail_msg("%s", err.text);
    }
    w->last.encoder_hash = e->hash;
    encoder_free(e);
    job_release(&job);
    free(path);
    free(cache);
    free(job_path);
}

struct world *serve_run_new(uint32_t shards, uint64_t seed)
{
    struct world *w = mem_alloc(sizeof(*w));
    char *plan, id[32];
    world_init(w, shards, seed);
    (void)world_dir(w);
    plan = plan_text(&w->plan);
    w->last.plan_hash = hash_bytes(plan, strlen(plan), 0);
    free(plan);
    snprintf(id, sizeof(id), "%016d\n", 63);
    put_file(w, "job", id, 17);
    put_file(w, "resolved.yaml", job_text, sizeof(job_text) - 1);
    put_encoder(w);
    return w;
}

void serve_run_free(struct world *w)
{
    world_release(w);
    free(w);
}

void serve_run_cut(struct world *w, uint64_t k, bool full)
{
    world_cut(w, k, full, NULL);
}

/* -- another number of shards -- */

static uint32_t owner(const struct world *w, uint32_t t, uint64_t key)
{
    for (uint32_t s = 0; s < w->shards && w->plan.tables[t].kind != PLAN_SPARSE; s++) {
        uint64_t first, end;
        plan_blocks_of(&w->plan.tables[t], s, w->shards, &first, &end);
        if (key >= first && key < end) {
            return s;
        }
    }
    return w->map[hash_bucket(key)];
}

static void move_rows(struct world *to, uint32_t t, const struct table *from)
{
    uint64_t cursor = 0, key;
    uint32_t slot, added;
    while (table_scan(from, &cursor, 1, &key, &slot) > 0) {
        struct table *table = to->shard[owner(to, t, key)].store->table[t];
        assert_int_equal(table_add(table, key, &added, NULL), ST_OK);
        struct row_meta *meta = table_record(table, added);
        memcpy(meta, table_record(from, slot), table_record_bytes(from));
        meta->stamp = meta->image = 0; /* of no log */
    }
}

struct world *serve_run_reshard(struct world *w, uint32_t shards)
{
    struct world *next = mem_alloc(sizeof(*next));
    world_init(next, shards, w->rng.key + 1);
    for (uint32_t i = 0; i < shards; i++) {
        store_free(next->shard[i].store);
        assert_int_equal(
            store_new(&next->plan, next->state, UINT64_MAX, &next->shard[i].store, NULL), ST_OK);
        next->shard[i].step = w->shard[0].step;
    }
    for (uint32_t i = 0; i < w->shards; i++) {
        for (uint32_t t = 0; t < w->plan.tables_used; t++) {
            move_rows(next, t, w->shard[i].store->table[t]);
        }
    }
    memcpy(next->dir, w->dir, sizeof(next->dir));
    next->e = w->e + 1;
    next->rendered = w->rendered;
    next->last.encoder_hash = w->last.encoder_hash;
    next->last.plan_hash = w->last.plan_hash;
    w->dir[0] = '\0';
    serve_run_free(w);
    return next;
}

/* -- comparing -- */

static void equal_rows(const struct world *w, const struct version *v, uint32_t s, uint32_t t)
{
    const struct table *table = w->shard[s].store->table[t];
    const size_t bytes = table_record_bytes(table);
    const uint32_t dim = table_dim(table);
    uint8_t *copy = mem_alloc(bytes);
    float *got = mem_array(dim, sizeof(*got));
    uint64_t cursor = 0, key;
    uint32_t slot;
    while (table_scan(table, &cursor, 1, &key, &slot) > 0) {
        size_t unknown = 1;
        memcpy(copy, table_record(table, slot), bytes);
        world_render(NULL, t, copy, w->rendered);
        if (w->plan.tables[t].kind == PLAN_SPARSE) {
            version_rows(v, t, &key, 1, got, &unknown);
            assert_int_equal(unknown, 0);
        } else {
            const float *flat =
                w->plan.tables[t].kind == PLAN_DENSE ? version_dense(v) : version_stat(v);
            memcpy(got, flat + key * DENSE_BLOCK, DENSE_BLOCK * sizeof(*got));
        }
        assert_memory_equal(got, row_weights(copy), dim * sizeof(*got));
    }
    free(got);
    free(copy);
}

void serve_run_equal(const struct world *w, const struct version *v)
{
    for (uint32_t t = 0; t < w->plan.tables_used; t++) {
        uint64_t rows = 0;
        for (uint32_t s = 0; s < w->shards; s++) {
            rows += table_rows(w->shard[s].store->table[t]);
            equal_rows(w, v, s, t);
        }
        assert_int_equal(version_table_rows(v, t), rows);
        assert_int_equal(version_table_hash(v, t), w->last.weights[t]);
        float mine[512], init[512];
        const uint64_t nobody = 12345; /* no key of the world's is this small */
        size_t unknown = 0;
        if (w->plan.tables[t].kind == PLAN_SPARSE) {
            version_rows(v, t, &nobody, 1, mine, &unknown);
            plan_init_row(&w->plan, t, nobody, init);
            assert_int_equal(unknown, 1);
            assert_memory_equal(mine, init, w->plan.tables[t].dim * sizeof(float));
        }
    }
}

/* -- harm -- */

static void set_first(struct world *w, float x)
{
    uint64_t cursor = 0, key;
    uint32_t slot;
    struct world_shard *s = &w->shard[0];
    assert_true(table_scan(s->store->table[1], &cursor, 1, &key, &slot) == 1);
    undo_touch(s->open, s->store, 1, slot, key, s->stamp);
    row_weights(table_record(s->store->table[1], slot))[0] = x;
}

void serve_run_poison(struct world *w)
{
    set_first(w, NAN);
}

void serve_run_heal(struct world *w)
{
    set_first(w, 1);
}

void serve_run_manifest(const struct world *w, const struct manifest *m)
{
    char name[64], *text = manifest_text(m);
    snprintf(name, sizeof(name), "cuts/%" PRIu64 ".json", m->k);
    put_file(w, name, text, strlen(text));
    free(text);
}

void serve_run_forge(struct world *w, uint64_t k)
{
    struct manifest m;
    assert_int_equal(manifest_read(w->dir, k, &m, NULL), ST_OK);
    m.weights[0] ^= 1;
    serve_run_manifest(w, &m);
    manifest_release(&m);
}

void serve_run_flip(const char *path)
{
    char *bytes = NULL;
    size_t n = 0;
    assert_int_equal(file_read(path, (size_t)1 << 30, &bytes, &n, NULL), ST_OK);
    bytes[n / 2] ^= 16;
    assert_int_equal(file_write_atomic(path, bytes, n, NULL), ST_OK);
    free(bytes);
}
