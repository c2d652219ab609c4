/* handles.c - a ring of remembered pulls; ids count up, so finding one is an index, not a search. */
#include "ps/train/handles.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/mem.h"

enum { CAP_FIRST = 64, CAP_MAX = 1 << 16 };

void handles_init(struct handles *h, uint64_t bytes_max)
{
    *h = (struct handles){.cap = CAP_FIRST, .first = 1, .next = 1, .bytes_max = bytes_max};
    h->ring = mem_array(h->cap, sizeof *h->ring);
}

void handles_release(struct handles *h)
{
    handles_clear(h);
    free(h->ring);
    *h = (struct handles){0};
}

static struct handle *at(struct handles *h, uint64_t id)
{
    return &h->ring[id & (h->cap - 1)];
}

static void forget(struct handles *h, struct handle *e)
{
    h->bytes -= e->keys.bytes + e->slots.bytes;
    frame_release(&e->keys);
    frame_release(&e->slots);
    e->id = 0;
}

static void trim(struct handles *h)
{
    while (h->first < h->next && at(h, h->first)->id == 0)
        h->first++;
}

void handles_clear(struct handles *h)
{
    for (; h->first < h->next; h->first++) {
        if (at(h, h->first)->id != 0)
            forget(h, at(h, h->first));
    }
}

static void drop_oldest(struct handles *h)
{
    forget(h, at(h, h->first));
    trim(h);
}

static void grow(struct handles *h)
{
    struct handle *ring = mem_array(2 * h->cap, sizeof *ring);
    for (uint64_t id = h->first; id < h->next; id++)
        ring[id & (2 * h->cap - 1)] = *at(h, id);
    free(h->ring);
    h->ring = ring;
    h->cap *= 2;
}

uint64_t handles_add(struct handles *h, struct frame *keys, struct frame *slots, uint32_t n)
{
    uint64_t bytes = keys->bytes + slots->bytes;
    if (n == 0 || bytes > h->bytes_max) {
        frame_release(keys);
        frame_release(slots);
        return 0;
    }
    trim(h);
    while (h->bytes + bytes > h->bytes_max)
        drop_oldest(h);
    if (h->next - h->first == h->cap) {
        if (h->cap < CAP_MAX)
            grow(h);
        else
            drop_oldest(h);
    }
    uint64_t id = h->next++;
    *at(h, id) = (struct handle){.id = id, .n = n, .keys = *keys, .slots = *slots};
    *keys = *slots = (struct frame){0};
    h->bytes += bytes;
    return id;
}

struct handle *handles_find(struct handles *h, uint64_t id)
{
    if (id < h->first || id >= h->next || at(h, id)->id != id)
        return NULL;
    return at(h, id);
}

void handles_drop(struct handles *h, uint64_t id)
{
    struct handle *e = handles_find(h, id);
    if (e == NULL)
        return;
    forget(h, e);
    trim(h);
}

void handles_take(struct handles *h, uint64_t id, struct frame *out_keys, struct frame *out_slots)
{
    struct handle *e = handles_find(h, id);
    assert(e != NULL);
    *out_keys = e->keys;
    *out_slots = e->slots;
    h->bytes -= e->keys.bytes + e->slots.bytes;
    e->keys = e->slots = (struct frame){0};
    handles_drop(h, id);
}

void handles_check(const struct handles *h)
{
    uint64_t bytes = 0;
    assert(h->first <= h->next && h->next - h->first <= h->cap);
    for (uint64_t id = h->first; id < h->next; id++) {
        const struct handle *e = &h->ring[id & (h->cap - 1)];
        assert(e->id == 0 || e->id == id);
        bytes += e->keys.bytes + e->slots.bytes;
    }
    assert(bytes == h->bytes && bytes <= h->bytes_max);
}
