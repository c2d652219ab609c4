/* cut_writer.h - the one thread of a process that writes cut files, so that fsync never stops a shard.
 *
 * Each shard thread has a slot. It reserves room, lets its core make a slice of at most so many bytes, and
 * hands them over; the room comes back when they are written. begin, bytes, end and abort of a slot are
 * done in order. After end, and after a failure at any point, one result comes back and the slot's wake is
 * signalled; what follows a failure is ignored until the next begin.
 */
#ifndef PENSTOCK_PS_TRAIN_CUT_WRITER_H
#define PENSTOCK_PS_TRAIN_CUT_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/net/wake.h"
#include "common/wire/frame.h"
#include "ps/snapshot/manifest.h"

struct cut_writer;

struct cut_result {
    enum status status;
    char text[256];
    struct manifest_file file; /* k, e, shard and full on failure too */
};

struct cut_writer_conf {
    const char *dir;         /* borrowed, as the pool */
    struct frame_pool *pool; /* bytes on their way */
    uint32_t slots;
    uint64_t bytes_max; /* on their way, of all slots together */
};

MUST_CHECK enum status cut_writer_start(const struct cut_writer_conf *conf, struct cut_writer **out,
                                        struct errbuf *err);
/* Files that are not finished are removed. The slots' threads have ended before. NULL-safe. */
void cut_writer_stop(struct cut_writer *w);

/* -- by the slot's thread -- */
/* wake: signalled when a result is there or room came back; borrowed until stop. */
void cut_writer_attach(struct cut_writer *w, uint32_t slot, const struct wake *wake);
bool cut_writer_reserve(struct cut_writer *w, size_t bytes);
void cut_writer_unreserve(struct cut_writer *w, size_t bytes);
void cut_writer_begin(struct cut_writer *w, uint32_t slot, const struct manifest_file *what);
void cut_writer_bytes(struct cut_writer *w, uint32_t slot, const void *bytes,
                      size_t n); /* reserved */
void cut_writer_end(struct cut_writer *w, uint32_t slot);
void cut_writer_abort(struct cut_writer *w, uint32_t slot);
bool cut_writer_result(struct cut_writer *w, uint32_t slot, struct cut_result *out);

#endif
