/* stream.h - read a file as a stream of bytes, plain, gzip or zstd (by magic, not by name).
 *
 * Multi-member gzip and multi-frame zstd are read to the end. The output is bounded: a file that inflates
 * beyond bytes_max is ST_BAD_DATA, as is a truncated or damaged member. "-" is standard input.
 * The only door to zlib.h and zstd.h.
 */
#ifndef PENSTOCK_COMMON_BASE_STREAM_H
#define PENSTOCK_COMMON_BASE_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"

struct stream;

MUST_CHECK enum status stream_open(const char *path, uint64_t bytes_max, struct stream **out,
                                   struct errbuf *err);
void stream_close(struct stream *s);
/* Up to n bytes into dst; *out_n = 0 only at the end (ST_OK). */
MUST_CHECK enum status stream_read(struct stream *s, void *dst, size_t n, size_t *out_n,
                                   struct errbuf *err);
uint64_t stream_in_bytes(const struct stream *s);   /* compressed bytes consumed: for progress */
uint64_t stream_file_bytes(const struct stream *s); /* size of the file, 0 if unknown */

#endif
