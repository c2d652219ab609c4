/* errbuf.h - the sentence that says why something failed.
 *
 * Whoever first decides that it is an error writes it (errbuf_set); callers may put a prefix before it
 * (errbuf_wrap, "shard 3: ..."); only the top prints it. A NULL errbuf is allowed and ignored. Control
 * characters, but line ends, and bytes that are no UTF-8 become '?'.
 */
#ifndef PENSTOCK_COMMON_BASE_ERRBUF_H
#define PENSTOCK_COMMON_BASE_ERRBUF_H

#include "common/base/status.h"

struct errbuf {
    char text[1024]; /* always terminated; too long a text ends in "..." */
};

#define ERRBUF_INIT                                                                                \
    {                                                                                              \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/* Replace the text; returns st so that `return errbuf_set(err, ST_IO, ...)` reads well. */
enum status errbuf_set(struct errbuf *err, enum status st, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Put a prefix before the text; returns st. */
enum status errbuf_wrap(struct errbuf *err, enum status st, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* As errbuf_set, with ": " and strerror(errno) behind. */
enum status errbuf_errno(struct errbuf *err, enum status st, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
