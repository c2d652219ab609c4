/* source_dir.c - see source_dir.h.
 *
 * Polls: a listing of cuts/ costs microseconds, works on every file system (inotify does not see what another host
 * renames), and a complete cut becomes visible in one rename. A manifest found damaged is passed over for an older
 * one, which is then usually not newer than what is shown: the old version stays until the next cut.
 */
#include "ps/serve/source_dir.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/mem.h"

#define POLL_US 25000u

struct source_dir {
    char *dir; /* owned */
    _Atomic uint64_t heard_us, read_bytes;
    uint64_t damaged_k; /* told already */
};

/* The newest whole one in (after, below). */
static enum status newest_in(struct source_dir *s, uint64_t after, uint64_t below,
                             struct manifest *out, struct errbuf *err)
{
    uint64_t *k = NULL, damaged = 0;
    size_t n = 0;
    enum status st = manifest_list(s->dir, &k, &n, NULL, err);
    if (st != ST_OK) {
        return st;
    }
    atomic_store(&s->heard_us, clock_now_us());
    st = ST_NOT_FOUND;
    for (size_t i = n; i-- > 0 && k[i] > after;) {
        if (k[i] >= below) {
            continue;
        }
        struct errbuf why = ERRBUF_INIT;
        st = manifest_read(s->dir, k[i], out, &why);
        if (st == ST_OK) {
            break;
        }
        if (st == ST_BAD_DATA && damaged == 0) {
            damaged = k[i];
            (void)errbuf_set(err, st, "%s", why.text);
        }
        st = ST_NOT_FOUND;
    }
    free(k);
    if (st == ST_OK || damaged == 0 || damaged == s->damaged_k) {
        return st;
    }
    s->damaged_k = damaged;
    return ST_BAD_DATA; /* said once */
}

static enum status dir_watch(void *ctx, uint64_t after, uint64_t wait_us, struct manifest *out,
                             struct errbuf *err)
{
    const uint64_t until = clock_now_us() + wait_us;
    for (;;) {
        enum status st = newest_in(ctx, after, UINT64_MAX, out, err);
        if (st != ST_NOT_FOUND) {
            return st;
        }
        const uint64_t now = clock_now_us();
        if (now >= until) {
            return errbuf_set(err, ST_TIMEOUT, "no cut above %" PRIu64, after);
        }
        clock_sleep_us(until - now < POLL_US ? until - now : POLL_US);
    }
}

static enum status dir_before(void *ctx, uint64_t k, struct manifest *out, struct errbuf *err)
{
    return newest_in(ctx, 0, k, out, err);
}

/* Data files go after the manifests that list them: without its manifest a cut was pruned, with it a file is missing. */
static bool is_pruned(const struct source_dir *s, uint64_t k)
{
    char name[64];
    snprintf(name, sizeof(name), "cuts/%" PRIu64 ".json", k);
    char *path = file_join(s->dir, name);
    const bool pruned = !file_exists(path);
    free(path);
    return pruned;
}

static enum status dir_part(void *ctx, const struct manifest *m, size_t file,
                            const struct plan *plan, struct part *out, struct errbuf *err)
{
    struct source_dir *s = ctx;
    enum status st = part_open(s->dir, &m->files[file], plan, out, err);
    if (st == ST_OK) {
        atomic_fetch_add(&s->read_bytes, m->files[file].bytes);
    } else if (st == ST_BAD_DATA && is_pruned(s, m->k)) {
        st = errbuf_set(err, ST_NOT_FOUND, "%s: cut %" PRIu64 " was pruned while it was read",
                        s->dir, m->k);
    }
    return st;
}

static void dir_counts(void *ctx, struct source_counts *out)
{
    struct source_dir *s = ctx;
    *out = (struct source_counts){atomic_load(&s->read_bytes), 0, atomic_load(&s->heard_us)};
}

static void dir_close(void *ctx)
{
    struct source_dir *s = ctx;
    free(s->dir);
    free(s);
}

struct source source_dir_open(const char *dir)
{
    struct source_dir *s = mem_zalloc(sizeof(*s));
    s->dir = mem_strdup(dir);
    return (struct source){s, dir_watch, dir_before, dir_part, dir_counts, dir_close};
}
