/* catalog.h - the items of a job's sequences: what is ranked, and how often each was there in training.
 *
 * <cache>/catalog.bin is written with the caches of data.records=sequences; little-endian:
 *
 *   0   8 bytes  PNSTKCAT
 *   8   u32 x 2  version 2; 0
 *   16  u64      stamp of the caches it belongs to
 *   24  u64 x 6  users, events, positions, users with too few events, their events, events without a history
 *   72  u64      n
 *   80  u64      xxh3-64 of all that follows, begun with that of bytes 0 to 79
 *   88  u64 x n  keys, ascending
 *       u64 x n  their events in train
 *       u64 x n  those among the newest tenth of train by time; 0 for all where a log has no time
 */
#ifndef PENSTOCK_COMMON_DATA_CATALOG_H
#define PENSTOCK_COMMON_DATA_CATALOG_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"

#define CATALOG_NONE SIZE_MAX

struct catalog_counts {
    uint64_t users, events;             /* that records are made of */
    uint64_t positions;                 /* of train: items that are predicted */
    uint64_t users_short, events_short; /* left out: fewer than data.sequence.min */
    uint64_t no_history; /* events of valid and test with nothing before: no record */
};

struct catalog {
    uint64_t *key;    /* (n) distinct, ascending; owned */
    uint64_t *count;  /* (n) events in train, may be 0; owned */
    uint64_t *recent; /* (n) of these the newest tenth of all; owned */
    size_t n;
    uint64_t stamp;
    struct catalog_counts counts;
};

/* ST_NOT_FOUND when the folder has none, ST_BAD_DATA when it is damaged; both name the path. */
MUST_CHECK enum status catalog_load(const char *cache_dir, struct catalog *out, struct errbuf *err);
MUST_CHECK enum status catalog_parse(const void *bytes, size_t n, const char *name,
                                     struct catalog *out, struct errbuf *err);
void catalog_write(const struct catalog *c, struct buffer *out);
MUST_CHECK enum status catalog_save(const struct catalog *c, const char *cache_dir,
                                    struct errbuf *err);
void catalog_release(struct catalog *c); /* also of a zeroed one */
/* The place of a key, or CATALOG_NONE. */
size_t catalog_find(const struct catalog *c, uint64_t key);

#endif
