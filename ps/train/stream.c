/* stream.c - see stream.h. */
#include "ps/train/stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/mem.h"

#define WAIT_US_MAX 30000000u

struct stream *stream_new(void)
{
    return mem_zalloc(sizeof(struct stream));
}

static void drop_names(struct stream *s, size_t keep)
{
    while (s->names > keep) {
        free(s->name[--s->names].path);
    }
}

void stream_free(struct stream *s)
{
    if (s != NULL) {
        drop_names(s, 0);
        free(s->name);
        free(s);
    }
}

static void add_name(struct stream *s, const char *name, char *path)
{
    mem_grow(&s->name, &s->cap, s->names + 1, sizeof(*s->name));
    struct stream_name *n = &s->name[s->names++];
    snprintf(n->name, sizeof(n->name), "%s", name);
    n->path = path;
}

void stream_fix(struct stream *s, const char *name, const char *path)
{
    add_name(s, name, mem_strdup(path));
    s->fixed = s->names;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct stream_name *)a)->name, ((const struct stream_name *)b)->name);
}

/* The chains of neighbours share most of their files. */
static void drop_doubles(struct stream *s)
{
    size_t kept = s->fixed;
    for (size_t i = s->fixed; i < s->names; i++) {
        if (kept > s->fixed && strcmp(s->name[kept - 1].name, s->name[i].name) == 0) {
            free(s->name[i].path);
        } else {
            s->name[kept++] = s->name[i];
        }
    }
    s->names = kept;
}

void stream_cuts(struct stream *s, const char *dir, const struct manifest *list, size_t n)
{
    drop_names(s, s->fixed);
    s->cuts = 0;
    for (size_t i = n > STREAM_CUTS ? n - STREAM_CUTS : 0; i < n; i++) {
        char name[FILE_NAME_MAX];
        s->cut[s->cuts++] = list[i].k;
        snprintf(name, sizeof(name), "cuts/%" PRIu64 ".json", list[i].k);
        add_name(s, name, file_join(dir, name));
        for (size_t f = 0; f < list[i].files_used; f++) {
            add_name(s, list[i].files[f].name, file_join(dir, list[i].files[f].name));
        }
    }
    if (s->names > s->fixed) {
        qsort(s->name + s->fixed, s->names - s->fixed, sizeof(*s->name), by_name);
    }
    drop_doubles(s);
}

const char *stream_path(const struct stream *s, const char *name)
{
    struct stream_name key;
    for (size_t i = 0; i < s->fixed; i++) {
        if (strcmp(s->name[i].name, name) == 0) {
            return s->name[i].path;
        }
    }
    snprintf(key.name, sizeof(key.name), "%s", name);
    const struct stream_name *found =
        s->names == s->fixed
            ? NULL
            : bsearch(&key, s->name + s->fixed, s->names - s->fixed, sizeof(*s->name), by_name);
    return found != NULL ? found->path : NULL;
}

uint64_t stream_newest(const struct stream *s, uint64_t after, uint64_t below)
{
    for (size_t i = s->cuts; i-- > 0 && s->cut[i] > after;) {
        if (below == 0 || s->cut[i] < below) {
            return s->cut[i];
        }
    }
    return 0;
}

void stream_watch(struct stream *s, uint64_t route, const struct msg_watch *w, uint64_t now_us)
{
    const uint64_t wait_us = w->wait_us < WAIT_US_MAX ? w->wait_us : WAIT_US_MAX;
    size_t at = 0;
    while (at < s->waits && (s->wait[at].route != route || s->wait[at].request != w->request)) {
        at++;
    }
    if (at == s->waits && s->waits == STREAM_WAITING) {
        s->wait[0].until_us = 0; /* it is due, and this one asks again */
        return;
    }
    s->waits += at == s->waits;
    s->wait[at] = (struct stream_wait){route, w->request, w->after, w->below, now_us + wait_us};
}

size_t stream_due(struct stream *s, uint64_t now_us, struct stream_answer *out, size_t max)
{
    size_t due = 0, kept = 0;
    for (size_t i = 0; i < s->waits; i++) {
        const struct stream_wait *w = &s->wait[i];
        const uint64_t k = stream_newest(s, w->after, w->below);
        if (due < max && (k != 0 || now_us >= w->until_us)) {
            out[due++] = (struct stream_answer){w->route, w->request, k};
        } else {
            s->wait[kept++] = *w;
        }
    }
    s->waits = kept;
    return due;
}
