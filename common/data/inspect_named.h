/* inspect_named.h - the formats whose cells have names, told by what stands in a file. For inspect*.c only. */
#ifndef PENSTOCK_COMMON_DATA_INSPECT_NAMED_H
#define PENSTOCK_COMMON_DATA_INSPECT_NAMED_H

#include <stdbool.h>

#include "common/base/errbuf.h"
#include "common/data/inspect.h"

/* in->path is one of them: in->format (and slot_last) say which. By magic (Parquet, TFRecord), by the first byte
 * (JSON), else by what most of the first lines are (libffm, slots). */
MUST_CHECK enum status inspect_named_is(struct inspect *in, bool *out, struct errbuf *err);
/* The first rows: columns, types, label. A column that no job could name is left out. */
MUST_CHECK enum status inspect_named_read(struct inspect *in, struct errbuf *err);

#endif
