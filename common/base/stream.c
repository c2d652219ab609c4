/* stream.c - a file as a stream of bytes: plain, gzip or zstd; the only door to zlib.h and zstd.h.
 *
 * What a file is is read off its first bytes, not off its name. One input buffer feeds one of three
 * decoders; each call of a decoder either makes output, takes input, or says that a member ended.
 *
 *   plain   bytes go through
 *   gzip    members one behind the other (pigz, bgzip, cat a.gz b.gz); zeros behind the last are padding,
 *           anything else there is damage
 *   zstd    frames one behind the other, skippable ones skipped
 *
 * An end of input inside a member is a truncated file, never a short one: half a log that trains without
 * a word is worse than one that stops. The sum of the output is bounded (a bomb of 10 MB can hold 10 GB).
 */
#include "common/base/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "common/base/mem.h"

#ifdef PENSTOCK_FUZZ /* so small that a fuzzer's inputs reach over its end */
enum { IN_BYTES = 512 };
#else
enum { IN_BYTES = 256 << 10 };
#endif

enum kind { PLAIN, GZIP, ZSTD };

struct stream {
    char *path; /* owned */
    int fd;
    enum kind kind;
    uint64_t bytes_max;
    uint64_t out_bytes;
    uint64_t in_bytes; /* handed to the decoder */
    uint64_t file_bytes;
    uint8_t *in; /* owned, IN_BYTES */
    size_t in_at, in_end;
    bool eof;       /* read(2) said so */
    bool in_member; /* the decoder stands inside a member */
    bool failed;
    z_stream gz;
    ZSTD_DCtx *zstd; /* owned */
};

