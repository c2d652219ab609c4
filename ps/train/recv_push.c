/* recv_push.c - one push, applied at most once, in the order of its worker, in the open interval only.
 *
 *   e of another incarnation          refused (shard_step.c)
 *   malformed                         refused: a worker that is told so gives up
 *   seq <= last[rank]                 ACK last: applied before
 *   seq > last[rank] + 1              ACK last: the worker sends again from there
 *   tag is not the open interval      fault: nothing is applied any more (I7)
 *   handle gone                       ACK keys: the same again with keys
 *   records not the split's next      fault: something was doubled or skipped (I2, I3)
 *   else                              applied, last = seq, ACK
 *
 * Applying is: first touch of a row in this interval puts its image into the open log, then the update.
 * bsp: instead of being applied the push is stored; last = seq, ACK. When the clock's last push is in, all of
 * them are applied as one, which is one step (clock.h). Then the pulls that waited for it are answered.
 *
 * Parts (ssp, or allreduce without bsp): applied at once, but its records must be its rank's part of its rank's next
 * step; one without records and dense gradients moves the clock and is nothing else. Pulls may have waited for it.
 *
 * Rows that are refused (not finite, out of range) count as processed: they are reported, not retried.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/train/shard.h"

static void ack(struct shard *s, uint64_t to, uint32_t rank, bool keys)
{
    struct msg *m = shard_msg(s, MSG_ACK);
    m->u.ack = (struct msg_ack){.seq = s->last[rank], .refused = s->refused[rank], .keys = keys};
    shard_send(s, to, m);
}

/* A push without records is nothing, not zeros. allreduce: one rank brings what all have summed. */
static bool brings_dense(const struct shard *s, const struct msg_push *p)
{
    if (s->conf.allreduce)
        return p->rank == job_carrier(s->conf.shard, s->world_size);
    return !s->deals || p->begin < p->end;
}

/* Sizes that only the plan knows. */
static bool sizes_fit(const struct shard *s, const struct msg *m)
{
    const struct plan *plan = s->conf.plan;
    size_t n = m->u.push.n;
    if (m->frames != s->sparse + 3)
        return false;
    for (size_t t = 0; t < s->sparse; t++) {
        if (m->frame[t + 1].bytes != n * plan->tables[t].dim * sizeof(float))
            return false;
    }
    size_t want[2] = {0, 0};
    for (size_t t = s->sparse; t < plan->tables_used && brings_dense(s, &m->u.push); t++)
        want[plan->tables[t].kind == PLAN_STAT] = s->dense[t].n * DENSE_BLOCK * sizeof(float);
    return m->frame[s->sparse + 1].bytes == want[0] && m->frame[s->sparse + 2].bytes == want[1];
}

static bool keys_are_mine(const struct shard *s, const uint64_t *keys, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s->map[hash_bucket(keys[i])] != s->conf.shard)
            return false;
    }
    return true;
}

/* The records must be the next ones of their split. A mismatch is counted and is a fault. */
static bool next_records(struct shard *s, const struct msg_push *p)
{
    struct shard_log *l = &s->now.log;
    if (SIM_BLIND && p->split < l->splits)
        return true;
    if (p->epoch != l->epoch || p->split >= l->splits || p->end > shard_split_end(l, p->split)) {
        shard_fault(s, "push %llu of worker %u is of epoch %llu, split %llu: no split of this log",
                    (unsigned long long)p->seq, p->rank, (unsigned long long)p->epoch,
                    (unsigned long long)p->split);
        return false;
    }
    uint64_t upto = l->upto[p->split];
    if (p->begin == upto && p->begin < p->end)
        return true;
    if (p->begin < upto)
        s->doubled += (p->end < upto ? p->end : upto) - p->begin;
    else
        s->skipped += p->begin - upto;
    shard_fault(s, "push %llu of worker %u has records [%llu, %llu) of split %llu, next is %llu",
                (unsigned long long)p->seq, p->rank, (unsigned long long)p->begin,
                (unsigned long long)p->end, (unsigned long long)p->split, (unsigned long long)upto);
    return false;
}

