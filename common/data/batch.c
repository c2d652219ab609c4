/* batch.c - records to a batch: copy what they hold, find the distinct keys. The hot path of the worker.
 *
 * Records of a shuffled epoch lie anywhere in the map, so a first pass finds each one, checks its block if
 * that is new and counts its keys; the second prefetches a few records ahead, copies, and gives each key its
 * position. Distinct keys are found with an open-addressing table of positions in keys[] (0 = empty, else
 * position + 1), at most half full. Keys are hashes, so their low bits choose the slot. The table is as
 * large as the distinct keys of the batches so far need, not as the occurrences: with 40,960 occurrences of
 * 1,500 keys it is 16 KiB and lives in the first-level cache. It grows by doubling within memory that
 * batch_init took.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/data/dataset_map.h"

#define AHEAD      8u /* records prefetched before use */
#define SEEN_FIRST 1024u

static size_t power_of_two(size_t least)
{
    size_t n = SEEN_FIRST;
    while (n < least)
        n *= 2;
    return n;
}

/* Room for `keys` occurrences. Also the table's: at most half full when all are distinct. */
static void reserve(struct batch *b, size_t keys, bool weighted)
{
    if (keys <= b->index_cap && b->index != NULL)
        return;
    size_t cap = b->index_cap * 2 > keys ? b->index_cap * 2 : keys + 1;
    b->index = mem_realloc(b->index, cap * sizeof *b->index);
    b->keys = mem_realloc(b->keys, cap * sizeof *b->keys);
    if (weighted)
        b->weight = mem_realloc(b->weight, cap * sizeof *b->weight);
    b->index_cap = b->keys_cap = cap;
    size_t seen = power_of_two(2 * cap);
    b->seen = mem_realloc(b->seen, seen * sizeof *b->seen);
    b->seen_cap = seen;
}

static void lay_out(struct batch *b, size_t fields, size_t floats, size_t labels, size_t n_max)
{
    memset(b, 0, sizeof *b);
    b->n_max = n_max;
    b->fields = fields;
    b->floats_used = floats;
    b->offsets = mem_array(n_max * b->fields + 1, sizeof *b->offsets);
    b->floats = mem_array(n_max * b->floats_used + 1, sizeof *b->floats);
    b->labels_used = labels;
    b->labels = mem_array(n_max * b->labels_used + 1, sizeof *b->labels);
    b->record = mem_array(n_max + 1, sizeof *b->record);
    b->seen_mask = SEEN_FIRST - 1;
}

void batch_init(struct batch *b, const struct dataset *d, size_t n_max)
{
    const struct cache_header *h = &d->header;
    lay_out(b, h->shape.fields, h->shape.floats, h->shape.labels, n_max);
    if (h->shape.flags & CACHE_USERS)
        b->users = mem_array(n_max + 1, sizeof *b->users);
    /* Twice the mean and the longest record: a batch beyond that grows once, in warm-up or never. */
    uint64_t mean = h->rows > 0 ? h->keys / h->rows + 1 : 1;
    uint64_t keys = (h->shape.flags & CACHE_RAGGED) ? 2 * mean * n_max + h->record_keys_max
                                                    : (uint64_t)n_max * b->fields;
    if (keys > h->record_keys_max * n_max)
        keys = h->record_keys_max * n_max;
    reserve(b, keys, h->shape.flags & CACHE_WEIGHTED);
}

void batch_open(struct batch *b, size_t fields, size_t floats, bool weighted, size_t n_max)
{
    lay_out(b, fields, floats, 0, n_max);
    reserve(b, n_max * fields, weighted);
    batch_clear(b);
}

void batch_release(struct batch *b)
{
    free(b->keys);
    free(b->offsets);
    free(b->index);
    free(b->weight);
    free(b->floats);
    free(b->labels);
    free(b->users);
    free(b->record);
    free(b->candidate);
    free(b->seen);
    memset(b, 0, sizeof *b);
}

/* Twice the slots; the keys found so far move. */
static void grow_seen(struct batch *b)
{
    size_t mask = b->seen_mask * 2 + 1;
    memset(b->seen, 0, (mask + 1) * sizeof *b->seen);
    for (size_t u = 0; u < b->unique; u++) {
        size_t s = (size_t)b->keys[u] & mask;
        while (b->seen[s] != 0)
            s = (s + 1) & mask;
        b->seen[s] = (uint32_t)(u + 1);
    }
    b->seen_mask = mask;
}

static inline uint32_t position_of(struct batch *b, uint64_t key)
{
    size_t mask = b->seen_mask, s = (size_t)key & mask;
    uint32_t at;
    while ((at = b->seen[s]) != 0) {
        if (b->keys[at - 1] == key)
            return at - 1;
        s = (s + 1) & mask;
    }
    uint32_t u = (uint32_t)b->unique++;
    b->keys[u] = key;
    b->seen[s] = u + 1;
    if (b->unique * 2 > mask)
        grow_seen(b);
    return u;
}

