/* journal.h - what a node may not forget: frames appended to a segment, made durable together.
 *
 * <state>/journal.<n>, little-endian; n counts up from 1, 16 hex digits, so that names sort:
 *
 *   0   8 bytes  PNSTKJNL
 *   8   u32 x 2  version 1; 0
 *   16  u64      n
 *   24  u64      xxh3-64 of bytes 0 to 23
 *   32  frames, each:
 *       u32      bytes of the payload, 1 .. JOURNAL_FRAME_MAX
 *       u32      0
 *       u64      lsn: 1 + that of the frame before, whatever segment that is in
 *       u64      xxh3-64 of the payload, seed = xxh3-64 of the 16 bytes before
 *       payload
 *
 * and <state>/snapshot.<n>, of the same form, that holds what journals before n said, as frames with lsn 0, and ends with
 * an empty-handed frame of one zero byte: without that it is no snapshot. Reading is: the newest whole snapshot.<n>,
 * then journal.<n>, journal.<n + 1>, ... A snapshot is written while journal.<n> grows already, so what it says may
 * be newer than the beginning of that journal: records carry the lsn that made them, and older frames pass them by.
 *
 * A frame is all or nothing. At a start the first bad frame of the newest segment is where a write was cut off: the
 * segment is cut there, which is said; a bad frame in an older segment, with whole ones behind it, is damage: ST_BAD_DATA.
 * What journal_sync answered ST_OK for was handed to the disk by fdatasync: it outlives the process and the machine's
 * power, as far as the disk keeps its word.
 *
 * One thread. No content is known here.
 */
#ifndef PENSTOCK_PS_SERVE_JOURNAL_H
#define PENSTOCK_PS_SERVE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"

#define JOURNAL_FRAME_MAX (16u << 20)
#define JOURNAL_HEADER    32u
#define JOURNAL_FRAME     24u

struct journal {
    char *dir;           /* owned */
    int lock, fd;        /* <state>/lock; the open segment */
    uint64_t n;          /* its number */
    uint64_t end;        /* bytes of it that are durable */
    uint64_t lsn;        /* of the last durable frame */
    bool ragged;         /* a failed write could not be cut off yet */
    uint64_t base;       /* number of the snapshot that reading begins with; 0: none */
    struct buffer group; /* frames since the last sync */
    uint64_t group_lsn;
    /* -- a snapshot being written -- */
    int snapshot; /* -1: none */
    uint64_t snapshot_bytes;
    struct buffer slice;
};

/* What was in a frame. lsn 0: of a snapshot. Anything but ST_OK ends the replay with it. */
struct journal_reader {
    void *arg;
    enum status (*frame)(void *arg, uint64_t lsn, const uint8_t *payload, size_t n,
                         struct errbuf *err);
};

/* Makes the folder, locks it (ST_REFUSED: another process has it), replays, opens the newest segment for more.
 * *out_cut: bytes of a torn tail that were cut off. */
MUST_CHECK enum status journal_open(struct journal *j, const char *dir,
                                    const struct journal_reader *reader, uint64_t *out_cut,
                                    struct errbuf *err);
void journal_close(struct journal *j); /* also of a zeroed one; what was not synced is gone */

/* One frame more of the group; its lsn. n: 1 .. JOURNAL_FRAME_MAX. */
uint64_t journal_add(struct journal *j, const void *payload, size_t n);
/* Write and fdatasync the group. ST_IO: nothing of it is there, the segment ends where it did, lsns are given again. */
MUST_CHECK enum status journal_sync(struct journal *j, struct errbuf *err);
void journal_drop(struct journal *j); /* the group was not meant */

/* A new segment, and a snapshot of what came before it, put together frame by frame; _end makes it count and removes
 * what is behind it. ST_IO: the journal goes on as it was, the snapshot is given up. No group may be open. */
MUST_CHECK enum status journal_snapshot_begin(struct journal *j, struct errbuf *err);
MUST_CHECK enum status journal_snapshot_add(struct journal *j, const void *payload, size_t n,
                                            struct errbuf *err);
MUST_CHECK enum status journal_snapshot_end(struct journal *j, struct errbuf *err);
void journal_snapshot_abandon(struct journal *j);
uint64_t journal_bytes(const struct journal *j); /* of the newest segment */

/* The frames of one file's bytes, for the reader and the fuzzer. first_lsn 0: a snapshot, or any. *out_good: bytes up to
 * the end of the last whole frame. ST_BAD_DATA: no such file at all. Frames stop at the first bad one. */
struct journal_text {
    const uint8_t *data;
    size_t n;
    uint64_t number; /* of the file's name */
    bool snapshot;
};
MUST_CHECK enum status journal_parse(const struct journal_text *text, uint64_t *lsn,
                                     const struct journal_reader *reader, size_t *out_good,
                                     bool *out_ended, struct errbuf *err);

#endif
