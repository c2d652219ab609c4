/* cut_hash.h - the parts of the rows' hash that cut, restore and verify share. Contract: cut.h. */
#ifndef PENSTOCK_PS_SNAPSHOT_CUT_HASH_H
#define PENSTOCK_PS_SNAPSHOT_CUT_HASH_H

#include "ps/snapshot/cut.h"

/* What of a record's meta stands in files and is hashed: last_step, freq, flags. */
#define CUT_META_BYTES 8u

uint64_t cut_table_seed(const char *name);
/* meta8: last_step u32, freq u16, flags u16. floats: weights, then state. */
uint64_t cut_row_hash(uint64_t seed, uint64_t key, const void *meta8, const void *floats,
                      size_t float_bytes);
/* Of key and weights alone: xxh3(weights; seed = xxh3(key; seed)). What a replica, which has neither state nor meta,
 * can prove; a dense block's weights are padded with zeros. */
uint64_t cut_weights_hash(uint64_t seed, uint64_t key, const void *weights, size_t bytes);
/* Same number of tables in both. */
void cut_hash_copy(struct cut_hash *to, const struct cut_hash *from);

#endif
