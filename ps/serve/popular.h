/* popular.h - the items that most people took: for those of whom nothing is known, and as candidates of click models.
 *
 * An item's score: its records in the training part (of sequences from the catalog; of click models the positive ones
 * of the newest ten million, counted from the cache when the node starts, where there is one) + its recent positive events on this node, each
 * half as much a day later. The list is made by the writer and shown by one atomic pointer.
 */
#ifndef PENSTOCK_PS_SERVE_POPULAR_H
#define PENSTOCK_PS_SERVE_POPULAR_H

#include "ps/serve/model_view.h"
#include "ps/serve/state.h"

#define POPULAR_MAX 4096u

struct popular_list {
    uint32_t n;
    struct popular_item {
        uint32_t item;
        float score;
    } item[]; /* by falling score */
};

struct popular {
    const struct model_view *view;       /* borrowed */
    struct state *state;                 /* borrowed */
    _Atomic(struct popular_list *) list; /* never NULL after popular_refresh */
    /* -- writer only -- */
    struct catalog counts; /* by key, of a click model; owned */
    float *trained;        /* (trained_used) by number: records in train */
    size_t trained_used, trained_cap;
    uint64_t rest_until_us; /* monotonic: of many items not each second */
};

/* Reads the train part's cache, if it is there. */
void popular_init(struct popular *p, const struct model_view *view, struct state *state);
void popular_release(struct popular *p);
/* Writer. Takes at most a tenth of its time, so with many items it comes to nothing now and then. */
void popular_refresh(struct popular *p, uint64_t now_us);

#endif
