/* history.c - see history.h. Each record looks back along its user's events: by one place, or from positive one to
 * positive one, so that it costs what it holds and not what it passes over.
 */
#include "common/data/history.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/feature/number.h"

enum { POSITIVE = 1, NOBODY = 2 }; /* bits of an event's mark */

void history_init(struct history *h, const struct encoder *encoder, uint64_t bytes_max)
{
    h->encoder = encoder;
    events_init(&h->events, bytes_max);
}

void history_release(struct history *h)
{
    events_release(&h->events);
    memset(h, 0, sizeof *h);
}

enum status history_add(struct history *h, uint64_t user, float label, int64_t time,
                        struct errbuf *err)
{
    struct event event = {.time = time};
    event.mark = (label > 0 ? POSITIVE : 0) | (user == 0 || time == TIME_MISSING ? NOBODY : 0);
    return events_add(&h->events, user, &event, err);
}

void history_index(struct history *h)
{
    struct events *e = &h->events;
    events_order(e);
    for (size_t u = 0; u < e->users; u++) {
        uint64_t last = 0; /* the place of the last positive one, + 1 */
        for (uint64_t k = e->first[u]; k < e->first[u + 1]; k++) {
            struct event *event = &e->item[e->order[k]];
            event->item = k;
            event->offset = last;
            if (event->mark & POSITIVE)
                last = k + 1;
        }
    }
}

static const struct event *at_place(const struct history *h, uint64_t k)
{
    return &h->events.item[h->events.order[k]];
}

/* The first place of the user of `event` that is not strictly before it in time. */
static uint64_t place_of_time(const struct history *h, const struct event *event)
{
    uint64_t low = h->events.first[event->user], high = event->item;
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        if (at_place(h, mid)->time < event->time)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* What a history of field `of`, in slot `slot`, holds of an event: the id of its record, or its label as a text. */
struct held {
    size_t of, slot;
    uint64_t missing;
    bool label;
};

static struct held held_of(const struct history *h, size_t slot)
{
    const struct schema *s = &h->encoder->schema;
    const size_t of = s->field[s->ids[slot]].of;
    struct held held = {.of = s->field[of].slot, .slot = slot, .label = of == s->label};
    if (!held.label)
        held.missing = encoder_key_missing(h->encoder, held.of);
    return held;
}

/* The id of slot `of` in a record. */
static uint64_t id_of(const struct cache_writer *all, const struct cache_block *block, size_t of,
                      uint64_t row)
{
    size_t b = cache_writer_block_of(all, row), F = all->shape.fields;
    size_t i = (size_t)(row - all->entry[b].first_row);
    return block[b].key[block[b].bag[i * F + of]];
}

static uint64_t held_id(const struct history *h, const struct held *held,
                        const struct cache_writer *all, const struct cache_block *block,
                        uint64_t row)
{
    const bool positive = h->events.item[row].mark & POSITIVE;
    return held->label ? encoder_key(h->encoder, held->slot, positive ? "1" : "0", 1)
                       : id_of(all, block, held->of, row);
}

static void put_key(const struct history *h, struct cache_writer *w, uint64_t key)
{
    if (h->encoder->schema.weighted)
        cache_writer_key_weighted(w, key, 1);
    else
        cache_writer_key(w, key);
}

/* Newest first was found, oldest first is wanted. */
static void turn(uint64_t *key, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        uint64_t swap = key[i];
        key[i] = key[n - 1 - i];
        key[n - 1 - i] = swap;
    }
}

void history_put(const struct history *h, const struct cache_writer *all,
                 const struct cache_block *block, size_t slot, uint64_t row, struct cache_writer *w)
{
    const struct schema *s = &h->encoder->schema;
    const struct schema_field *f = &s->field[s->ids[slot]];
    const struct event *event = &h->events.item[row];
    const struct held held = held_of(h, slot);
    size_t begin = w->keys;
    uint64_t first = h->events.first[event->user];
    if (event->mark & NOBODY)
        return;
    uint64_t k = place_of_time(h, event);
    while (k > first && w->keys - begin < f->ids_max) {
        const struct event *before = at_place(h, k - 1);
        if (f->positive && !(before->mark & POSITIVE)) {
            if (before->offset == 0)
                break;
            k = before->offset;
            before = at_place(h, k - 1);
        }
        if (before->mark & NOBODY) /* without a time: none stand before these */
            break;
        uint64_t id = held_id(h, &held, all, block, h->events.order[k - 1]);
        if (held.label || id != held.missing)
            put_key(h, w, id);
        k--;
    }
    turn(w->key + begin, w->keys - begin);
}
