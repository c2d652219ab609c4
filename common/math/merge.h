/* merge.h - sums of several lists of gradients, bit for bit the same however the lists are spread over processes.
 *
 * List i stands at leaf i of a complete binary tree; a node is the sum of its two halves, and where one half
 * has nothing the node is the other half, not that plus zero. So the sum of lists [0, S) equals, bit for bit,
 * the sum of W sums of S / W lists each, if S and W are powers of two: those who add the slices of a step in
 * worker and shard (train.consistency: bsp) get the same whatever W is.
 */
#ifndef PENSTOCK_COMMON_MATH_MERGE_H
#define PENSTOCK_COMMON_MATH_MERGE_H

#include <stddef.h>
#include <stdint.h>

#define MERGE_LISTS_MAX 65536u

struct merge_place { /* entry `at` of list `list` */
    uint32_t list, at;
};

/* The distinct keys of several lists, and where each of them stands in which. */
struct merge {
    uint64_t *keys;            /* (n) in order of first sight; owned, as the next two */
    uint32_t *first;           /* (n + 1) key i stands at place[first[i]] .. place[first[i + 1]] */
    struct merge_place *place; /* lists rising within a key */
    size_t n;
    size_t cap;     /* of all arrays: entries of all lists together */
    uint32_t *of;   /* (entries) index in keys of each entry, list after list; owned, as the next */
    uint32_t *seen; /* (seen_cap) scratch: hash of keys, index + 1 */
    size_t seen_cap; /* a power of two */
};

void merge_init(struct merge *m);
void merge_release(struct merge *m);
/* keys[i]: (n[i]), distinct within a list. lists <= MERGE_LISTS_MAX, all entries together < 2^31. Takes no
 * memory once it has seen its largest. */
void merge_keys(struct merge *m, const uint64_t *const *keys, const size_t *n, size_t lists);
/* rows[i]: (n[i], dim) beside keys[i]; out: (m->n, dim), apart from all rows. */
void merge_rows(const struct merge *m, const float *const *rows, size_t dim, float *out);
/* arrays[i]: (n), or NULL: nothing there. All NULL: zeros. out: (n), apart from all arrays. */
void merge_arrays(const float *const *arrays, size_t lists, size_t n, float *out);

#endif