/* Rows that were not updated: foul gradients, or new keys that the budget has no room for. */
static void note_refused(struct shard *s, const struct msg_push *p, uint32_t table,
                         const struct applier_result *r)
{
    uint64_t key = r->refused > 0 ? r->refused_key : r->full_key;
    if (r->refused + r->full == 0)
        return;
    s->refused_rows += r->refused + r->full;
    s->refused[p->rank] += r->refused + r->full;
    s->refused_worker = p->rank;
    snprintf(s->refused_where, sizeof s->refused_where,
             "table %s, key %llu%s, worker %u, epoch %llu, split %llu, records [%llu, %llu)",
             s->conf.plan->tables[table].name, (unsigned long long)key,
             r->refused > 0 ? "" : " (no room)", p->rank, (unsigned long long)p->epoch + 1,
             (unsigned long long)p->split, (unsigned long long)p->begin,
             (unsigned long long)p->end);
}

/* allreduce with parts: a step is a clock, that of the rank which is ahead. Else each push, or clock, is one. */
static bool steps_are_clocks(const struct shard *s)
{
    return s->parts && s->conf.allreduce;
}

static uint64_t step_of(const struct shard *s, const struct msg_push *p)
{
    return s->now.step + (!steps_are_clocks(s) || p->seq > s->clock.fastest);
}

/* A dense gradient is the step of its own clock, whatever rows have been touched by ranks further ahead. */
static uint64_t dense_step_of(const struct shard *s, const struct msg_push *p)
{
    const bool behind = steps_are_clocks(s) && p->seq < s->clock.fastest;
    return step_of(s, p) - (behind ? s->clock.fastest - p->seq : 0);
}

static enum status apply_table(struct shard *s, const struct msg_push *p, uint32_t table,
                               const uint64_t *keys, uint32_t *slots, size_t n,
                               const struct frame *g, struct errbuf *err)
{
    const uint64_t step = table < s->sparse ? step_of(s, p) : dense_step_of(s, p);
    struct applier_result result = {0};
    struct undo *log = s->images_off ? NULL : s->log_open;
    if (n == 0)
        return ST_OK;
    if (SIM_BUG(3) || (SIM_BUG(42) && table >= s->sparse))
        log = NULL;
    enum status st =
        applier_push(s->applier, table, keys, slots, n, g->data, step, log, s->stamp, &result, err);
    for (size_t i = 0; SIM_BUG(3) && i < n; i++)
        undo_touch(s->log_open, s->store, table, slots[i], keys[i], s->stamp);
    if (st == ST_OK)
        note_refused(s, p, table, &result);
    return st;
}

/* Steps that this shard has made since the pull that the push answers. */
static uint64_t staleness(const struct shard *s, const struct msg_push *p)
{
    return s->now.step > p->pulled_step ? s->now.step - p->pulled_step : 0;
}

/* One step of staleness is what two workers in turn have always: only what lies beyond is damped. */
static double damp_factor(const struct shard *s, const struct msg_push *p)
{
    const uint64_t tau = staleness(s, p);
    return 1 / (1 + s->conf.damping * (double)(tau > 1 ? tau - 1 : 0));
}

/* The first table's call judges the keys, before anything is changed; then no call can fail. */
static enum status apply(struct shard *s, const struct msg *m, const uint64_t *keys,
                         uint32_t *slots, struct errbuf *err)
{
    const struct msg_push *p = &m->u.push;
    const struct plan *plan = s->conf.plan;
    enum status st = ST_OK;
    applier_begin(s->applier);
    if (s->conf.damping > 0)
        applier_damp(s->applier, damp_factor(s, p));
    for (size_t t = 0; t < s->sparse && st == ST_OK; t++)
        st = apply_table(s, p, (uint32_t)t, keys, slots + t * p->n, p->n, &m->frame[t + 1], err);
    if (s->conf.damping > 0 && s->conf.allreduce) /* dense gradients are never late */
        applier_damp(s->applier, 1);
    for (size_t t = s->sparse; t < plan->tables_used && st == ST_OK; t++) {
        struct shard_dense *d = &s->dense[t];
        size_t at = s->sparse + 1 + (plan->tables[t].kind == PLAN_STAT);
        if (m->frame[at].bytes > 0)
            st = apply_table(s, p, (uint32_t)t, d->keys, d->slots, d->n, &m->frame[at], err);
    }
    return st;
}

