/* head_lease.c - splits of the log, lent to workers in ascending order.
 *
 * A lease is given to whoever has room, and repeated each beat until the worker's STATE lists its number. It
 * ends only by being worked off, or with the incarnation: a slow worker simply takes fewer, and a stuck one
 * is a dead one. With one worker the order of the records is therefore always the same.
 *
 * bsp, ssp: every worker gets every lease, for each computes a part of each step. The first that has room opens the
 * next one, a 16th of the log or so; the others get it when they have room, even while a cut holds and after the end
 * was asked for, for nobody can finish a lease alone. A lease has at least as many steps as one worker may be ahead
 * of another, so nobody is more than one lease ahead.
 */
#include <assert.h>

#include "ps/train/head.h"

static bool next_split(struct head_log *l, uint64_t *out)
{
    while (l->next < l->splits && l->upto[l->next] == head_split_end(l, l->next))
        l->next++; /* the base had it whole */
    if (l->next == l->splits)
        return false;
    *out = l->next++;
    return true;
}

static void send_lease(struct head *h, struct head_worker *w, uint64_t number)
{
    struct msg *m = head_msg(h, MSG_LEASE);
    m->u.lease = w->lease[number % HEAD_LEASES];
    m->u.lease.first = h->log.first;
    m->u.lease.records = h->log.records;
    m->u.lease.segment = head_segment(h);
    assert(m->u.lease.number == number);
    w->lease_us = h->now_us;
    head_send(h, w->peer.route, m);
}

/* false: nothing is to be opened now. */
static bool open_next(struct head *h)
{
    struct head_log *l = &h->log;
    if (h->phase != HEAD_RUN || h->stage != STAGE_TRAIN || h->stop_wanted || l->lent == l->records)
        return false;
    const struct job *job = h->conf.conf;
    uint64_t n = head_log_split_records(l->records, job->train.batch, 1);
    if (n < (job->train.staleness + 1) * job->train.batch)
        n = (job->train.staleness + 1) * job->train.batch;
    if (n > l->records - l->lent)
        n = l->records - l->lent;
    h->opened++;
    h->open_lease[h->opened % HEAD_OPENED] = (struct msg_lease){
        .number = h->opened, .epoch = l->epoch, .begin = l->lent, .end = l->lent + n};
    l->lent += n;
    return true;
}

static void give_all(struct head *h, uint32_t rank)
{
    struct head_worker *w = &h->worker[rank];
    if (h->phase < HEAD_RUN || h->phase > HEAD_TAKE || !w->peer.joined)
        return;
    while (w->granted - w->state.leased < w->state.room &&
           w->granted - w->state.leased < HEAD_LEASES && (w->granted < h->opened || open_next(h))) {
        w->granted++;
        assert(h->opened - w->granted < HEAD_OPENED);
        w->lease[w->granted % HEAD_LEASES] = h->open_lease[w->granted % HEAD_OPENED];
        send_lease(h, w, w->granted);
    }
}

void head_lease_give(struct head *h, uint32_t rank)
{
    struct head_worker *w = &h->worker[rank];
    uint64_t split;
    if (job_deals(h->conf.conf)) {
        give_all(h, rank);
        return;
    }
    if (h->phase != HEAD_RUN || h->stage != STAGE_TRAIN || h->stop_wanted || !w->peer.joined)
        return;
    while (w->granted - w->state.leased < w->state.room &&
           w->granted - w->state.leased < HEAD_LEASES && next_split(&h->log, &split)) {
        w->granted++;
        w->lease[w->granted % HEAD_LEASES] =
            (struct msg_lease){.number = w->granted,
                               .epoch = h->log.epoch,
                               .split = split,
                               .begin = h->log.upto[split],
                               .end = head_split_end(&h->log, split)};
        send_lease(h, w, w->granted);
    }
}

void head_lease_again(struct head *h, uint32_t rank)
{
    struct head_worker *w = &h->worker[rank];
    if (!w->peer.joined || h->now_us - w->lease_us < h->conf.conf->cluster.beat)
        return;
    for (uint64_t n = w->state.leased + 1; n <= w->granted; n++)
        send_lease(h, w, n);
}
