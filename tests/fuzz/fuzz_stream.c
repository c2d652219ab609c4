/* fuzz_stream.c - files that say they are gzip or zstd: read in large and in small pieces, bounded.
 *
 * Input: u8 bound (the output may have 2^(bound % 24) bytes), then the file. The size of the pieces must make no
 * difference, and no more than the bound may come.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum status st;
    uint64_t bytes, sum;
};

static struct outcome read_all(const char *path, uint64_t bytes_max, size_t piece)
{
    static uint8_t room[1 << 16];
    struct outcome out = {ST_OK, 0, 0};
    struct errbuf err = ERRBUF_INIT;
    struct stream *s;
    size_t n = 1;
    out.st = stream_open(path, bytes_max, &s, &err);
    assert(out.st == ST_OK);
    while (n > 0 && (out.st = stream_read(s, room, piece, &n, &err)) == ST_OK) {
        assert(n <= piece);
        for (size_t i = 0; i < n; i++)
            out.sum = out.sum * 31 + room[i];
        out.bytes += n;
    }
    assert(out.bytes <= bytes_max && stream_in_bytes(s) <= stream_file_bytes(s));
    if (out.st != ST_OK)
        assert(out.st == ST_BAD_DATA && strstr(err.text, path) == err.text);
    else
        assert(stream_in_bytes(s) == stream_file_bytes(s));
    stream_close(s);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[40];
    if (size < 1)
        return 0;
    if (fd < 0) {
        fd = memfd_create("fuzz", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data + 1, size - 1, 0) != (ssize_t)(size - 1))
        abort();
    uint64_t bytes_max = 1ull << data[0] % 24;
    struct outcome large = read_all(path, bytes_max, 1 << 16), small = read_all(path, bytes_max, 7);
    assert(large.st == small.st);
    if (large.st == ST_OK) /* before an error, small pieces bring more of what was good */
        assert(large.bytes == small.bytes && large.sum == small.sum);
    return 0;
}
