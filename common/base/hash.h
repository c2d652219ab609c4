/* hash.h - xxh3-64, the checksum in our files and the hash of our keys; the only door to xxhash.h. */
#ifndef PENSTOCK_COMMON_BASE_HASH_H
#define PENSTOCK_COMMON_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *bytes, size_t n, uint64_t seed); /* XXH3_64bits_withSeed */
/* Strong mix of one 64-bit key (for tables and buckets): a bijection, good in every bit. */
uint64_t hash_u64(uint64_t key);

/* Streaming, for files: equal to hash_bytes(whole, n, 0). */
struct hash_stream;
struct hash_stream *hash_stream_new(void);
void hash_stream_free(struct hash_stream *h);
void hash_stream_reset(struct hash_stream *h);
void hash_stream_add(struct hash_stream *h, const void *bytes, size_t n);
uint64_t hash_stream_value(const struct hash_stream *h);

/* key -> one of 4096 buckets; bucket -> shard is the head's map. */
#define BUCKETS 4096u
uint32_t hash_bucket(uint64_t key);

#endif
