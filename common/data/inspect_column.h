/* inspect_column.h - one column of a log that is looked at: its cells counted, its type guessed. For inspect*.c only. */
#ifndef PENSTOCK_COMMON_DATA_INSPECT_COLUMN_H
#define PENSTOCK_COMMON_DATA_INSPECT_COLUMN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/errbuf.h"
#include "common/data/inspect.h"
#include "common/feature/keyset.h"

bool inspect_missing(const char *cell, size_t n); /* one of the default data.missing */
MUST_CHECK enum status inspect_add(struct inspect_column *c, struct keyset *distinct,
                                   const char *cell, size_t n, struct errbuf *err);
/* By name first, then by the cells; labels are chosen once all columns are known. */
void inspect_type(struct inspect_column *c, uint64_t rows, bool header);
void inspect_label(struct inspect *in);

#endif
