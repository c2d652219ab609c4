/* epoch.c - see epoch.h.
 *
 * Everything is sequentially consistent on purpose: enter stores the stamp and then loads pointers, retire follows a
 * store of a pointer by a look at the stamps. With anything weaker both could miss each other's store. That is one
 * fence a request, not one a row.
 */
#include "common/base/epoch.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

void epoch_init(struct epoch *e)
{
    memset(e, 0, sizeof(*e));
    atomic_store(&e->now, 1);
}

struct epoch_reader *epoch_join(struct epoch *e)
{
    for (size_t i = 0; i < EPOCH_READERS_MAX; i++) {
        bool free_one = false;
        if (atomic_compare_exchange_strong(&e->reader[i].used, &free_one, true)) {
            return &e->reader[i];
        }
    }
    return NULL;
}

void epoch_part(struct epoch_reader *r)
{
    assert(atomic_load(&r->at) == 0);
    atomic_store(&r->used, false);
}

void epoch_enter(struct epoch *e, struct epoch_reader *r)
{
    assert(atomic_load_explicit(&r->at, memory_order_relaxed) == 0);
    atomic_store(&r->at, atomic_load(&e->now));
}

void epoch_leave(struct epoch_reader *r)
{
    atomic_store_explicit(&r->at, 0, memory_order_release);
}

uint64_t epoch_retire(struct epoch *e)
{
    return atomic_fetch_add(&e->now, 1) + 1;
}

bool epoch_passed(struct epoch *e, uint64_t stamp)
{
    for (size_t i = 0; i < EPOCH_READERS_MAX; i++) {
        uint64_t at = atomic_load(&e->reader[i].at);
        if (at != 0 && at < stamp) {
            return false;
        }
    }
    return true;
}
