/* reader_pairs.h - lines of pairs whose cells have names: slots and libffm.
 *
 *   slots    click:0 dense:0.0 dense:0.05 7:737395 7:210498   a slot gives a list; commas or blanks between
 *            1,1,0,210:1,216:4                                what has no slot is named @0, @1, @2 by its place
 *            18446744073709551615:29                          value:slot, when slot_last
 *   libffm   1 3:17:0.5 4:22:1                                "label", then field:feature:value; value 1 if left out
 *
 * A value is kept as the text it is, so a 64-bit unsigned sign keeps all its digits. A line that is none is a
 * faulty record; blank lines are no records.
 */
#ifndef PENSTOCK_COMMON_DATA_READER_PAIRS_H
#define PENSTOCK_COMMON_DATA_READER_PAIRS_H

#include "common/base/errbuf.h"
#include "common/data/columns.h"

enum pairs_kind { PAIRS_SLOT_FIRST, PAIRS_SLOT_LAST, PAIRS_LIBFFM };

struct reader_pairs; /* opaque */

/* columns: borrowed until close. */
MUST_CHECK enum status reader_pairs_open(const char *path, uint64_t bytes_max, enum pairs_kind kind,
                                         struct columns *columns, struct reader_pairs **out,
                                         struct errbuf *err);
void reader_pairs_close(struct reader_pairs *r);
/* ST_END behind the last record. */
MUST_CHECK enum status reader_pairs_next(struct reader_pairs *r, struct named_record *out,
                                         struct errbuf *err);
uint64_t reader_pairs_in_bytes(const struct reader_pairs *r);

#endif
