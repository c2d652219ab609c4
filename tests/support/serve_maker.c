/* serve_maker.c - see serve_maker.h. */
#include "tests/support/serve_maker.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "ps/snapshot/cut_hash.h"
#include "ps/snapshot/names.h"

#define SPARSE 2u

enum event { NOTHING, CHANGED, REMOVED };

void maker_init(struct maker *m, uint64_t seed, uint64_t keys)
{
    const struct job_optim optim = {.kind = JOB_SGD, .rate = .01};
    memset(m, 0, sizeof(*m));
    m->seed = seed;
    m->keys = keys;
    m->change = 50;
    m->remove = 10;
    m->plan.seed = seed;
    plan_add_sparse(&m->plan, "embedding", 8, PLAN_NORMAL, .1, &optim);
    plan_add_sparse(&m->plan, "linear", 1, PLAN_ZERO, 0, &optim);
    plan_add_tensor(&m->plan, PLAN_DENSE, "w", 2, (uint64_t[]){30, 50}, PLAN_NORMAL, .1, &optim);
    plan_add_tensor(&m->plan, PLAN_DENSE, "b", 1, (uint64_t[]){70}, PLAN_ZERO, 0, &optim);
    plan_add_tensor(&m->plan, PLAN_STAT, "mean", 1, (uint64_t[]){300}, PLAN_ZERO, 0, &optim);
}

void maker_release(struct maker *m)
{
    plan_release(&m->plan);
}

uint32_t maker_shards(uint64_t k)
{
    return 1 + (uint32_t)(k / 7 % 4);
}

uint64_t maker_key(uint64_t i)
{
    return 1000003 + 3 * i;
}

static uint64_t keys_at(const struct maker *m, uint64_t k)
{
    return m->keys + k * m->grow;
}

static enum event event_of(const struct maker *m, uint32_t t, uint64_t i, uint64_t k)
{
    if (i >= keys_at(m, k)) {
        return NOTHING;
    }
    const uint64_t draw = hash_u64(hash_u64(m->seed + 977 * t + i) + k) % 1000;
    if (k == 1 || i >= keys_at(m, k - 1)) {
        return draw < 800 ? CHANGED : NOTHING;
    }
    return draw < m->remove ? REMOVED : draw < m->remove + m->change ? CHANGED : NOTHING;
}

bool maker_row(const struct maker *m, uint32_t t, uint64_t i, uint64_t k, float *out)
{
    enum event e = NOTHING;
    while (k > 0 && (e = event_of(m, t, i, k)) == NOTHING) {
        k--;
    }
    if (e != CHANGED) {
        return false;
    }
    for (uint32_t j = 0; j < m->plan.tables[t].dim; j++) {
        out[j] = (float)(k * 1000 + j) + (float)(i % 997) / 1024;
    }
    if (k == m->poison_k && t == 0 && i % 101 == 5) {
        out[3] = NAN;
    }
    return true;
}

/* Block b of a dense kind at cut k, padded. */
static void block_of(const struct maker *m, uint32_t t, uint64_t b, uint64_t k, float *out)
{
    const struct plan_table *pt = &m->plan.tables[t];
    const struct plan_tensor *x = pt->tensors;
    while (b >= x->block_first + x->blocks) {
        x++;
    }
    const uint64_t all = x->shape[0] * (x->dims == 2 ? x->shape[1] : 1);
    for (uint64_t j = 0; j < DENSE_BLOCK; j++) {
        const bool inside = (b - x->block_first) * DENSE_BLOCK + j < all;
        out[j] = inside ? (float)(k + t) + (float)(b * DENSE_BLOCK + j) / 4096 : 0;
    }
}

/* -- manifests -- */

static void add_files(struct manifest *m, uint64_t k, bool full)
{
    for (uint32_t s = 0; s < maker_shards(k); s++) {
        struct manifest_file *f = &m->files[m->files_used++];
        const struct names_file named = {k, 1 + k / 7, s, full, false};
        char name[NAMES_MAX];
        names_data(name, &named);
        *f = (struct manifest_file){
            .k = k, .e = named.e, .shard = s, .full = full, .bytes = 1, .xxh3 = k + s};
        snprintf(f->name, sizeof(f->name), "data/%.80s", name);
    }
}

