/* head_peers.c - who is there: STATE comes in, fresh boots become members, silence becomes a death.
 *
 *   STATE of             e      head gathers          members are named, world is named
 *   a shard, fresh       0      becomes a member      its own boot: alive; another boot: `stranger` decides
 *   a shard, member      ours   -                     read
 *   a worker, fresh      0      candidate world       its own boot: alive; another world or boot: as above
 *   a worker, member     ours   -                     read
 *   anyone, older e      < e    told the order, which does not name it: it exits
 *
 * STATE is a level, but may arrive late: one whose n, or whose running totals, are behind what is known is
 * only a sign of life.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ps/train/head.h"

enum { RECOVER_FACTOR = 3 };

static void alive(struct head *h, struct head_peer *p, uint64_t route, const struct msg *m)
{
    bool first = !p->seen || p->boot != m->boot;
    p->seen = true;
    p->boot = m->boot;
    p->route = route;
    p->seen_us = h->now_us;
    if (first)
        head_order_to(h, route);
}

static bool named(const struct head *h)
{
    return h->phase >= HEAD_RECOVER;
}

/* ---- workers ---- */

/* A worker before a world is named: all ranks of one world must come. */
static void candidate(struct head *h, uint64_t route, const struct msg *m)
{
    const struct msg_worker_state *w = &m->u.worker;
    if (m->e != 0) {
        head_order_to(h, route);
        return;
    }
    if (w->world != h->seen_world) {
        if (h->seen_world != 0 && h->now_us - h->seen_world_us < h->conf.conf->cluster.dead) {
            head_refuse(h, route, m, "another world of workers is here already");
            return;
        }
        for (uint32_t r = 0; r < h->conf.workers; r++)
            h->worker[r].peer = (struct head_peer){0};
        h->seen_world = w->world;
    }
    h->seen_world_us = h->now_us;
    alive(h, &h->worker[w->rank].peer, route, m);
}

/* A boot that no order names, in a member's place. If the member is silent, too, it is that member's
 * successor: a death. If not, it is a late message of somebody long dead, or a process started twice. */
static void stranger(struct head *h, const struct head_peer *p, uint64_t route, const struct msg *m,
                     const char *who, uint32_t i)
{
    char text[128];
    if (m->e != 0)
        return;
    if (h->now_us - p->seen_us >= h->conf.conf->cluster.dead / 2) {
        head_last_cut_text(h, text, sizeof text);
        head_end(h, 1, "%s %u was started again while the run went on; %s", who, i, text);
        return;
    }
    snprintf(text, sizeof text, "%s %u of this run is another process", who, i);
    head_refuse(h, route, m, text);
}

/* Is this one of the workers that the order names? */
static bool member_worker(struct head *h, uint64_t route, const struct msg *m)
{
    const struct msg_worker_state *w = &m->u.worker;
    struct head_peer *p = &h->worker[w->rank].peer;
    if (m->e != h->e && m->e != 0) {
        head_order_to(h, route);
        return false;
    }
    if (w->world != h->world || p->boot != m->boot) {
        stranger(h, p, route, m, "worker", w->rank);
        return false;
    }
    alive(h, p, route, m);
    return m->e == h->e;
}

static void read_worker(struct head *h, uint32_t rank, const struct msg_worker_state *w)
{
    struct head_worker *k = &h->worker[rank];
    for (uint32_t i = 0; i < w->leases; i++) {
        if (!head_log_moved(&h->log, &w->progress[i])) {
            head_end(h, 1, "fault: worker %u told records up to %llu of split %llu, epoch %llu",
                     rank, (unsigned long long)w->progress[i].upto,
                     (unsigned long long)w->progress[i].split,
                     (unsigned long long)w->progress[i].epoch);
            return;
        }
    }
    if (k->peer.joined && (w->n < k->state.n || w->leased < k->state.leased))
        return;
    k->peer.joined = true;
    k->state = *w;
    if (w->fault[0] != '\0') {
        char last[128];
        head_last_cut_text(h, last, sizeof last);
        head_end(h, w->fault_code == 3 ? 3 : 1, "worker %u: %s; %s", rank, w->fault, last);
    }
    head_lease_give(h, rank);
}

void head_recv_worker(struct head *h, uint64_t route, const struct msg *m)
{
    const struct msg_worker_state *w = &m->u.worker;
    if (w->world_size != h->conf.workers || w->rank >= h->conf.workers || w->world == 0) {
        char text[128];
        snprintf(text, sizeof text, "this run has %u workers, rank %u of %u came", h->conf.workers,
                 w->rank, w->world_size);
        head_refuse(h, route, m, text);
        return;
    }
    if (h->world == 0)
        candidate(h, route, m);
    else if (member_worker(h, route, m))
        read_worker(h, w->rank, w);
}

/* ---- shards ---- */

static bool member_shard(struct head *h, uint64_t route, const struct msg *m)
{
    uint32_t s = m->u.shard.shard;
    struct head_peer *p = &h->shard[s].peer;
    if (m->e != h->e && m->e != 0) {
        head_order_to(h, route);
        return false;
    }
    if (!named(h)) {
        if (m->e == 0) {
            memcpy(h->shard[s].state.address, m->u.shard.address, ADDRESS_MAX);
            alive(h, p, route, m);
        }
        return false;
    }
    if (p->boot != m->boot) {
        stranger(h, p, route, m, "shard", s);
        return false;
    }
    alive(h, p, route, m);
    return m->e == h->e;
}

