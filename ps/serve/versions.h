/* versions.h - the versions a node keeps, the layers they stand on, and which of them is shown. Pure: no files, no
 * threads, no clock. Private to ps/serve; the rest of the program sees replica.h.
 *
 * One owner (the follower's thread, or whoever holds the replica's lock) calls everything but the four reader's functions.
 *
 *   staged (stage.h) -> versions_add -> kept: the newest `keep`, and the shown one -> dropped: its slot is empty ->
 *   its readers have left: freed; the layer it ended at may be folded into the one below, in slices -> freed
 */
#ifndef PENSTOCK_PS_SERVE_VERSIONS_H
#define PENSTOCK_PS_SERVE_VERSIONS_H

#include <stdbool.h>

#include "ps/serve/version_int.h"

#define VERSIONS_MAX 34u /* kept and shown; REPLICA_KEEP_MAX and some */
#define REFUSED_MAX  64u
#define LAYERS_MAX   (2 * VERSIONS_MAX)

struct versions; /* opaque */

/* plan: borrowed. keep: 1 to VERSIONS_MAX - 2. */
struct versions *versions_new(const struct plan *plan, uint32_t keep);
void versions_free(struct versions *vs); /* no reader is left */
struct epoch *versions_epoch(struct versions *vs);
const struct plan *versions_plan(const struct versions *vs);

/* -- any thread, inside the epoch -- */
const struct version *versions_shown(struct versions *vs);
const struct version *versions_get(struct versions *vs, uint64_t k); /* NULL: not kept */

/* -- the owner -- */

/* The newest version there is, pinned or not: what the next one is laid upon. NULL: none yet. */
const struct version *versions_tip(const struct versions *vs);
/* Takes v and its layer over, shows v unless another one is pinned, drops what is beyond `keep`. layer: its rows differ
 * from those of the tip (or it is the base, when there is no tip). ST_AGAIN: readers have held too many versions for
 * too long; nothing changed, try again after versions_tidy. */
MUST_CHECK enum status versions_add(struct versions *vs, struct version *v, struct layer *layer,
                                    struct errbuf *err);
void versions_refuse(struct versions *vs, uint64_t k); /* remember the number */
bool versions_refused(const struct versions *vs, uint64_t k);
/* ST_NOT_FOUND, ST_REFUSED. */
MUST_CHECK enum status versions_pin(struct versions *vs, uint64_t k, struct errbuf *err);
void versions_unpin(struct versions *vs);
MUST_CHECK enum status versions_rollback(struct versions *vs, uint64_t *out_k, struct errbuf *err);

/* A slice of what has to be done some time: frees, folds up to `rows` rows. True: there is more to do, now or once
 * readers have left. ST_NO_MEMORY inside a fold leaves it to be tried again. */
bool versions_tidy(struct versions *vs, size_t rows);

struct versions_item {
    const struct version *v; /* NULL: refused */
    uint64_t k;
    bool shown, pinned;
};
size_t versions_list(const struct versions *vs, struct versions_item *out, size_t max); /* by k */
bool versions_pinned(const struct versions *vs);
size_t versions_layers(const struct versions *vs);
/* Rows, dense copies and what waits to be freed; *out_base: of it the base and one dense copy. */
uint64_t versions_bytes(const struct versions *vs, uint64_t *out_base);

/* about: rows by table; room: it will hold so many at once. */
struct layer *layer_new(const struct plan *plan, const uint64_t *about, bool room,
                        struct epoch *epoch);
void layer_free(struct layer *l);

#endif
