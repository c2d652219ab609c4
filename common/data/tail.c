/* tail.c - see tail.h. */
#include "common/data/tail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/mem.h"

enum { CHUNK = 1 << 20 };

void tail_init(struct tail *t, const struct job *job)
{
    *t = (struct tail){.job = job};
}

static void forget(struct tail *t, size_t i)
{
    if (t->file[i].fd >= 0)
        close(t->file[i].fd);
    free(t->file[i].path);
    t->used--;
    memmove(&t->file[i], &t->file[i + 1], (t->used - i) * sizeof *t->file);
}

void tail_release(struct tail *t)
{
    while (t->used > 0)
        forget(t, t->used - 1);
    free(t->file);
    memset(t, 0, sizeof *t);
}

/* All n bytes from `at` on, or ST_BAD_DATA. */
static enum status read_at(const struct tail_file *f, uint64_t at, void *dst, size_t n,
                           struct errbuf *err)
{
    for (size_t done = 0; done < n;) {
        const ssize_t got = pread(f->fd, (char *)dst + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errbuf_errno(err, ST_IO, "data.follow: %s", f->path);
        if (got == 0)
            return errbuf_set(err, ST_BAD_DATA,
                              "data.follow: %s became shorter while it was read; logs may only "
                              "grow (rotate by renaming, not by truncating)",
                              f->path);
        done += (size_t)got;
    }
    return ST_OK;
}

/* -- looking -- */

static enum status hash_block(const struct tail_file *f, uint64_t n, uint64_t *out,
                              struct errbuf *err)
{
    uint8_t block[TAIL_BLOCK_BYTES];
    enum status st = read_at(f, 0, block, (size_t)n, err);
    if (st == ST_OK)
        *out = hash_bytes(block, (size_t)n, 0);
    return st;
}

/* What was taken is still what stands there. */
static enum status check_block(const struct tail_file *f, struct errbuf *err)
{
    uint64_t now = 0;
    if (f->size < f->at)
        return errbuf_set(err, ST_BAD_DATA,
                          "data.follow: %s shrank: it has %llu bytes, and %llu were trained on; "
                          "logs may only grow (rotate by renaming, not by truncating)",
                          f->path, (unsigned long long)f->size, (unsigned long long)f->at);
    enum status st = hash_block(f, f->block_n, &now, err);
    if (st == ST_OK && now != f->block_hash)
        st = errbuf_set(err, ST_BAD_DATA,
                        "data.follow: %s was written anew: its first %llu bytes are not those that "
                        "were trained on; logs may only grow (give a new one another name)",
                        f->path, (unsigned long long)f->block_n);
    return st;
}

static enum status check_kind(const struct tail_file *f, struct errbuf *err)
{
    static const uint8_t gzip[] = {0x1f, 0x8b}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    uint8_t magic[4] = {0};
    if (f->size < sizeof magic)
        return ST_OK;
    enum status st = read_at(f, 0, magic, sizeof magic, err);
    if (st == ST_OK && (memcmp(magic, gzip, 2) == 0 || memcmp(magic, zstd, 4) == 0))
        st =
            errbuf_set(err, ST_BAD_DATA,
                       "data.follow: %s is compressed: it can't be read while it grows; name it in "
                       "data.train",
                       f->path);
    return st;
}

static struct tail_file *find_open(struct tail *t, const struct stat *s)
{
    for (size_t i = 0; i < t->used; i++)
        if (t->file[i].fd >= 0 && t->file[i].inode == (uint64_t)s->st_ino &&
            t->file[i].dev == (uint64_t)s->st_dev)
            return &t->file[i];
    return NULL;
}

/* The next one behind `at` of before a restart with this inode that has not been found yet. */
static struct tail_file *next_lost(struct tail *t, size_t *at, const struct stat *s)
{
    for (; *at < t->used; (*at)++)
        if (t->file[*at].fd < 0 && t->file[*at].inode == (uint64_t)s->st_ino)
            return &t->file[(*at)++];
    return NULL;
}

static bool begins_alike(const struct tail_file *f, int fd, const struct stat *s)
{
    const struct tail_file now = {.path = f->path, .fd = fd};
    struct errbuf ignored = ERRBUF_INIT;
    uint64_t hash = 0;
    return (uint64_t)s->st_size >= f->at &&
           hash_block(&now, f->block_n, &hash, &ignored) == ST_OK && hash == f->block_hash;
}

/* The one of before a restart. A file's inode is soon given to another once it is deleted, so under another name it must
 * begin with what was taken; under its own it is held against that by check_block, aloud. */
static struct tail_file *find_lost(struct tail *t, const char *path, int fd, const struct stat *s)
{
    size_t at = 0;
    for (struct tail_file *f; (f = next_lost(t, &at, s)) != NULL;)
        if (strcmp(f->path, path) == 0)
            return f;
    at = 0;
    for (struct tail_file *f; (f = next_lost(t, &at, s)) != NULL;)
        if (begins_alike(f, fd, s))
            return f;
    return NULL;
}

/* *out_fd -1: it is not there any more, or another file stands there since s was taken. */
static enum status open_it(const char *path, const struct stat *s, int *out_fd, struct errbuf *err)
{
    struct stat now;
    *out_fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* it may be a pipe by now */
    if (*out_fd < 0)
        return errno == ENOENT ? ST_OK : errbuf_errno(err, ST_BAD_DATA, "data.follow: %s", path);
    if (fstat(*out_fd, &now) != 0 || now.st_ino != s->st_ino || now.st_dev != s->st_dev) {
        close(*out_fd);
        *out_fd = -1;
    }
    return ST_OK;
}

static enum status add_file(struct tail *t, const char *path, const struct stat *s,
                            struct tail_file **out, struct errbuf *err)
{
    if (t->used == TAIL_FILES_MAX)
        return errbuf_set(err, ST_BAD_DATA,
                          "data.follow: more than %u files, %s is one more; remove those that are "
                          "done",
                          TAIL_FILES_MAX, path);
    mem_grow(&t->file, &t->cap, t->used + 1, sizeof *t->file);
    *out = &t->file[t->used++];
    **out = (struct tail_file){.inode = (uint64_t)s->st_ino, .fd = -1, .torn = UINT64_MAX};
    (*out)->block_hash = hash_bytes("", 0, 0);
    return ST_OK;
}

/* A file of the patterns, or (adopt) beside one of theirs: only those that were followed before. */
static enum status meet(struct tail *t, const char *path, bool adopt, struct errbuf *err)
{
    struct stat s;
    size_t at = 0;
    int fd = -1;
    if (stat(path, &s) != 0 || !S_ISREG(s.st_mode))
        return ST_OK; /* gone since it was listed */
    struct tail_file *f = find_open(t, &s);
    if (f != NULL) {
        if (strcmp(f->path, path) != 0) { /* rotated */
            free(f->path);
            f->path = mem_strdup(path);
        }
        return ST_OK;
    }
    const bool pass = adopt || s.st_size == 0;
    if (pass && next_lost(t, &at, &s) == NULL)
        return ST_OK;
    enum status st = open_it(path, &s, &fd, err);
    if (st != ST_OK || fd < 0)
        return st;
    f = find_lost(t, path, fd, &s);
    if (f == NULL && !pass)
        st = add_file(t, path, &s, &f, err);
    if (f == NULL) {
        close(fd);
        return st;
    }
    free(f->path);
    f->path = mem_strdup(path);
    f->dev = (uint64_t)s.st_dev;
    f->fd = fd;
    return ST_OK;
}

static enum status meet_folder(struct tail *t, const char *path, bool adopt, struct errbuf *err)
{
    DIR *d = opendir(path);
    enum status st = ST_OK;
    if (d == NULL)
        return ST_OK;
    for (struct dirent *e; st == ST_OK && (e = readdir(d)) != NULL;) {
        if (!adopt && (e->d_name[0] == '.' || e->d_name[0] == '_'))
            continue;
        char *file = file_join(path, e->d_name);
        st = meet(t, file, adopt, err);
        free(file);
    }
    closedir(d);
    return st;
}

static enum status meet_pattern(struct tail *t, const char *pattern, struct errbuf *err)
{
    struct stat s;
    enum status st = ST_OK;
    if (stat(pattern, &s) == 0)
        return S_ISDIR(s.st_mode) ? meet_folder(t, pattern, false, err)
                                  : meet(t, pattern, false, err);
    if (strpbrk(pattern, "*?[") == NULL)
        return ST_OK; /* not there yet */
    glob_t found;
    memset(&found, 0, sizeof found);
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; st == ST_OK && i < found.gl_pathc; i++)
            st = meet(t, found.gl_pathv[i], false, err);
    globfree(&found);
    return st;
}

