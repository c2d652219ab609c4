/* shelf.h - all items of a version as one matrix: what retrieval and `similar` multiply with. Exact, no index.
 *
 * A shelf holds, of one cut of one stream, the rows of the items that this node has named so far, by their numbers, so
 * a request that uses it is scored by that very cut. It is built in slices beside the requests, by whichever loop has
 * time (of large catalogs at most a tenth of a thread), and shown by one atomic pointer; the newest SHELVES_KEPT stay. Memory: items * (width + 3) floats each.
 */
#ifndef PENSTOCK_PS_SERVE_SHELF_H
#define PENSTOCK_PS_SERVE_SHELF_H

#include "ps/serve/model_view.h"
#include "ps/serve/state.h"

#define SHELVES_KEPT 3u

struct shelf {
    uint64_t cut;
    uint32_t n; /* items, by number */
    size_t width;
    float *row;  /* (n, width) */
    float *bias; /* (n) zeros where the model has none */
    float *norm; /* (n) 1 / |row|; 0: the model has no row for it: never retrieved */
};

struct shelves {                   /* of a stream */
    const struct model_view *view; /* borrowed */
    struct state *state;           /* borrowed: items and epoch */
    _Atomic(struct shelf *) shown[SHELVES_KEPT];
    _Atomic uint64_t wanted;                   /* a cut that somebody asked for; 0: none */
    atomic_flag building;                      /* held by whoever touches what follows */
    struct shelf *next;                        /* NULL: none is being built */
    uint32_t done;                             /* items of it */
    unsigned turn;                             /* which place is given up */
    uint64_t spent_us, rest_until_us;          /* on `next`; monotonic: when another may be begun */
    struct registry_retired old[SHELVES_KEPT]; /* wait for readers */
};

void shelves_init(struct shelves *s, const struct model_view *view, struct state *state);
void shelves_release(struct shelves *s);
/* Inside an entry of the state's epoch: the shelf of that cut (0: the newest there is), or NULL; then it is wanted. */
const struct shelf *shelves_find(struct shelves *s, uint64_t cut);
/* A slice of work: true when there is more. rd: not entered. Any thread. */
bool shelves_build(struct shelves *s, struct replica_reader *rd);

#endif
