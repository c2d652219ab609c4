/* windows.c - see windows.h. */
#include "common/data/windows.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/data/dataset_map.h"
#include "common/feature/number.h"

void windows_release(struct windows *w)
{
    free(w->first);
    free(w->from);
    memset(w, 0, sizeof *w);
}

static int64_t window_of(int64_t time, int64_t width)
{
    int64_t rest = time % width;
    return time - (rest < 0 ? rest + width : rest);
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
                append(&w, r, window_of(time, width));
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