static void count(struct shard *s, const struct msg_push *p)
{
    const uint64_t n = p->end - p->begin;
    histogram_add(&s->staleness, staleness(s, p));
    s->now.step++;
    s->now.applied += n;
    s->now.log.done += n;
    s->now.log.upto[p->split] = p->end;
}

/* Slots of a push that brings its keys: unknown to begin with. */
static uint32_t *no_slots(struct shard *s, size_t n)
{
    size_t need = s->sparse * n;
    mem_grow(&s->slots, &s->slots_cap, need + 1, sizeof *s->slots);
    for (size_t i = 0; i < need; i++)
        s->slots[i] = SLOT_NONE;
    return s->slots;
}

/* false: refused, or a fault. */
static bool try_apply(struct shard *s, uint64_t from, const struct msg *m, const uint64_t *keys,
                      uint32_t *slots)
{
    struct errbuf err = ERRBUF_INIT;
    switch (apply(s, m, keys, slots, &err)) {
    case ST_OK: return true;
    case ST_BAD_PEER: shard_refuse(s, from, m, err.text); return false;
    default: shard_fault(s, "%s", err.text); return false;
    }
}

static void applied(struct shard *s, uint64_t from, const struct msg_push *p)
{
    s->last[p->rank] = p->seq;
    handles_drop(&s->handles, p->handle);
    shard_bound_undo(s);
    ack(s, from, p->rank, false);
}

static void apply_now(struct shard *s, uint64_t from, const struct msg *m, const uint64_t *keys,
                      uint32_t *slots)
{
    if (!next_records(s, &m->u.push) || !try_apply(s, from, m, keys, slots))
        return;
    count(s, &m->u.push);
    applied(s, from, &m->u.push);
}

/* The part of this rank in its next step, which is a function of how many it has made. */
static bool next_part(struct shard *s, const struct msg_push *p)
{
    struct shard_log *l = &s->now.log;
    const uint64_t ahead = s->last[p->rank] - s->clock.applied;
    uint64_t begin, end, from, to;
    if (SIM_BLIND)
        return true;
    if (ahead > s->conf.staleness) {
        shard_fault(s, "push %llu of worker %u is %llu clocks ahead, staleness is %u",
                    (unsigned long long)p->seq, p->rank, (unsigned long long)ahead,
                    s->conf.staleness);
        return false;
    }
    if (p->epoch != l->epoch || p->split != 0 ||
        !shard_log_step(l, s->conf.batch, ahead, &begin, &end)) {
        shard_fault(s, "push %llu of worker %u is of epoch %llu, split %llu: no split of this log",
                    (unsigned long long)p->seq, p->rank, (unsigned long long)p->epoch,
                    (unsigned long long)p->split);
        return false;
    }
    from = job_part_at(begin, end, p->rank, s->world_size);
    to = job_part_at(begin, end, p->rank + 1, s->world_size);
    if (p->begin == from && p->end == to)
        return true;
    if (p->begin < from)
        s->doubled += (p->end < from ? p->end : from) - p->begin;
    else
        s->skipped += p->begin - from;
    shard_fault(s, "push %llu of worker %u has records [%llu, %llu), its part is [%llu, %llu)",
                (unsigned long long)p->seq, p->rank, (unsigned long long)p->begin,
                (unsigned long long)p->end, (unsigned long long)from, (unsigned long long)to);
    return false;
}

static void count_part(struct shard *s, const struct msg_push *p)
{
    if (p->begin < p->end)
        histogram_add(&s->staleness, staleness(s, p));
    if (p->begin < p->end || steps_are_clocks(s))
        s->now.step = step_of(s, p);
    s->now.applied += p->end - p->begin;
}

/* The slowest rank has made a step: all have. */
static void clock_moved(struct shard *s)
{
    struct shard_log *l = &s->now.log;
    uint64_t begin = 0, end = 0;
    if (shard_log_step(l, s->conf.batch, 0, &begin, &end)) {
        l->upto[0] = end;
        l->done += end - begin;
    }
}

/* One that brings nothing is only a clock: a gradient of zeros would move what has momentum. */
static void apply_part(struct shard *s, uint64_t from, const struct msg *m, const uint64_t *keys,
                       uint32_t *slots)
{
    const struct msg_push *p = &m->u.push;
    const bool any = p->begin < p->end || brings_dense(s, p);
    if (!next_part(s, p) || (any && !try_apply(s, from, m, keys, slots)))
        return;
    count_part(s, p);
    applied(s, from, p);
    if (clock_count(&s->clock, s->last))
        clock_moved(s);
    shard_answer_pulls(s);
}

