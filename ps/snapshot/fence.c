/* fence.c - incarnation directories, the commit, and pruning (ps/snapshot/README.md, "The fence").
 *
 *   run/N made by mkdir        one head has the number N, others get EEXIST
 *   opened once                everything later goes by that descriptor, never by the path
 *   listed again               a larger number: we were slow, leave all as it is
 *   smaller ones removed       from here on no former head can commit: its rename is ENOENT
 *   only then cuts/ is read    (by the caller): what a former head committed before is seen
 *
 * A removed directory can neither be renamed out of nor created in, even by a process that was stopped just
 * before its system call. By path it would be wrong: a third head may make run/N again, and the fenced one
 * would commit in it. O_TMPFILE would be wrong, too: it works in a removed directory on tmpfs.
 *
 * Whatever the commit's rename answers, cuts/<k>.json is looked at before anything is believed: a network
 * file system may report failure for a rename that happened. The only states told to the caller are "it is
 * there, and it is ours", "it is not there" and "this head must exit".
 *
 * Numbers that are no plain decimals, and names that we don't make, are other people's and left alone.
 */
#include "ps/snapshot/fence.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "ps/snapshot/names.h"
#include "ps/snapshot/place.h"

#define REMOVE_TRIES 1000

static bool gone(int code)
{
    return code == ENOENT || code == ESTALE;
}

/* -- folders -- */

static enum status open_folder(const char *dir, const char *sub, int *out_fd, struct errbuf *err)
{
    char *path = file_join(dir, sub);
    enum status st = file_mkdirs(path, err);
    if (st == ST_OK) {
        *out_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (*out_fd < 0)
            st = errbuf_errno(err, ST_IO, "%s", path);
    }
    free(path);
    return st;
}

/* Names in a folder. Owned by the caller, as is each name. */
struct listing {
    char **name;
    size_t used, cap;
};

static void listing_release(struct listing *l)
{
    for (size_t i = 0; i < l->used; i++)
        free(l->name[i]);
    free(l->name);
    memset(l, 0, sizeof *l);
}

/* 0, or -1 with errno. */
static int list_folder(int folder_fd, struct listing *out)
{
    struct listing l = {NULL, 0, 0};
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    DIR *d = fdopendir(fd);
    if (d == NULL) {
        close(fd);
        return -1;
    }
    const struct dirent *entry;
    errno = 0;
    while ((entry = readdir(d)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            mem_grow(&l.name, &l.cap, l.used + 1, sizeof *l.name);
            l.name[l.used++] = mem_strdup(entry->d_name);
        }
        errno = 0;
    }
    int code = errno;
    closedir(d);
    if (code != 0) {
        listing_release(&l);
        errno = code;
        return -1;
    }
    *out = l;
    return 0;
}

static enum status sync_folder(const struct fence *f, int fd, const char *what, struct errbuf *err)
{
    /* EINVAL: a network file system that can't sync folders. Nothing more can be done there. */
    if (f->sync && fsync(fd) != 0 && errno != EINVAL)
        return errbuf_errno(err, ST_IO, "%s/%s: cannot sync", f->dir, what);
    return ST_OK;
}

/* -- making an incarnation -- */

static uint64_t largest_of(const struct listing *l)
{
    uint64_t largest = 0, number;
    for (size_t i = 0; i < l->used; i++)
        if (names_parse_number(l->name[i], &number) && number > largest)
            largest = number;
    return largest;
}

static enum status list_run(const struct fence *f, int run, struct listing *out, struct errbuf *err)
{
    if (list_folder(run, out) != 0)
        return errbuf_errno(err, ST_IO, "%s/run", f->dir);
    return ST_OK;
}

