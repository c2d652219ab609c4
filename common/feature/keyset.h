/* keyset.h - 64-bit keys with a count: open addressing, grows by doubling.
 *
 * For the frequency threshold: while fitting it counts, afterwards it answers "was this key kept?". Keys
 * are hashes already, so their low bits choose the slot. Key 0 stands for an empty slot and has a place
 * of its own.
 */
#ifndef PENSTOCK_COMMON_FEATURE_KEYSET_H
#define PENSTOCK_COMMON_FEATURE_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"

struct keyset {
    uint64_t *key;   /* (cap), 0 = empty; owned */
    uint32_t *count; /* (cap); owned */
    size_t cap;      /* a power of two, or 0 */
    size_t used;     /* without key 0 */
    uint32_t zero;   /* count of key 0 */
};

void keyset_release(struct keyset *s);
/* Count one sighting (stops at 2^32-1). ST_NO_MEMORY leaves the set as it was. */
MUST_CHECK enum status keyset_add(struct keyset *s, uint64_t key, struct errbuf *err);
uint32_t keyset_count(const struct keyset *s, uint64_t key);
/* Keys counted at least `least` times, ascending. Owned by the caller. */
MUST_CHECK enum status keyset_sorted(const struct keyset *s, uint32_t least, uint64_t **out,
                                     size_t *out_n, struct errbuf *err);

#endif