/* Rotated while nobody looked: beside its old name. */
static enum status find_moved(struct tail *t, struct errbuf *notes, struct errbuf *err)
{
    enum status st = ST_OK;
    for (size_t i = 0; st == ST_OK && i < t->used;) {
        if (t->file[i].fd >= 0) {
            i++;
            continue;
        }
        char *folder = mem_strdup(t->file[i].path);
        char *slash = strrchr(folder, '/');
        if (slash != NULL)
            *slash = '\0';
        st = meet_folder(t, slash == folder ? "/" : slash == NULL ? "." : folder, true, err);
        free(folder);
        if (st == ST_OK && t->file[i].fd < 0) {
            errbuf_set(
                notes, ST_NOT_FOUND,
                "data.follow: %s is gone; of it %llu bytes were trained on, what came behind "
                "them is lost",
                t->file[i].path, (unsigned long long)t->file[i].at);
            forget(t, i);
        }
    }
    return st;
}

enum status tail_look(struct tail *t, struct errbuf *notes, struct errbuf *err)
{
    enum status st = ST_OK;
    for (size_t i = 0; st == ST_OK && i < t->job->data.follow.used; i++)
        st = meet_pattern(t, t->job->data.follow.item[i], err);
    if (st == ST_OK)
        st = find_moved(t, notes, err);
    for (size_t i = 0; st == ST_OK && i < t->used;) {
        struct tail_file *f = &t->file[i];
        const uint64_t before = f->size;
        struct stat s;
        if (fstat(f->fd, &s) != 0)
            return errbuf_errno(err, ST_IO, "data.follow: %s", f->path);
        f->size = (uint64_t)s.st_size;
        if (f->size != before || f->size < f->at)
            st = f->at == 0 ? check_kind(f, err) : check_block(f, err);
        if (st == ST_OK && s.st_nlink == 0 && (f->size == f->at || f->torn == f->size))
            forget(t, i);
        else
            i++;
    }
    return st;
}

