/* journal.c - see journal.h. */
#include "ps/serve/journal.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/mem.h"

static const char MAGIC[8] = "PNSTKJNL";
#define VERSION 1u

/* ---- bytes -------------------------------------------------------------------------------------- */

static void put_header(struct buffer *b, uint64_t n)
{
    buffer_put(b, MAGIC, sizeof(MAGIC));
    buffer_u32(b, VERSION);
    buffer_u32(b, 0);
    buffer_u64(b, n);
    buffer_u64(b, hash_bytes(b->data + b->used - 24, 24, 0));
}

static void put_frame(struct buffer *b, uint64_t lsn, const void *payload, size_t n)
{
    assert(n >= 1 && n <= JOURNAL_FRAME_MAX);
    buffer_u32(b, (uint32_t)n);
    buffer_u32(b, 0);
    buffer_u64(b, lsn);
    const uint64_t seed = hash_bytes(b->data + b->used - 16, 16, 0);
    buffer_u64(b, hash_bytes(payload, n, seed));
    buffer_put(b, payload, n);
}

enum status journal_parse(const struct journal_text *text, uint64_t *lsn,
                          const struct journal_reader *reader, size_t *out_good, bool *out_ended,
                          struct errbuf *err)
{
    struct reader in;
    reader_init(&in, text->data, text->n);
    const uint8_t *magic = reader_view(&in, sizeof(MAGIC));
    const uint32_t version = reader_u32(&in), zero = reader_u32(&in);
    const uint64_t number = reader_u64(&in), sum = reader_u64(&in);
    *out_good = 0;
    *out_ended = false;
    if (in.bad || memcmp(magic, MAGIC, sizeof(MAGIC)) != 0 || zero != 0 ||
        sum != hash_bytes(text->data, 24, 0))
        return errbuf_set(err, ST_BAD_DATA, "its header is damaged");
    if (version != VERSION || number != text->number)
        return errbuf_set(err, ST_BAD_DATA, "version %u, number %" PRIx64 "; expected %u, %" PRIx64,
                          version, number, VERSION, text->number);
    *out_good = JOURNAL_HEADER;
    while (reader_left(&in) > 0 && !*out_ended) {
        const uint8_t *head = in.at;
        const size_t n = reader_u32(&in);
        const uint32_t blank = reader_u32(&in);
        const uint64_t at = reader_u64(&in), check = reader_u64(&in);
        const uint8_t *payload = n <= JOURNAL_FRAME_MAX ? reader_view(&in, n) : NULL;
        if (in.bad || n == 0 || payload == NULL || blank != 0 ||
            check != hash_bytes(payload, n, hash_bytes(head, 16, 0)) ||
            (text->snapshot ? at != 0 : *lsn != 0 && at != *lsn + 1))
            break;
        if (text->snapshot && n == 1 && payload[0] == 0) {
            *out_ended = true;
        } else {
            const enum status st = reader->frame(reader->arg, at, payload, n, err);
            if (st != ST_OK)
                return st;
        }
        if (!text->snapshot)
            *lsn = at;
        *out_good = (size_t)(in.at - text->data);
    }
    return ST_OK;
}

/* ---- files -------------------------------------------------------------------------------------- */

static char *path_of(const struct journal *j, const char *kind, uint64_t n, const char *behind)
{
    struct buffer b = BUFFER_INIT;
    buffer_printf(&b, "%s/%s.%016" PRIx64 "%s", j->dir, kind, n, behind);
    char *path = mem_strdup(buffer_text(&b));
    buffer_release(&b);
    return path;
}

/* Numbers of the files of a kind, rising. */
static enum status list(const struct journal *j, const char *kind, uint64_t **out, size_t *out_n,
                        struct errbuf *err)
{
    DIR *dir = opendir(j->dir);
    const size_t prefix = strlen(kind);
    uint64_t *n = NULL;
    size_t used = 0, cap = 0;
    struct dirent *e;
    if (dir == NULL)
        return errbuf_errno(err, ST_IO, "%s", j->dir);
    while ((e = readdir(dir)) != NULL) {
        char *end;
        if (strncmp(e->d_name, kind, prefix) != 0 || e->d_name[prefix] != '.' ||
            strlen(e->d_name) != prefix + 17)
            continue;
        const uint64_t v = strtoull(e->d_name + prefix + 1, &end, 16);
        if (*end != '\0' || v == 0)
            continue;
        mem_grow(&n, &cap, used + 1, sizeof(*n));
        size_t at = used++;
        for (; at > 0 && n[at - 1] > v; at--)
            n[at] = n[at - 1];
        n[at] = v;
    }
    closedir(dir);
    *out = n;
    *out_n = used;
    return ST_OK;
}

