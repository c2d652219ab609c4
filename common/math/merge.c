/* merge.c - pairwise sums over the leaves of a complete tree, where leaves may be missing (merge.h).
 *
 * Leaves come in rising order and wait on a stack. Two neighbours a < b on top of it are added as soon as the
 * node that joins them is deeper than the one that joins b with the next leaf c: that is, when the highest
 * bit in which a and b differ is lower than that of b and c. These are never equal, for b has a one where it
 * differs from a, and a zero where it differs from c; so comparing a ^ b with b ^ c does it.
 *
 * Sums are made a piece of PIECE floats at a time, so the stack is small and stays in the first cache.
 */
#include "common/math/merge.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

enum { PIECE = 256, DEPTH = 18 }; /* 2^16 leaves, and one that waits */

struct stack {
    const float *sum[DEPTH]; /* a leaf, or own[same index] */
    uint32_t leaf[DEPTH];    /* the first below the node */
    size_t used;
    float own[DEPTH][PIECE];
};

static void add_two(struct stack *s, size_t n)
{
    const size_t left = s->used - 2;
    const float *a = s->sum[left], *b = s->sum[left + 1];
    float *to = s->own[left];
    for (size_t i = 0; i < n; i++)
        to[i] = a[i] + b[i];
    s->sum[left] = to;
    s->used--;
}

static void add_leaf(struct stack *s, const float *v, uint32_t leaf, size_t n)
{
    while (s->used >= 2 &&
           (s->leaf[s->used - 2] ^ s->leaf[s->used - 1]) < (s->leaf[s->used - 1] ^ leaf))
        add_two(s, n);
    assert(s->used < DEPTH);
    s->sum[s->used] = v;
    s->leaf[s->used++] = leaf;
}

static void finish(struct stack *s, size_t n, float *out)
{
    while (s->used >= 2)
        add_two(s, n);
    if (s->used == 0)
        memset(out, 0, n * sizeof *out);
    else
        memcpy(out, s->sum[0], n * sizeof *out);
    s->used = 0;
}

void merge_init(struct merge *m)
{
    *m = (struct merge){0};
}

void merge_release(struct merge *m)
{
    free(m->keys);
    free(m->first);
    free(m->place);
    free(m->of);
    free(m->seen);
    merge_init(m);
}

static void reserve(struct merge *m, size_t entries)
{
    if (m->cap < entries || m->first == NULL) {
        merge_release(m);
        m->cap = entries + entries / 2;
        m->keys = mem_array(m->cap + 1, sizeof *m->keys);
        m->first = mem_array(m->cap + 2, sizeof *m->first);
        m->place = mem_array(m->cap + 1, sizeof *m->place);
        m->of = mem_array(m->cap + 1, sizeof *m->of);
        for (m->seen_cap = 64; m->seen_cap < 2 * m->cap;)
            m->seen_cap *= 2;
        m->seen = mem_array(m->seen_cap, sizeof *m->seen);
    }
}

static uint32_t index_of(struct merge *m, uint64_t key, size_t mask)
{
    size_t at = hash_u64(key) & mask;
    while (m->seen[at] != 0) {
        if (m->keys[m->seen[at] - 1] == key)
            return m->seen[at] - 1;
        at = (at + 1) & mask;
    }
    m->keys[m->n] = key;
    m->seen[at] = (uint32_t)++m->n;
    return (uint32_t)m->n - 1;
}

void merge_keys(struct merge *m, const uint64_t *const *keys, const size_t *n, size_t lists)
{
    size_t entries = 0, e = 0, used = 64;
    assert(lists <= MERGE_LISTS_MAX);
    for (size_t l = 0; l < lists; l++)
        entries += n[l];
    assert(entries < (size_t)1 << 31);
    reserve(m, entries);
    while (used < 2 * entries)
        used *= 2;
    memset(m->seen, 0, used * sizeof *m->seen);
    memset(m->first, 0, (entries + 2) * sizeof *m->first);
    m->n = 0;
    for (size_t l = 0; l < lists; l++) {
        for (size_t i = 0; i < n[l]; i++) {
            m->of[e] = index_of(m, keys[l][i], used - 1);
            m->first[m->of[e++] + 2]++;
        }
    }
    /* A counting sort by key: first[i + 1] is where the next place of key i goes, and in the end its end. */
    for (size_t i = 0; i < m->n; i++)
        m->first[i + 2] += m->first[i + 1];
    e = 0;
    for (size_t l = 0; l < lists; l++) {
        for (size_t i = 0; i < n[l]; i++)
            m->place[m->first[m->of[e++] + 1]++] = (struct merge_place){(uint32_t)l, (uint32_t)i};
    }
}

static void merge_row(const struct merge *m, size_t i, const float *const *rows, size_t dim,
                      float *out)
{
    struct stack s;
    for (size_t from = 0; from < dim; from += PIECE) {
        const size_t n = dim - from < PIECE ? dim - from : PIECE;
        s.used = 0;
        for (uint32_t p = m->first[i]; p < m->first[i + 1]; p++) {
            const struct merge_place *at = &m->place[p];
            add_leaf(&s, rows[at->list] + at->at * dim + from, at->list, n);
        }
        finish(&s, n, out + from);
    }
}

void merge_rows(const struct merge *m, const float *const *rows, size_t dim, float *out)
{
    for (size_t i = 0; i < m->n; i++) {
        const struct merge_place *at = &m->place[m->first[i]];
        if (m->first[i + 1] - m->first[i] == 1)
            memcpy(out + i * dim, rows[at->list] + at->at * dim, dim * sizeof *out);
        else
            merge_row(m, i, rows, dim, out + i * dim);
    }
}

void merge_arrays(const float *const *arrays, size_t lists, size_t n, float *out)
{
    struct stack s;
    assert(lists <= MERGE_LISTS_MAX);
    for (size_t from = 0; from < n; from += PIECE) {
        const size_t m = n - from < PIECE ? n - from : PIECE;
        s.used = 0;
        for (size_t l = 0; l < lists; l++) {
            if (arrays[l] != NULL)
                add_leaf(&s, arrays[l] + from, (uint32_t)l, m);
        }
        finish(&s, m, out + from);
    }
}