uint64_t tail_waiting(const struct tail *t, bool torn_too)
{
    uint64_t n = 0;
    for (size_t i = 0; i < t->used; i++)
        if (torn_too || t->file[i].torn != t->file[i].size)
            n += t->file[i].size - t->file[i].at;
    return n;
}

/* -- taking -- */

static bool has_header(const struct job *job)
{
    return job->data.format == JOB_RECBOLE ||
           (job->data.format == JOB_DELIMITED && job->data.header);
}

/* Whole lines of [at, size), at most lines_max; out->used 0: there is none. */
static enum status read_lines(const struct tail_file *f, uint64_t at, uint64_t lines_max,
                              struct buffer *out, uint64_t *out_lines, struct errbuf *err)
{
    enum status st = ST_OK;
    uint64_t lines = 0;
    size_t whole = 0;
    buffer_reset(out);
    while (st == ST_OK && lines < lines_max && at + out->used < f->size &&
           out->used < TAIL_LINE_MAX) {
        const uint64_t left = f->size - at - out->used;
        const size_t from = out->used, n = left < CHUNK ? (size_t)left : CHUNK;
        st = read_at(f, at + from, buffer_room(out, n), n, err);
        const uint8_t *end = out->data + out->used, *p = out->data + from;
        while (st == ST_OK && lines < lines_max && (p = memchr(p, '\n', (size_t)(end - p)))) {
            whole = (size_t)(++p - out->data);
            lines++;
        }
    }
    if (st == ST_OK && whole == 0 && out->used >= TAIL_LINE_MAX)
        st = errbuf_set(err, ST_BAD_DATA,
                        "data.follow: %s: a line of more than %zu MiB at byte %llu", f->path,
                        TAIL_LINE_MAX >> 20, (unsigned long long)at);
    out->used = whole;
    *out_lines = lines;
    return st;
}