static enum status write_all(int fd, const uint8_t *bytes, size_t n, uint64_t at)
{
    while (n > 0) {
        const ssize_t got = pwrite(fd, bytes, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ST_IO;
        bytes += got;
        n -= (size_t)got;
        at += (uint64_t)got;
    }
    return ST_OK;
}

/* A new file of the given kind with a header, durable in its folder. */
static enum status create(const struct journal *j, const char *kind, uint64_t n, const char *behind,
                          int *out_fd, struct errbuf *err)
{
    char *path = path_of(j, kind, n, behind);
    struct buffer head = BUFFER_INIT;
    put_header(&head, n);
    enum status st = ST_OK;
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write_all(fd, head.data, head.used, 0) != ST_OK || fdatasync(fd) != 0)
        st = errbuf_errno(err, ST_IO, "%s", path);
    if (st == ST_OK)
        st = file_sync_dir(j->dir, err);
    if (st == ST_OK) {
        *out_fd = fd;
    } else if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    buffer_release(&head);
    free(path);
    return st;
}

static enum status lock(struct journal *j, struct errbuf *err)
{
    char *path = file_join(j->dir, "lock");
    enum status st = ST_OK;
    j->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (j->lock < 0)
        st = errbuf_errno(err, ST_IO, "%s", path);
    else if (flock(j->lock, LOCK_EX | LOCK_NB) != 0)
        st = errbuf_set(err, ST_REFUSED,
                        "%s: another process serves from this folder; end it, or give this one a "
                        "--state of its own",
                        j->dir);
    free(path);
    return st;
}

/* ---- reading ------------------------------------------------------------------------------------ */

/* The newest snapshot that is whole is replayed; base: its number, 0: none. A snapshot without its end was never
 * renamed, so a bad one is damage, and says so. */
static enum status replay_snapshot(struct journal *j, const struct journal_reader *reader,
                                   struct errbuf *err)
{
    uint64_t *n = NULL;
    size_t used = 0;
    enum status st = list(j, "snapshot", &n, &used, err);
    if (st == ST_OK && used > 0) {
        char *path = path_of(j, "snapshot", n[used - 1], "");
        struct file_map map;
        st = file_map_open(path, &map, err);
        if (st == ST_OK) {
            const struct journal_text text = {map.data, map.n, n[used - 1], true};
            uint64_t lsn = 0;
            size_t good;
            bool ended;
            st = journal_parse(&text, &lsn, reader, &good, &ended, err);
            if (st == ST_OK && (!ended || good != map.n))
                st = errbuf_set(err, ST_BAD_DATA, "damaged at byte %zu of %zu", good, map.n);
            file_map_close(&map);
            if (st != ST_OK)
                st = errbuf_wrap(err, st, "%s: ", path);
        }
        j->base = n[used - 1];
        free(path);
    }
    free(n);
    return st;
}

