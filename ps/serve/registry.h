/* registry.h - records by id: many readers without a lock, one writer.
 *
 * A record is immutable: a change is a new record in the place of the old one, which is freed when no reader can see
 * it any more (common/base/epoch.h). Each id has a number, from 0 in the order in which ids came, for good: a deleted
 * id keeps its number and leaves a record that is `gone` and knows two hashes of the id, not the id.
 *
 * Readers call find and at between epoch_enter and epoch_leave of `epoch`; the writer needs no entry.
 */
#ifndef PENSTOCK_PS_SERVE_REGISTRY_H
#define PENSTOCK_PS_SERVE_REGISTRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/epoch.h"
#include "common/base/errbuf.h"

#define REGISTRY_CHUNK  65536u
#define REGISTRY_CHUNKS 2048u /* 134 M ids */

struct entry {            /* the head of a record; one allocation */
    uint64_t hash, check; /* of the id, by two seeds */
    uint64_t lsn;         /* of the change that made it: journal.h */
    size_t bytes;         /* of the allocation */
    uint32_t number;      /* set by registry_put */
    bool gone;
    uint16_t id_n;
    const char *id; /* inside the allocation, terminated; "" when gone */
};

struct registry_slots { /* open addressing; 0 = empty, else number + 1 */
    size_t mask;
    _Atomic uint32_t slot[];
};

struct registry_retired {
    uint64_t stamp;
    void *what;
};

struct registry {
    struct epoch *epoch; /* borrowed */
    size_t max;          /* ids, gone ones too */
    _Atomic(struct registry_slots *) slots;
    _Atomic(struct entry *) *_Atomic chunk[REGISTRY_CHUNKS];
    _Atomic uint32_t used;  /* numbers given */
    _Atomic uint64_t alive; /* not gone */
    _Atomic uint64_t bytes; /* of live records */
    /* -- writer only -- */
    struct registry_retired *retired; /* owned */
    size_t retired_first, retired_used, retired_cap;
};

void registry_init(struct registry *r, struct epoch *epoch, size_t max);
void registry_release(struct registry *r); /* no reader is left */

void registry_hash(const char *id, size_t n, uint64_t *out_hash, uint64_t *out_check);
/* NULL: nobody of that id, or gone. */
const struct entry *registry_find(const struct registry *r, const char *id, size_t n);
/* Gone ones, too. */
const struct entry *registry_find_hash(const struct registry *r, uint64_t hash, uint64_t check);
/* number < used. */
const struct entry *registry_at(const struct registry *r, uint32_t number);

/* Writer. e: malloc'd, filled but for its number; owned from here on. ST_AGAIN: `max` ids are there. */
MUST_CHECK enum status registry_put(struct registry *r, struct entry *e, struct errbuf *err);
void registry_retire(struct registry *r, void *what); /* freed when no reader sees it */
void registry_reclaim(struct registry *r);            /* frees what can be freed */

#endif