/* Keys of record i of block k, and where they begin. */
static size_t keys_of(const struct cache_block *k, size_t i, size_t F, size_t *out_first)
{
    if (k->bag == NULL) {
        *out_first = i * F;
        return F;
    }
    *out_first = k->bag[i * F];
    return k->bag[(i + 1) * F] - k->bag[i * F];
}

static void prefetch(const struct dataset *d, uint64_t r, size_t F)
{
    size_t b = dataset_block_of(d, r), i = (size_t)(r - d->tail.entry[b].first_row);
    const struct cache_block *k = &d->block[b];
    __builtin_prefetch(k->label + i * d->header.shape.labels);
    if (k->bag != NULL) {
        __builtin_prefetch(k->bag + i * F);
        return;
    }
    for (size_t f = 0; f < F; f += 8)
        __builtin_prefetch(k->key + i * F + f);
}

static void copy_record(struct batch *b, const struct cache_block *k, size_t i, size_t at)
{
    size_t F = b->fields, D = b->floats_used, first;
    size_t n = keys_of(k, i, F, &first), to = b->offsets[at * F];
    for (size_t f = 1; f <= F; f++) {
        size_t end = k->bag != NULL ? k->bag[i * F + f] - first : f;
        b->offsets[at * F + f] = (uint32_t)(to + end);
    }
    for (size_t j = 0; j < n; j++)
        b->index[to + j] = position_of(b, k->key[first + j]);
    if (k->weight != NULL && n > 0)
        memcpy(b->weight + to, k->weight + first, n * sizeof *b->weight);
    if (D > 0)
        memcpy(b->floats + at * D, k->num + i * D, D * sizeof *b->floats);
    for (size_t t = 0; t < b->labels_used; t++)
        b->labels[t * b->n + at] = k->label[i * b->labels_used + t];
    if (b->users != NULL)
        b->users[at] = k->user[i];
}

enum status dataset_batch(struct dataset *d, const uint64_t *rows, size_t n, struct batch *b,
                          struct errbuf *err)
{
    size_t F = b->fields;
    uint64_t keys = 0;
    assert(n <= b->n_max);
    for (size_t i = 0; i < n; i++) {
        const struct cache_block *k;
        size_t at, first;
        enum status st = dataset_locate(d, rows[i], &k, &at, err);
        if (st != ST_OK)
            return st;
        keys += k->bag != NULL ? keys_of(k, at, F, &first) : F;
    }
    if (keys >= UINT32_MAX)
        return errbuf_set(err, ST_NO_MEMORY, "%s: a batch of %zu records with %llu ids", d->path, n,
                          (unsigned long long)keys);
    reserve(b, (size_t)keys, d->header.shape.flags & CACHE_WEIGHTED);
    memset(b->seen, 0, (b->seen_mask + 1) * sizeof *b->seen);
    b->n = n;
    b->unique = 0;
    b->candidates = 0;
    b->offsets[0] = 0;
    for (size_t i = 0; i < n; i++) {
        const struct cache_block *k;
        size_t at;
        if (i + AHEAD < n)
            prefetch(d, rows[i + AHEAD], F);
        b->record[i] = rows[i];
        size_t block = dataset_block_of(d, rows[i]);
        k = &d->block[block];
        at = (size_t)(rows[i] - d->tail.entry[block].first_row);
        copy_record(b, k, at, i);
    }
    return ST_OK;
}

void batch_candidates(struct batch *b, const uint64_t *keys, size_t n)
{
    reserve(b, b->unique + n, b->weight != NULL);
    if (n > b->candidates_cap) {
        b->candidates_cap = n > b->candidates_cap * 2 ? n : b->candidates_cap * 2;
        b->candidate = mem_realloc(b->candidate, b->candidates_cap * sizeof *b->candidate);
    }
    for (size_t i = 0; i < n; i++)
        b->candidate[i] = position_of(b, keys[i]);
    b->candidates = n;
}

/* ---- by hand ------------------------------------------------------------------------------------ */

void batch_clear(struct batch *b)
{
    memset(b->seen, 0, (b->seen_mask + 1) * sizeof *b->seen);
    b->n = b->unique = b->candidates = b->bags = 0;
    b->offsets[0] = 0;
    b->open = 0;
}

void batch_key_at(struct batch *b, uint32_t position, float weight)
{
    reserve(b, b->open + 1, b->weight != NULL);
    if (b->weight != NULL)
        b->weight[b->open] = weight;
    b->index[b->open++] = position;
}

uint32_t batch_key(struct batch *b, uint64_t key, float weight)
{
    reserve(b, b->open + 1, b->weight != NULL);
    const uint32_t position = position_of(b, key);
    batch_key_at(b, position, weight);
    return position;
}

void batch_bag_end(struct batch *b)
{
    assert(b->bags < (b->n + 1) * b->fields);
    b->offsets[++b->bags] = (uint32_t)b->open;
}

float *batch_record(struct batch *b)
{
    assert(b->n < b->n_max);
    return b->floats + b->n * b->floats_used;
}

void batch_record_end(struct batch *b)
{
    assert(b->bags == (b->n + 1) * b->fields);
    b->record[b->n] = b->n;
    b->n++;
}
