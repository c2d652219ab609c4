/* plan.c - what parameters a model has, and how its text is written and checked.
 *
 * The worker makes the plan from the model, the servers read it: it is the only thing they know about the
 * model. It travels as JSON with a checksum over the "plan" object in its one-line form, so that a person
 * may read it (and a tool reformat it), and a flipped bit is still seen. A parsed plan is rebuilt through
 * the same two calls that made it, block numbers are computed again and compared: nothing in a text can
 * describe a plan that plan_add_* could not have made.
 *
 * Initial values hang on names, not on positions: row `key` of table "embedding" and block 3 of tensor
 * "mlp.0.weight" keep their values when another table or tensor is added beside them.
 *
 * Order of tables: sparse ones as added, then "dense", then "stat"; a sparse table added late is moved
 * before the dense ones, so the order of calls in a model file does not matter.
 */
#include "common/base/plan.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/rng.h"

#define DIM_MAX           65536u
#define TENSOR_FLOATS_MAX ((uint64_t)1 << 40)

static const char *const kind_names[] = {"sparse", "dense", "stat"};
static const char *const init_names[] = {"zero", "one", "normal", "uniform"};

void plan_release(struct plan *p)
{
    for (size_t i = 0; i < p->tables_used; i++)
        free(p->tables[i].tensors);
    memset(p, 0, sizeof *p);
}

int plan_find(const struct plan *p, const char *table)
{
    for (size_t i = 0; i < p->tables_used; i++)
        if (strcmp(p->tables[i].name, table) == 0)
            return (int)i;
    return -1;
}

/* Room for a table of this kind, behind the last of its kind or of one that goes before. */
static struct plan_table *insert_table(struct plan *p, const char *name, enum plan_kind kind)
{
    assert(p->tables_used < PLAN_TABLES_MAX);
    assert(strlen(name) < PLAN_NAME_MAX && plan_find(p, name) < 0);
    size_t at = p->tables_used;
    while (at > 0 && p->tables[at - 1].kind > kind)
        at--;
    memmove(&p->tables[at + 1], &p->tables[at], (p->tables_used - at) * sizeof p->tables[0]);
    p->tables_used++;
    struct plan_table *t = &p->tables[at];
    memset(t, 0, sizeof *t);
    snprintf(t->name, sizeof t->name, "%s", name);
    t->kind = kind;
    return t;
}

struct plan_table *plan_add_sparse(struct plan *p, const char *name, uint32_t dim,
                                   enum plan_init init, double init_a,
                                   const struct job_optim *optim)
{
    assert(dim >= 1 && dim <= DIM_MAX);
    struct plan_table *t = insert_table(p, name, PLAN_SPARSE);
    t->dim = dim;
    t->init = init;
    t->init_a = init_a;
    if (optim != NULL)
        t->optim = *optim;
    return t;
}

static uint64_t blocks_of_shape(uint32_t dims, const uint64_t *shape)
{
    uint64_t floats = dims == 2 ? shape[0] * shape[1] : shape[0];
    return (floats + DENSE_BLOCK - 1) / DENSE_BLOCK;
}

struct plan_tensor *plan_add_tensor(struct plan *p, enum plan_kind kind, const char *name,
                                    uint32_t dims, const uint64_t *shape, enum plan_init init,
                                    double init_a, const struct job_optim *optim)
{
    assert(kind == PLAN_DENSE || kind == PLAN_STAT);
    assert(dims == 1 || dims == 2);
    assert(strlen(name) < PLAN_NAME_MAX);
    int found = plan_find(p, kind_names[kind]);
    struct plan_table *t = found >= 0 ? &p->tables[found] : insert_table(p, kind_names[kind], kind);
    if (found < 0) {
        t->dim = DENSE_BLOCK;
        if (kind == PLAN_DENSE && optim != NULL)
            t->optim = *optim;
    }
    assert(t->tensors_used < PLAN_TENSORS_MAX);
    t->tensors = mem_realloc(t->tensors, (t->tensors_used + 1) * sizeof *t->tensors);
    struct plan_tensor *x = &t->tensors[t->tensors_used++];
    memset(x, 0, sizeof *x);
    snprintf(x->name, sizeof x->name, "%s", name);
    x->dims = dims;
    x->shape[0] = shape[0];
    x->shape[1] = dims == 2 ? shape[1] : 1;
    x->init = init;
    x->init_a = init_a;
    x->block_first = t->blocks;
    x->blocks = blocks_of_shape(dims, x->shape);
    t->blocks += x->blocks;
    return x;
}

