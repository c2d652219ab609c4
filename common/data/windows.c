/* windows.c - see windows.h. */
#include "common/data/windows.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/mem.h"
#include "common/data/dataset_map.h"
#include "common/feature/number.h"

void windows_release(struct windows *w)
{
    free(w->first);
    free(w->from);
    memset(w, 0, sizeof *w);
}

int64_t windows_begin(int64_t time_us, uint64_t width_us)
{
    const int64_t width = (int64_t)width_us, rest = time_us % width;
    return time_us - (rest < 0 ? rest + width : rest);
}

void windows_date(int64_t time_us, char *dst)
{
    const time_t seconds = (time_t)(windows_begin(time_us, 1000000) / 1000000);
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL ||
        strftime(dst, WINDOWS_DATE_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        dst[0] = '\0';
}

static void append(struct windows *w, uint64_t first, int64_t from)
{
    mem_grow(&w->first, &w->firsts_cap, w->used + 2, sizeof *w->first);
    mem_grow(&w->from, &w->froms_cap, w->used + 1, sizeof *w->from);
    w->first[w->used] = first;
    w->from[w->used++] = from;
}

enum status windows_find(struct dataset *d, uint64_t width_us, struct windows *out,
                         struct errbuf *err)
{
    struct windows w;
    int64_t width = (int64_t)width_us, before = INT64_MIN;
    enum status st = ST_OK;
    memset(&w, 0, sizeof w);
    for (uint64_t r = 0; st == ST_OK && r < dataset_rows(d);) {
        const struct cache_block *b;
        size_t i;
        st = dataset_locate(d, r, &b, &i, err);
        if (st == ST_OK && b->time == NULL)
            st = errbuf_set(err, ST_BAD_DATA, "%s: has no times, so no windows", d->path);
        for (; st == ST_OK && i < b->rows; i++, r++) {
            int64_t time = b->time[i];
            if (time == TIME_MISSING || time < before)
                st = errbuf_set(err, ST_BAD_DATA,
                                "%s: is not in the order of time; convert it with data.split.by: "
                                "window",
                                d->path);
            else if (w.used == 0 || time - w.from[w.used - 1] >= width)
                append(&w, r, windows_begin(time, width_us));
            before = time;
        }
    }
    if (st != ST_OK) {
        windows_release(&w);
        return st;
    }
    if (w.used > 0)
        w.first[w.used] = dataset_rows(d);
    *out = w;
    return ST_OK;
}