/* f's next lines; ST_END: none. */
static enum status take_of(struct tail *t, size_t i, uint64_t lines_max, struct buffer *header,
                           struct buffer *bytes, struct tail_piece *out, struct errbuf *err)
{
    struct tail_file *f = &t->file[i];
    *out = (struct tail_piece){.file = i, .from = f->at};
    uint64_t headers = 0;
    enum status st = ST_OK;
    buffer_reset(header);
    if (f->size == f->at || f->torn == f->size)
        return ST_END;
    if (has_header(t->job)) {
        st = read_lines(f, 0, 1, header, &headers, err);
        if (st == ST_OK && headers == 0) {
            f->torn = f->size;
            return ST_END;
        }
        if (f->at == 0)
            out->from = header->used;
    }
    if (st == ST_OK)
        st = read_lines(f, out->from, lines_max, bytes, &out->lines, err);
    if (st == ST_OK && out->lines == 0) {
        f->torn = f->size;
        return ST_END;
    }
    out->to = out->from + bytes->used;
    return st;
}

enum status tail_take(struct tail *t, uint64_t lines_max, struct buffer *header,
                      struct buffer *bytes, struct tail_piece *out, struct errbuf *err)
{
    for (size_t k = 0; k < t->used; k++) {
        const size_t i = (t->turn + k) % t->used;
        enum status st = take_of(t, i, lines_max, header, bytes, out, err);
        if (st != ST_END)
            return st;
    }
    return ST_END;
}

enum status tail_took(struct tail *t, const struct tail_piece *piece, struct errbuf *err)
{
    struct tail_file *f = &t->file[piece->file];
    uint64_t n = piece->to < TAIL_BLOCK_BYTES ? piece->to : TAIL_BLOCK_BYTES, hash = f->block_hash;
    enum status st = n == f->block_n ? ST_OK : hash_block(f, n, &hash, err);
    if (st != ST_OK)
        return st;
    f->block_n = n;
    f->block_hash = hash;
    f->lines += piece->lines + (f->at == 0 && piece->from > 0);
    f->at = piece->to;
    t->turn = piece->file + 1;
    return ST_OK;
}

/* -- positions -- */

struct json *tail_json(const struct tail *t)
{
    struct json *list = json_array();
    for (size_t i = 0; i < t->used; i++) {
        const struct tail_file *f = &t->file[i];
        if (f->at == 0)
            continue;
        struct json *o = json_object();
        json_set_str(o, "path", f->path);
        json_set_u64(o, "inode", f->inode);
        json_set_u64(o, "bytes", f->at);
        json_set_u64(o, "lines", f->lines);
        json_set_u64(o, "block_bytes", f->block_n);
        json_set_u64(o, "block_xxh3", f->block_hash);
        json_add(list, o);
    }
    return list;
}

enum status tail_parse(struct tail *t, const struct json *list, struct errbuf *err)
{
    if (json_len(list) > TAIL_FILES_MAX)
        return errbuf_set(err, ST_BAD_DATA, "more than %u files", TAIL_FILES_MAX);
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *o = json_at(list, i);
        struct tail_file f = {.fd = -1, .torn = UINT64_MAX};
        const char *path = NULL;
        enum status st = json_need_str(o, "path", &path, err);
        if (st == ST_OK)
            st = json_need_u64(o, "inode", &f.inode, err);
        if (st == ST_OK)
            st = json_need_u64(o, "bytes", &f.at, err);
        if (st == ST_OK)
            st = json_need_u64(o, "lines", &f.lines, err);
        if (st == ST_OK)
            st = json_need_u64(o, "block_bytes", &f.block_n, err);
        if (st == ST_OK)
            st = json_need_u64(o, "block_xxh3", &f.block_hash, err);
        if (st == ST_OK && (f.block_n > TAIL_BLOCK_BYTES || f.block_n > f.at))
            st = errbuf_set(err, ST_BAD_DATA, "a first block of %llu bytes",
                            (unsigned long long)f.block_n);
        if (st != ST_OK)
            return st;
        f.path = mem_strdup(path);
        mem_grow(&t->file, &t->cap, t->used + 1, sizeof *t->file);
        t->file[t->used++] = f;
    }
    return ST_OK;
}
