/* recv_order.c - the head orders: join, take, resolve, stop.
 *
 *   order                                  shard that never joined   shard of incarnation e
 *   (e, n) not greater than the last       ignored                   ignored
 *   greater e, no members (head gathers)   waits on                  exits: given up
 *   greater e, does not name my boot       ignored, no sign of life  exits: given up
 *   greater e, names me, RECOVER           joins: back to the base   joins: back to the base
 *   greater e, names me, other mode        ignored: joins by RECOVER only
 *   same e, greater n                      -                         resolve, then take if open = mine + 1
 *   STOP, greater (e, n)                   names me: exits           exits with the code
 *
 * A fresh shard is patient with orders that are not for it: they may be a dead head's, still under way. If
 * they are all that ever comes, orphan_us ends it.
 *
 * Back to the base (ps/train/README.md, "The way back"): base = complete: the open log is undone, then the
 * taken one. base = the taken cut of the same e: the open log only. Anything else, or images given up: by
 * files.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/train/shard.h"

static void forget_workers(struct shard *s, const struct msg_order *o)
{
    handles_clear(&s->handles);
    if (SIM_BUG(24) && s->world_size == o->world_size)
        return;
    free(s->last);
    free(s->refused);
    s->world = o->world;
    s->world_size = o->world_size;
    s->last = mem_array(s->world_size, sizeof *s->last);
    s->refused = mem_array(s->world_size, sizeof *s->refused);
    const bool apart = s->parts && s->conf.allreduce && s->world_size > 0;
    clock_reset(&s->clock, s->deals ? s->world_size : 0, s->parts ? s->conf.staleness : 0,
                apart ? job_carrier(s->conf.shard, s->world_size) : CLOCK_NOBODY);
}

/* Dealt logs: a cut lies between steps, and the head sees to it that it does. */
static bool between_steps(struct shard *s, const struct msg_order *o)
{
    uint32_t begun = s->clock.stored;
    for (uint32_t r = 0; s->parts && r < s->clock.workers; r++)
        begun += s->last[r] > s->clock.applied;
    if (begun == 0 || SIM_BLIND)
        return true;
    shard_fault(s, "order %llu takes cut %llu with %u of %u pushes of a step %s",
                (unsigned long long)o->n, (unsigned long long)s->open, begun, s->clock.workers,
                s->clock.stored > 0 ? "stored" : "applied");
    return false;
}

/* Find this shard's dense blocks; where there is no base yet, make them. */
static void find_dense(struct shard *s, bool make)
{
    for (size_t t = s->sparse; t < s->conf.plan->tables_used; t++) {
        struct shard_dense *d = &s->dense[t];
        struct errbuf err = ERRBUF_INIT;
        uint64_t first, end;
        plan_blocks_of(&s->conf.plan->tables[t], s->conf.shard, s->shards, &first, &end);
        free(d->keys);
        free(d->slots);
        d->n = (size_t)(end - first);
        d->keys = mem_array(d->n, sizeof *d->keys);
        d->slots = mem_array(d->n, sizeof *d->slots);
        for (size_t i = 0; i < d->n; i++)
            d->keys[i] = first + i;
        table_find(s->store->table[t], d->keys, d->n, d->slots);
        for (size_t i = 0; i < d->n; i++) {
            if (d->slots[i] != SLOT_NONE)
                continue;
            if (!make || table_add(s->store->table[t], d->keys[i], &d->slots[i], &err) != ST_OK) {
                shard_fault(s, "dense block %llu of %s: %s", (unsigned long long)d->keys[i],
                            s->conf.plan->tables[t].name, make ? err.text : "the base lacks it");
                return;
            }
            undo_added(s->log_open, s->store, (uint32_t)t, d->slots[i], d->keys[i], s->stamp);
        }
    }
}

/* The store holds the base now, whichever way it came there. */
static void at_base(struct shard *s)
{
    const struct msg_order *o = &s->order->u.order;
    s->loading = false;
    find_dense(s, o->base == 0);
    if (!shard_log_adopt(&s->now.log, o))
        shard_fault(s, "the base stands in epoch %llu, the order is of epoch %llu",
                    (unsigned long long)s->now.log.epoch, (unsigned long long)o->epoch);
    shard_mark_copy(&s->at_complete, &s->now);
    s->by_files = s->images_off = false;
    s->state_due = true;
}

static void undo_logs(struct shard *s, bool taken_too)
{
    undo_rollback(s->log_open, s->store);
    if (taken_too && !SIM_BUG(18))
        undo_rollback(s->log_taken, s->store);
    undo_reset(s->log_open);
    undo_reset(s->log_taken);
}

/* True: the images lead back to the base. */
static bool go_back(struct shard *s, const struct msg_order *o, uint64_t old_e)
{
    bool to_complete = s->joined && o->base == s->complete && o->base_e == s->complete_e;
    bool to_taken = s->joined && s->taken != 0 && o->base == s->taken && o->base_e == old_e &&
                    s->cut_phase == CUT_DURABLE;
    if (s->loading || s->by_files || o->shards != s->shards ||
        memcmp(o->map, s->map, sizeof s->map) != 0 || (!to_complete && !to_taken))
        return false;
    if (to_taken)
        shard_resolve(s, s->taken, s->taken);
    shard_cut_drop(s);
    undo_logs(s, true);
    s->taken = 0;
    shard_mark_copy(&s->now, &s->at_complete);
    return true;
}

