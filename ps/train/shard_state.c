/* shard_state.c - the shard's outgoing side: actions, STATE, refusals, faults. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/train/shard.h"

enum { REFUSE_EVERY_US = 1000000 };

struct shard_action *shard_act(struct shard *s, enum shard_action_kind kind)
{
    mem_grow(&s->action, &s->actions_cap, s->actions + 1, sizeof *s->action);
    struct shard_action *a = &s->action[s->actions++];
    *a = (struct shard_action){.kind = kind};
    return a;
}

struct msg *shard_msg(const struct shard *s, enum msg_kind kind)
{
    struct msg *m = msg_new(kind);
    m->job = s->conf.job;
    m->e = s->e;
    m->boot = s->conf.boot;
    m->role = ROLE_SHARD;
    m->sender = s->conf.shard;
    return m;
}

void shard_send(struct shard *s, uint64_t to, struct msg *m)
{
    struct shard_action *a = shard_act(s, SHARD_SEND);
    a->to = to;
    a->msg = m;
}

void shard_refuse(struct shard *s, uint64_t to, const struct msg *what, const char *why)
{
    if (s->refuse_us != 0 && s->now_us - s->refuse_us < REFUSE_EVERY_US)
        return;
    s->refuse_us = s->now_us + 1;
    struct msg *m = shard_msg(s, MSG_REFUSED);
    m->u.refused = (struct msg_refused){.boot = what->boot, .e = what->e};
    msg_set_text(m, why);
    shard_send(s, to, m);
    snprintf(s->text, sizeof s->text, "shard %u refused a message: %s", s->conf.shard, why);
    shard_act(s, SHARD_NOTE)->text = s->text;
}

/* An invariant broke. Nothing is applied any more; the head reads it in STATE. */
void shard_fault(struct shard *s, const char *fmt, ...)
{
    if (s->fault)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(s->why, sizeof s->why, fmt, args);
    va_end(args);
    s->fault = true;
    s->state_due = true;
    snprintf(s->text, sizeof s->text, "shard %u: fault: %s", s->conf.shard, s->why);
    shard_act(s, SHARD_NOTE)->text = s->text;
}

void shard_exit(struct shard *s, int code, const char *text)
{
    if (s->ended)
        return;
    s->ended = true;
    snprintf(s->text, sizeof s->text, "%s", text);
    struct shard_action *a = shard_act(s, SHARD_EXIT);
    a->code = code;
    a->text = s->text;
}

bool shard_want_cut(const struct shard *s)
{
    uint64_t used = undo_bytes(s->log_open) + undo_bytes(s->log_taken);
    return s->by_files || used >= s->conf.undo_bytes_max / 2;
}

static void tell_cut(const struct shard *s, struct msg_shard_state *t)
{
    const struct cut_hash *h = cut_new_hash(s->cut);
    t->durable_e = s->e;
    t->durable_k = s->taken;
    memcpy(t->file, s->file.name, sizeof t->file);
    t->file_full = s->cut_full;
    t->bytes = s->file.bytes;
    t->xxh3 = s->file.xxh3;
    t->rows_written = cut_rows(s->cut);
    t->tables = (uint32_t)s->conf.plan->tables_used;
    for (uint32_t i = 0; i < t->tables; i++) {
        t->hash[i] = cut_hash_sum(h, i);
        t->rows[i] = h->rows[i];
        t->weights[i] = h->weights[i];
    }
    t->step = s->at_take.step;
    t->rendered = s->cut_full ? s->at_take.step : s->rendered;
    t->cut_applied = s->at_take.applied;
}

void shard_state(struct shard *s)
{
    struct msg *m = shard_msg(s, MSG_SHARD_STATE);
    struct msg_shard_state *t = &m->u.shard;
    t->n = s->n;
    t->shard = s->conf.shard;
    snprintf(t->address, sizeof t->address, "%s", s->conf.address);
    t->open = s->open;
    t->complete = s->complete;
    t->loading = s->loading;
    if (s->cut_phase == CUT_DURABLE)
        tell_cut(s, t);
    t->failed_k = s->failed_k;
    t->fault = s->fault;
    memcpy(t->why, s->why, sizeof t->why);
    t->undo_bytes = undo_bytes(s->log_open) + undo_bytes(s->log_taken);
    t->want_cut = shard_want_cut(s);
    t->need_full = s->by_files;
    t->pushes = s->now.step;
    t->applied = s->now.applied;
    t->doubled = s->doubled;
    t->skipped = s->skipped;
    t->refused = s->refused_rows;
    t->refused_worker = s->refused_worker;
    memcpy(t->refused_where, s->refused_where, sizeof t->refused_where);
    t->table_bytes = store_bytes(s->store);
    for (size_t i = 0; i < s->store->tables; i++)
        t->rows_live += table_rows(s->store->table[i]);
    t->rss_bytes = s->rss_bytes;
    t->staleness_mean = histogram_mean(&s->staleness);
    t->staleness_p99 = histogram_quantile(&s->staleness, 0.99);
    s->state_us = s->now_us;
    s->state_due = false;
    shard_send(s, SHARD_TO_HEAD, m);
}
