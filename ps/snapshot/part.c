/* part.c - see part.h.
 *
 * Tensors are looked for by the names the plan calls for; a tensor that nothing asked for belongs to a
 * table the plan doesn't know, and is an error: a file that is understood in part is not understood.
 */
#include "ps/snapshot/part.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "ps/snapshot/names.h"

struct parse {
    struct part *p;
    const struct plan *plan;
    bool *used; /* by tensor; owned */
};

static uint64_t load_u64(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return v;
}

uint64_t part_key(const struct part_table *t, uint64_t i)
{
    return t->block != NULL ? t->block[i].key : load_u64(t->ids + 8 * i);
}

uint64_t part_tomb(const struct part_table *t, uint64_t i)
{
    return load_u64(t->tomb + 8 * i);
}

struct part_row part_row(const struct part_table *t, uint64_t i)
{
    if (t->block != NULL)
        return t->block[i].row;
    uint32_t weight_bytes = 4 * t->dim, state_bytes = 4 * t->state_floats;
    return (struct part_row){t->meta + 8 * i, t->weights + i * weight_bytes,
                             t->state + i * state_bytes, weight_bytes, state_bytes};
}

size_t part_floats(const struct part_table *t, const struct part_row *row, void *dst)
{
    size_t full = 4 * (size_t)t->dim;
    memcpy(dst, row->weights, row->weight_bytes);
    memset((char *)dst + row->weight_bytes, 0, full - row->weight_bytes);
    memcpy((char *)dst + full, row->state, row->state_bytes);
    return full + row->state_bytes;
}

uint64_t part_rows(const struct part *p)
{
    uint64_t rows = 0;
    for (size_t t = 0; t < p->tables; t++)
        rows += p->table[t].n;
    return rows;
}

/* -- finding tensors -- */

/* The tensor base + suffix, marked as used, or NULL. */
static const struct tensor_info *take(struct parse *x, const char *base, const char *suffix)
{
    char name[160];
    snprintf(name, sizeof name, "%s%s", base, suffix);
    const struct tensor_info *t = safetensors_find(&x->p->file, name);
    if (t != NULL)
        x->used[t - x->p->file.tensors] = true;
    return t;
}

/* The same, which must be there with this type and shape; width UINT64_MAX: any. */
static enum status take_matrix(struct parse *x, const char *base, const char *suffix,
                               enum tensor_type type, uint64_t rows, uint64_t width,
                               const struct tensor_info **out, struct errbuf *err)
{
    const struct tensor_info *t = take(x, base, suffix);
    if (t == NULL)
        return errbuf_set(err, ST_BAD_DATA, "tensor %s%s is missing", base, suffix);
    if (t->type != type || t->dims != 2 || t->shape[0] != rows ||
        (width != UINT64_MAX && t->shape[1] != width) || t->shape[1] > UINT32_MAX / 4)
        return errbuf_set(err, ST_BAD_DATA, "tensor %s%s has a wrong type or shape", base, suffix);
    *out = t;
    return ST_OK;
}

static const uint8_t *bytes_of(const struct parse *x, const struct tensor_info *t)
{
    return x->p->file.data + t->begin;
}

static enum status check_rising(const uint8_t *ids, uint64_t n, const char *base,
                                const char *suffix, struct errbuf *err)
{
    for (uint64_t i = 1; i < n; i++)
        if (load_u64(ids + 8 * i) <= load_u64(ids + 8 * (i - 1)))
            return errbuf_set(err, ST_BAD_DATA, "tensor %s%s: ids are not rising at %" PRIu64, base,
                              suffix, i);
    return ST_OK;
}

/* Bit 15 of a row's flags is the table's own sign of a free record: no row of a file may carry it. */
static enum status check_flags(const uint8_t *meta, uint64_t n, const char *base,
                               struct errbuf *err)
{
    for (uint64_t i = 0; i < n; i++)
        if ((meta[8 * i + 7] & 0x80) != 0)
            return errbuf_set(err, ST_BAD_DATA, "tensor %s.meta: impossible flags at %" PRIu64,
                              base, i);
    return ST_OK;
}

static enum status take_ids(struct parse *x, const char *base, const char *suffix,
                            const uint8_t **out, uint64_t *out_n, struct errbuf *err)
{
    const struct tensor_info *t = take(x, base, suffix);
    if (t == NULL)
        return ST_OK;
    if (t->type != TENSOR_U64 || t->dims != 1)
        return errbuf_set(err, ST_BAD_DATA, "tensor %s%s has a wrong type or shape", base, suffix);
    enum status st = check_rising(bytes_of(x, t), t->shape[0], base, suffix, err);
    if (st == ST_OK) {
        *out = bytes_of(x, t);
        *out_n = t->shape[0];
    }
    return st;
}

