/* keyset.c - see keyset.h. */
#include "common/feature/keyset.h"

#include <stdlib.h>
#include <string.h>

void keyset_release(struct keyset *s)
{
    free(s->key);
    free(s->count);
    memset(s, 0, sizeof *s);
}

/* The slot that holds key, or the empty one where it belongs. */
static size_t slot_of(const struct keyset *s, uint64_t key)
{
    size_t mask = s->cap - 1, i = (size_t)key & mask;
    while (s->key[i] != 0 && s->key[i] != key)
        i = (i + 1) & mask;
    return i;
}

static enum status grow(struct keyset *s, struct errbuf *err)
{
    struct keyset to = {.cap = s->cap ? s->cap * 2 : 1024, .used = s->used, .zero = s->zero};
    to.key = calloc(to.cap, sizeof *to.key);
    to.count = calloc(to.cap, sizeof *to.count);
    if (to.key == NULL || to.count == NULL) {
        keyset_release(&to);
        return errbuf_set(err, ST_NO_MEMORY, "no memory to count %zu distinct ids", s->used);
    }
    for (size_t i = 0; i < s->cap; i++) {
        if (s->key[i] == 0)
            continue;
        size_t j = slot_of(&to, s->key[i]);
        to.key[j] = s->key[i];
        to.count[j] = s->count[i];
    }
    keyset_release(s);
    *s = to;
    return ST_OK;
}

enum status keyset_add(struct keyset *s, uint64_t key, struct errbuf *err)
{
    if (key == 0) {
        s->zero += s->zero < UINT32_MAX;
        return ST_OK;
    }
    if (s->used * 10 >= s->cap * 6) {
        enum status st = grow(s, err);
        if (st != ST_OK)
            return st;
    }
    size_t i = slot_of(s, key);
    if (s->key[i] == 0) {
        s->key[i] = key;
        s->used++;
    }
    s->count[i] += s->count[i] < UINT32_MAX;
    return ST_OK;
}

uint32_t keyset_count(const struct keyset *s, uint64_t key)
{
    if (key == 0)
        return s->zero;
    if (s->cap == 0)
        return 0;
    size_t i = slot_of(s, key);
    return s->key[i] == 0 ? 0 : s->count[i];
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

enum status keyset_sorted(const struct keyset *s, uint32_t least, uint64_t **out, size_t *out_n,
                          struct errbuf *err)
{
    size_t n = 0;
    uint64_t *keys = malloc((s->used + 1) * sizeof *keys);
    if (keys == NULL)
        return errbuf_set(err, ST_NO_MEMORY, "no memory for %zu distinct ids", s->used);
    if (s->zero > 0 && s->zero >= least)
        keys[n++] = 0;
    for (size_t i = 0; i < s->cap; i++)
        if (s->key[i] != 0 && s->count[i] >= least)
            keys[n++] = s->key[i];
    qsort(keys, n, sizeof *keys, by_value);
    *out = keys;
    *out_n = n;
    return ST_OK;
}
