/* split.c - see split.h. */
#include "common/data/split.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

enum part split_by_hash(const void *raw, size_t n, uint64_t seed, double valid, double test)
{
    double u = (double)(hash_bytes(raw, n, hash_u64(seed)) >> 11) * 0x1p-53;
    return u < test ? PART_TEST : u < test + valid ? PART_VALID : PART_TRAIN;
}

enum part split_by_fold(const void *user, size_t n, uint64_t folds, uint64_t fold, uint64_t seed,
                        double valid)
{
    uint64_t h = hash_bytes(user, n, 0);
    if (h % folds == fold)
        return PART_TEST;
    double u = (double)(hash_u64(h ^ hash_u64(seed)) >> 11) * 0x1p-53;
    return u < valid ? PART_VALID : PART_TRAIN;
}

/* The k-th smallest, k < n: four passes, each fixes 16 bits. Linear whatever the order, and no copy. */
static int64_t select_time(const int64_t *times, size_t n, size_t k)
{
    size_t *count = mem_array(65536, sizeof *count);
    uint64_t prefix = 0;
    for (int shift = 48; shift >= 0; shift -= 16) {
        for (size_t b = 0; b < 65536; b++)
            count[b] = 0;
        for (size_t i = 0; i < n; i++) {
            uint64_t u = (uint64_t)times[i] ^ (1ull << 63); /* unsigned order = signed order */
            if (shift == 48 || u >> (shift + 16) == prefix)
                count[(u >> shift) & 65535]++;
        }
        size_t b = 0;
        while (k >= count[b])
            k -= count[b++];
        prefix = prefix << 16 | b;
    }
    free(count);
    return (int64_t)(prefix ^ (1ull << 63));
}

struct split_times split_by_time(const int64_t *times, size_t n, double valid, double test)
{
    struct split_times t = {INT64_MAX, INT64_MAX};
    size_t test_at = (size_t)llround((double)n * (1 - test));
    size_t valid_at = (size_t)llround((double)n * (1 - test - valid));
    if (test > 0 && test_at < n)
        t.test_from = select_time(times, n, test_at);
    if (valid > 0 && valid_at < n)
        t.valid_from = select_time(times, n, valid_at);
    return t;
}

/* One pass of a stable sort by 16 bits of the time; false, and nothing done, when they are equal in all. */
static bool sort_pass(const int64_t *times, size_t n, int shift, const uint64_t *from, uint64_t *to)
{
    size_t *count = mem_array(65537, sizeof *count);
    for (size_t i = 0; i < n; i++)
        count[(((uint64_t)times[i] ^ 1ull << 63) >> shift & 65535) + 1]++;
    bool differ = count[(((uint64_t)times[0] ^ 1ull << 63) >> shift & 65535) + 1] < n;
    for (size_t b = 0; b < 65536; b++)
        count[b + 1] += count[b];
    for (size_t i = 0; differ && i < n; i++)
        to[count[((uint64_t)times[from[i]] ^ 1ull << 63) >> shift & 65535]++] = from[i];
    free(count);
    return differ;
}

uint64_t *split_time_order(const int64_t *times, size_t n)
{
    uint64_t *order = mem_array(n + 1, sizeof *order), *other = mem_array(n + 1, sizeof *other);
    bool sorted = true;
    for (size_t i = 0; i < n; i++) {
        order[i] = i;
        sorted = sorted && (i == 0 || times[i] >= times[i - 1]);
    }
    for (int shift = 0; !sorted && shift < 64; shift += 16) {
        if (sort_pass(times, n, shift, order, other)) {
            uint64_t *swap = order;
            order = other;
            other = swap;
        }
    }
    free(other);
    return order;
}

enum part split_time_part(const struct split_times *t, int64_t time)
{
    return time >= t->test_from ? PART_TEST : time >= t->valid_from ? PART_VALID : PART_TRAIN;
}
