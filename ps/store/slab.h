/* slab.h - pieces of equal size out of 2 MiB slabs, and the budget that counts them. Private to ps/store.
 *
 * A piece is named by a number that never changes: slab << shift | index. Pieces are only ever taken, in
 * rising order; who owns them keeps a free list in the pieces themselves. slab_reset forgets them all.
 *
 * Counting: the first slab is mapped with small pages and charged page by page as it fills, so that a
 * table of a hundred rows costs kilobytes; every later one is a huge page, charged whole.
 */
#ifndef PENSTOCK_PS_STORE_SLAB_H
#define PENSTOCK_PS_STORE_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"

#define SLAB_BYTES ((size_t)2 << 20)
#define SLAB_NONE  UINT32_MAX

struct budget {
    uint64_t max, used; /* bytes; used <= max */
};

/* Takes `bytes` from the budget, or nothing and false. */
bool budget_take(struct budget *b, uint64_t bytes);
void budget_give(struct budget *b, uint64_t bytes);

struct slab {
    char **base;           /* (slabs) owned */
    uint32_t slabs, cap;   /* mapped; room in base */
    uint32_t stride;       /* bytes from one piece to the next */
    uint32_t per_slab;     /* pieces in a slab */
    uint32_t shift;        /* number = slab << shift | index */
    uint32_t at, index;    /* the next piece: slab and index */
    uint32_t limit;        /* numbers stay below */
    uint64_t page_bytes;   /* charged of the first slab */
    uint64_t bytes;        /* charged in all: pages, slabs, base */
    struct budget *budget; /* borrowed, outlives the slab */
};

/* stride: 1 to SLAB_BYTES. */
void slab_init(struct slab *s, size_t stride, struct budget *budget);
void slab_release(struct slab *s);
void slab_reset(struct slab *s); /* all pieces are free again; memory is kept, and stays charged */
/* The number of a piece never taken before; its bytes are zero, or old after a reset.
 * ST_AGAIN: over budget. ST_NO_MEMORY. */
MUST_CHECK enum status slab_take(struct slab *s, uint32_t *out_number, struct errbuf *err);
uint64_t slab_taken(const struct slab *s); /* one above the highest number taken, 0 = none */

static inline void *slab_piece(const struct slab *s, uint32_t number)
{
    size_t index = number & ((1u << s->shift) - 1);
    return s->base[number >> s->shift] + index * s->stride;
}

/* Is this number one that slab_take has given? */
static inline bool slab_holds(const struct slab *s, uint32_t number)
{
    uint32_t slab = number >> s->shift;
    uint32_t index = number & ((1u << s->shift) - 1);
    return slab < s->at ? index < s->per_slab : slab == s->at && index < s->index;
}

#endif
