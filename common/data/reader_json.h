/* reader_json.h - JSON lines: one object a line, its values by dotted names.
 *
 *   {"user": {"id": 7}, "tags": ["a", "b"], "items": [{"id": 1}, {"id": 2}], "clicked": true}
 *     user.id = 7    tags = a, b    items.id = 1, 2    tags[0] = a    clicked = 1
 *
 * An array gives a list, whatever stands around it: lists of lists are one list, of objects one a name. true and
 * false are 1 and 0, null is no value; numbers stay the text they are. A line that is no JSON object is a
 * faulty record, and reading goes on behind it. Depth, and the length of a line, are bounded.
 */
#ifndef PENSTOCK_COMMON_DATA_READER_JSON_H
#define PENSTOCK_COMMON_DATA_READER_JSON_H

#include "common/base/errbuf.h"
#include "common/data/columns.h"

#define JSON_DEPTH_MAX 64u
#define JSON_NAME_MAX  1024u /* bytes of a dotted name; what has a longer one can't be wanted */

struct reader_json; /* opaque */

/* columns: borrowed until close. */
MUST_CHECK enum status reader_json_open(const char *path, uint64_t bytes_max,
                                        struct columns *columns, struct reader_json **out,
                                        struct errbuf *err);
void reader_json_close(struct reader_json *r);
/* ST_END behind the last record. */
MUST_CHECK enum status reader_json_next(struct reader_json *r, struct named_record *out,
                                        struct errbuf *err);
uint64_t reader_json_in_bytes(const struct reader_json *r);

#endif