static enum status make_number(struct fence *f, int run, uint64_t exact, struct errbuf *err)
{
    struct listing l;
    char name[24];
    enum status st = list_run(f, run, &l, err);
    if (st != ST_OK)
        return st;
    uint64_t largest = largest_of(&l);
    listing_release(&l);
    if (exact != 0 && largest >= exact)
        return errbuf_set(err, ST_FENCED,
                          "%s/run: incarnation %" PRIu64 " exists, this head wanted %" PRIu64,
                          f->dir, largest, exact);
    if (largest == UINT64_MAX)
        return errbuf_set(err, ST_BAD_DATA, "%s/run: no number is left", f->dir);
    f->e = exact != 0 ? exact : largest + 1;
    snprintf(name, sizeof name, "%" PRIu64, f->e);
    if (mkdirat(run, name, 0755) != 0)
        return errbuf_errno(err, errno == EEXIST ? ST_FENCED : ST_IO, "%s/run/%s", f->dir, name);
    f->run_fd = openat(run, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->run_fd < 0)
        return errbuf_errno(err, gone(errno) ? ST_FENCED : ST_IO, "%s/run/%s", f->dir, name);
    return sync_folder(f, run, "run", err);
}

/* Empty the folder once. Its owner may be writing into it just now, so rmdir may fail and all is done
 * again; each commit makes one file, so a few rounds are enough. */