static enum status replay_segment(struct journal *j, const struct journal_reader *reader,
                                  uint64_t n, bool newest, uint64_t *out_cut, struct errbuf *err)
{
    char *path = path_of(j, "journal", n, "");
    struct file_map map;
    enum status st = file_map_open(path, &map, err);
    size_t good = 0, size = 0;
    bool ended;
    if (st == ST_OK) {
        const struct journal_text text = {map.data, map.n, n, false};
        st = journal_parse(&text, &j->lsn, reader, &good, &ended, err);
        if (st == ST_BAD_DATA && newest && good == 0 && map.n < JOURNAL_HEADER)
            st = ST_OK; /* it had just been made */
        size = map.n;
        file_map_close(&map);
        if (st != ST_OK)
            st = errbuf_wrap(err, st, "%s: ", path);
    }
    if (st == ST_OK && good != size && !newest)
        st = errbuf_set(err, ST_BAD_DATA,
                        "%s: damaged at byte %zu of %zu, and newer journals stand behind it; what "
                        "they say can't be read without it: put the file back from a copy",
                        path, good, size);
    if (st == ST_OK && newest) {
        j->fd = open(path, O_RDWR | O_CLOEXEC);
        struct buffer head = BUFFER_INIT;
        put_header(&head, n);
        if (j->fd < 0 || ftruncate(j->fd, (off_t)good) != 0 ||
            (good == 0 && write_all(j->fd, head.data, head.used, 0) != ST_OK) ||
            fdatasync(j->fd) != 0)
            st = errbuf_errno(err, ST_IO, "%s", path);
        buffer_release(&head);
        j->n = n;
        j->end = good == 0 ? JOURNAL_HEADER : good;
        *out_cut = size - good;
    }
    free(path);
    return st;
}

static enum status replay_all(struct journal *j, const struct journal_reader *reader,
                              uint64_t *out_cut, struct errbuf *err)
{
    uint64_t *n = NULL, next = 0;
    size_t used = 0;
    enum status st = replay_snapshot(j, reader, err);
    if (st == ST_OK)
        st = list(j, "journal", &n, &used, err);
    for (size_t i = 0; st == ST_OK && i < used; i++) {
        if (n[i] < j->base)
            continue;
        if (next != 0 ? n[i] != next : j->base != 0 && n[i] != j->base)
            st = errbuf_set(err, ST_BAD_DATA, "%s: journal.%016" PRIx64 " is missing", j->dir,
                            next != 0 ? next : j->base);
        else
            st = replay_segment(j, reader, n[i], i + 1 == used, out_cut, err);
        next = n[i] + 1;
    }
    if (st == ST_OK && j->fd < 0) {
        j->n = j->base != 0 ? j->base : 1;
        st = create(j, "journal", j->n, "", &j->fd, err);
        j->end = JOURNAL_HEADER;
    }
    free(n);
    return st;
}

/* What is left of snapshots that were being written when their process died. */
static void remove_unfinished(const struct journal *j)
{
    static const char kind[] = "snapshot.", behind[] = ".tmp";
    const size_t whole = strlen(kind) + 16 + strlen(behind);
    DIR *dir = opendir(j->dir);
    struct dirent *e;
    while (dir != NULL && (e = readdir(dir)) != NULL) {
        if (strlen(e->d_name) != whole || strncmp(e->d_name, kind, strlen(kind)) != 0 ||
            strcmp(e->d_name + whole - strlen(behind), behind) != 0)
            continue;
        char *path = file_join(j->dir, e->d_name);
        unlink(path);
        free(path);
    }
    if (dir != NULL)
        closedir(dir);
}

enum status journal_open(struct journal *j, const char *dir, const struct journal_reader *reader,
                         uint64_t *out_cut, struct errbuf *err)
{
    memset(j, 0, sizeof(*j));
    j->lock = j->fd = j->snapshot = -1;
    *out_cut = 0;
    enum status st = file_mkdirs(dir, err);
    if (st != ST_OK)
        return st;
    j->dir = mem_strdup(dir);
    st = lock(j, err);
    if (st == ST_OK)
        st = replay_all(j, reader, out_cut, err);
    if (st != ST_OK) {
        journal_close(j);
        return st;
    }
    remove_unfinished(j);
    j->group_lsn = j->lsn;
    return ST_OK;
}

void journal_close(struct journal *j)
{
    if (j->dir == NULL)
        return;
    journal_snapshot_abandon(j);
    if (j->fd >= 0)
        close(j->fd);
    if (j->lock >= 0)
        close(j->lock);
    free(j->dir);
    buffer_release(&j->group);
    buffer_release(&j->slice);
    memset(j, 0, sizeof(*j));
}

/* ---- appending ---------------------------------------------------------------------------------- */

uint64_t journal_add(struct journal *j, const void *payload, size_t n)
{
    put_frame(&j->group, ++j->group_lsn, payload, n);
    return j->group_lsn;
}

void journal_drop(struct journal *j)
{
    buffer_reset(&j->group);
    j->group_lsn = j->lsn;
}

