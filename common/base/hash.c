/* hash.c - xxh3-64 for bytes, a bijective mix for 64-bit keys; the only door to xxhash.h.
 *
 * hash_u64 is used twice for every key, and the two uses must not see each other: the bucket (which shard)
 * is made of the TOP 12 bits, a table (which segment, which slot, which tag) uses the bits below, 0 to 51.
 * All keys of a shard share some of the top bits; had the table used those as well, it would fill a
 * fraction of its slots.
 *
 * The mix is SplitMix64's step: add the golden ratio, so that key 0 is no fixed point, then Stafford's
 * variant 13. It is a bijection, so two keys never have one hash. Both functions are part of our file
 * formats (bucket map, checksums): changing one bit of them is a new version of the snapshot.
 */
#include "common/base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

uint64_t hash_bytes(const void *bytes, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(n == 0 ? "" : bytes, n, seed);
}

uint64_t hash_u64(uint64_t key)
{
    uint64_t x = key + 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

uint32_t hash_bucket(uint64_t key)
{
    _Static_assert(BUCKETS == 1u << 12, "the shift below");
    return (uint32_t)(hash_u64(key) >> 52);
}

/* struct hash_stream is xxhash's state under our name: it is only ever cast. */
static XXH3_state_t *state_of(struct hash_stream *h)
{
    return (XXH3_state_t *)h;
}

struct hash_stream *hash_stream_new(void)
{
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL) {
        fprintf(stderr, "out of memory: a hash\n");
        abort();
    }
    XXH3_64bits_reset(state);
    return (struct hash_stream *)state;
}

void hash_stream_free(struct hash_stream *h)
{
    if (h != NULL)
        XXH3_freeState(state_of(h));
}

void hash_stream_reset(struct hash_stream *h)
{
    XXH3_64bits_reset(state_of(h));
}

void hash_stream_add(struct hash_stream *h, const void *bytes, size_t n)
{
    if (n > 0)
        XXH3_64bits_update(state_of(h), bytes, n);
}

uint64_t hash_stream_value(const struct hash_stream *h)
{
    return XXH3_64bits_digest((const XXH3_state_t *)h);
}
