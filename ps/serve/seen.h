/* seen.h - the newest event ids, and outcomes (exposure.h), as 64-bit hashes: a set with the order of arrival. One thread. */
#ifndef PENSTOCK_PS_SERVE_SEEN_H
#define PENSTOCK_PS_SERVE_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seen {
    size_t max, used, first; /* order: a ring */
    uint64_t *order;         /* (max) owned */
    uint64_t *slot;          /* open addressing, 0 = empty; owned */
    size_t mask;
};

void seen_init(struct seen *s, size_t max);
void seen_release(struct seen *s);
/* false: it is there. The oldest goes when there are max. */
bool seen_add(struct seen *s, uint64_t v);
void seen_undo(struct seen *s, size_t n);         /* the newest n were not */
uint64_t seen_at(const struct seen *s, size_t i); /* i < used, the oldest first */

#endif
