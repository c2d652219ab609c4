/* routes.h - who is who behind a ROUTER: identities of peers, and the handles the cores know them by.
 *
 * An identity is 22 bytes: 'P' | job u64 | role u8 | sender u32 | boot u64, little-endian. Job and boot
 * stand in it so that a leftover process of another run, or the zombie of this one, is another peer and
 * not a second voice of the same (common/net/README.md, "On the wire"). A handle is (generation << 32 | slot + 1), so a handle
 * of a forgotten peer finds nobody. The table is bounded: when it is full, the peer that was silent
 * longest and owes nothing is forgotten. Pure; owned by the endpoint's thread.
 */
#ifndef PENSTOCK_COMMON_NET_ROUTES_H
#define PENSTOCK_COMMON_NET_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/net/outbox.h"
#include "common/wire/msg.h"

#define ROUTE_IDENTITY_BYTES 22u

struct route_name {
    uint64_t job, boot;
    enum role role;
    uint32_t sender;
};

void route_name_encode(const struct route_name *name, uint8_t out[ROUTE_IDENTITY_BYTES]);
/* false: these bytes are no identity of ours. */
bool route_name_decode(const void *bytes, size_t n, struct route_name *out);

struct route {
    uint8_t identity[ROUTE_IDENTITY_BYTES];
    uint32_t generation; /* 0: the slot is free */
    uint64_t handle;
    uint64_t heard_us;
    struct outbox out;
};

struct routes;

struct routes *routes_new(uint32_t routes_max);
void routes_free(struct routes *r);
/* The route of this identity, made if new. NULL: the table is full of peers that are owed messages. */
struct route *routes_hear(struct routes *r, const uint8_t identity[ROUTE_IDENTITY_BYTES],
                          uint64_t now_us);
struct route *routes_find(struct routes *r, uint64_t handle); /* NULL when forgotten */
void routes_forget(struct routes *r, struct route *route);    /* and what it is owed */
uint32_t routes_used(const struct routes *r);
/* Walk: slot i of [0, routes_slots); NULL where it is free. */
uint32_t routes_slots(const struct routes *r);
struct route *routes_at(struct routes *r, uint32_t slot);

#endif