/* All pushes of the clock are in. */
static void apply_clock(struct shard *s)
{
    struct errbuf err = ERRBUF_INIT;
    struct clock_step step;
    enum status st = clock_merge(&s->clock, s->conf.plan, s->sparse, s->conf.pool, &step, &err);
    if (st == ST_OK && !next_records(s, &step.msg->u.push))
        return;
    if (st == ST_OK)
        st = apply(s, step.msg, step.keys, step.slots, &err);
    if (st != ST_OK) {
        shard_fault(s, "%s", err.text);
        return;
    }
    count(s, &step.msg->u.push);
    clock_done(&s->clock);
    shard_bound_undo(s);
    shard_answer_pulls(s);
}

/* bsp. The push is in order; its handle, if it names one, is there. */
static void store(struct shard *s, uint64_t from, struct msg **m)
{
    const struct msg_push *p = &(*m)->u.push;
    const uint32_t rank = p->rank;
    struct frame keys = {0}, slots = {0};
    if (s->clock.push[rank].msg != NULL) {
        shard_fault(s, "push %llu of worker %u came before clock %llu was applied",
                    (unsigned long long)p->seq, rank, (unsigned long long)s->clock.applied + 1);
        return;
    }
    if (p->handle != 0) {
        handles_take(&s->handles, p->handle, &keys, &slots);
    } else {
        keys = (*m)->frame[0];
        (*m)->frame[0] = (struct frame){0};
        slots = frame_pool_get(s->conf.pool, s->sparse * p->n * sizeof(uint32_t));
        for (size_t i = 0; i < s->sparse * p->n; i++)
            ((uint32_t *)slots.data)[i] = SLOT_NONE;
    }
    s->last[rank] = p->seq;
    ack(s, from, rank, false);
    clock_store(&s->clock, rank, m, &keys, &slots);
    if (clock_full(&s->clock))
        apply_clock(s);
}

static void take_in_order(struct shard *s, uint64_t from, struct msg **push)
{
    const struct msg *m = *push;
    const struct msg_push *p = &m->u.push;
    const uint64_t *keys = m->frame[0].data;
    uint32_t *slots = NULL;
    if (p->tag != s->open && !SIM_BLIND) {
        shard_fault(s, "push %llu of worker %u is of interval %llu, open is %llu",
                    (unsigned long long)p->seq, p->rank, (unsigned long long)p->tag,
                    (unsigned long long)s->open);
        return;
    }
    if (p->handle != 0) {
        struct handle *h = handles_find(&s->handles, p->handle);
        if (h == NULL || h->n != p->n) {
            ack(s, from, p->rank, true);
            return;
        }
        keys = h->keys.data;
        if (SIM_BUG(41)) { /* one key further each */
            uint64_t first = keys[0];
            memmove(h->keys.data, keys + 1, (p->n - 1) * sizeof *keys);
            memcpy((uint64_t *)h->keys.data + p->n - 1, &first, sizeof first);
        }
        slots = h->slots.data;
    } else if (!keys_are_mine(s, keys, p->n)) {
        shard_refuse(s, from, m, "a push with keys that this shard does not have");
        return;
    }
    if (s->conf.consistency == JOB_BSP) {
        store(s, from, push);
        return;
    }
    if (slots == NULL)
        slots = no_slots(s, p->n);
    if (s->parts)
        apply_part(s, from, m, keys, slots);
    else
        apply_now(s, from, m, keys, slots);
}

void shard_recv_push(struct shard *s, uint64_t from, struct msg **push)
{
    const struct msg *m = *push;
    const struct msg_push *p = &m->u.push;
    if (s->loading || s->fault)
        return;
    if (p->rank >= s->world_size || p->rank != m->sender || !sizes_fit(s, m)) {
        shard_refuse(s, from, m, "a push that does not fit the plan or the world");
        return;
    }
    uint64_t last = s->last[p->rank];
    if (p->seq <= last && !SIM_BUG(1))
        ack(s, from, p->rank, false);
    else if (p->seq > last + 1 && !SIM_BUG(2))
        ack(s, from, p->rank, false);
    else
        take_in_order(s, from, push);
}
