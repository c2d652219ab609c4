/* manifest_dir.c - which complete cuts a run's folder holds (declared in manifest.h).
 *
 * There is no LATEST file to be wrong: the newest manifest whose own checksum holds is the newest cut.
 * A manifest that can't be *read* (an I/O error) is not the same as one that is damaged: the first is
 * reported, only the second is passed over, or a busy disk would silently cost a cut.
 */
#include "ps/snapshot/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "ps/snapshot/names.h"

#define MANIFEST_BYTES_MAX ((size_t)64 << 20)

enum status manifest_read(const char *dir, uint64_t k, struct manifest *out, struct errbuf *err)
{
    char name[NAMES_MAX], *text = NULL;
    size_t n = 0;
    names_cut(name, k);
    char *cuts = file_join(dir, "cuts");
    char *path = file_join(cuts, name);
    enum status st = file_read(path, MANIFEST_BYTES_MAX, &text, &n, err);
    if (st != ST_OK)
        goto free_path;
    struct manifest m;
    st = manifest_parse(text, n, path, &m, err);
    if (st != ST_OK)
        goto free_text;
    if (m.k != k) {
        st = errbuf_set(err, ST_BAD_DATA, "%s: it is the manifest of cut %" PRIu64, path, m.k);
        manifest_release(&m);
        goto free_text;
    }
    *out = m;
free_text:
    free(text);
free_path:
    free(path);
    free(cuts);
    return st;
}

struct numbers {
    uint64_t *item;
    size_t used, cap;
    uint64_t highest;
};

/* The cut number that a name stands for; *out_cut: it is a manifest that counts. */
static bool number_of(const char *name, bool in_cuts, uint64_t *out_k, bool *out_cut)
{
    struct names_file file;
    bool bad = false;
    *out_cut = false;
    if (in_cuts) {
        bool known = names_parse_cut(name, out_k, &bad);
        *out_cut = known && !bad;
        return known;
    }
    bool known = names_parse_data(name, &file);
    if (known)
        *out_k = file.k;
    return known;
}

static enum status scan(const char *dir, const char *sub, struct numbers *to, struct errbuf *err)
{
    char *path = file_join(dir, sub);
    bool in_cuts = strcmp(sub, "cuts") == 0;
    enum status st = ST_OK;
    DIR *d = opendir(path);
    if (d == NULL) {
        if (errno != ENOENT) /* no folder yet: nothing has been committed */
            st = errbuf_errno(err, ST_IO, "%s", path);
        goto free_path;
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(d);
        if (entry == NULL)
            break;
        uint64_t k;
        bool cut;
        if (!number_of(entry->d_name, in_cuts, &k, &cut))
            continue;
        if (k > to->highest)
            to->highest = k;
        if (!cut)
            continue;
        mem_grow(&to->item, &to->cap, to->used + 1, sizeof *to->item);
        to->item[to->used++] = k;
    }
    if (errno != 0)
        st = errbuf_errno(err, ST_IO, "%s", path);
    closedir(d);
free_path:
    free(path);
    return st;
}

static int rising(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

enum status manifest_list(const char *dir, uint64_t **out, size_t *out_n, uint64_t *highest_seen,
                          struct errbuf *err)
{
    struct numbers found = {NULL, 0, 0, 0};
    enum status st = scan(dir, "cuts", &found, err);
    if (st == ST_OK)
        st = scan(dir, "data", &found, err);
    if (st != ST_OK) {
        free(found.item);
        return st;
    }
    if (found.used > 0)
        qsort(found.item, found.used, sizeof *found.item, rising);
    *out = found.item;
    *out_n = found.used;
    if (highest_seen != NULL)
        *highest_seen = found.highest;
    return ST_OK;
}

static void add_note(struct errbuf *notes, const char *text)
{
    if (notes == NULL)
        return;
    bool first = notes->text[0] == '\0';
    errbuf_set(notes, ST_BAD_DATA, "%s%s%s", notes->text, first ? "" : "; ", text);
}

enum status manifest_newest(const char *dir, struct manifest *out, struct errbuf *notes,
                            struct errbuf *err)
{
    uint64_t *k = NULL;
    size_t n = 0;
    enum status st = manifest_list(dir, &k, &n, NULL, err);
    if (st != ST_OK)
        return st;
    if (notes != NULL)
        notes->text[0] = '\0';
    st = ST_NOT_FOUND;
    struct errbuf why = ERRBUF_INIT;
    for (size_t i = n; i-- > 0;) {
        st = manifest_read(dir, k[i], out, &why);
        if (st == ST_OK || (st != ST_BAD_DATA && st != ST_NOT_FOUND))
            break;
        add_note(notes, why.text);
        st = ST_NOT_FOUND;
    }
    free(k);
    if (st == ST_NOT_FOUND && n > 0)
        return errbuf_set(err, st, "%s: none of its %zu manifests is whole: %s", dir, n, why.text);
    if (st == ST_NOT_FOUND)
        return errbuf_set(err, st, "%s: no complete cut there", dir);
    return st == ST_OK ? st : errbuf_set(err, st, "%s", why.text);
}

/* "DIR@7" -> the folder's length and 7. A folder whose own name ends in "@7" is a folder. */
static bool split_spec(const char *spec, size_t *out_n, uint64_t *out_k)
{
    const char *mark = strrchr(spec, '@');
    *out_n = strlen(spec);
    if (mark == NULL || mark == spec || !names_parse_number(mark + 1, out_k) || file_exists(spec))
        return false;
    *out_n = (size_t)(mark - spec);
    return true;
}

static enum status newest_best(const char *dir, struct manifest *out, struct errbuf *err)
{
    struct manifest newest;
    enum status st = manifest_newest(dir, &newest, NULL, err);
    if (st == ST_NOT_FOUND)
        return ST_BAD_DATA; /* who asks for a snapshot by name has none: the snapshot is wrong */
    if (st != ST_OK)
        return st;
    if (newest.best == 0 || newest.best == newest.k) {
        *out = newest;
        return ST_OK;
    }
    uint64_t best = newest.best, k = newest.k;
    manifest_release(&newest);
    st = manifest_read(dir, best, out, err);
    if (st != ST_OK)
        return errbuf_wrap(err, st == ST_NOT_FOUND ? ST_BAD_DATA : st,
                           "%s: cut %" PRIu64
                           ", which the recipe restores, can't be had (ask for %s@%" PRIu64
                           ", the newest): ",
                           dir, best, dir, k);
    return ST_OK;
}

enum status manifest_resolve(const char *spec, char *dir_out, size_t dir_cap, struct manifest *out,
                             struct errbuf *err)
{
    size_t n;
    uint64_t k = 0;
    bool numbered = split_spec(spec, &n, &k);
    if (n == 0 || n >= dir_cap)
        return errbuf_set(err, ST_USAGE, "a snapshot is DIR or DIR@k, not \"%.200s\"", spec);
    char *dir = mem_strdup(spec);
    dir[n] = '\0';
    enum status st;
    if (!file_exists(dir)) {
        st = errbuf_set(err, ST_BAD_DATA, "%s: no such folder", dir);
    } else if (!numbered) {
        st = newest_best(dir, out, err);
    } else {
        st = manifest_read(dir, k, out, err);
        if (st == ST_NOT_FOUND)
            st = errbuf_set(err, ST_BAD_DATA, "%s: there is no cut %" PRIu64 " (snap list %s)", dir,
                            k, dir);
    }
    if (st == ST_OK)
        memcpy(dir_out, dir, n + 1);
    free(dir);
    return st;
}
