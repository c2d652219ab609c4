/* index.h - key -> slot: an extendible directory of segments of one-line groups. Private to ps/store.
 *
 * The keys themselves stand in the records (the first 8 bytes of a piece of `rows`); the index holds a tag
 * of 8 bits and the slot. ps/store/README.md has the layout byte by byte, and why.
 */
#ifndef PENSTOCK_PS_STORE_INDEX_H
#define PENSTOCK_PS_STORE_INDEX_H

#include "ps/store/slab.h"

struct segment {
    unsigned char *groups; /* (1 << log2) groups of 64 bytes */
    uint32_t log2;
    uint32_t depth; /* hash bits that all its keys share */
    uint32_t used;  /* entries */
    bool big;       /* a piece of index.big, else its own allocation */
};

struct index {
    uint64_t *dir; /* (1 << depth): address of the groups | log2, so that a lookup reads one word */
    uint32_t *segment_of;    /* (1 << depth): the same as an index of segment */
    struct segment *segment; /* (segments) */
    uint32_t segments, segments_cap;
    uint32_t depth;
    uint64_t rows_used;
    uint64_t probe_sum;      /* groups looked at to find each key once */
    uint32_t probe_max;      /* the longest since the index was empty */
    uint64_t bytes;          /* charged, without big's */
    struct slab big;         /* segments of full size */
    const struct slab *rows; /* borrowed: where the keys are */
    struct budget *budget;   /* borrowed */
    uint64_t no_dir; /* what dir points to while there is no segment; so don't move the struct */
};

void index_init(struct index *ix, const struct slab *rows, struct budget *budget);
void index_release(struct index *ix);
void index_clear(struct index *ix);

/* slots[i] = slot of keys[i] or SLAB_NONE; the first `touch` bytes of each record are prefetched. */
void index_find(const struct index *ix, const uint64_t *keys, size_t n, size_t touch,
                uint32_t *slots);
uint32_t index_find_one(const struct index *ix, uint64_t key);
/* Make room for one more key like this. ST_AGAIN: over budget, nothing changed that a caller can see. */
MUST_CHECK enum status index_reserve(struct index *ix, uint64_t key, struct errbuf *err);
/* After index_reserve of the same key, which is absent; the record already holds the key. */
void index_insert(struct index *ix, uint64_t key, uint32_t slot);
void index_remove(struct index *ix, uint64_t key, uint32_t slot); /* it is there */
uint64_t index_bytes(const struct index *ix);
void index_check(const struct index *ix);

#endif