static void sum_table(const struct maker *m, uint32_t t, struct manifest *out)
{
    const struct plan_table *pt = &m->plan.tables[t];
    const uint64_t seed = cut_table_seed(pt->name);
    float w[DENSE_BLOCK];
    for (uint64_t b = 0; pt->kind != PLAN_SPARSE && b < pt->blocks; b++) {
        block_of(m, t, b, out->k, w);
        out->weights[t] += cut_weights_hash(seed, b, w, sizeof(w));
        out->rows[t]++;
    }
    for (uint64_t i = 0; pt->kind == PLAN_SPARSE && i < keys_at(m, out->k); i++) {
        if (maker_row(m, t, i, out->k, w)) {
            out->weights[t] += cut_weights_hash(seed, maker_key(i), w, 4 * (size_t)pt->dim);
            out->rows[t]++;
        }
    }
}

void maker_manifest(const struct maker *m, uint64_t k, uint64_t full, struct manifest *out)
{
    manifest_init(out);
    out->job = 99;
    out->k = k;
    out->e = 1 + k / 7;
    out->prev = k - 1;
    out->shards = maker_shards(k);
    out->wall_us = 1000 + k;
    out->files = mem_array((k - full + 1) * 4, sizeof(*out->files));
    add_files(out, full, true);
    for (uint64_t d = full + 1; d <= k; d++) {
        add_files(out, d, false);
    }
    out->tables = (uint32_t)m->plan.tables_used;
    for (uint32_t t = 0; t < out->tables; t++) {
        snprintf(out->table_name[t], PLAN_NAME_MAX, "%s", m->plan.tables[t].name);
        sum_table(m, t, out);
    }
    out->weights[0] ^= k == m->forge_k;
}

/* -- parts -- */

static bool in_file(const struct maker *m, const struct manifest_file *f, uint32_t t, uint64_t i,
                    float *w, bool *out_tomb)
{
    *out_tomb = false;
    if (i % maker_shards(f->k) != f->shard) {
        return false;
    }
    if (f->full) {
        return maker_row(m, t, i, f->k, w);
    }
    const enum event e = event_of(m, t, i, f->k);
    *out_tomb = e == REMOVED && maker_row(m, t, i, f->k - 1, w);
    return e == CHANGED && maker_row(m, t, i, f->k, w);
}

static uint8_t *fill_sparse(const struct maker *m, const struct manifest_file *f, uint32_t t,
                            struct part_table *to, uint8_t *at)
{
    const uint32_t dim = m->plan.tables[t].dim;
    const uint64_t keys = keys_at(m, f->k);
    uint8_t *ids = at, *tomb = ids + 8 * keys, *rows = tomb + 8 * keys;
    float w[DENSE_BLOCK];
    *to = (struct part_table){.dim = dim, .ids = ids, .tomb = tomb, .weights = rows};
    for (uint64_t i = 0; i < keys; i++) {
        bool gone;
        const uint64_t key = maker_key(i);
        if (in_file(m, f, t, i, w, &gone)) {
            memcpy(ids + 8 * to->n, &key, 8);
            memcpy(rows + 4 * (size_t)dim * to->n++, w, 4 * (size_t)dim);
        } else if (gone) {
            memcpy(tomb + 8 * to->tombs++, &key, 8);
        }
    }
    return rows + 4 * (size_t)dim * keys;
}

