/* head_order.c - the head's outgoing side: actions, ORDER, notices, the end.
 *
 * There is one current order, told to everybody alike each beat. Until every shard has been seen, an order
 * without shards goes out instead: nothing to obey, but a sign of life, so that early peers wait.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/train/head.h"

enum { REFUSE_EVERY_US = 1000000 };

struct head_action *head_act(struct head *h, enum head_action_kind kind)
{
    mem_grow(&h->action, &h->actions_cap, h->actions + 1, sizeof *h->action);
    struct head_action *a = &h->action[h->actions++];
    *a = (struct head_action){.kind = kind};
    return a;
}

struct msg *head_msg(const struct head *h, enum msg_kind kind)
{
    struct msg *m = msg_new(kind);
    m->job = h->conf.job;
    m->e = h->e;
    m->boot = h->conf.boot;
    m->role = ROLE_HEAD;
    return m;
}

void head_send(struct head *h, uint64_t route, struct msg *m)
{
    struct head_action *a = head_act(h, HEAD_SEND);
    a->to = route;
    a->msg = m;
}

static void fill_members(const struct head *h, struct msg_order *o)
{
    o->shards = h->conf.shards;
    o->member = mem_array(o->shards, sizeof *o->member);
    for (uint32_t s = 0; s < o->shards; s++) {
        o->member[s].boot = h->shard[s].peer.boot;
        memcpy(o->member[s].address, h->shard[s].state.address, ADDRESS_MAX);
    }
    memcpy(o->map, h->map, sizeof o->map);
}

void head_order_to(struct head *h, uint64_t route)
{
    struct msg *m = head_msg(h, MSG_ORDER);
    struct msg_order *o = &m->u.order;
    o->mode = h->mode == 0 ? MODE_RECOVER : h->mode;
    o->n = h->n;
    if (h->n > 0) {
        o->open = h->open;
        o->complete = h->complete;
        o->complete_e = h->complete_e;
        o->resolved = h->resolved;
        o->base = h->base;
        o->base_e = h->base_e;
        o->full = h->full;
        fill_members(h, o);
        o->world = h->world != 0 || h->mode != MODE_STOP ? h->world : h->seen_world;
        o->world_size = o->world == 0 ? 0 : h->conf.workers;
        o->schedule = h->recipe.schedule;
        o->split_records = h->log.split_records;
        o->records = h->log.records;
        o->epoch = h->log.epoch;
        o->evaluate = h->evaluate;
        if (h->evaluate != 0 && h->stage == STAGE_JUDGE) {
            o->evaluate_segment = head_segment(h);
            o->evaluate_records = h->log.records;
        } else if (h->evaluate != 0 && h->conf.windows != NULL) {
            o->evaluate_first = head_epoch_first(h, h->log.epoch + 1);
            o->evaluate_records = head_epoch_records(h, h->log.epoch + 1);
        }
        o->stop_code = h->stop_code;
        o->clock = h->mode == MODE_HOLD ? h->cut.clock : 0;
        memcpy(o->why, h->why, sizeof o->why);
    }
    head_send(h, route, m);
}

void head_order_all(struct head *h)
{
    h->beat_us = h->now_us;
    for (uint32_t s = 0; s < h->conf.shards; s++) {
        if (h->shard[s].peer.seen)
            head_order_to(h, h->shard[s].peer.route);
    }
    for (uint32_t w = 0; w < h->conf.workers; w++) {
        if (h->worker[w].peer.seen)
            head_order_to(h, h->worker[w].peer.route);
    }
}

void head_order_new(struct head *h, enum mode mode)
{
    h->n++;
    h->mode = mode;
    head_order_all(h);
}

void head_notice(struct head *h, const char *fmt, ...)
{
    char *dst = h->notice[h->notices++ % HEAD_NOTICES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(dst, sizeof h->notice[0], fmt, args);
    va_end(args);
    head_act(h, HEAD_NOTE)->text = dst; /* not a buffer of its own: a step may give two */
}

void head_refuse(struct head *h, uint64_t route, const struct msg *what, const char *why)
{
    if (h->refuse_us != 0 && h->now_us - h->refuse_us < REFUSE_EVERY_US)
        return;
    h->refuse_us = h->now_us + 1;
    struct msg *m = head_msg(h, MSG_REFUSED);
    m->u.refused = (struct msg_refused){.boot = what->boot, .e = what->e};
    msg_set_text(m, why);
    head_send(h, route, m);
    head_notice(h, "refused a message: %s", why);
}

void head_last_cut_text(const struct head *h, char *dst, size_t cap)
{
    if (h->complete == 0)
        snprintf(dst, cap, "no cut is complete yet: start again");
    else
        snprintf(dst, cap, "the last complete cut is %llu: go on with --resume",
                 (unsigned long long)h->complete);
}

/* Everybody is told to stop with this code; the head follows when they have answered, or soon after. */
void head_end(struct head *h, int code, const char *fmt, ...)
{
    if (h->phase >= HEAD_STOPPING)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(h->text, sizeof h->text, fmt, args);
    va_end(args);
    snprintf(h->why, sizeof h->why, "%.*s", (int)WHY_MAX - 1, h->text);
    h->stop_code = code;
    h->phase = HEAD_STOPPING;
    h->stop_us = h->now_us;
    if (code != 0)
        head_notice(h, "%s", h->text);
    head_order_new(h, MODE_STOP);
}

void head_exit(struct head *h, int code, const char *text)
{
    if (h->phase == HEAD_ENDED)
        return;
    h->phase = HEAD_ENDED;
    h->stop_code = code;
    if (text != h->text)
        snprintf(h->text, sizeof h->text, "%s", text);
    struct head_action *a = head_act(h, HEAD_EXIT);
    a->code = code;
    a->text = h->text;
}
