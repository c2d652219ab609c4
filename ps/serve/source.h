/* source.h - where complete cuts come from: a folder, or a stream over the network. Private to ps/serve.
 *
 * Asked by one thread, the follower's.
 */
#ifndef PENSTOCK_PS_SERVE_SOURCE_H
#define PENSTOCK_PS_SERVE_SOURCE_H

#include "ps/snapshot/part.h"

struct source_counts {
    uint64_t fetched_bytes, retried;
    uint64_t heard_us; /* monotonic: the last answer; 0: none yet */
};

struct source {
    void *ctx; /* owned by the source */
    /* The newest complete cut with a number above `after`; waits at most wait_us. ST_TIMEOUT: there is none. Any
     * other status: why it can't be told now; ask again. */
    enum status (*watch)(void *ctx, uint64_t after, uint64_t wait_us, struct manifest *out,
                         struct errbuf *err);
    /* The newest whole manifest with a number below k: for who could not load k and shows nothing. ST_NOT_FOUND. */
    enum status (*before)(void *ctx, uint64_t k, struct manifest *out, struct errbuf *err);
    /* One file of m, checked, ready to be read; part_close gives it back. ST_BAD_DATA: damaged; ST_NOT_FOUND: gone; ST_TIMEOUT: told to stop. */
    enum status (*part)(void *ctx, const struct manifest *m, size_t file, const struct plan *plan,
                        struct part *out, struct errbuf *err);
    void (*counts)(void *ctx, struct source_counts *out); /* any thread */
    void (*close)(void *ctx);
};

#endif
