/* cut_list.h - which rows are in a cut: one sorted list for each table. */
#ifndef PENSTOCK_PS_SNAPSHOT_CUT_LIST_H
#define PENSTOCK_PS_SNAPSHOT_CUT_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "ps/snapshot/cut.h"

#define CUT_UNTOUCHED UINT32_MAX

struct cut_row {
    uint64_t key;
    uint32_t slot;
    uint32_t
        old; /* the row's oldest entry in the taken log, or CUT_UNTOUCHED (always, in a full cut) */
};

struct cut_list {
    struct cut_row *row; /* owned (slab); by key, each once */
    size_t n;
    size_t cap;
};

/* lists: one for each table of the plan, all zero. On failure they are released. */
MUST_CHECK enum status cut_list_make(const struct cut_conf *conf, struct cut_list *lists,
                                     struct errbuf *err);
void cut_list_release(struct cut_list *lists, size_t tables);
/* Stable, by key: equal keys keep their order. tmp: as many rows. Result in `rows`. */
void cut_list_sort(struct cut_row *rows, struct cut_row *tmp, size_t n);

#endif