static uint8_t *fill_dense(const struct maker *m, const struct manifest_file *f, uint32_t t,
                           struct part_table *to, uint8_t *at)
{
    uint64_t first, end;
    plan_blocks_of(&m->plan.tables[t], f->shard, maker_shards(f->k), &first, &end);
    *to = (struct part_table){.dim = DENSE_BLOCK, .n = end - first};
    to->block = mem_array(end - first + 1, sizeof(*to->block));
    for (uint64_t b = first; b < end; b++, at += 4 * DENSE_BLOCK) {
        block_of(m, t, b, f->k, (float *)(void *)at);
        to->block[b - first] =
            (struct part_block){b, {.weights = at, .weight_bytes = 4 * DENSE_BLOCK}};
    }
    return at;
}

static enum status maker_part(void *ctx, const struct manifest *man, size_t file,
                              const struct plan *plan, struct part *out, struct errbuf *err)
{
    struct maker *m = ctx;
    const struct manifest_file *f = &man->files[file];
    m->parts++;
    if (f->k == m->damaged_k && m->damaged > 0) {
        m->damaged--;
        return errbuf_set(err, ST_BAD_DATA, "%s: damaged", f->name);
    }
    size_t bytes = 4096;
    for (uint32_t t = 0; t < plan->tables_used; t++) {
        const struct plan_table *pt = &plan->tables[t];
        const size_t n = pt->kind == PLAN_SPARSE ? keys_at(m, f->k) : pt->blocks;
        bytes += n * (16 + 4 * (size_t)pt->dim);
    }
    uint8_t *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            *at = map;
    memset(out, 0, sizeof(*out));
    out->file.map = (struct file_map){map, bytes};
    out->k = f->k;
    out->tables = plan->tables_used;
    snprintf(out->name, sizeof(out->name), "%s", f->name);
    for (uint32_t t = 0; t < plan->tables_used; t++) {
        at = plan->tables[t].kind == PLAN_SPARSE ? fill_sparse(m, f, t, &out->table[t], at)
                                                 : fill_dense(m, f, t, &out->table[t], at);
        at = map + (((size_t)(at - map) + 7) & ~(size_t)7);
    }
    return ST_OK;
}

struct source maker_source(struct maker *m)
{
    return (struct source){.ctx = m, .part = maker_part};
}

/* -- comparing -- */

static uint64_t differs(const struct maker *m, const struct version *v, uint32_t t, uint64_t i)
{
    float want[DENSE_BLOCK], got[DENSE_BLOCK];
    const uint64_t key = maker_key(i);
    size_t unknown = 0;
    const bool there = maker_row(m, t, i, version_cut(v), want);
    if (!there) {
        plan_init_row(&m->plan, t, key, want);
    }
    version_rows(v, t, &key, 1, got, &unknown);
    return unknown != !there || memcmp(got, want, 4 * (size_t)m->plan.tables[t].dim) != 0;
}

static uint64_t dense_differs(const struct maker *m, const struct version *v, uint32_t t)
{
    float want[DENSE_BLOCK];
    const float *flat = m->plan.tables[t].kind == PLAN_DENSE ? version_dense(v) : version_stat(v);
    uint64_t n = 0;
    for (uint64_t b = 0; b < m->plan.tables[t].blocks; b++) {
        block_of(m, t, b, version_cut(v), want);
        n += memcmp(flat + b * DENSE_BLOCK, want, sizeof(want)) != 0;
    }
    return n;
}

uint64_t maker_differs(const struct maker *m, const struct version *v)
{
    uint64_t n = 0;
    for (uint32_t t = 0; t < m->plan.tables_used; t++) {
        if (m->plan.tables[t].kind != PLAN_SPARSE) {
            n += dense_differs(m, v, t);
            continue;
        }
        for (uint64_t i = 0; i < keys_at(m, version_cut(v)) + 10; i++) {
            n += differs(m, v, t, i);
        }
    }
    return n;
}

uint64_t maker_differs_some(const struct maker *m, const struct version *v, uint64_t *at, size_t n)
{
    uint64_t bad = dense_differs(m, v, SPARSE);
    for (size_t i = 0; i < n; i++) {
        *at = hash_u64(*at + 1);
        bad += differs(m, v, (uint32_t)(*at % SPARSE), *at / 7 % (keys_at(m, version_cut(v)) + 10));
    }
    return bad;
}
