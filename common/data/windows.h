/* windows.h - where the windows of a log in the order of time begin: train on one, then judge on the next.
 *
 * Window k holds the records of [from[k], from[k] + width): from is a multiple of width since 1970, so that days begin
 * at midnight UTC whatever the log begins with. Windows without records are left out. Records without a time can't
 * be there: data.split.by: window quarantines them.
 */
#ifndef PENSTOCK_COMMON_DATA_WINDOWS_H
#define PENSTOCK_COMMON_DATA_WINDOWS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/data/dataset.h"

struct windows {
    uint64_t *first; /* (used + 1) first record of each, then the number of records; owned */
    int64_t *from;   /* (used) microseconds since 1970; owned */
    size_t used, firsts_cap, froms_cap;
};

/* d: opened over a train part made with data.split.by: window; else, or when its times do not ascend, ST_BAD_DATA.
 * width_us: data.split.window. One pass over the time column. */
MUST_CHECK enum status windows_find(struct dataset *d, uint64_t width_us, struct windows *out,
                                    struct errbuf *err);
void windows_release(struct windows *w);
/* Where the window begins that holds this time. */
int64_t windows_begin(int64_t time_us, uint64_t width_us);

enum { WINDOWS_DATE_MAX = 32 };
/* "2010-12-01T00:00:00Z"; dst: WINDOWS_DATE_MAX bytes. */
void windows_date(int64_t time_us, char *dst);

#endif