/* -- initial values -- */

static void fill(uint64_t key, uint64_t a, enum plan_init init, double init_a, float *w, size_t n)
{
    switch (init) {
    case PLAN_ZERO:
    case PLAN_ONE:
        for (size_t j = 0; j < n; j++)
            w[j] = init == PLAN_ONE ? 1.0f : 0.0f;
        return;
    case PLAN_NORMAL: rng_normal_fill(key, a, w, n); break;
    case PLAN_UNIFORM: rng_uniform_fill(key, a, w, n); break;
    }
    for (size_t j = 0; j < n; j++)
        w[j] *= (float)init_a;
}

static uint64_t name_key(const struct plan *p, const char *name)
{
    return rng_mix(p->seed, hash_bytes(name, strlen(name), 0));
}

static const struct plan_tensor *tensor_of_block(const struct plan_table *t, uint64_t block)
{
    size_t low = 0, high = t->tensors_used; /* the last one that begins at or before the block */
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (t->tensors[mid].block_first <= block)
            low = mid + 1;
        else
            high = mid;
    }
    return low == 0 ? NULL : &t->tensors[low - 1];
}

void plan_init_row(const struct plan *p, uint32_t table, uint64_t key, float *w)
{
    assert(table < p->tables_used);
    const struct plan_table *t = &p->tables[table];
    if (t->kind == PLAN_SPARSE) {
        fill(name_key(p, t->name), key, t->init, t->init_a, w, t->dim);
        return;
    }
    memset(w, 0, DENSE_BLOCK * sizeof *w);
    const struct plan_tensor *x = key < t->blocks ? tensor_of_block(t, key) : NULL;
    if (x == NULL)
        return;
    uint64_t block = key - x->block_first;
    uint64_t left = x->shape[0] * x->shape[1] - block * DENSE_BLOCK;
    fill(name_key(p, x->name), block, x->init, x->init_a, w,
         left < DENSE_BLOCK ? (size_t)left : DENSE_BLOCK);
}

void plan_absent_row(const struct plan *p, uint32_t table, uint64_t key, float *w)
{
    const struct plan_table *t = &p->tables[table];
    if (t->kind == PLAN_SPARSE && t->optim.l2 > 0 && t->optim.l2_mode == JOB_L2_EXACT)
        memset(w, 0, t->dim * sizeof *w);
    else
        plan_init_row(p, table, key, w);
}

/* The smallest b with floor(b * shards / blocks) >= shard. */
static uint64_t first_block(uint64_t blocks, uint32_t shard, uint32_t shards)
{
    unsigned __int128 n = (unsigned __int128)blocks * shard;
    return (uint64_t)((n + shards - 1) / shards);
}

size_t plan_floats(const struct plan *p, enum plan_kind kind)
{
    for (size_t t = 0; t < p->tables_used; t++) {
        if (p->tables[t].kind == kind)
            return (size_t)p->tables[t].blocks * DENSE_BLOCK;
    }
    return 0;
}

void plan_blocks_of(const struct plan_table *t, uint32_t shard, uint32_t shards, uint64_t *first,
                    uint64_t *end)
{
    assert(shards > 0 && shard < shards);
    *first = first_block(t->blocks, shard, shards);
    *end = first_block(t->blocks, shard + 1, shards);
}

/* -- as text -- */

