/* file.c - whole files and folders, with errors that name the path.
 *
 * file_write_atomic is how everything small and durable is written (manifests, resolved.yaml, report.json):
 * a temporary file beside it, fsync, rename, fsync of the folder. A reader, or a restart after a kill at
 * any instant, sees the old file or the new one. A temporary name carries the process id; one left behind
 * by a kill is not a file anybody reads.
 *
 * A file that does not exist is ST_NOT_FOUND, one that can't be read ST_IO: callers that treat absence as
 * an answer ("no run here yet") need the difference.
 */
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"

static enum status open_failed(const char *path, struct errbuf *err)
{
    return errbuf_errno(err, errno == ENOENT || errno == ENOTDIR ? ST_NOT_FOUND : ST_IO, "%s",
                        path);
}

static enum status open_regular(const char *path, int *out_fd, uint64_t *out_n, struct errbuf *err)
{
    /* O_NONBLOCK: opening a named pipe without a writer must not hang before we can see what it is. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return open_failed(path, err);
    struct stat s;
    enum status st = ST_OK;
    if (fstat(fd, &s) != 0)
        st = errbuf_errno(err, ST_IO, "%s", path);
    else if (S_ISDIR(s.st_mode))
        st = errbuf_set(err, ST_IO, "%s: is a folder, not a file", path);
    else if (!S_ISREG(s.st_mode))
        st = errbuf_set(err, ST_IO, "%s: is not a regular file", path);
    if (st != ST_OK) {
        close(fd);
        return st;
    }
    *out_fd = fd;
    *out_n = (uint64_t)s.st_size;
    return ST_OK;
}

static enum status too_large(const char *path, size_t max, struct errbuf *err)
{
    return errbuf_set(err, ST_BAD_DATA, "%s: is larger than %zu bytes", path, max);
}

/* Read to the end, which may lie elsewhere than fstat said: files grow, and /proc says 0. */
static enum status read_rest(int fd, const char *path, size_t max, size_t expected,
                             char **out_bytes, size_t *out_n, struct errbuf *err)
{
    enum status st = ST_OK;
    char *bytes = NULL;
    size_t cap = 0, used = 0;
    mem_grow(&bytes, &cap, expected + 1, 1);
    for (;;) {
        if (used + 1 >= cap)
            mem_grow(&bytes, &cap, used + 4096, 1);
        ssize_t n = read(fd, bytes + used, cap - used - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            st = errbuf_errno(err, ST_IO, "%s: cannot read", path);
            goto free_bytes;
        }
        if (n == 0)
            break;
        used += (size_t)n;
        if (used > max) {
            st = too_large(path, max, err);
            goto free_bytes;
        }
    }
    bytes[used] = '\0';
    *out_bytes = bytes;
    *out_n = used;
    return ST_OK;

free_bytes:
    free(bytes);
    return st;
}

enum status file_read(const char *path, size_t max, char **out_bytes, size_t *out_n,
                      struct errbuf *err)
{
    int fd;
    uint64_t size;
    enum status st = open_regular(path, &fd, &size, err);
    if (st != ST_OK)
        return st;
    if (size > max)
        st = too_large(path, max, err);
    else
        st = read_rest(fd, path, max, (size_t)size, out_bytes, out_n, err);
    close(fd);
    return st;
}

static enum status write_synced(const char *path, const char *at, size_t n, struct errbuf *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return errbuf_errno(err, ST_IO, "%s: cannot write", path);
    enum status st = ST_OK;
    while (n > 0 && st == ST_OK) {
        ssize_t did = write(fd, at, n);
        if (did < 0 && errno == EINTR)
            continue;
        if (did < 0) {
            st = errbuf_errno(err, ST_IO, "%s: cannot write", path);
        } else {
            at += did;
            n -= (size_t)did;
        }
    }
    if (st == ST_OK && fsync(fd) != 0)
        st = errbuf_errno(err, ST_IO, "%s: cannot sync", path);
    if (close(fd) != 0 && st == ST_OK)
        st = errbuf_errno(err, ST_IO, "%s: cannot write", path);
    return st;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return mem_strdup(".");
    if (slash == path)
        return mem_strdup("/");
    char *folder = mem_strdup(path);
    folder[slash - path] = '\0';
    return folder;
}

enum status file_write_atomic(const char *path, const void *bytes, size_t n, struct errbuf *err)
{
    size_t room = strlen(path) + 32;
    char *tmp = mem_alloc(room);
    char *folder = folder_of(path);
    snprintf(tmp, room, "%s.tmp.%ld", path, (long)getpid());
    enum status st = write_synced(tmp, bytes, n, err);
    if (st != ST_OK)
        goto remove_tmp;
    if (rename(tmp, path) != 0) {
        st = errbuf_errno(err, ST_IO, "%s: cannot rename %s to it", path, tmp);
        goto remove_tmp;
    }
    st = file_sync_dir(folder, err);
    goto free_names;

remove_tmp:
    unlink(tmp);
free_names:
    free(folder);
    free(tmp);
    return st;
}

enum status file_mkdirs(const char *path, struct errbuf *err)
{
    enum status st = ST_OK;
    char *p = mem_strdup(path);
    for (char *at = p + 1; *p != '\0'; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char cut = *at;
        *at = '\0';
        struct stat s;
        if (mkdir(p, 0755) != 0 && errno != EEXIST) {
            st = errbuf_errno(err, ST_IO, "%s: cannot make the folder", p);
            break;
        }
        if (stat(p, &s) != 0 || !S_ISDIR(s.st_mode)) {
            st = errbuf_set(err, ST_IO, "%s: is not a folder", p);
            break;
        }
        if (cut == '\0')
            break;
        *at = cut;
    }
    free(p);
    return st;
}

enum status file_sync_dir(const char *path, struct errbuf *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return open_failed(path, err);
    enum status st = ST_OK;
    /* Some network file systems can't sync a folder and say so with EINVAL: nothing more can be done. */
    if (fsync(fd) != 0 && errno != EINVAL)
        st = errbuf_errno(err, ST_IO, "%s: cannot sync", path);
    close(fd);
    return st;
}

bool file_exists(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0;
}

static const uint8_t empty_file;

enum status file_map_open(const char *path, struct file_map *out, struct errbuf *err)
{
    int fd;
    uint64_t size;
    enum status st = open_regular(path, &fd, &size, err);
    if (st != ST_OK)
        return st;
    const uint8_t *data = &empty_file;
    if (size > 0) {
        void *p = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            st = errbuf_errno(err, ST_IO, "%s: cannot map %" PRIu64 " bytes", path, size);
        else
            data = p;
    }
    close(fd);
    if (st == ST_OK) {
        out->data = data;
        out->n = (size_t)size;
    }
    return st;
}

void file_map_close(struct file_map *m)
{
    if (m->n > 0)
        munmap((void *)(uintptr_t)m->data, m->n);
    m->data = NULL;
    m->n = 0;
}

char *file_join(const char *a, const char *b)
{
    if (a == NULL || *a == '\0' || *b == '/')
        return mem_strdup(b);
    size_t na = strlen(a), nb = strlen(b);
    while (na > 1 && a[na - 1] == '/')
        na--;
    bool root = na == 1 && a[0] == '/';
    char *joined = mem_alloc(na + nb + 2);
    memcpy(joined, a, na);
    if (!root)
        joined[na++] = '/';
    memcpy(joined + na, b, nb + 1);
    return joined;
}