enum status journal_sync(struct journal *j, struct errbuf *err)
{
    if (j->group.used == 0)
        return ST_OK;
    /* Behind the end stand frames of a write that failed: one that goes over them could be read on into them. */
    if (j->ragged && ftruncate(j->fd, (off_t)j->end) != 0) {
        const enum status st = errbuf_errno(err, ST_IO, "%s/journal.%016" PRIx64, j->dir, j->n);
        journal_drop(j);
        return st;
    }
    j->ragged = false;
    if (write_all(j->fd, j->group.data, j->group.used, j->end) != ST_OK || fdatasync(j->fd) != 0) {
        const enum status st = errbuf_errno(err, ST_IO, "%s/journal.%016" PRIx64, j->dir, j->n);
        j->ragged = ftruncate(j->fd, (off_t)j->end) != 0;
        journal_drop(j);
        return st;
    }
    j->end += j->group.used;
    j->lsn = j->group_lsn;
    buffer_reset(&j->group);
    return ST_OK;
}

uint64_t journal_bytes(const struct journal *j)
{
    return j->end;
}

/* ---- snapshots ---------------------------------------------------------------------------------- */

#define SLICE_BYTES (1u << 20)

enum status journal_snapshot_begin(struct journal *j, struct errbuf *err)
{
    int fd = -1;
    assert(j->group.used == 0 && j->snapshot < 0);
    if (j->ragged)
        return errbuf_set(err, ST_IO, "%s: the journal can't be written", j->dir);
    enum status st = create(j, "journal", j->n + 1, "", &fd, err);
    if (st != ST_OK)
        return st;
    close(j->fd);
    j->fd = fd;
    j->n++;
    j->end = JOURNAL_HEADER;
    st = create(j, "snapshot", j->n, ".tmp", &j->snapshot, err);
    j->snapshot_bytes = JOURNAL_HEADER;
    return st;
}

static enum status flush_slice(struct journal *j, struct errbuf *err)
{
    if (write_all(j->snapshot, j->slice.data, j->slice.used, j->snapshot_bytes) != ST_OK)
        return errbuf_errno(err, ST_IO, "%s/snapshot.%016" PRIx64 ".tmp", j->dir, j->n);
    j->snapshot_bytes += j->slice.used;
    buffer_reset(&j->slice);
    return ST_OK;
}

enum status journal_snapshot_add(struct journal *j, const void *payload, size_t n,
                                 struct errbuf *err)
{
    put_frame(&j->slice, 0, payload, n);
    return j->slice.used < SLICE_BYTES ? ST_OK : flush_slice(j, err);
}

void journal_snapshot_abandon(struct journal *j)
{
    if (j->snapshot < 0)
        return;
    char *tmp = path_of(j, "snapshot", j->n, ".tmp");
    close(j->snapshot);
    j->snapshot = -1;
    buffer_reset(&j->slice);
    unlink(tmp);
    free(tmp);
}

/* Files of a kind with numbers below n. */
static void remove_below(const struct journal *j, const char *kind, uint64_t below)
{
    uint64_t *n = NULL;
    size_t used = 0;
    if (list(j, kind, &n, &used, NULL) != ST_OK)
        return;
    for (size_t i = 0; i < used && n[i] < below; i++) {
        char *path = path_of(j, kind, n[i], "");
        unlink(path);
        free(path);
    }
    free(n);
}

enum status journal_snapshot_end(struct journal *j, struct errbuf *err)
{
    static const uint8_t end[1] = {0};
    char *tmp = path_of(j, "snapshot", j->n, ".tmp"), *path = path_of(j, "snapshot", j->n, "");
    put_frame(&j->slice, 0, end, sizeof(end));
    enum status st = flush_slice(j, err);
    if (st == ST_OK && (fdatasync(j->snapshot) != 0 || rename(tmp, path) != 0))
        st = errbuf_errno(err, ST_IO, "%s", tmp);
    if (st == ST_OK)
        st = file_sync_dir(j->dir, err);
    if (st == ST_OK) {
        close(j->snapshot);
        j->snapshot = -1;
        j->base = j->n;
        remove_below(j, "snapshot", j->n);
        remove_below(j, "journal", j->n);
    }
    free(tmp);
    free(path);
    return st;
}
