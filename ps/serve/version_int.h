/* version_int.h - what versions are made of: layers. Private to version, stage and versions.
 *
 * A layer is a map of rows for each sparse table; the lowest is the base, those above are overlays: rows that differ
 * from what stands below, and tombs. A version names its topmost layer; a lookup goes down from there.
 */
#ifndef PENSTOCK_PS_SERVE_VERSION_INT_H
#define PENSTOCK_PS_SERVE_VERSION_INT_H

#include <stdatomic.h>

#include "common/base/plan.h"
#include "ps/serve/rows.h"
#include "ps/serve/version.h"
#include "ps/snapshot/manifest.h"

struct layer {
    struct rows *rows[PLAN_TABLES_MAX]; /* sparse tables; owned */
    _Atomic(struct layer *) below;      /* borrowed; NULL: this is the base */
};

struct version {
    const struct plan *plan; /* borrowed */
    _Atomic(struct layer *) top;
    float *dense, *stat; /* owned */
    uint64_t rows[PLAN_TABLES_MAX], hash[PLAN_TABLES_MAX];
    uint64_t k, e, wall_us, shown_us, step, records;
    struct manifest_file *files; /* the chain it came from; owned */
    size_t files_used;
};

/* The nearest entry of a key at or below `top`; a tomb is ROWS_ABSENT. */
enum rows_found layer_find(const struct layer *top, uint32_t table, uint64_t key, uint64_t h,
                           const float **out_w);
/* Prefetches for a group of at most LAYER_GROUP keys. */
#define LAYER_GROUP 32u
void layer_prefetch(const struct layer *top, uint32_t table, const uint64_t *h, size_t n);
void version_free(struct version *v); /* not its layers */

#endif
