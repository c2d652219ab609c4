/* routes.c - slots of routes and an open-addressed index over them.
 *
 * Peers come and go rarely and are looked up with every message, so the index is rebuilt when a route is
 * forgotten: no tombstones, and a lookup is a hash and one or two compares. Routes are allocated one by
 * one, so that a pointer stays good while the table grows.
 */
#include "common/net/routes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/mem.h"

enum { IDENTITY_MARK = 'P' };

struct routes {
    struct route **slot; /* (slots) owned */
    size_t slots_cap;
    uint32_t slots, used, routes_max;
    uint32_t *index; /* (index_size) slot + 1, or 0; owned */
    uint32_t index_size;
    uint32_t generation; /* of the last route made; never 0 */
};

void route_name_encode(const struct route_name *name, uint8_t out[ROUTE_IDENTITY_BYTES])
{
    out[0] = IDENTITY_MARK;
    for (unsigned i = 0; i < 8; i++) {
        out[1 + i] = (uint8_t)(name->job >> (8 * i));
        out[14 + i] = (uint8_t)(name->boot >> (8 * i));
    }
    out[9] = (uint8_t)name->role;
    for (unsigned i = 0; i < 4; i++)
        out[10 + i] = (uint8_t)(name->sender >> (8 * i));
}

bool route_name_decode(const void *bytes, size_t n, struct route_name *out)
{
    struct reader r;
    if (n != ROUTE_IDENTITY_BYTES)
        return false;
    reader_init(&r, bytes, n);
    uint8_t mark = reader_u8(&r);
    struct route_name name = {.job = reader_u64(&r)};
    uint8_t role = reader_u8(&r);
    name.sender = reader_u32(&r);
    name.boot = reader_u64(&r);
    if (r.bad || mark != IDENTITY_MARK || role < ROLE_HEAD || role > ROLE_FOLLOWER)
        return false;
    name.role = (enum role)role;
    *out = name;
    return true;
}

struct routes *routes_new(uint32_t routes_max)
{
    assert(routes_max > 0);
    struct routes *r = mem_zalloc(sizeof(*r));
    r->routes_max = routes_max;
    r->index_size = 16;
    r->index = mem_array(r->index_size, sizeof(*r->index));
    return r;
}

void routes_free(struct routes *r)
{
    if (r == NULL)
        return;
    for (uint32_t i = 0; i < r->slots; i++) {
        if (r->slot[i] != NULL)
            outbox_release(&r->slot[i]->out);
        free(r->slot[i]);
    }
    free(r->slot);
    free(r->index);
    free(r);
}

/* Where the identity's index entry is, or the free one where it would go. */
static uint32_t find_entry(const struct routes *r, const uint8_t *identity)
{
    uint32_t mask = r->index_size - 1;
    uint32_t at = (uint32_t)hash_bytes(identity, ROUTE_IDENTITY_BYTES, 0) & mask;
    while (r->index[at] != 0 &&
           memcmp(r->slot[r->index[at] - 1]->identity, identity, ROUTE_IDENTITY_BYTES) != 0)
        at = (at + 1) & mask;
    return at;
}

static void rebuild_index(struct routes *r)
{
    memset(r->index, 0, r->index_size * sizeof(*r->index));
    for (uint32_t i = 0; i < r->slots; i++)
        if (r->slot[i] != NULL)
            r->index[find_entry(r, r->slot[i]->identity)] = i + 1;
}

static struct route *quietest(struct routes *r)
{
    struct route *found = NULL;
    for (uint32_t i = 0; i < r->slots; i++) {
        struct route *p = r->slot[i];
        if (p != NULL && p->out.used == 0 && (found == NULL || p->heard_us < found->heard_us))
            found = p;
    }
    return found;
}

static uint32_t free_slot(struct routes *r)
{
    for (uint32_t i = 0; r->used < r->slots && i < r->slots; i++)
        if (r->slot[i] == NULL)
            return i;
    mem_grow(&r->slot, &r->slots_cap, (size_t)r->slots + 1, sizeof(*r->slot));
    r->slot[r->slots] = NULL;
    return r->slots++;
}

struct route *routes_hear(struct routes *r, const uint8_t identity[ROUTE_IDENTITY_BYTES],
                          uint64_t now_us)
{
    uint32_t at = find_entry(r, identity);
    if (r->index[at] != 0) {
        struct route *known = r->slot[r->index[at] - 1];
        known->heard_us = now_us;
        return known;
    }
    if (r->used == r->routes_max) {
        struct route *old = quietest(r);
        if (old == NULL)
            return NULL;
        routes_forget(r, old);
    }
    uint32_t slot = free_slot(r);
    struct route *made = mem_zalloc(sizeof(*made));
    memcpy(made->identity, identity, ROUTE_IDENTITY_BYTES);
    if (++r->generation == 0)
        r->generation = 1;
    made->generation = r->generation;
    made->handle = (uint64_t)made->generation << 32 | (slot + 1);
    made->heard_us = now_us;
    r->slot[slot] = made;
    r->used++;
    if (2 * r->used > r->index_size) {
        free(r->index);
        r->index_size *= 2;
        r->index = mem_array(r->index_size, sizeof(*r->index));
        rebuild_index(r);
    } else {
        r->index[find_entry(r, identity)] = slot + 1;
    }
    return made;
}

struct route *routes_find(struct routes *r, uint64_t handle)
{
    uint32_t slot = (uint32_t)handle;
    if (slot == 0 || slot > r->slots)
        return NULL;
    struct route *found = r->slot[slot - 1];
    return found != NULL && found->handle == handle ? found : NULL;
}

void routes_forget(struct routes *r, struct route *route)
{
    uint32_t slot = (uint32_t)route->handle - 1;
    assert(slot < r->slots && r->slot[slot] == route);
    outbox_release(&route->out);
    r->slot[slot] = NULL;
    r->used--;
    free(route);
    rebuild_index(r);
}

uint32_t routes_used(const struct routes *r)
{
    return r->used;
}

uint32_t routes_slots(const struct routes *r)
{
    return r->slots;
}

struct route *routes_at(struct routes *r, uint32_t slot)
{
    return r->slot[slot];
}
