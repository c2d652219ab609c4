/* reader_tfrecord.h - TFRecord files of tf.Example: what a feature lists is the column of its name.
 *
 *   u64 length | u32 masked crc32c of those 8 bytes | data | u32 masked crc32c of data
 *
 * bytes_list, int64_list and float_list give their values as text (ints in decimal, floats with nine digits). A feature
 * of one value is a value, of more a list. A record whose data fails its checksum, or is no tf.Example, is faulty
 * and reading goes on behind it. A length that fails its checksum, or a file that ends inside a record, ends
 * the reading: ST_BAD_DATA with the offset, for nobody knows where the next record begins.
 */
#ifndef PENSTOCK_COMMON_DATA_READER_TFRECORD_H
#define PENSTOCK_COMMON_DATA_READER_TFRECORD_H

#include "common/base/errbuf.h"
#include "common/data/columns.h"

#ifdef PENSTOCK_FUZZ
#define TFRECORD_BYTES_MAX ((uint64_t)1 << 12)
#else
#define TFRECORD_BYTES_MAX ((uint64_t)64 << 20) /* of one record */
#endif

struct reader_tfrecord; /* opaque */

/* columns: borrowed until close. */
MUST_CHECK enum status reader_tfrecord_open(const char *path, uint64_t bytes_max,
                                            struct columns *columns, struct reader_tfrecord **out,
                                            struct errbuf *err);
void reader_tfrecord_close(struct reader_tfrecord *r);
/* ST_END behind the last record. */
MUST_CHECK enum status reader_tfrecord_next(struct reader_tfrecord *r, struct named_record *out,
                                            struct errbuf *err);
uint64_t reader_tfrecord_in_bytes(const struct reader_tfrecord *r);
/* The first 12 bytes of a file are a length and its checksum. */
bool reader_tfrecord_begins(const void *bytes, size_t n);

#endif
