/* prune.c - remove cuts nobody needs any more (fence_prune of fence.h).
 *
 * Order: unlink manifests -> fsync cuts/ -> unlink data. So a manifest that a crash brings back is at worst
 * one whose files are all there. Kept are the newest `keep` manifests, the cut that the recipe restores,
 * and every file any of these lists. Of the files that nobody lists, those go that can't be part of a cut
 * still to come: number not above the newest commit, or made by an older incarnation. A file of a newer
 * incarnation is never touched, nor anything by a head that has been fenced, nor names we don't make.
 * Damaged manifests are evidence: they stay, don't count, and protect nothing.
 */
#include "ps/snapshot/fence.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "ps/snapshot/names.h"

struct names { /* file names within data/, owned */
    char **item;
    size_t used, cap;
};

static void names_release(struct names *n)
{
    for (size_t i = 0; i < n->used; i++)
        free(n->item[i]);
    free(n->item);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool listed(const struct names *n, const char *name)
{
    return n->used > 0 && bsearch(&name, n->item, n->used, sizeof *n->item, by_text) != NULL;
}

static void protect(struct names *n, const struct manifest *m)
{
    for (size_t i = 0; i < m->files_used; i++) {
        mem_grow(&n->item, &n->cap, n->used + 1, sizeof *n->item);
        n->item[n->used++] = mem_strdup(m->files[i].name + strlen("data/"));
    }
}

/* Asked in the way the fence itself works: nothing can be created in a removed folder. (A link count of 0
 * would say it as well, but not on every file system.) */
static enum status still_ours(const struct fence *f, struct errbuf *err)
{
    int fd = openat(f->run_fd, "probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0) {
        close(fd);
        (void)unlinkat(f->run_fd, "probe", 0);
        return ST_OK;
    }
    if (errno == ENOENT || errno == ESTALE)
        return errbuf_set(err, ST_FENCED, "%s/run/%" PRIu64 " was removed: a newer head exists",
                          f->dir, f->e);
    return errbuf_errno(err, ST_IO, "%s/run/%" PRIu64, f->dir, f->e);
}

/* Unlink the manifests that are neither among the newest `keep` whole ones nor `best`; the files of those
 * that stay go to `files`. */
static enum status prune_cuts(struct fence *f, uint32_t keep, const uint64_t *k, size_t n,
                              uint64_t *out_newest, struct names *files, struct errbuf *err)
{
    uint64_t newest = 0, best = 0;
    uint32_t kept = 0;
    for (size_t i = n; i-- > 0;) {
        struct manifest m;
        char name[NAMES_MAX];
        enum status st = manifest_read(f->dir, k[i], &m, err);
        if (st == ST_BAD_DATA || st == ST_NOT_FOUND)
            continue;
        if (st != ST_OK)
            return st;
        if (newest == 0) {
            newest = m.k;
            best = m.best;
        }
        bool stays = kept < keep || m.k == best;
        if (stays) {
            kept++;
            protect(files, &m);
        }
        manifest_release(&m);
        names_cut(name, k[i]);
        if (!stays && unlinkat(f->cuts_fd, name, 0) != 0 && errno != ENOENT)
            return errbuf_errno(err, ST_IO, "%s/cuts/%s: cannot remove", f->dir, name);
    }
    *out_newest = newest;
    if (f->sync && fsync(f->cuts_fd) != 0 && errno != EINVAL)
        return errbuf_errno(err, ST_IO, "%s/cuts: cannot sync", f->dir);
    return ST_OK;
}

static enum status prune_data(struct fence *f, uint64_t newest, const struct names *files,
                              struct errbuf *err)
{
    enum status st = ST_OK;
    int fd = openat(f->data_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (d == NULL) {
        st = errbuf_errno(err, ST_IO, "%s/data", f->dir);
        if (fd >= 0)
            close(fd);
        return st;
    }
    const struct dirent *entry;
    while (st == ST_OK && (entry = readdir(d)) != NULL) {
        struct names_file file;
        if (!names_parse_data(entry->d_name, &file) || file.e > f->e)
            continue;
        if ((file.k > newest && file.e == f->e) || listed(files, entry->d_name))
            continue;
        if (unlinkat(f->data_fd, entry->d_name, 0) != 0 && errno != ENOENT)
            st = errbuf_errno(err, ST_IO, "%s/data/%s: cannot remove", f->dir, entry->d_name);
    }
    closedir(d);
    if (st == ST_OK && f->sync && fsync(f->data_fd) != 0 && errno != EINVAL)
        st = errbuf_errno(err, ST_IO, "%s/data: cannot sync", f->dir);
    return st;
}

enum status fence_prune(struct fence *f, uint32_t keep, struct errbuf *err)
{
    uint64_t *k = NULL;
    size_t n = 0;
    uint64_t newest = 0;
    struct names files = {NULL, 0, 0};
    enum status st = still_ours(f, err);
    if (st == ST_OK)
        st = manifest_list(f->dir, &k, &n, NULL, err);
    if (st != ST_OK)
        return st;
    st = prune_cuts(f, keep == 0 ? 1 : keep, k, n, &newest, &files, err);
    if (st == ST_OK && newest > 0) { /* no whole manifest: this is no moment to remove anything */
        if (files.used > 0)
            qsort(files.item, files.used, sizeof *files.item, by_text);
        st = prune_data(f, newest, &files, err);
    }
    names_release(&files);
    free(k);
    return st;
}
