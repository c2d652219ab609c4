/* cut_file.c - the durable half of a shard's cut.
 *
 *   data/<name>.tmp   written, checksummed as it goes by
 *   fsync             the bytes are on the disk
 *   rename            data/<name>: never over another file, since the contents of a cut never change
 *   fsync data/       the name is on the disk; only now may the shard say "durable"
 *
 * What is killed in between leaves a .tmp that nobody reads and fence_prune removes, or a file that no
 * manifest lists, likewise. Writer thread only.
 */
#include "ps/snapshot/cut_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "ps/snapshot/names.h"
#include "ps/snapshot/place.h"

struct cut_file {
    int data_fd; /* of DIR/data */
    int fd;
    bool sync;
    struct names_file file;
    char name[NAMES_MAX]; /* within data/ */
    char tmp[NAMES_MAX];
    struct hash_stream *hash;
    uint64_t bytes;
};

static void forget(struct cut_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    if (f->data_fd >= 0)
        close(f->data_fd);
    hash_stream_free(f->hash);
    free(f);
}

static enum status open_data(const char *dir, int *out_fd, struct errbuf *err)
{
    char *data = file_join(dir, "data");
    enum status st = file_mkdirs(data, err);
    if (st == ST_OK) {
        int fd = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            st = errbuf_errno(err, ST_IO, "%s", data);
        else
            *out_fd = fd;
    }
    free(data);
    return st;
}

enum status cut_file_open(const char *dir, uint64_t k, uint64_t e, uint32_t shard, bool full,
                          bool sync, struct cut_file **out, struct errbuf *err)
{
    struct cut_file *f = mem_zalloc(sizeof *f);
    f->fd = f->data_fd = -1;
    f->sync = sync;
    f->file = (struct names_file){.k = k, .e = e, .shard = shard, .full = full};
    names_data(f->name, &f->file);
    struct names_file tmp = f->file;
    tmp.tmp = true;
    names_data(f->tmp, &tmp);
    enum status st = open_data(dir, &f->data_fd, err);
    if (st != ST_OK)
        goto forget_file;
    f->fd = openat(f->data_fd, f->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (f->fd < 0) {
        st = errbuf_errno(err, ST_IO, "%s/data/%s: cannot write", dir, f->tmp);
        goto forget_file;
    }
    f->hash = hash_stream_new();
    *out = f;
    return ST_OK;

forget_file:
    forget(f);
    return st;
}

enum status cut_file_add(struct cut_file *f, const void *bytes, size_t n, struct errbuf *err)
{
    if (place_write(f->fd, bytes, n) != 0)
        return errbuf_errno(err, ST_IO, "data/%s: cannot write", f->tmp);
    hash_stream_add(f->hash, bytes, n);
    f->bytes += n;
    return ST_OK;
}

static enum status make_durable(struct cut_file *f, struct errbuf *err)
{
    if (f->sync && fsync(f->fd) != 0)
        return errbuf_errno(err, ST_IO, "data/%s: cannot sync", f->tmp);
    int fd = f->fd;
    f->fd = -1;
    if (close(fd) != 0)
        return errbuf_errno(err, ST_IO, "data/%s: cannot write", f->tmp);
    if (place_file(f->data_fd, f->tmp, f->data_fd, f->name) != 0)
        return errbuf_errno(err, ST_IO, "data/%s: cannot rename to %s", f->tmp, f->name);
    /* A folder that can't be synced: the file is there, but not surely so after a power cut. It counts
     * as failed; the file is listed by no manifest and is pruned. */
    if (f->sync && fsync(f->data_fd) != 0 && errno != EINVAL)
        return errbuf_errno(err, ST_IO, "data/: cannot sync");
    return ST_OK;
}

enum status cut_file_finish(struct cut_file *f, struct manifest_file *out, struct errbuf *err)
{
    enum status st = make_durable(f, err);
    if (st != ST_OK) {
        cut_file_abort(f);
        return st;
    }
    memset(out, 0, sizeof *out);
    int n = snprintf(out->name, sizeof out->name, "data/%s", f->name);
    assert(n > 0 && (size_t)n < sizeof out->name);
    (void)n;
    out->k = f->file.k;
    out->e = f->file.e;
    out->shard = f->file.shard;
    out->full = f->file.full;
    out->bytes = f->bytes;
    out->xxh3 = hash_stream_value(f->hash);
    forget(f);
    return ST_OK;
}

void cut_file_abort(struct cut_file *f)
{
    if (f == NULL)
        return;
    (void)unlinkat(f->data_fd, f->tmp, 0); /* gone already if it was renamed */
    forget(f);
}
