/* segments.h - a growing log in segments: new whole lines become a cache file of their own, exactly once.
 *
 *   DIR/live/<n>.cache        segment n, from 1: a train part of one conversion, encoded as the run's encoder says
 *   DIR/live/position.json    segments there are, and what of which file is in them (tail.h)
 *   DIR/live/quarantine.tsv   bad lines; after a kill some may stand there twice
 *
 * The rename of position.json is the one instant at which lines are taken: before it a segment's file is a leftover
 * that the next one overwrites, from it on the segment is there for good. So over any kill each line is in one segment.
 * One writer (the front), any number of readers: who sees n in position.json may open segments up to n.
 * In a segment's header the stamp is the time (us since 1970) at which the first of its lines was seen; in its sources
 * `mtime_ns` and `bytes` are the bytes it begins with and ends before.
 */
#ifndef PENSTOCK_COMMON_DATA_SEGMENTS_H
#define PENSTOCK_COMMON_DATA_SEGMENTS_H

#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/job.h"

struct segments; /* opaque: the writer */

struct segments_counts { /* since the beginning of the run */
    uint64_t segments, records, lines, bad;
};

/* dir: the run's; cache: where encoder.bin is. Goes on where position.json stands. */
MUST_CHECK enum status segments_open(const struct job *job, const char *dir, const char *cache,
                                     struct segments **out, struct errbuf *err);
void segments_close(struct segments *s); /* NULL-safe */
/* Looks for new lines. notes: see tail_look. out_bytes: those of lines that wait, torn ones left out. */
MUST_CHECK enum status segments_look(struct segments *s, uint64_t *out_bytes, struct errbuf *notes,
                                     struct errbuf *err);
/* The lines of the last look, at most data.follow_records, become the next segment. Where none of them is good, there
 * is no segment and they are taken all the same. ST_END: no whole line. Too many bad ones: ST_BAD_DATA. */
MUST_CHECK enum status segments_add(struct segments *s, uint64_t seen_wall_us, struct errbuf *err);
void segments_count(const struct segments *s, struct segments_counts *out);
/* Removes the files of segments up to n: nobody will ask for them again. */
void segments_drop(struct segments *s, uint64_t n);

/* -- readers -- */
char *segments_path(const char *dir, uint64_t n); /* owned by the caller */
/* What position.json says; all 0 while there is none. */
MUST_CHECK enum status segments_read(const char *dir, struct segments_counts *out,
                                     struct errbuf *err);
/* Records of segment n, and when the first of its lines was seen. */
MUST_CHECK enum status segments_header(const char *dir, uint64_t n, uint64_t *out_records,
                                       uint64_t *out_seen_us, struct errbuf *err);

#endif
