/* seen.c - see seen.h. Deletion by moving back what follows (Knuth, algorithm 6.4 R), so chains stay short. */
#include "ps/serve/seen.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

void seen_init(struct seen *s, size_t max)
{
    size_t slots = 64;
    memset(s, 0, sizeof(*s));
    while (slots < 2 * max)
        slots *= 2;
    s->max = max;
    s->mask = slots - 1;
    s->order = mem_array(max, sizeof(*s->order));
    s->slot = mem_array(slots, sizeof(*s->slot));
}

void seen_release(struct seen *s)
{
    free(s->order);
    free(s->slot);
    memset(s, 0, sizeof(*s));
}

static size_t place(const struct seen *s, uint64_t v)
{
    size_t at = (size_t)hash_u64(v) & s->mask;
    while (s->slot[at] != 0 && s->slot[at] != v)
        at = (at + 1) & s->mask;
    return at;
}

static void drop(struct seen *s, uint64_t v)
{
    size_t hole = place(s, v);
    for (size_t at = (hole + 1) & s->mask; s->slot[at] != 0; at = (at + 1) & s->mask) {
        const size_t home = (size_t)hash_u64(s->slot[at]) & s->mask;
        if (((at - home) & s->mask) >= ((at - hole) & s->mask)) {
            s->slot[hole] = s->slot[at];
            hole = at;
        }
    }
    s->slot[hole] = 0;
}

bool seen_add(struct seen *s, uint64_t v)
{
    v += v == 0;
    if (s->slot[place(s, v)] == v)
        return false;
    if (s->used == s->max) {
        drop(s, s->order[s->first]);
        s->first = (s->first + 1) % s->max;
        s->used--;
    }
    s->order[(s->first + s->used++) % s->max] = v;
    s->slot[place(s, v)] = v;
    return true;
}

void seen_undo(struct seen *s, size_t n)
{
    for (; n > 0 && s->used > 0; n--)
        drop(s, s->order[(s->first + --s->used) % s->max]);
}

uint64_t seen_at(const struct seen *s, size_t i)
{
    return s->order[(s->first + i) % s->max];
}
