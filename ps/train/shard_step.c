/* shard_step.c - one shard: rows, their optimizers, an undo log, and what it owes to the protocol.
 *
 *   state      e     takes                          left by
 *   fresh      0     ORDER RECOVER naming its boot  it: joined, loading
 *   loading    > 0   SHARD_LOADED                   it: ready (or a fault)
 *   ready      > 0   pulls, pushes, orders          greater e: loading or ready; STOP: ended
 *   fault      > 0   orders                         told in STATE; applies nothing any more
 *
 * Beside it runs the taken cut, CUT_NONE to CUT_DURABLE (shard_cut.c). Everything a push can change is in
 * the undo log or derived: rows, dense blocks (they are rows), and the marks (step, records), which are
 * copied at the take.
 *
 * Facts that shard_check asserts: at most one cut is unresolved, and it is open - 1; no image is older than
 * complete; marks only grow from complete to take to now; handles and logs are within their bounds.
 *
 * One thread calls this. It never blocks and never fails: what goes wrong is said in STATE.
 */
#include "ps/train/shard_step.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "ps/optim/optim.h"
#include "ps/train/shard.h"

enum { UNDO_PART = 4 };

enum status shard_new(const struct shard_conf *conf, struct shard **out, struct errbuf *err)
{
    uint32_t state_floats[PLAN_TABLES_MAX] = {0};
    struct store *store;
    for (size_t t = 0; t < conf->plan->tables_used; t++)
        state_floats[t] = optim_state_floats(&conf->plan->tables[t]);
    enum status st = store_new(conf->plan, state_floats, conf->bytes_max, &store, err);
    if (st != ST_OK)
        return errbuf_wrap(err, st, "shard %u", conf->shard);

    struct shard *s = mem_zalloc(sizeof *s);
    s->conf = *conf;
    if (s->conf.undo_bytes_max == 0)
        s->conf.undo_bytes_max = conf->bytes_max / UNDO_PART;
    while (s->sparse < conf->plan->tables_used && conf->plan->tables[s->sparse].kind == PLAN_SPARSE)
        s->sparse++;
    s->deals = conf->consistency != JOB_ASYNC || conf->allreduce;
    s->parts = s->deals && conf->consistency != JOB_BSP;
    s->store = store;
    s->applier = applier_new(conf->plan, store, conf->clip_row, conf->grad_max);
    s->log_open = undo_new();
    s->log_taken = undo_new();
    s->stamp = 1;
    cut_hash_init(&s->hash, conf->plan->tables_used);
    handles_init(&s->handles, conf->handle_bytes_max);
    clock_init(&s->clock);
    *out = s;
    return ST_OK;
}

void shard_free(struct shard *s)
{
    if (s == NULL)
        return;
    cut_free(s->cut);
    buffer_release(&s->bytes);
    handles_release(&s->handles);
    clock_release(&s->clock);
    cut_hash_release(&s->hash);
    undo_free(s->log_open);
    undo_free(s->log_taken);
    applier_free(s->applier);
    store_free(s->store);
    shard_mark_release(&s->now);
    shard_mark_release(&s->at_take);
    shard_mark_release(&s->at_complete);
    for (size_t t = 0; t < PLAN_TABLES_MAX; t++) {
        free(s->dense[t].keys);
        free(s->dense[t].slots);
    }
    msg_free(s->order);
    free(s->last);
    free(s->refused);
    free(s->slots);
    free(s->action);
    free(s);
}

static void recv(struct shard *s, uint64_t from, struct msg *m)
{
    if (m->job != s->conf.job) {
        if (m->kind != MSG_REFUSED)
            shard_refuse(s, from, m, "a message of another job");
        msg_free(m);
        return;
    }
    if (m->kind == MSG_ORDER) {
        shard_recv_order(s, m);
        return;
    }
    if (m->kind == MSG_PULL || m->kind == MSG_PUSH) {
        if ((m->e != s->e && !SIM_BUG(4)) || s->e == 0)
            shard_refuse(s, from, m, "a message of another incarnation");
        else if (m->kind == MSG_PULL)
            shard_recv_pull(s, from, &m);
        else
            shard_recv_push(s, from, &m);
    } else if (m->kind != MSG_REFUSED) {
        shard_refuse(s, from, m, "a message that no shard takes");
    }
    msg_free(m);
}