static struct json *optim_json(const struct job_optim *o)
{
    struct json *j = json_object();
    json_set_u64(j, "kind", (uint64_t)o->kind);
    json_set_f64(j, "rate", o->rate);
    json_set_f64(j, "l2", o->l2);
    json_set_u64(j, "l2_mode", (uint64_t)o->l2_mode);
    json_set_f64(j, "beta1", o->beta1);
    json_set_f64(j, "beta2", o->beta2);
    json_set_f64(j, "eps", o->eps);
    json_set_f64(j, "momentum", o->momentum);
    json_set_f64(j, "beta", o->beta);
    json_set_f64(j, "l1", o->l1);
    return j;
}

static struct json *tensor_json(const struct plan_tensor *x)
{
    struct json *j = json_object();
    json_set_str(j, "name", x->name);
    struct json *shape = json_array();
    for (uint32_t d = 0; d < x->dims; d++)
        json_add_u64(shape, x->shape[d]);
    json_set(j, "shape", shape);
    json_set_str(j, "init", init_names[x->init]);
    json_set_f64(j, "init_a", x->init_a);
    json_set_u64(j, "block_first", x->block_first);
    json_set_u64(j, "blocks", x->blocks);
    return j;
}

static struct json *table_json(const struct plan_table *t)
{
    struct json *j = json_object();
    json_set_str(j, "name", t->name);
    json_set_str(j, "kind", kind_names[t->kind]);
    json_set_u64(j, "dim", t->dim);
    json_set(j, "optim", optim_json(&t->optim));
    if (t->kind == PLAN_SPARSE) {
        json_set_str(j, "init", init_names[t->init]);
        json_set_f64(j, "init_a", t->init_a);
        return j;
    }
    struct json *tensors = json_array();
    for (size_t i = 0; i < t->tensors_used; i++)
        json_add(tensors, tensor_json(&t->tensors[i]));
    json_set(j, "tensors", tensors);
    return j;
}

static void checksum_of(const struct json *plan, char out[17])
{
    char *text = json_text(plan, 0);
    snprintf(out, 17, "%016" PRIx64, hash_bytes(text, strlen(text), 0));
    free(text);
}

char *plan_text(const struct plan *p)
{
    struct json *plan = json_object();
    json_set_u64(plan, "seed", p->seed);
    struct json *tables = json_array();
    for (size_t i = 0; i < p->tables_used; i++)
        json_add(tables, table_json(&p->tables[i]));
    json_set(plan, "tables", tables);
    char sum[17];
    checksum_of(plan, sum);
    struct json *root = json_object();
    json_set_str(root, "xxh3", sum);
    json_set(root, "plan", plan);
    char *text = json_text(root, 1);
    json_free(root);
    return text;
}

static enum status need_name(const struct json *j, const char **out, struct errbuf *err)
{
    const char *name;
    enum status st = json_need_str(j, "name", &name, err);
    if (st != ST_OK)
        return st;
    size_t n = strlen(name);
    if (n == 0 || n >= PLAN_NAME_MAX)
        return errbuf_set(err, ST_BAD_DATA, "a name of %zu bytes (allowed: 1 to %u)", n,
                          PLAN_NAME_MAX - 1);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] <= ' ' || (unsigned char)name[i] >= 0x7f)
            return errbuf_set(err, ST_BAD_DATA, "a name with a byte %#x", (unsigned char)name[i]);
    *out = name;
    return ST_OK;
}

static enum status need_choice(const struct json *j, const char *key, const char *const *names,
                               size_t names_used, size_t *out, struct errbuf *err)
{
    const char *text;
    enum status st = json_need_str(j, key, &text, err);
    if (st != ST_OK)
        return st;
    for (size_t i = 0; i < names_used; i++) {
        if (strcmp(names[i], text) == 0) {
            *out = i;
            return ST_OK;
        }
    }
    return errbuf_set(err, ST_BAD_DATA, "%s is unknown: %s", key, text);
}

