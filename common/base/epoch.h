/* epoch.h - grace periods: readers that take no lock, and a writer that knows when none of them can still look.
 *
 * A reader that is about to follow shared pointers enters, and leaves when it holds none of them any more; both are
 * one store. Shared pointers are loaded and stored with atomic_load and atomic_store as they are (sequentially
 * consistent). A writer first unhooks a thing (an atomic pointer now leads elsewhere), then asks for a stamp, and
 * may free the thing once that stamp has passed: every reader has left, or entered after the unhooking.
 * (Quiescent states, as in McKenney's RCU and Fraser's epochs, with the readers counted one by one.)
 *
 * Readers are few and known: one a thread. A reader that stays inside holds up what was retired, nothing else.
 */
#ifndef PENSTOCK_COMMON_BASE_EPOCH_H
#define PENSTOCK_COMMON_BASE_EPOCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define EPOCH_READERS_MAX 256u

struct epoch_reader {
    _Alignas(64) _Atomic uint64_t at; /* the stamp it entered at; 0: outside */
    atomic_bool used;
};

struct epoch {
    _Atomic uint64_t now; /* from 1 */
    struct epoch_reader reader[EPOCH_READERS_MAX];
};

void epoch_init(struct epoch *e);
/* Any thread; the reader belongs to whoever got it until it gives it back, outside. NULL: EPOCH_READERS_MAX are
 * taken. */
struct epoch_reader *epoch_join(struct epoch *e);
void epoch_part(struct epoch_reader *r);

/* Its own thread only; not nested. What is loaded between the two stays valid until the leave. */
void epoch_enter(struct epoch *e, struct epoch_reader *r);
void epoch_leave(struct epoch_reader *r);

/* Any thread, after the unhooking: the stamp to wait for. */
uint64_t epoch_retire(struct epoch *e);
/* Nobody can still see what was unhooked before that stamp. Never waits: ask again. */
bool epoch_passed(struct epoch *e, uint64_t stamp);

#endif