static void tick(struct shard *s)
{
    if (s->order_us == 0)
        s->order_us = s->now_us;
    if (s->now_us - s->order_us >= s->conf.orphan_us) {
        shard_cut_drop(s);
        shard_exit(s, 1, "no word from the head for too long: given up");
        return;
    }
    if (s->state_us == 0 || s->now_us - s->state_us >= s->conf.beat_us)
        s->state_due = true;
}

void shard_step(struct shard *s, const struct shard_event *ev, const struct shard_action **out,
                size_t *out_n)
{
    s->actions = 0;
    s->now_us = ev->now_us;
    if (s->ended) {
        if (ev->kind == SHARD_MSG)
            msg_free(ev->msg);
        goto out;
    }
    switch (ev->kind) {
    case SHARD_MSG: recv(s, ev->from, ev->msg); break;
    case SHARD_TICK: tick(s); break;
    case SHARD_LOADED: shard_loaded(s, ev); break;
    case SHARD_SLICE: shard_slice(s, ev->max); break;
    case SHARD_DURABLE: shard_durable(s, ev); break;
    }
    if (shard_want_cut(s) != s->want_told) {
        s->want_told = !s->want_told;
        s->state_due = true;
    }
    if (s->state_due && !s->ended)
        shard_state(s);
out:
    *out = s->action;
    *out_n = s->actions;
}

void shard_totals(struct shard *s, uint64_t rss_bytes)
{
    s->rss_bytes = rss_bytes;
}

struct store *shard_store(struct shard *s)
{
    return s->store;
}

struct cut_hash *shard_hash(struct shard *s)
{
    return &s->hash;
}

bool shard_writing(const struct shard *s)
{
    return s->cut_phase == CUT_WRITING;
}

static uint64_t pushes(const struct shard *s)
{
    uint64_t n = 0;
    for (uint32_t r = 0; r < s->world_size; r++)
        n += s->last[r];
    return n;
}

void shard_view(const struct shard *s, struct shard_view *out)
{
    *out = (struct shard_view){.e = s->e,
                               .n = s->n,
                               .open = s->open,
                               .complete = s->complete,
                               .taken = s->taken,
                               .step = s->now.step,
                               .applied = s->now.applied,
                               .doubled = s->doubled,
                               .skipped = s->skipped,
                               .refused = s->refused_rows,
                               .pushes = pushes(s),
                               .undo_bytes = undo_bytes(s->log_open) + undo_bytes(s->log_taken),
                               .handle_bytes = s->handles.bytes,
                               .stored = s->clock.stored,
                               .loading = s->loading,
                               .by_files = s->by_files,
                               .fault = s->fault,
                               .stamp = s->stamp};
}

static void check_mark(const struct shard_mark *m)
{
    uint64_t done = 0;
    for (uint64_t i = 0; i < m->log.splits; i++) {
        assert(m->log.upto[i] >= shard_split_begin(&m->log, i) &&
               m->log.upto[i] <= shard_split_end(&m->log, i));
        done += m->log.upto[i] - shard_split_begin(&m->log, i);
    }
    assert(SIM_BLIND || (done == m->log.done && done <= m->applied));
}

void shard_check(const struct shard *s)
{
    handles_check(&s->handles);
    if (!s->fault)
        clock_check(&s->clock);
    if (!s->joined || s->loading || s->fault || s->ended)
        return;
    assert(s->e > 0 && s->open > s->complete);
    assert(s->taken == 0 || s->taken + 1 == s->open);
    assert((s->taken == 0) == (s->cut_phase == CUT_NONE));
    assert((s->cut == NULL) == (s->cut_phase == CUT_NONE || s->cut_phase == CUT_FAILED));
    assert(s->taken != 0 || undo_entries(s->log_taken) == 0);
    assert(!s->images_off || s->by_files);
    assert(!s->images_off || undo_entries(s->log_open) == 0);
    assert(s->at_complete.step <= s->now.step && s->at_complete.applied <= s->now.applied);
    assert(s->taken == 0 ||
           (s->at_complete.step <= s->at_take.step && s->at_take.step <= s->now.step));
    assert(s->rendered <= s->at_complete.step);
    check_mark(&s->now);
    if (!s->images_off)
        undo_check(s->log_open, s->store, s->stamp);
}