static enum status need_init(const struct json *j, enum plan_init *out, double *out_a,
                             struct errbuf *err)
{
    size_t init = 0;
    enum status st = need_choice(j, "init", init_names, 4, &init, err);
    if (st == ST_OK)
        st = json_need_f64(j, "init_a", out_a, err);
    if (st != ST_OK)
        return st;
    *out = (enum plan_init)init;
    return ST_OK;
}

static enum status need_optim(const struct json *j, struct job_optim *out, struct errbuf *err)
{
    const struct json *o = json_get(j, "optim");
    struct {
        const char *key;
        double *at;
    } reals[] = {{"rate", &out->rate},   {"l2", &out->l2},   {"beta1", &out->beta1},
                 {"beta2", &out->beta2}, {"eps", &out->eps}, {"momentum", &out->momentum},
                 {"beta", &out->beta},   {"l1", &out->l1}};
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
        enum status st = json_need_f64(o, reals[i].key, reals[i].at, err);
        if (st != ST_OK)
            return errbuf_wrap(err, st, "optim: ");
    }
    uint64_t kind = json_u64(o, "kind", UINT64_MAX), mode = json_u64(o, "l2_mode", UINT64_MAX);
    if (kind > JOB_FTRL || mode > JOB_L2_TOUCHED)
        return errbuf_set(err, ST_BAD_DATA, "optim: kind or l2_mode is unknown");
    out->kind = (int)kind;
    out->l2_mode = (int)mode;
    return ST_OK;
}

static enum status need_shape(const struct json *j, uint32_t *out_dims, uint64_t shape[2],
                              struct errbuf *err)
{
    const struct json *list = json_get(j, "shape");
    size_t dims = json_len(list);
    if (dims < 1 || dims > 2)
        return errbuf_set(err, ST_BAD_DATA, "shape is not a list of 1 or 2 numbers");
    shape[1] = 1;
    for (size_t d = 0; d < dims; d++) {
        shape[d] = json_u64(json_at(list, d), NULL, 0);
        if (shape[d] < 1 || shape[d] > TENSOR_FLOATS_MAX)
            return errbuf_set(err, ST_BAD_DATA, "shape is out of bounds");
    }
    if (shape[0] > TENSOR_FLOATS_MAX / shape[1])
        return errbuf_set(err, ST_BAD_DATA, "shape is out of bounds");
    *out_dims = (uint32_t)dims;
    return ST_OK;
}

static bool tensor_known(const struct plan_table *t, const char *name)
{
    for (size_t i = 0; i < t->tensors_used; i++)
        if (strcmp(t->tensors[i].name, name) == 0)
            return true;
    return false;
}

static enum status parse_tensor(struct plan *p, enum plan_kind kind, const struct json *j,
                                const struct job_optim *optim, struct errbuf *err)
{
    const char *name = NULL;
    uint32_t dims = 0;
    uint64_t shape[2];
    enum plan_init init = PLAN_ZERO;
    double init_a = 0;
    enum status st = need_name(j, &name, err);
    if (st == ST_OK)
        st = need_shape(j, &dims, shape, err);
    if (st == ST_OK)
        st = need_init(j, &init, &init_a, err);
    if (st != ST_OK)
        return st;
    int at = plan_find(p, kind_names[kind]);
    if (at >= 0 && tensor_known(&p->tables[at], name))
        return errbuf_set(err, ST_BAD_DATA, "tensor %s stands there twice", name);
    const struct plan_tensor *x = plan_add_tensor(p, kind, name, dims, shape, init, init_a, optim);
    if (json_u64(j, "block_first", UINT64_MAX) != x->block_first ||
        json_u64(j, "blocks", UINT64_MAX) != x->blocks)
        return errbuf_set(err, ST_BAD_DATA, "tensor %s: its blocks don't fit its shape", name);
    return ST_OK;
}