static enum status parse_sparse(struct parse *x, const struct plan_table *pt, struct part_table *t,
                                struct errbuf *err)
{
    char base[64];
    const struct tensor_info *rows = NULL, *state = NULL, *meta = NULL;
    snprintf(base, sizeof base, "emb.%s", pt->name);
    t->dim = pt->dim;
    enum status st = take_ids(x, base, ".tomb", &t->tomb, &t->tombs, err);
    if (st == ST_OK)
        st = take_ids(x, base, ".ids", &t->ids, &t->n, err);
    if (st != ST_OK || t->ids == NULL) /* a file from before the table was there */
        return st;
    st = take_matrix(x, base, ".rows", TENSOR_F32, t->n, pt->dim, &rows, err);
    if (st == ST_OK)
        st = take_matrix(x, base, ".state", TENSOR_F32, t->n, UINT64_MAX, &state, err);
    if (st == ST_OK)
        st = take_matrix(x, base, ".meta", TENSOR_U32, t->n, 2, &meta, err);
    if (st != ST_OK)
        return st;
    t->weights = bytes_of(x, rows);
    t->state = bytes_of(x, state);
    t->meta = bytes_of(x, meta);
    t->state_floats = (uint32_t)state->shape[1];
    return check_flags(t->meta, t->n, base, err);
}

/* -- dense kinds -- */

struct run { /* blocks [first, first + blocks) of tensor `of`, `floats` floats */
    const struct plan_tensor *of;
    uint64_t first, blocks, floats;
};

static uint64_t elements_of(const struct plan_tensor *x)
{
    return x->shape[0] * (x->dims == 2 ? x->shape[1] : 1);
}

/* The tensor with this name. Files list tensors in the plan's order, so the search begins at *hint. */
static const struct plan_tensor *find_tensor(const struct plan_table *pt, const char *name,
                                             size_t n, size_t *hint)
{
    for (size_t i = 0; i < pt->tensors_used; i++) {
        size_t at = (*hint + i) % pt->tensors_used;
        const struct plan_tensor *x = &pt->tensors[at];
        if (strncmp(x->name, name, n) == 0 && x->name[n] == '\0') {
            *hint = at;
            return x;
        }
    }
    return NULL;
}

static bool whole_run(const struct plan_tensor *x, const struct tensor_info *t, struct run *out)
{
    *out = (struct run){x, 0, x->blocks, elements_of(x)};
    return t->dims == x->dims && t->shape[0] == x->shape[0] &&
           (x->dims < 2 || t->shape[1] == x->shape[1]);
}

static bool partial_run(const struct plan_tensor *x, uint64_t element, const struct tensor_info *t,
                        struct run *out)
{
    uint64_t all = elements_of(x), n = t->dims == 1 ? t->shape[0] : 0;
    if (n == 0 || element % DENSE_BLOCK != 0 || element >= all || n > all - element)
        return false;
    if ((element + n) % DENSE_BLOCK != 0 && element + n != all)
        return false;
    *out = (struct run){x, element / DENSE_BLOCK, (n + DENSE_BLOCK - 1) / DENSE_BLOCK, n};
    return true;
}

static bool ends_in(const char *name, const char *suffix)
{
    size_t n = strlen(name), s = strlen(suffix);
    return n > s && strcmp(name + n - s, suffix) == 0;
}

/* Is `t` the weights of a tensor of this table, and of which part of it? rest: its name behind
 * "dense.". What is not is left unmarked, and found by check_used. */
static enum status classify(const struct plan_table *pt, const struct tensor_info *t,
                            const char *rest, size_t *hint, struct run *out, struct errbuf *err)
{
    const struct plan_tensor *x = find_tensor(pt, rest, strlen(rest), hint);
    const char *dot = strrchr(rest, '.');
    uint64_t element;
    bool fits = false;
    out->of = NULL;
    if (x != NULL) {
        fits = whole_run(x, t, out);
    } else if (ends_in(rest, ".state") || ends_in(rest, ".meta")) {
        return ST_OK; /* taken with its weights */
    } else if (dot != NULL && names_parse_number(dot + 1, &element)) {
        x = find_tensor(pt, rest, (size_t)(dot - rest), hint);
        fits = x != NULL && partial_run(x, element, t, out);
    }
    if (x == NULL)
        return ST_OK;
    if (!fits || t->type != TENSOR_F32)
        return errbuf_set(err, ST_BAD_DATA, "tensor %s does not fit the plan's %s", t->name,
                          x->name);
    return ST_OK;
}

static enum status add_run(struct parse *x, const struct tensor_info *w, const struct run *run,
                           struct part_table *t, struct errbuf *err)
{
    const struct tensor_info *state = NULL, *meta = NULL;
    x->used[w - x->p->file.tensors] = true;
    enum status st =
        take_matrix(x, w->name, ".state", TENSOR_F32, run->blocks, UINT64_MAX, &state, err);
    if (st == ST_OK)
        st = take_matrix(x, w->name, ".meta", TENSOR_U32, run->blocks, 2, &meta, err);
    if (st == ST_OK)
        st = check_flags(bytes_of(x, meta), run->blocks, w->name, err);
    if (st != ST_OK)
        return st;
    uint64_t key = run->of->block_first + run->first;
    if (t->n > 0 && key <= t->block[t->n - 1].key)
        return errbuf_set(err, ST_BAD_DATA, "tensor %s is out of order", w->name);
    if (t->n > 0 && state->shape[1] != t->state_floats)
        return errbuf_set(err, ST_BAD_DATA, "tensor %s.state has another width than others",
                          w->name);
    t->state_floats = (uint32_t)state->shape[1];
    t->block = mem_realloc(t->block, (size_t)(t->n + run->blocks) * sizeof *t->block);
    uint32_t state_bytes = 4 * t->state_floats;
    for (uint64_t b = 0; b < run->blocks; b++) {
        uint64_t left = run->floats - b * DENSE_BLOCK;
        t->block[t->n++] = (struct part_block){
            key + b,
            {bytes_of(x, meta) + 8 * b, bytes_of(x, w) + 4 * DENSE_BLOCK * b,
             bytes_of(x, state) + state_bytes * b,
             4 * (uint32_t)(left < DENSE_BLOCK ? left : DENSE_BLOCK), state_bytes}};
    }
    return ST_OK;
}