static void load(struct shard *s)
{
    const struct msg_order *o = &s->order->u.order;
    shard_cut_drop(s);
    undo_reset(s->log_open);
    undo_reset(s->log_taken);
    for (size_t t = 0; t < s->store->tables; t++)
        table_clear(s->store->table[t]);
    cut_hash_release(&s->hash);
    cut_hash_init(&s->hash, s->conf.plan->tables_used);
    shard_mark_release(&s->now);
    s->rendered = 0;
    s->taken = 0;
    s->loading = true;
    s->loading_k = o->base;
    struct shard_action *a = shard_act(s, SHARD_LOAD);
    a->k = o->base;
    a->e = o->base_e;
    a->order = o;
}

static void recover(struct shard *s, struct msg *m)
{
    const struct msg_order *o = &m->u.order;
    bool back = go_back(s, o, s->e);
    msg_free(s->order);
    s->order = m;
    s->stamp++;
    s->joined = true;
    s->complete = o->base;
    s->complete_e = o->base_e;
    s->open = o->open;
    s->shards = o->shards;
    memcpy(s->map, o->map, sizeof s->map);
    s->failed_k = 0;
    s->doubled = s->skipped = 0;
    forget_workers(s, o);
    applier_schedule(s->applier, &o->schedule);
    if (back)
        at_base(s);
    else
        load(s);
}

/* The base's positions, from its manifest. */
static bool take_positions(struct shard *s, const struct manifest *b)
{
    struct shard_log *l = &s->now.log;
    shard_log_begin(l, b->epoch, b->records, b->split_records);
    for (size_t i = 0; i < b->splits_used; i++) {
        const struct manifest_split *p = &b->splits[i];
        if (p->split >= l->splits || p->upto < shard_split_begin(l, p->split) ||
            p->upto > shard_split_end(l, p->split))
            return false;
        l->done += p->upto - l->upto[p->split];
        l->upto[p->split] = p->upto;
    }
    return true;
}

void shard_loaded(struct shard *s, const struct shard_event *ev)
{
    if (!s->loading || (ev->status == ST_OK && ev->base.k != s->loading_k))
        return;
    if (ev->status != ST_OK) {
        shard_fault(s, "cut %llu can't be loaded: %s", (unsigned long long)s->loading_k,
                    ev->text != NULL ? ev->text : status_name(ev->status));
        return;
    }
    s->now.step = ev->base.step;
    s->now.applied = ev->base.applied;
    s->rendered = ev->base.rendered;
    if (ev->base.k != 0 && !take_positions(s, &ev->base)) {
        shard_fault(s, "the base's positions are out of range");
        return;
    }
    at_base(s);
}

static bool names_me(const struct shard *s, const struct msg_order *o)
{
    return s->conf.shard < o->shards &&
           (SIM_BUG(25) || o->member[s->conf.shard].boot == s->conf.boot);
}

static void stop(struct shard *s, struct msg *m)
{
    s->e = m->e;
    s->n = m->u.order.n;
    s->mode = MODE_STOP;
    shard_cut_drop(s);
    shard_state(s);
    shard_exit(s, m->u.order.stop_code, m->u.order.why);
}

static void other_e(struct shard *s, struct msg *m)
{
    const struct msg_order *o = &m->u.order;
    if (o->shards == 0 || !names_me(s, o)) {
        shard_exit(s, 1, "given up: the head works without this process");
        goto out;
    }
    if (o->mode != MODE_RECOVER)
        goto out;
    /* recover() asks for the old e: it says whose cut the taken one is */
    recover(s, m);
    s->e = m->e;
    s->n = o->n;
    s->mode = MODE_RECOVER;
    s->state_due = true;
    return;
out:
    msg_free(m);
}

static void same_e(struct shard *s, const struct msg_order *o)
{
    s->n = o->n;
    s->mode = o->mode;
    s->state_due = true;
    if (s->loading) /* RECOVER again, with a world */
        goto world;
    shard_resolve(s, o->resolved, o->complete);
    if (o->open == s->open + 1 && s->taken == 0 && o->mode != MODE_RECOVER) {
        if (between_steps(s, o))
            shard_take(s, o);
    } else if (o->open != s->open) {
        shard_fault(s, "order %llu has interval %llu open, this shard %llu",
                    (unsigned long long)o->n, (unsigned long long)o->open,
                    (unsigned long long)s->open);
    }
    applier_schedule(s->applier, &o->schedule);
    if (!shard_log_adopt(&s->now.log, o))
        shard_fault(s, "order %llu is of epoch %llu, this shard has not finished epoch %llu",
                    (unsigned long long)o->n, (unsigned long long)o->epoch,
                    (unsigned long long)s->now.log.epoch);
world:
    if (o->world != s->world)
        forget_workers(s, o);
}

void shard_recv_order(struct shard *s, struct msg *m)
{
    const struct msg_order *o = &m->u.order;
    bool newer = m->e > s->e || (m->e == s->e && o->n > s->n);
    if (s->e == 0 && !names_me(s, o)) {
        if (o->shards == 0)
            s->order_us = s->now_us;
        msg_free(m);
        return;
    }
    if (m->e >= s->e)
        s->order_us = s->now_us;
    if (SIM_BUG(27) && m->e == s->e && o->n > 0 && o->n < s->n)
        newer = true;
    if (newer && o->mode == MODE_STOP) {
        stop(s, m);
    } else if (newer && m->e > s->e) {
        other_e(s, m);
        return;
    } else if (newer && s->joined && o->shards == s->shards) {
        same_e(s, o);
    }
    msg_free(m);
}
