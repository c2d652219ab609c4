/* dataset_map.h - the inside of a dataset, for dataset.c and batch.c only. */
#ifndef PENSTOCK_COMMON_DATA_DATASET_MAP_H
#define PENSTOCK_COMMON_DATA_DATASET_MAP_H

#include "common/base/file.h"
#include "common/data/cache.h"
#include "common/data/dataset.h"

struct dataset {
    char *path; /* of the cache; owned */
    struct file_map map;
    struct cache_header header;
    struct cache_tail tail;
    struct cache_block *block; /* (blocks) views into the map; owned */
    uint8_t *checked;          /* (blocks) 1 once checksum and soundness were looked at; owned */
    bool uniform;              /* every block but the last holds block_rows records */
    unsigned shift;            /* uniform: log2 block_rows */
};

/* Block of record r (r < rows) and its place there. A block is checked at its first use. */
MUST_CHECK enum status dataset_locate(struct dataset *d, uint64_t r, const struct cache_block **out,
                                      size_t *out_i, struct errbuf *err);
size_t dataset_block_of(const struct dataset *d, uint64_t r);
MUST_CHECK enum status dataset_check_block(struct dataset *d, size_t b, struct errbuf *err);

#endif
