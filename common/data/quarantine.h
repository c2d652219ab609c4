/* quarantine.h - the bad lines of a conversion: counted, written down, and too many of them end it.
 *
 * <cache_dir>/quarantine.tsv has a header and then path, line number and reason of each; tabs and line ends in
 * a path become blanks. It is written under a temporary name and shown by quarantine_commit, also when
 * the conversion stops because of what it says. Without a bad line there is no file.
 */
#ifndef PENSTOCK_COMMON_DATA_QUARANTINE_H
#define PENSTOCK_COMMON_DATA_QUARANTINE_H

#include <stdint.h>
#include <stdio.h>

#include "common/base/errbuf.h"

#define QUARANTINE_SHOWN        3u
#define QUARANTINE_EARLY_LINES  1000u /* from here on a hopeless log stops before its end: */
#define QUARANTINE_EARLY_FACTOR 5.0   /* when bad lines are so many times more than allowed */

struct quarantine {
    char *path, *tmp; /* owned */
    FILE *file;       /* NULL before the first bad line */
    uint64_t used;
    double bad_max; /* part of the lines */
    char first[QUARANTINE_SHOWN][256];
};

void quarantine_init(struct quarantine *q, const char *cache_dir, double bad_max);
void quarantine_release(struct quarantine *q); /* what was not committed is removed */
MUST_CHECK enum status quarantine_add(struct quarantine *q, const char *path, uint64_t line,
                                      const char *reason, struct errbuf *err);
/* ST_BAD_DATA with the first reasons when `used` of `lines` are too many. at_end: by bad_max itself. */
MUST_CHECK enum status quarantine_judge(const struct quarantine *q, uint64_t lines, int at_end,
                                        struct errbuf *err);
MUST_CHECK enum status quarantine_commit(struct quarantine *q, struct errbuf *err);

#endif