static int empty_once(int run, const char *name)
{
    struct listing l;
    int fd = openat(run, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int rc = list_folder(fd, &l);
    if (rc == 0) {
        for (size_t i = 0; i < l.used; i++)
            if (unlinkat(fd, l.name[i], 0) != 0 && errno == EISDIR)
                (void)unlinkat(fd, l.name[i], AT_REMOVEDIR);
        listing_release(&l);
    }
    int code = errno;
    close(fd);
    errno = code;
    return rc;
}

static enum status remove_number(const struct fence *f, int run, const char *name,
                                 struct errbuf *err)
{
    for (int i = 0; i < REMOVE_TRIES; i++) {
        if (unlinkat(run, name, AT_REMOVEDIR) == 0 || gone(errno))
            return ST_OK;
        if (errno != ENOTEMPTY && errno != EEXIST)
            break;
        if (empty_once(run, name) != 0 && !gone(errno))
            break;
    }
    return errbuf_errno(err, ST_IO, "%s/run/%s: cannot remove", f->dir, name);
}

static enum status fence_others(struct fence *f, int run, struct errbuf *err)
{
    struct listing l;
    enum status st = list_run(f, run, &l, err);
    if (st != ST_OK)
        return st;
    uint64_t largest = largest_of(&l), number;
    if (largest > f->e)
        st = errbuf_set(err, ST_FENCED, "%s/run: incarnation %" PRIu64 " is newer than %" PRIu64,
                        f->dir, largest, f->e);
    for (size_t i = 0; i < l.used && st == ST_OK; i++)
        if (names_parse_number(l.name[i], &number) && number < f->e)
            st = remove_number(f, run, l.name[i], err);
    listing_release(&l);
    return st == ST_OK ? sync_folder(f, run, "run", err) : st;
}

enum status fence_open(const char *dir, uint64_t exact, bool sync, struct fence *out,
                       struct errbuf *err)
{
    struct fence f = {.run_fd = -1, .cuts_fd = -1, .data_fd = -1, .sync = sync};
    int run = -1;
    if (strlen(dir) >= sizeof f.dir)
        return errbuf_set(err, ST_USAGE, "%s: the path is too long", dir);
    memcpy(f.dir, dir, strlen(dir) + 1);
    enum status st = open_folder(dir, "cuts", &f.cuts_fd, err);
    if (st == ST_OK)
        st = open_folder(dir, "data", &f.data_fd, err);
    if (st == ST_OK)
        st = open_folder(dir, "run", &run, err);
    if (st == ST_OK && sync)
        st = file_sync_dir(dir, err);
    if (st == ST_OK)
        st = make_number(&f, run, exact, err);
    if (st == ST_OK)
        st = fence_others(&f, run, err);
    if (run >= 0)
        close(run);
    if (st != ST_OK)
        fence_close(&f);
    else
        *out = f;
    return st;
}

void fence_close(struct fence *f)
{
    int *fds[] = {&f->run_fd, &f->cuts_fd, &f->data_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}

/* -- committing -- */

static enum status write_m(struct fence *f, const char *text, size_t n, struct errbuf *err)
{
    int fd = openat(f->run_fd, "m", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 && gone(errno))
        return errbuf_set(err, ST_FENCED, "%s/run/%" PRIu64 " was removed: a newer head exists",
                          f->dir, f->e);
    if (fd < 0)
        return errbuf_errno(err, ST_IO, "%s/run/%" PRIu64 "/m: cannot write", f->dir, f->e);
    enum status st = ST_OK;
    if (place_write(fd, text, n) != 0 || (f->sync && fsync(fd) != 0))
        st = errbuf_errno(err, ST_IO, "%s/run/%" PRIu64 "/m: cannot write", f->dir, f->e);
    if (close(fd) != 0 && st == ST_OK)
        st = errbuf_errno(err, ST_IO, "%s/run/%" PRIu64 "/m: cannot write", f->dir, f->e);
    if (st != ST_OK)
        (void)unlinkat(f->run_fd, "m", 0);
    return st;
}

enum look { LOOK_ABSENT, LOOK_OURS, LOOK_OTHER, LOOK_FAILED };

/* What stands under the final name? Compared byte by byte: the text names e and the instant. */
static enum look look_at(const struct fence *f, const char *name, const char *text, size_t n)
{
    int fd = openat(f->cuts_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return gone(errno) ? LOOK_ABSENT : LOOK_FAILED;
    char *have = mem_alloc(n + 1);
    size_t used = 0;
    ssize_t did = 1;
    while (used < n + 1 && did != 0) {
        did = read(fd, have + used, n + 1 - used);
        if (did < 0 && errno != EINTR)
            break;
        used += did > 0 ? (size_t)did : 0;
    }
    enum look look = LOOK_OTHER;
    if (did < 0)
        look = LOOK_FAILED;
    else if (used == n && memcmp(have, text, n) == 0)
        look = LOOK_OURS;
    free(have);
    close(fd);
    return look;
}

static enum status rename_m(struct fence *f, const char *name, const char *text, size_t n,
                            struct errbuf *err)
{
    if (place_file(f->run_fd, "m", f->cuts_fd, name) == 0)
        return ST_OK;
    int code = errno;
    enum look look = look_at(f, name, text, n);
    if (look == LOOK_OURS) {
        (void)unlinkat(f->run_fd, "m", 0);
        return ST_OK;
    }
    if (look == LOOK_OTHER)
        return errbuf_set(err, ST_FENCED, "%s/cuts/%s was committed by another head", f->dir, name);
    if (gone(code))
        return errbuf_set(err, ST_FENCED, "%s/run/%" PRIu64 " was removed: a newer head exists",
                          f->dir, f->e);
    if (look == LOOK_FAILED)
        return errbuf_set(err, ST_FENCED,
                          "%s/cuts/%s: cannot see whether it was committed; a restart will", f->dir,
                          name);
    (void)unlinkat(f->run_fd, "m", 0);
    errno = code;
    return errbuf_errno(err, ST_IO, "%s/cuts/%s: cannot rename to it", f->dir, name);
}

enum status fence_commit(struct fence *f, const struct manifest *m, struct errbuf *err)
{
    char name[NAMES_MAX];
    char *text = manifest_text(m);
    size_t n = strlen(text);
    names_cut(name, m->k);
    enum status st = write_m(f, text, n, err);
    if (st == ST_OK)
        st = rename_m(f, name, text, n, err);
    free(text);
    if (st != ST_OK)
        return st;
    /* Visible, but perhaps not on the disk. Calling it abandoned would be a lie to whoever reads cuts/, and
     * taking it back could rob a newer head of its base: a restart finds it and goes on from it. */
    if (sync_folder(f, f->cuts_fd, "cuts", err) != ST_OK)
        return errbuf_wrap(err, ST_FENCED, "cut %" PRIu64 " is committed, but: ", m->k);
    return ST_OK;
}
