/* sources.c - see sources.h. */
#include "common/data/sources.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/mem.h"

void sources_release(struct sources *s)
{
    for (size_t i = 0; i < s->used; i++)
        free(s->item[i].path);
    free(s->item);
    memset(s, 0, sizeof *s);
}

static void append(struct sources *s, const struct source *one)
{
    mem_grow(&s->item, &s->cap, s->used + 1, sizeof *s->item);
    s->item[s->used++] = *one;
}

void sources_add_live(struct sources *s, const char *name, uint32_t list)
{
    /* Time and process make it unlike any other, so no cache of it is taken for this one. */
    append(s, &(struct source){.path = mem_strdup(name),
                               .list = list,
                               .mtime_ns = clock_now_us() * 1000,
                               .inode = (uint64_t)getpid()});
}

static enum status add_stdin(struct sources *s, uint32_t list, const char *key, struct errbuf *err)
{
    for (size_t i = 0; i < s->used; i++)
        if (strcmp(s->item[i].path, SOURCE_STDIN) == 0)
            return errbuf_set(err, ST_USAGE, "%s: standard input (-) can be read only once", key);
    sources_add_live(s, SOURCE_STDIN, list);
    return ST_OK;
}

static enum status add_file(struct sources *s, const char *path, uint32_t list, const char *key,
                            struct errbuf *err)
{
    struct stat at;
    if (stat(path, &at) != 0)
        return errbuf_errno(err, ST_BAD_DATA, "%s: %s", key, path);
    if (!S_ISREG(at.st_mode))
        return errbuf_set(err, ST_BAD_DATA, "%s: %s is not a regular file", key, path);
    if (at.st_size == 0)
        return errbuf_set(err, ST_BAD_DATA, "%s: %s is empty", key, path);
    if (access(path, R_OK) != 0)
        return errbuf_errno(err, ST_BAD_DATA, "%s: %s can't be read", key, path);
    struct source one = {
        .path = mem_strdup(path),
        .list = list,
        .bytes = (uint64_t)at.st_size,
        .mtime_ns = (uint64_t)at.st_mtim.tv_sec * 1000000000u + (uint64_t)at.st_mtim.tv_nsec,
        .inode = (uint64_t)at.st_ino,
    };
    append(s, &one);
    return ST_OK;
}

static int is_log(const struct dirent *e)
{
    return e->d_name[0] != '.' && e->d_name[0] != '_';
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Its files, not those of the folders in it. */
static enum status add_folder(struct sources *s, const char *path, uint32_t list, const char *key,
                              struct errbuf *err)
{
    struct dirent **found = NULL;
    int n = scandir(path, &found, is_log, by_name);
    if (n < 0)
        return errbuf_errno(err, ST_BAD_DATA, "%s: %s", key, path);
    enum status st = ST_OK;
    size_t had = s->used;
    for (int i = 0; i < n; i++) {
        char *file = file_join(path, found[i]->d_name);
        struct stat at;
        bool folder = stat(file, &at) == 0 && S_ISDIR(at.st_mode);
        if (st == ST_OK && !folder)
            st = add_file(s, file, list, key, err);
        free(file);
        free(found[i]);
    }
    free(found);
    if (st == ST_OK && s->used == had)
        st = errbuf_set(err, ST_BAD_DATA,
                        "%s: %s is a folder without files (hidden ones and _... don't count)", key,
                        path);
    return st;
}

static enum status add_path(struct sources *s, const char *path, uint32_t list, const char *key,
                            struct errbuf *err)
{
    struct stat at;
    bool folder = stat(path, &at) == 0 && S_ISDIR(at.st_mode);
    return folder ? add_folder(s, path, list, key, err) : add_file(s, path, list, key, err);
}

static enum status add_pattern(struct sources *s, const char *pattern, uint32_t list,
                               const char *key, struct errbuf *err)
{
    struct stat at;
    if (strcmp(pattern, SOURCE_STDIN) == 0)
        return add_stdin(s, list, key, err);
    /* A file whose own name has a bracket in it is that file. */
    if (lstat(pattern, &at) == 0 || strpbrk(pattern, "*?[") == NULL)
        return add_path(s, pattern, list, key, err);
    glob_t found;
    memset(&found, 0, sizeof found);
    int rc = glob(pattern, GLOB_ERR, NULL, &found);
    enum status st = ST_OK;
    if (rc == GLOB_NOMATCH)
        st = errbuf_set(err, ST_BAD_DATA, "%s: no file matches %s", key, pattern);
    else if (rc != 0)
        st = errbuf_set(err, ST_BAD_DATA, "%s: %s can't be searched", key, pattern);
    for (size_t i = 0; st == ST_OK && i < found.gl_pathc; i++)
        st = add_path(s, found.gl_pathv[i], list, key, err);
    globfree(&found);
    return st;
}

enum status sources_add(struct sources *s, const struct texts *patterns, uint32_t list,
                        const char *key, struct errbuf *err)
{
    size_t had = s->used;
    for (size_t i = 0; i < patterns->used; i++) {
        enum status st = add_pattern(s, patterns->item[i], list, key, err);
        if (st != ST_OK) {
            while (s->used > had)
                free(s->item[--s->used].path);
            return st;
        }
    }
    return ST_OK;
}

bool sources_equal(const struct sources *a, const struct sources *b)
{
    if (a->used != b->used)
        return false;
    for (size_t i = 0; i < a->used; i++) {
        const struct source *x = &a->item[i], *y = &b->item[i];
        if (strcmp(x->path, y->path) != 0 || x->list != y->list || x->bytes != y->bytes ||
            x->mtime_ns != y->mtime_ns || x->inode != y->inode)
            return false;
    }
    return true;
}

void sources_write(const struct sources *s, struct buffer *out)
{
    for (size_t i = 0; i < s->used; i++) {
        const struct source *x = &s->item[i];
        size_t n = strlen(x->path);
        buffer_u32(out, (uint32_t)n);
        buffer_put(out, x->path, n);
        buffer_u32(out, x->list);
        buffer_u64(out, x->bytes);
        buffer_u64(out, x->mtime_ns);
        buffer_u64(out, x->inode);
    }
}

void sources_read(struct sources *s, size_t n, struct reader *in)
{
    for (size_t i = 0; i < n && !in->bad; i++) {
        struct source x;
        size_t path_n = reader_u32(in);
        const uint8_t *path = reader_view(in, path_n);
        x.list = reader_u32(in);
        x.bytes = reader_u64(in);
        x.mtime_ns = reader_u64(in);
        x.inode = reader_u64(in);
        if (in->bad)
            return;
        x.path = mem_zalloc(path_n + 1);
        memcpy(x.path, path, path_n);
        append(s, &x);
    }
}
