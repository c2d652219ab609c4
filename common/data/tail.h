/* tail.h - growing logs as whole lines: which bytes of which files were taken, and what is new behind them.
 *
 * A file is who its device and inode say: renamed (rotated) it is read to its end through the descriptor that is open,
 * and after a restart it is looked for beside its old name (there by what it begins with, too: inodes are given again).
 * What was taken is never read again, so the bytes before `at` may not change: a file that became shorter, or whose first
 * block is another one, is ST_BAD_DATA with its name. A last line without its end waits. A file that is deleted and read
 * to its end is forgotten.
 *
 * Positions are told and taken back as JSON; whoever keeps them decides what "taken" means (segments.h).
 */
#ifndef PENSTOCK_COMMON_DATA_TAIL_H
#define PENSTOCK_COMMON_DATA_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/base/json.h"

#define TAIL_FILES_MAX   512u
#define TAIL_BLOCK_BYTES 4096u
#define TAIL_LINE_MAX    ((size_t)16 << 20) /* and most bytes of one take */

struct tail_file {
    char *path; /* where it was last seen; owned */
    uint64_t dev, inode;
    int fd;           /* -1: not found yet after a restart */
    uint64_t at;      /* bytes taken */
    uint64_t lines;   /* in them, with the header */
    uint64_t size;    /* at the last look */
    uint64_t block_n; /* bytes that block_hash is of: at, and at most TAIL_BLOCK_BYTES */
    uint64_t block_hash;
    uint64_t
        torn; /* size when there was no whole line behind at; looked at again when it is another */
};

struct tail {
    const struct job *job;  /* borrowed */
    struct tail_file *file; /* owned; in the order in which they were found */
    size_t used, cap;
    size_t turn; /* who is asked first next time */
};

struct tail_piece { /* whole lines of one file */
    size_t file;
    uint64_t from, to, lines;
};

void tail_init(struct tail *t, const struct job *job);
void tail_release(struct tail *t);
/* Looks for new files and new bytes. `notes`: files that are gone with what nobody has read of them. */
MUST_CHECK enum status tail_look(struct tail *t, struct errbuf *notes, struct errbuf *err);
/* As of the last look: bytes that were not taken. torn_too: those of lines without an end as well. */
uint64_t tail_waiting(const struct tail *t, bool torn_too);
/* The next whole lines: at most lines_max of one file, and TAIL_LINE_MAX bytes; behind the header, where there is
 * one, in `header`. ST_END: there is no whole line now. Nothing is taken before tail_took. */
MUST_CHECK enum status tail_take(struct tail *t, uint64_t lines_max, struct buffer *header,
                                 struct buffer *bytes, struct tail_piece *out, struct errbuf *err);
MUST_CHECK enum status tail_took(struct tail *t, const struct tail_piece *piece,
                                 struct errbuf *err);
struct json *tail_json(const struct tail *t); /* an array; owned by the caller */
/* t is fresh. */
MUST_CHECK enum status tail_parse(struct tail *t, const struct json *list, struct errbuf *err);

#endif
