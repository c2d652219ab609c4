/* client_state.c - the client's outgoing side: actions, STATE, and the structure's own check.
 *
 * STATE is a level: all of it is told each beat and at once after anything in it that somebody waits for
 * (an order obeyed, a HOLD answered, a lease taken, idleness), so a cut costs round trips and no beats.
 * The leases told are the last ones taken, finished or not: the head never has more than leases_max open
 * in its eyes, and they finish in order, so whatever it does not know yet is among them.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "worker/client.h"

enum { NOTE_EVERY_US = 1000000 };

struct client_action *client_act(struct client *c, enum client_action_kind kind)
{
    mem_grow(&c->action, &c->actions_cap, c->actions + 1, sizeof *c->action);
    struct client_action *a = &c->action[c->actions++];
    *a = (struct client_action){.kind = kind};
    return a;
}

struct msg *client_msg(const struct client *c, enum msg_kind kind)
{
    struct msg *m = msg_new(kind);
    m->job = c->conf.job;
    m->e = c->e;
    m->boot = c->conf.boot;
    m->role = ROLE_WORKER;
    m->sender = c->conf.rank;
    return m;
}

void client_send(struct client *c, uint32_t to, struct msg *m)
{
    struct client_action *a = client_act(c, CLIENT_SEND);
    a->to = to;
    a->msg = m;
}

void client_note(struct client *c, const char *text)
{
    if (c->note_us != 0 && c->now_us - c->note_us < NOTE_EVERY_US)
        return;
    c->note_us = c->now_us + 1;
    snprintf(c->note, sizeof c->note, "%s", text);
    client_act(c, CLIENT_NOTE)->text = c->note;
}

void client_fault(struct client *c, int code, const char *text)
{
    if (c->fault[0] == '\0') {
        snprintf(c->fault, sizeof c->fault, "%s", text);
        c->fault_code = code;
    }
    c->state_due = true;
}

void client_exit(struct client *c, int code, const char *text)
{
    if (c->ended)
        return;
    c->ended = true;
    snprintf(c->text, sizeof c->text, "%s", text);
    struct client_action *a = client_act(c, CLIENT_EXIT);
    a->code = code;
    a->text = c->text;
}

uint64_t client_unacked(const struct client *c)
{
    uint64_t acked = c->seq;
    for (uint32_t s = 0; s < c->shards; s++) {
        if (c->shard[s].acked < acked)
            acked = c->shard[s].acked;
    }
    return c->seq - acked;
}

bool client_idle(const struct client *c)
{
    for (uint32_t i = 0; i < c->leases; i++) {
        if (c->lease[i].upto < c->lease[i].end)
            return false;
    }
    return c->train.head == NULL;
}

uint32_t client_progress(const struct client *c, struct msg_progress out[LEASES_MAX])
{
    for (uint32_t i = 0; i < c->leases; i++) {
        out[i] = (struct msg_progress){
            .epoch = c->lease[i].epoch, .split = c->lease[i].split, .upto = c->lease[i].upto};
        /* a dealt log has one split, lent in parts: what was pushed ends where the first unfinished part stands */
        if (c->conf.dealt && i > 0 && c->lease[i].upto == c->lease[i].begin &&
            out[i].epoch == out[i - 1].epoch)
            out[i].upto = out[i - 1].upto;
    }
    return c->leases;
}

static uint32_t room(const struct client *c)
{
    uint32_t open = 0;
    for (uint32_t i = 0; i < c->leases; i++)
        open += c->lease[i].upto < c->lease[i].end;
    return c->conf.leases_max - open;
}

void client_state(struct client *c)
{
    struct msg *m = client_msg(c, MSG_WORKER_STATE);
    struct msg_worker_state *w = &m->u.worker;
    w->n = c->n;
    w->held = c->held;
    w->world = c->conf.world;
    w->rank = c->conf.rank;
    w->world_size = c->conf.world_size;
    w->leased = c->leased;
    w->leases = client_progress(c, w->progress);
    w->room = room(c);
    w->idle = client_idle(c);
    w->totals_epoch = c->totals.epoch;
    w->loss_sum = c->totals.loss_sum;
    w->loss_count = c->totals.count;
    w->train_auc = c->totals.auc;
    w->train_accuracy = c->totals.accuracy;
    for (uint32_t s = 0; s < c->shards; s++)
        w->refused += c->shard[s].refused;
    w->rss_bytes = c->rss_bytes;
    w->stall_us_max = c->stalls.max;
    w->evaluated = c->evaluated;
    w->auc = c->result.auc;
    w->auc_bound = c->result.auc_bound;
    w->logloss = c->result.logloss;
    w->accuracy = c->result.accuracy;
    w->gauc = c->result.gauc;
    w->tasks = c->result.tasks;
    memcpy(w->task, c->result.task, sizeof w->task);
    w->hr10 = c->result.hr10;
    w->ndcg10 = c->result.ndcg10;
    w->mrr = c->result.mrr;
    w->eval_count = c->result.count;
    memcpy(w->fault, c->fault, sizeof w->fault);
    w->fault_code = c->fault_code;
    w->clock = c->seq;
    c->state_us = c->now_us;
    c->state_due = false;
    client_send(c, CLIENT_TO_HEAD, m);
}

void client_view(const struct client *c, struct client_view *out)
{
    *out = (struct client_view){.e = c->e,
                                .n = c->n,
                                .mode = c->mode,
                                .open = c->open,
                                .held = c->held,
                                .seq = c->seq,
                                .unacked = client_unacked(c),
                                .permits_used = c->permits_used,
                                .leased = c->leased,
                                .idle = client_idle(c),
                                .ended = c->ended};
}

const struct histogram *client_stalls(const struct client *c)
{
    return &c->stalls;
}

/* Flights stand in the list as: started (rising seq), then kept, lent, pulling in any mix, then waiting. */
static void check_flights(const struct client *c)
{
    uint32_t permits = 0;
    uint64_t started = 0, last = 0;
    bool waiting = false;
    for (const struct flight *f = c->train.head; f != NULL; f = f->next) {
        assert(f->where != FLIGHT_SHELL && !f->eval && !f->dropped);
        assert(!waiting || f->where == FLIGHT_WAITING);
        waiting = f->where == FLIGHT_WAITING;
        permits += !waiting;
        if (f->where == FLIGHT_STARTED) {
            assert(f->seq > last && f->seq <= c->seq && f->acks < c->shards);
            last = f->seq;
            started++;
        }
        assert(f->next != NULL || f == c->train.tail);
    }
    assert(permits == c->permits_used && permits <= c->conf.permits);
    assert(started == client_unacked(c));
}

void client_check(const struct client *c)
{
    assert((c->mode == 0) == (c->order == NULL));
    assert(c->e > 0 || c->mode == 0 || c->mode == MODE_STOP);
    assert(c->leases <= c->conf.leases_max && c->conf.leases_max <= LEASES_MAX);
    assert(c->held == 0 || (c->held == c->hold_n && client_unacked(c) == 0) || SIM_BUG(6));
    assert(c->held == 0 || c->mode == MODE_HOLD || c->mode == MODE_TAKE || c->mode == MODE_STOP);
    for (uint32_t i = 0; i < c->leases; i++) {
        const struct client_lease *l = &c->lease[i];
        assert(l->begin <= l->upto && l->upto <= l->batched && l->batched <= l->end);
    }
    for (uint32_t s = 0; s < c->shards; s++)
        assert(c->shard[s].acked <= c->seq);
    if (!c->ended)
        check_flights(c);
}
