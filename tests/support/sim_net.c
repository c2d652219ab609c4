/* sim_net.c - virtual time: a heap of events, and a network that loses, doubles, delays and reorders. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/wire/codec.h"
#include "tests/support/sim_world.h"

enum { LATE_US = 300000, MISALIGN = 4 };

uint64_t sim_rand(struct sim_world *w, uint64_t bound)
{
    return rng_below(&w->rng, bound);
}

bool sim_chance(struct sim_world *w, double p)
{
    return p > 0 && rng_next_unit(&w->rng) < p;
}

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void push(struct sim_world *w, struct sim_event *ev)
{
    mem_grow(&w->heap, &w->heap_cap, w->heap_used + 1, sizeof(struct sim_event *));
    size_t i = w->heap_used++;
    while (i > 0 && before(ev, w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = ev;
}

static void sink(struct sim_world *w, size_t i, struct sim_event *ev)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->heap_used)
            break;
        if (child + 1 < w->heap_used && before(w->heap[child + 1], w->heap[child]))
            child++;
        if (!before(w->heap[child], ev))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = ev;
}

struct sim_event *sim_pop(struct sim_world *w)
{
    if (w->heap_used == 0)
        return NULL;
    struct sim_event *top = w->heap[0];
    struct sim_event *last = w->heap[--w->heap_used];
    if (w->heap_used > 0)
        sink(w, 0, last);
    return top;
}

void sim_event_free(struct sim_event *ev)
{
    buffer_release(&ev->env);
    for (uint32_t i = 0; i < ev->frames; i++)
        frame_release(&ev->frame[i]);
    free(ev);
}

struct sim_event *sim_after(struct sim_world *w, uint64_t in_us, enum sim_kind kind, uint32_t to)
{
    struct sim_event *ev = mem_zalloc(sizeof *ev);
    ev->at_us = w->now_us + in_us;
    ev->order = ++w->order;
    ev->kind = kind;
    ev->to = to;
    ev->life = w->peer_life[to];
    push(w, ev);
    return ev;
}

void sim_again(struct sim_world *w, struct sim_event *ev, uint64_t at_us)
{
    ev->at_us = at_us;
    push(w, ev);
}

void sim_forget(struct sim_world *w)
{
    size_t used = w->heap_used;
    struct sim_event **old = mem_array(used, sizeof(struct sim_event *));
    memcpy(old, w->heap, used * sizeof(struct sim_event *));
    w->heap_used = 0;
    for (size_t i = 0; i < used; i++) {
        if (old[i]->kind == SIM_MSG && old[i]->e != 0)
            push(w, old[i]);
        else
            sim_event_free(old[i]);
    }
    free(old);
}

static void free_copy(void *data, void *hint)
{
    (void)data;
    free(hint);
}

/* What a socket does: other memory, and sometimes at an odd address. */
static struct frame copy_frame(struct sim_world *w, const struct frame *f)
{
    if (f->bytes == 0)
        return (struct frame){0};
    char *base = mem_alloc(f->bytes + MISALIGN);
    char *data = sim_chance(w, 0.3) ? base + MISALIGN : base;
    memcpy(data, f->data, f->bytes);
    return (struct frame){.data = data, .bytes = f->bytes, .release = free_copy, .hint = base};
}

static uint64_t delay(struct sim_world *w)
{
    const struct sim_conf *c = &w->conf;
    if (c->in_order)
        return c->delay_us;
    if (sim_chance(w, c->late))
        return 1 + sim_rand(w, LATE_US);
    return 1 + sim_rand(w, 2 * c->delay_us);
}

static void carry(struct sim_world *w, uint32_t from, uint32_t to, const struct msg *m)
{
    struct sim_event *ev = sim_after(w, delay(w), SIM_MSG, to);
    ev->from = from;
    ev->e = m->e;
    codec_encode(m, &ev->env);
    ev->frames = m->frames;
    for (uint32_t i = 0; i < m->frames; i++)
        ev->frame[i] = copy_frame(w, &m->frame[i]);
}

void sim_send(struct sim_world *w, uint32_t from, uint32_t to, struct msg *m)
{
    w->messages++;
    if (w->conf.in_order || !sim_chance(w, w->conf.loss))
        carry(w, from, to, m);
    if (!w->conf.in_order && sim_chance(w, w->conf.twice))
        carry(w, from, to, m);
    msg_free(m);
}
