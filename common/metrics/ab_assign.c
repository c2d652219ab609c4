/* ab_assign.c - see ab_assign.h. */
#include "common/metrics/ab_assign.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define FNV_OFFSET UINT32_C(0x811C9DC5)
#define FNV_PRIME  UINT32_C(0x01000193)

static uint32_t fnv_add(uint32_t h, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < n; i++)
        h = (h ^ at[i]) * FNV_PRIME;
    return h;
}

/* Of two texts, one behind the other. */
static uint32_t fnv_pair(const char *a, const char *b)
{
    return fnv_add(fnv_add(FNV_OFFSET, a, strlen(a)), b, strlen(b));
}

uint32_t ab_fnv1a32(const void *bytes, size_t n)
{
    return fnv_add(FNV_OFFSET, bytes, n);
}

/* -- murmur3, over two texts without joining them -- */

struct murmur {
    uint32_t h, block; /* block: the bytes not mixed yet, the first lowest */
    size_t n;
};

static uint32_t rotate(uint32_t x, unsigned by)
{
    return x << by | x >> (32 - by);
}

static uint32_t murmur_block(uint32_t block)
{
    return rotate(block * UINT32_C(0xcc9e2d51), 15) * UINT32_C(0x1b873593);
}

static void murmur_add(struct murmur *m, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < n; i++) {
        m->block |= (uint32_t)at[i] << 8 * (m->n % 4);
        if (++m->n % 4 == 0) {
            m->h = rotate(m->h ^ murmur_block(m->block), 13) * 5 + UINT32_C(0xe6546b64);
            m->block = 0;
        }
    }
}

static uint32_t murmur_value(const struct murmur *m)
{
    uint32_t h = m->h ^ murmur_block(m->block) ^ (uint32_t)m->n; /* an empty block mixes nothing */
    h = (h ^ h >> 16) * UINT32_C(0x85ebca6b);
    h = (h ^ h >> 13) * UINT32_C(0xc2b2ae35);
    return h ^ h >> 16;
}

uint32_t ab_murmur3(const void *bytes, size_t n, uint32_t seed)
{
    struct murmur m = {seed, 0, 0};
    murmur_add(&m, bytes, n);
    return murmur_value(&m);
}

/* -- numbers -- */

double ab_number(enum ab_hash hash, const char *seed, const char *value)
{
    char decimal[12];
    struct murmur m = {1, 0, 0};
    switch (hash) {
    case AB_HASH_V2:
        snprintf(decimal, sizeof decimal, "%u", fnv_pair(seed, value));
        return ab_fnv1a32(decimal, strlen(decimal)) % 10000 / 10000.0;
    case AB_HASH_V1: return fnv_pair(value, seed) % 1000 / 1000.0;
    case AB_HASH_MURMUR3:
        murmur_add(&m, value, strlen(value));
        murmur_add(&m, seed, strlen(seed));
        return (double)((uint64_t)murmur_value(&m) * 10000 >> 32) / 10000.0;
    }
    assert(!"a hash is one of three");
    return 0;
}

void ab_ranges(size_t k, double coverage, const double *weights, size_t weights_n,
               struct ab_range *out)
{
    assert(k > 0 && k <= AB_VARIANTS_MAX);
    double sum = 0, at = 0;
    for (size_t i = 0; i < weights_n; i++)
        sum += weights[i];
    const bool given = weights_n == k && sum >= 0.99 && sum <= 1.01;
    coverage = coverage > 0 ? coverage : 0;
    coverage = coverage < 1 ? coverage : 1;
    for (size_t i = 0; i < k; i++) {
        const double weight = given ? weights[i] : 1 / (double)k;
        out[i] = (struct ab_range){at, at + coverage * weight};
        at += weight;
    }
}

int ab_choose(double n, const struct ab_range *ranges, size_t k)
{
    for (size_t i = 0; i < k; i++)
        if (n >= ranges[i].from && n < ranges[i].to)
            return (int)i;
    return -1;
}

double ab_namespace_number(const char *name, const char *value)
{
    uint32_t h = fnv_add(FNV_OFFSET, value, strlen(value));
    h = fnv_add(fnv_add(h, "__", 2), name, strlen(name));
    return h % 1000 / 1000.0;
}

bool ab_namespace_holds(const char *name, struct ab_range part, const char *value)
{
    const double n = ab_namespace_number(name, value);
    return n >= part.from && n < part.to;
}
