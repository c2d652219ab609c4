/* cut_hash.c - the proof: an order-independent sum of row hashes, by table and bucket (see cut.h).
 *
 * A row's hash chains two calls of xxh3: the 16 bytes (key, last_step, freq, flags) under the table's seed
 * make the seed for weights and state, which lie side by side in the record. So nothing is copied, and the
 * two fields of the meta that differ from shard to shard (stamp, image) are left out. Sums mod 2^64 can be
 * added over shards and subtracted when a row changes; they are no proof against malice.
 */
#include "ps/snapshot/cut_hash.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

void cut_hash_init(struct cut_hash *h, size_t tables)
{
    memset(h, 0, sizeof *h);
    h->tables = tables;
    for (size_t t = 0; t < tables; t++)
        h->bucket[t] = mem_array(BUCKETS, sizeof *h->bucket[t]);
}

void cut_hash_release(struct cut_hash *h)
{
    for (size_t t = 0; t < h->tables; t++)
        free(h->bucket[t]);
    memset(h, 0, sizeof *h);
}

void cut_hash_copy(struct cut_hash *to, const struct cut_hash *from)
{
    for (size_t t = 0; t < from->tables; t++) {
        memcpy(to->bucket[t], from->bucket[t], BUCKETS * sizeof *to->bucket[t]);
        to->rows[t] = from->rows[t];
        to->weights[t] = from->weights[t];
    }
}

uint64_t cut_hash_sum(const struct cut_hash *h, uint32_t table)
{
    uint64_t sum = 0;
    for (size_t b = 0; b < BUCKETS; b++)
        sum += h->bucket[table][b];
    return sum;
}

uint64_t cut_table_seed(const char *name)
{
    return hash_bytes(name, strlen(name), 0);
}

uint64_t cut_row_hash(uint64_t seed, uint64_t key, const void *meta8, const void *floats,
                      size_t float_bytes)
{
    uint8_t head[16];
    memcpy(head, &key, 8);
    memcpy(head + 8, meta8, 8);
    return hash_bytes(floats, float_bytes, hash_bytes(head, sizeof head, seed));
}

uint64_t cut_weights_hash(uint64_t seed, uint64_t key, const void *weights, size_t bytes)
{
    return hash_bytes(weights, bytes, hash_bytes(&key, sizeof key, seed));
}

uint64_t cut_record_hash(const struct plan_table *t, uint32_t state_floats, uint64_t key,
                         const void *record)
{
    const char *floats = (const char *)record + sizeof(struct row_meta);
    return cut_row_hash(cut_table_seed(t->name), key, record, floats,
                        ((size_t)t->dim + state_floats) * sizeof(float));
}