static enum status parse_dense(struct plan *p, enum plan_kind kind, const char *name,
                               const struct json *j, const struct job_optim *optim,
                               struct errbuf *err)
{
    const struct json *tensors = json_get(j, "tensors");
    size_t n = json_len(tensors);
    if (strcmp(name, kind_names[kind]) != 0 || json_u64(j, "dim", 0) != DENSE_BLOCK)
        return errbuf_set(err, ST_BAD_DATA, "a %s table has another name or dim", kind_names[kind]);
    if (n < 1 || n > PLAN_TENSORS_MAX)
        return errbuf_set(err, ST_BAD_DATA, "%zu tensors (allowed: 1 to %u)", n, PLAN_TENSORS_MAX);
    for (size_t i = 0; i < n; i++) {
        enum status st = parse_tensor(p, kind, json_at(tensors, i), optim, err);
        if (st != ST_OK)
            return errbuf_wrap(err, st, "tensor %zu: ", i);
    }
    return ST_OK;
}

static enum status parse_table(struct plan *p, const struct json *j, struct errbuf *err)
{
    const char *name = NULL;
    size_t kind = 0;
    struct job_optim optim = {0};
    enum status st = need_name(j, &name, err);
    if (st == ST_OK)
        st = need_choice(j, "kind", kind_names, 3, &kind, err);
    if (st == ST_OK)
        st = need_optim(j, &optim, err);
    if (st != ST_OK)
        return st;
    if (plan_find(p, name) >= 0)
        return errbuf_set(err, ST_BAD_DATA, "%s stands there twice", name);
    if (p->tables_used > 0 && p->tables[p->tables_used - 1].kind > kind)
        return errbuf_set(err, ST_BAD_DATA, "%s stands behind a table of a later kind", name);
    if (kind != PLAN_SPARSE)
        return parse_dense(p, (enum plan_kind)kind, name, j, &optim, err);
    enum plan_init init = PLAN_ZERO;
    double init_a = 0;
    st = need_init(j, &init, &init_a, err);
    if (st != ST_OK)
        return st;
    uint64_t dim = json_u64(j, "dim", 0);
    if (dim < 1 || dim > DIM_MAX)
        return errbuf_set(err, ST_BAD_DATA, "dim is out of bounds (allowed: 1 to %u)", DIM_MAX);
    plan_add_sparse(p, name, (uint32_t)dim, init, init_a, &optim);
    return ST_OK;
}

static enum status parse_tables(struct plan *p, const struct json *root, struct errbuf *err)
{
    const char *sum;
    enum status st = json_need_str(root, "xxh3", &sum, err);
    if (st != ST_OK)
        return st;
    const struct json *plan = json_get(root, "plan");
    if (plan == NULL)
        return errbuf_set(err, ST_BAD_DATA, "plan is missing");
    char have[17];
    checksum_of(plan, have);
    if (strcmp(sum, have) != 0)
        return errbuf_set(err, ST_BAD_DATA, "damaged: checksum %s, but %s is written", have, sum);
    st = json_need_u64(plan, "seed", &p->seed, err);
    if (st != ST_OK)
        return st;
    const struct json *tables = json_get(plan, "tables");
    size_t n = json_len(tables);
    if (n < 1 || n > PLAN_TABLES_MAX)
        return errbuf_set(err, ST_BAD_DATA, "%zu tables (allowed: 1 to %u)", n, PLAN_TABLES_MAX);
    for (size_t i = 0; i < n; i++) {
        st = parse_table(p, json_at(tables, i), err);
        if (st != ST_OK)
            return errbuf_wrap(err, st, "table %zu: ", i);
    }
    return ST_OK;
}

enum status plan_parse(const char *text, size_t n, const char *name, struct plan *out,
                       struct errbuf *err)
{
    struct json *root;
    enum status st = json_parse(text, n, name, &root, err);
    if (st != ST_OK)
        return st;
    struct plan *p = mem_zalloc(sizeof *p);
    st = parse_tables(p, root, err);
    if (st == ST_OK) {
        *out = *p;
    } else {
        plan_release(p);
        errbuf_wrap(err, st, "%s: ", name);
    }
    free(p);
    json_free(root);
    return st;
}