/* Fill the input buffer if it is empty; after it, in_at == in_end means the end of the file. */
static enum status refill(struct stream *s, struct errbuf *err)
{
    if (s->in_at < s->in_end || s->eof)
        return ST_OK;
    s->in_at = s->in_end = 0;
    for (;;) {
        ssize_t n = read(s->fd, s->in, IN_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errbuf_errno(err, ST_IO, "%s: cannot read", s->path);
        s->in_end = (size_t)n;
        s->eof = n == 0;
        return ST_OK;
    }
}

/* At least four bytes, for the magic, from a pipe too. */
static enum status read_magic(struct stream *s, struct errbuf *err)
{
    while (s->in_end < 4 && !s->eof) {
        ssize_t n = read(s->fd, s->in + s->in_end, IN_BYTES - s->in_end);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errbuf_errno(err, ST_IO, "%s: cannot read", s->path);
        s->in_end += (size_t)n;
        s->eof = n == 0;
    }
    return ST_OK;
}

static enum kind kind_of(const uint8_t *b, size_t n)
{
    if (n >= 2 && b[0] == 0x1f && b[1] == 0x8b)
        return GZIP;
    if (n >= 4 && b[0] == 0x28 && b[1] == 0xb5 && b[2] == 0x2f && b[3] == 0xfd)
        return ZSTD;
    if (n >= 4 && (b[0] & 0xf0u) == 0x50 && b[1] == 0x2a && b[2] == 0x4d && b[3] == 0x18)
        return ZSTD; /* a skippable frame first */
    return PLAIN;
}

static enum status open_fd(struct stream *s, struct errbuf *err)
{
    struct stat at;
    if (strcmp(s->path, "-") == 0) {
        s->fd = STDIN_FILENO;
    } else {
        s->fd = open(s->path, O_RDONLY | O_CLOEXEC);
        if (s->fd < 0)
            return errbuf_errno(err, errno == ENOENT || errno == ENOTDIR ? ST_NOT_FOUND : ST_IO,
                                "%s", s->path);
    }
    if (fstat(s->fd, &at) != 0)
        return errbuf_errno(err, ST_IO, "%s", s->path);
    if (S_ISDIR(at.st_mode))
        return errbuf_set(err, ST_IO, "%s: is a folder, not a file", s->path);
    s->file_bytes = S_ISREG(at.st_mode) ? (uint64_t)at.st_size : 0;
    return ST_OK;
}

enum status stream_open(const char *path, uint64_t bytes_max, struct stream **out,
                        struct errbuf *err)
{
    struct stream *s = mem_zalloc(sizeof *s);
    s->fd = -1;
    s->path = mem_strdup(path);
    s->bytes_max = bytes_max;
    s->in = mem_alloc(IN_BYTES);
    enum status st = open_fd(s, err);
    if (st == ST_OK)
        st = read_magic(s, err);
    if (st != ST_OK)
        goto close_stream;
    enum kind kind = kind_of(s->in, s->in_end);
    if (kind == GZIP && inflateInit2(&s->gz, 15 + 16) != Z_OK) {
        st = errbuf_set(err, ST_NO_MEMORY, "%s: no memory to inflate", path);
        goto close_stream;
    }
    if (kind == ZSTD && (s->zstd = ZSTD_createDCtx()) == NULL) {
        st = errbuf_set(err, ST_NO_MEMORY, "%s: no memory to inflate", path);
        goto close_stream;
    }
    s->kind = kind;
    s->in_member = kind != PLAIN;
    *out = s;
    return ST_OK;

close_stream:
    stream_close(s);
    return st;
}

void stream_close(struct stream *s)
{
    if (s == NULL)
        return;
    if (s->kind == GZIP)
        inflateEnd(&s->gz);
    ZSTD_freeDCtx(s->zstd);
    if (s->fd > STDIN_FILENO)
        close(s->fd);
    free(s->in);
    free(s->path);
    free(s);
}

static enum status damaged(const struct stream *s, const char *why, struct errbuf *err)
{
    return errbuf_set(err, ST_BAD_DATA, "%s: damaged near compressed byte %" PRIu64 ": %s", s->path,
                      s->in_bytes, why);
}

static enum status truncated(const struct stream *s, struct errbuf *err)
{
    return errbuf_set(err, ST_BAD_DATA,
                      "%s: truncated: it ends inside a compressed member; copy or make it again",
                      s->path);
}

static void took(struct stream *s, size_t n)
{
    s->in_at += n;
    s->in_bytes += n;
}

static enum status step_plain(struct stream *s, uint8_t *dst, size_t n, size_t *out_n)
{
    size_t have = s->in_end - s->in_at;
    if (have > n)
        have = n;
    memcpy(dst, s->in + s->in_at, have);
    took(s, have);
    *out_n = have;
    return ST_OK;
}

/* Between members: zeros are padding, a magic begins the next one. */
static enum status next_member(struct stream *s, struct errbuf *err)
{
    uint8_t first = s->in[s->in_at];
    if (first == 0) {
        took(s, 1);
        return ST_OK;
    }
    if (first != 0x1f)
        return damaged(s, "junk behind the end", err);
    inflateReset(&s->gz);
    s->in_member = true;
    return ST_OK;
}

static enum status step_gzip(struct stream *s, uint8_t *dst, size_t n, size_t *out_n,
                             struct errbuf *err)
{
    *out_n = 0;
    if (!s->in_member)
        return next_member(s, err);
    s->gz.next_in = s->in + s->in_at;
    s->gz.avail_in = (uInt)(s->in_end - s->in_at);
    s->gz.next_out = dst;
    s->gz.avail_out = (uInt)(n > (1u << 30) ? 1u << 30 : n);
    uInt room = s->gz.avail_out, had = s->gz.avail_in;
    int code = inflate(&s->gz, Z_NO_FLUSH);
    took(s, had - s->gz.avail_in);
    *out_n = room - s->gz.avail_out;
    if (code == Z_STREAM_END)
        s->in_member = false;
    else if (code == Z_MEM_ERROR)
        return errbuf_set(err, ST_NO_MEMORY, "%s: no memory to inflate", s->path);
    else if (code != Z_OK && code != Z_BUF_ERROR)
        return damaged(s, s->gz.msg != NULL ? s->gz.msg : "bad gzip", err);
    else if (*out_n == 0 && had == 0)
        return truncated(s, err);
    return ST_OK;
}

static enum status step_zstd(struct stream *s, uint8_t *dst, size_t n, size_t *out_n,
                             struct errbuf *err)
{
    ZSTD_inBuffer in = {s->in + s->in_at, s->in_end - s->in_at, 0};
    ZSTD_outBuffer out = {dst, n, 0};
    size_t code = ZSTD_decompressStream(s->zstd, &out, &in);
    took(s, in.pos);
    *out_n = out.pos;
    if (ZSTD_isError(code))
        return damaged(s, ZSTD_getErrorName(code), err);
    s->in_member = code != 0;
    if (s->in_member && out.pos == 0 && in.size == 0)
        return truncated(s, err);
    return ST_OK;
}

static enum status step(struct stream *s, uint8_t *dst, size_t n, size_t *out_n, struct errbuf *err)
{
    switch (s->kind) {
    case PLAIN: return step_plain(s, dst, n, out_n);
    case GZIP: return step_gzip(s, dst, n, out_n, err);
    case ZSTD: return step_zstd(s, dst, n, out_n, err);
    }
    return errbuf_set(err, ST_INTERNAL, "%s: no such kind", s->path);
}

enum status stream_read(struct stream *s, void *dst, size_t n, size_t *out_n, struct errbuf *err)
{
    if (s->failed)
        return errbuf_set(err, ST_BAD_DATA, "%s: read on behind an error", s->path);
    uint64_t left = s->bytes_max - s->out_bytes;
    if (left < n)
        n = (size_t)left + 1; /* the byte too many is how the bound is noticed */
    size_t got = 0;
    enum status st = ST_OK;
    while (got == 0 && n > 0 && st == ST_OK) {
        st = refill(s, err);
        if (st != ST_OK || (s->in_at == s->in_end && !s->in_member))
            break;
        st = step(s, dst, n, &got, err);
    }
    if (st == ST_OK && got > left)
        st = errbuf_set(err, ST_BAD_DATA, "%s: is more than %" PRIu64 " bytes, inflated", s->path,
                        s->bytes_max);
    if (st != ST_OK) {
        s->failed = true;
        return st;
    }
    s->out_bytes += got;
    *out_n = got;
    return ST_OK;
}

uint64_t stream_in_bytes(const struct stream *s)
{
    return s->in_bytes;
}

uint64_t stream_file_bytes(const struct stream *s)
{
    return s->file_bytes;
}