void head_recv_shard(struct head *h, uint64_t route, const struct msg *m)
{
    const struct msg_shard_state *t = &m->u.shard;
    if (t->shard >= h->conf.shards) {
        head_refuse(h, route, m, "this run has fewer shards");
        return;
    }
    if (!member_shard(h, route, m))
        return;
    struct head_shard *k = &h->shard[t->shard];
    if (k->peer.joined && (t->n < k->state.n || t->pushes < k->state.pushes))
        return;
    if (t->loading && h->phase == HEAD_RECOVER)
        h->recover_us = h->now_us; /* it works on it: more time */
    k->peer.joined = true;
    k->state = *t;
    if (t->fault) {
        char last[128];
        head_last_cut_text(h, last, sizeof last);
        head_end(h, 1, "shard %u: %s; %s", t->shard, t->why, last);
    }
}

/* ---- the front ---- */

void head_recv_status(struct head *h, uint64_t route, const struct msg *m)
{
    if (m->u.want_stop)
        h->stop_wanted = true;
    char *text = head_report(h, h->now_us);
    struct msg *r = head_msg(h, MSG_REPORT);
    msg_set_text(r, text);
    free(text);
    head_send(h, route, r);
}

/* ---- time ---- */

static bool world_whole(const struct head *h)
{
    for (uint32_t w = 0; w < h->conf.workers; w++) {
        if (!h->worker[w].peer.seen)
            return false;
    }
    return true;
}

static void gather(struct head *h)
{
    for (uint32_t s = 0; s < h->conf.shards; s++) {
        if (!h->shard[s].peer.seen)
            return;
    }
    h->phase = HEAD_RECOVER;
    if (world_whole(h))
        h->world = h->seen_world;
    head_order_new(h, MODE_RECOVER);
}

static void begin_run(struct head *h)
{
    if (h->stage == STAGE_FINISHED) {
        head_end(h, 0, "nothing is left to train");
        return;
    }
    h->phase = HEAD_RUN;
    if (h->run_us == 0) {
        h->run_us = h->now_us;
        head_epoch_begins(h);
    }
    h->cut.next_us = h->now_us + h->conf.conf->cluster.cut_every;
    head_order_new(h, MODE_RUN);
    for (uint32_t w = 0; w < h->conf.workers; w++)
        head_lease_give(h, w);
}

static void recover(struct head *h)
{
    if (h->world == 0 && world_whole(h)) {
        h->world = h->seen_world;
        head_order_new(h, MODE_RECOVER);
    }
    if (h->world == 0)
        return;
    for (uint32_t s = 0; s < h->conf.shards; s++) {
        const struct head_shard *k = &h->shard[s];
        if (!k->peer.joined || k->state.n != h->n || k->state.loading || k->state.open != h->open)
            return;
    }
    for (uint32_t w = 0; w < h->conf.workers; w++) {
        if (!h->worker[w].peer.joined)
            return;
    }
    begin_run(h);
}

/* Names the first one that is missing. */
static void missing_text(const struct head *h, char *dst, size_t cap)
{
    for (uint32_t s = 0; s < h->conf.shards; s++) {
        const struct head_shard *k = &h->shard[s];
        if (!k->peer.seen || (named(h) && (!k->peer.joined || k->state.loading))) {
            snprintf(dst, cap, "shard %u %s", s, k->peer.seen ? "is not ready" : "did not come");
            return;
        }
    }
    for (uint32_t w = 0; w < h->conf.workers; w++) {
        if (!h->worker[w].peer.seen || (h->world != 0 && !h->worker[w].peer.joined)) {
            snprintf(dst, cap, "worker %u %s", w,
                     h->worker[w].peer.seen ? "is not ready" : "did not come");
            return;
        }
    }
    snprintf(dst, cap, "nobody is missing");
}

static void check_recover(struct head *h)
{
    uint64_t waited = h->now_us - h->recover_us, limit = h->conf.conf->cluster.recover;
    char who[64];
    if (waited < limit)
        return;
    missing_text(h, who, sizeof who);
    if (waited >= RECOVER_FACTOR * limit) {
        head_end(h, 1, "%s in %llu s: the run can't begin", who,
                 (unsigned long long)(waited / 1000000));
    } else if (!h->recover_told) {
        h->recover_told = true;
        head_notice(h, "waiting for %llu s: %s", (unsigned long long)(waited / 1000000), who);
    }
}

static void check_silence(struct head *h, const struct head_peer *p, const char *who, uint32_t i,
                          uint64_t limit)
{
    if (!p->seen || h->now_us - p->seen_us < limit)
        return;
    char last[128];
    head_last_cut_text(h, last, sizeof last);
    head_end(h, 1, "%s %u sent nothing for %.1f s and is taken for dead; %s", who, i,
             (double)(h->now_us - p->seen_us) / 1e6, last);
}

void head_peers_check(struct head *h)
{
    uint64_t dead = h->conf.conf->cluster.dead;
    if (h->phase == HEAD_GATHER)
        gather(h);
    if (h->phase == HEAD_RECOVER)
        recover(h);
    if (h->phase == HEAD_GATHER || h->phase == HEAD_RECOVER)
        check_recover(h);
    if (h->phase < HEAD_RECOVER || h->phase >= HEAD_STOPPING)
        return;
    for (uint32_t s = 0; s < h->conf.shards; s++) {
        /* a shard may be busy with loading for long: then the deadline is that of RECOVER */
        bool loads =
            h->phase == HEAD_RECOVER && (!h->shard[s].peer.joined || h->shard[s].state.loading);
        check_silence(h, &h->shard[s].peer, "shard", s,
                      loads ? h->conf.conf->cluster.recover : dead);
    }
    for (uint32_t w = 0; w < h->conf.workers && h->world != 0; w++)
        check_silence(h, &h->worker[w].peer, "worker", w, dead);
}
