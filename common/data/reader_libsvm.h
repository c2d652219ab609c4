/* reader_libsvm.h - lines of `label [qid:n] id:value ...`, `#` begins a comment.
 *
 * Ids are unsigned 64-bit and taken as given (0- or 1-based); `id` alone means value 1. Values and the
 * label must be finite and at most 1e30. Blank lines and whole-line comments are no records.
 */
#ifndef PENSTOCK_COMMON_DATA_READER_LIBSVM_H
#define PENSTOCK_COMMON_DATA_READER_LIBSVM_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"

struct reader_libsvm; /* opaque */

struct libsvm_record { /* borrowed until the next call */
    double label;
    const uint64_t *id; /* (n) */
    const float *value; /* (n) */
    size_t n;
    const char *raw;
    size_t raw_n;
    uint64_t line, offset; /* as in reader_text.h */
    const char *fault;
};

MUST_CHECK enum status reader_libsvm_open(const char *path, uint64_t bytes_max,
                                          struct reader_libsvm **out, struct errbuf *err);
void reader_libsvm_close(struct reader_libsvm *r);
MUST_CHECK enum status reader_libsvm_next(struct reader_libsvm *r, struct libsvm_record *out,
                                          struct errbuf *err);
uint64_t reader_libsvm_in_bytes(const struct reader_libsvm *r);

#endif
