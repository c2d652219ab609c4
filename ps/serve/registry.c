/* registry.c - see registry.h. Slots hold numbers, numbers lead to records: a reader that found a slot sees the newest
 * record of its id, whatever table it came by. Growing makes a new table; the old one is retired like a record. */
#include "ps/serve/registry.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

#define SLOTS_FIRST 1024u
#define CHECK_SEED  0x7265676973747279u

static struct registry_slots *slots_new(size_t n)
{
    struct registry_slots *s = mem_zalloc(sizeof(*s) + n * sizeof(s->slot[0]));
    s->mask = n - 1;
    return s;
}

void registry_init(struct registry *r, struct epoch *epoch, size_t max)
{
    const size_t most = (size_t)REGISTRY_CHUNK * REGISTRY_CHUNKS;
    memset(r, 0, sizeof(*r));
    r->epoch = epoch;
    r->max = max < most ? max : most;
    atomic_store(&r->slots, slots_new(SLOTS_FIRST));
}

void registry_release(struct registry *r)
{
    const uint32_t used = atomic_load(&r->used);
    for (uint32_t i = 0; i < used; i++)
        free((void *)(uintptr_t)registry_at(r, i));
    for (size_t c = 0; c < REGISTRY_CHUNKS; c++)
        free((void *)(uintptr_t)atomic_load(&r->chunk[c]));
    for (size_t i = r->retired_first; i < r->retired_used; i++)
        free(r->retired[i].what);
    free(r->retired);
    free(atomic_load(&r->slots));
    memset(r, 0, sizeof(*r));
}

void registry_hash(const char *id, size_t n, uint64_t *out_hash, uint64_t *out_check)
{
    *out_hash = hash_bytes(id, n, 0);
    *out_check = hash_bytes(id, n, CHECK_SEED);
}

const struct entry *registry_at(const struct registry *r, uint32_t number)
{
    _Atomic(struct entry *) *chunk = atomic_load(&r->chunk[number / REGISTRY_CHUNK]);
    return atomic_load(&chunk[number % REGISTRY_CHUNK]);
}

const struct entry *registry_find_hash(const struct registry *r, uint64_t hash, uint64_t check)
{
    const struct registry_slots *s = atomic_load(&r->slots);
    uint32_t number;
    for (size_t at = (size_t)hash & s->mask; (number = atomic_load(&s->slot[at])) != 0;
         at = (at + 1) & s->mask) {
        const struct entry *e = registry_at(r, number - 1);
        if (e->hash == hash && e->check == check)
            return e;
    }
    return NULL;
}

const struct entry *registry_find(const struct registry *r, const char *id, size_t n)
{
    uint64_t hash, check;
    registry_hash(id, n, &hash, &check);
    const struct entry *e = registry_find_hash(r, hash, check);
    return e == NULL || e->gone ? NULL : e;
}

void registry_retire(struct registry *r, void *what)
{
    if (r->retired_first > 0 && r->retired_first == r->retired_used)
        r->retired_first = r->retired_used = 0;
    mem_grow(&r->retired, &r->retired_cap, r->retired_used + 1, sizeof(*r->retired));
    r->retired[r->retired_used++] = (struct registry_retired){epoch_retire(r->epoch), what};
}

void registry_reclaim(struct registry *r)
{
    while (r->retired_first < r->retired_used &&
           epoch_passed(r->epoch, r->retired[r->retired_first].stamp))
        free(r->retired[r->retired_first++].what);
    if (r->retired_first > r->retired_used / 2) {
        r->retired_used -= r->retired_first;
        memmove(r->retired, r->retired + r->retired_first, r->retired_used * sizeof(*r->retired));
        r->retired_first = 0;
    }
}

static void slot_put(struct registry_slots *s, uint64_t hash, uint32_t number)
{
    size_t at = (size_t)hash & s->mask;
    while (atomic_load_explicit(&s->slot[at], memory_order_relaxed) != 0)
        at = (at + 1) & s->mask;
    atomic_store(&s->slot[at], number + 1);
}

static void grow(struct registry *r, uint32_t used)
{
    struct registry_slots *old = atomic_load(&r->slots);
    if (2 * ((size_t)used + 1) <= old->mask)
        return;
    struct registry_slots *s = slots_new(2 * (old->mask + 1));
    for (uint32_t i = 0; i < used; i++)
        slot_put(s, registry_at(r, i)->hash, i);
    atomic_store(&r->slots, s);
    registry_retire(r, old);
}

static void replace(struct registry *r, const struct entry *was, struct entry *e)
{
    e->number = was->number;
    _Atomic(struct entry *) *chunk = atomic_load(&r->chunk[e->number / REGISTRY_CHUNK]);
    if (!was->gone) {
        atomic_fetch_sub(&r->alive, 1);
        atomic_fetch_sub(&r->bytes, was->bytes);
    }
    atomic_store(&chunk[e->number % REGISTRY_CHUNK], e);
    registry_retire(r, (void *)(uintptr_t)was);
}

enum status registry_put(struct registry *r, struct entry *e, struct errbuf *err)
{
    const struct entry *was = registry_find_hash(r, e->hash, e->check);
    const uint32_t used = atomic_load(&r->used);
    if (was == NULL && used >= r->max) {
        return errbuf_set(err, ST_AGAIN, "no room: %zu ids are kept already", r->max);
    }
    if (!e->gone) {
        atomic_fetch_add(&r->alive, 1);
        atomic_fetch_add(&r->bytes, e->bytes);
    }
    if (was != NULL) {
        replace(r, was, e);
        return ST_OK;
    }
    grow(r, used);
    e->number = used;
    if (atomic_load(&r->chunk[used / REGISTRY_CHUNK]) == NULL)
        atomic_store(&r->chunk[used / REGISTRY_CHUNK],
                     mem_array(REGISTRY_CHUNK, sizeof(_Atomic(struct entry *))));
    atomic_store(&atomic_load(&r->chunk[used / REGISTRY_CHUNK])[used % REGISTRY_CHUNK], e);
    atomic_store(&r->used, used + 1);
    slot_put(atomic_load(&r->slots), e->hash, used);
    return ST_OK;
}