static enum status parse_dense(struct parse *x, const struct plan_table *pt, struct part_table *t,
                               struct errbuf *err)
{
    char prefix[PLAN_NAME_MAX + 1];
    size_t hint = 0, n = (size_t)snprintf(prefix, sizeof prefix, "%s.", pt->name);
    const struct safetensors *s = &x->p->file;
    t->dim = DENSE_BLOCK;
    for (size_t i = 0; i < s->n; i++) {
        struct run run;
        if (x->used[i] || strncmp(s->tensors[i].name, prefix, n) != 0)
            continue;
        enum status st = classify(pt, &s->tensors[i], s->tensors[i].name + n, &hint, &run, err);
        if (st == ST_OK && run.of != NULL)
            st = add_run(x, &s->tensors[i], &run, t, err);
        if (st != ST_OK)
            return st;
    }
    return ST_OK;
}

static enum status check_used(const struct parse *x, struct errbuf *err)
{
    for (size_t i = 0; i < x->p->file.n; i++)
        if (!x->used[i])
            return errbuf_set(err, ST_BAD_DATA, "tensor %s belongs to no table of the plan",
                              x->p->file.tensors[i].name);
    return ST_OK;
}

static enum status parse_tables(struct part *p, const struct plan *plan, struct errbuf *err)
{
    struct parse x = {p, plan, mem_array(p->file.n, sizeof(bool))};
    enum status st = ST_OK;
    p->tables = plan->tables_used;
    for (size_t t = 0; t < plan->tables_used && st == ST_OK; t++) {
        const struct plan_table *pt = &plan->tables[t];
        st = pt->kind == PLAN_SPARSE ? parse_sparse(&x, pt, &p->table[t], err)
                                     : parse_dense(&x, pt, &p->table[t], err);
    }
    if (st == ST_OK)
        st = check_used(&x, err);
    free(x.used);
    return st;
}

enum status part_parse(const uint8_t *bytes, size_t n, const char *name, const struct plan *plan,
                       struct part *out, struct errbuf *err)
{
    struct part *p = mem_zalloc(sizeof *p);
    enum status st = safetensors_parse(bytes, n, name, &p->file, err);
    if (st != ST_OK)
        goto free_part;
    st = parse_tables(p, plan, err);
    if (st != ST_OK) {
        errbuf_wrap(err, st, "%s: ", name);
        part_close(p);
        goto free_part;
    }
    *out = *p;
free_part:
    free(p);
    return st;
}

static enum status check_bytes(const struct manifest_file *f, const struct file_map *map,
                               const char *path, struct errbuf *err)
{
    if (map->n != f->bytes)
        return errbuf_set(err, ST_BAD_DATA,
                          "%s: damaged: %zu bytes long, the manifest says %" PRIu64, path, map->n,
                          f->bytes);
    uint64_t sum = hash_bytes(map->data, map->n, 0);
    if (sum != f->xxh3)
        return errbuf_set(err, ST_BAD_DATA,
                          "%s: damaged: its checksum is %016" PRIx64
                          ", the manifest says %016" PRIx64,
                          path, sum, f->xxh3);
    return ST_OK;
}

enum status part_open(const char *dir, const struct manifest_file *f, const struct plan *plan,
                      struct part *out, struct errbuf *err)
{
    struct file_map map;
    char *path = file_join(dir, f->name);
    enum status st = file_map_open(path, &map, err);
    if (st == ST_NOT_FOUND)
        st = errbuf_wrap(err, ST_BAD_DATA, "a file of cut %" PRIu64 " is missing: ", f->k);
    if (st != ST_OK)
        goto free_path;
    st = check_bytes(f, &map, path, err);
    if (st == ST_OK)
        st = part_parse(map.data, map.n, path, plan, out, err);
    if (st != ST_OK) {
        file_map_close(&map);
        goto free_path;
    }
    out->file.map = map;
    out->k = f->k;
    snprintf(out->name, sizeof out->name, "%s", f->name);
free_path:
    free(path);
    return st;
}

void part_close(struct part *p)
{
    for (size_t t = 0; t < PLAN_TABLES_MAX; t++)
        free(p->table[t].block);
    safetensors_close(&p->file);
    memset(p, 0, sizeof *p);
}
