/* diff.h - compare two complete cuts, row by row, table by table (by name). */
#ifndef PENSTOCK_PS_SNAPSHOT_DIFF_H
#define PENSTOCK_PS_SNAPSHOT_DIFF_H

#include <stdbool.h>
#include <stdint.h>

#include "ps/snapshot/chain.h"

struct diff_table {
    char name[PLAN_NAME_MAX];
    bool in_a, in_b; /* does the plan of this side have the table? */
    uint64_t rows_a, rows_b;
    uint64_t only_a, only_b;
    uint64_t changed;    /* rows of both whose weights, state, last_step, freq or flags differ */
    double weight_max;   /* largest |difference| of a weight; infinite where one is not finite */
    uint64_t weight_key; /* where */
};

/* Tables of a's plan, then those only b's has; out: (2 * PLAN_TABLES_MAX). A table whose dim differs is
 * ST_BAD_DATA. */
MUST_CHECK enum status diff_chains(const struct chain *a, const struct chain *b,
                                   struct diff_table *out, size_t *out_n, struct errbuf *err);

#endif
