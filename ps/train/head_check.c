/* head_check.c - what must hold of a head between two steps. */
#include <assert.h>

#include "ps/train/head.h"

static void check_log(const struct head_log *l)
{
    uint64_t done = 0;
    if (l->upto == NULL)
        return;
    for (uint64_t i = 0; i < l->splits; i++) {
        assert(l->upto[i] >= head_split_begin(l, i) && l->upto[i] <= head_split_end(l, i));
        done += l->upto[i] - head_split_begin(l, i);
    }
    assert(done == l->done_records && l->next <= l->splits);
}

static void check_leases(const struct head *h)
{
    for (uint32_t w = 0; w < h->conf.workers; w++) {
        const struct head_worker *k = &h->worker[w];
        assert(k->state.leased <= k->granted);
        assert(k->granted - k->state.leased <= HEAD_LEASES);
        assert(!k->peer.joined || k->peer.seen);
    }
}

/* Interval arithmetic: at most one cut is taken and unresolved, and numbers only grow. */
void head_check(const struct head *h)
{
    if (h->phase == HEAD_FENCING || h->phase >= HEAD_STOPPING)
        return;
    bool unresolved = h->phase == HEAD_TAKE || h->cut.write != WRITE_NONE;
    assert(h->open > h->resolved && h->resolved >= h->complete);
    assert(!unresolved || (h->cut.k + 1 == h->open && h->resolved < h->cut.k));
    assert(unresolved || h->resolved == h->open - 1);
    assert(h->phase < HEAD_RECOVER || h->n > 0);
    assert(h->phase != HEAD_RUN || h->mode == MODE_RUN);
    assert(h->phase != HEAD_HOLD || (h->mode == MODE_HOLD && h->cut.hold_n == h->n));
    assert(h->phase != HEAD_TAKE || h->mode == MODE_TAKE);
    assert(h->stage != STAGE_EVALUATE || h->evaluate != 0);
    assert(h->stage != STAGE_FINISHED || h->phase != HEAD_RUN);
    check_log(&h->log);
    check_leases(h);
}
