/* fuzz_reader_named.c - the readers whose cells have names: JSON lines, slots and libffm, TFRecord.
 *
 * Input: u8 mode (bits 0-2: the reader; bit 3: put the checksums of a TFRecord right), then the file. Checked besides
 * memory: offsets and lines only grow, faults give no values, values lie where they can be read, and a second pass
 * gives the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/hash.h"
#include "common/data/reader_json.h"
#include "common/data/reader_pairs.h"
#include "common/data/reader_tfrecord.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BYTES_MAX = 1 << 24 };

static const char *const NAMES[] = {"a", "a.b", "a[0]", "b", "user.id", "@0", "7", "label", "3"};
enum { NAMES_USED = sizeof NAMES / sizeof NAMES[0] };

union any {
    struct reader_json *json;
    struct reader_pairs *pairs;
    struct reader_tfrecord *tfrecord;
};

static enum status open_any(unsigned kind, const char *path, struct columns *c, union any *r)
{
    switch (kind) {
    case 0: return reader_json_open(path, BYTES_MAX, c, &r->json, NULL);
    case 1: return reader_pairs_open(path, BYTES_MAX, PAIRS_SLOT_FIRST, c, &r->pairs, NULL);
    case 2: return reader_pairs_open(path, BYTES_MAX, PAIRS_SLOT_LAST, c, &r->pairs, NULL);
    case 3: return reader_pairs_open(path, BYTES_MAX, PAIRS_LIBFFM, c, &r->pairs, NULL);
    default: return reader_tfrecord_open(path, BYTES_MAX, c, &r->tfrecord, NULL);
    }
}

static enum status next_any(unsigned kind, const union any *r, struct named_record *rec)
{
    if (kind == 0)
        return reader_json_next(r->json, rec, NULL);
    if (kind < 4)
        return reader_pairs_next(r->pairs, rec, NULL);
    return reader_tfrecord_next(r->tfrecord, rec, NULL);
}

static void close_any(unsigned kind, const union any *r)
{
    if (kind == 0)
        reader_json_close(r->json);
    else if (kind < 4)
        reader_pairs_close(r->pairs);
    else
        reader_tfrecord_close(r->tfrecord);
}

static uint64_t sum_values(const struct columns *c, const struct named_record *rec)
{
    uint64_t sum = rec->line;
    for (size_t i = 0; i < NAMES_USED; i++) {
        uint32_t n = 0;
        for (const struct value *v = columns_first(c, i); v != NULL; v = columns_next(c, v), n++)
            sum = hash_bytes(v->at, v->n, sum + i);
        if (n != c->set[i].n || (rec->fault != NULL && n > 0) || (c->column[i].one && n > 1))
            abort();
    }
    return hash_bytes(rec->raw, rec->raw_n, sum);
}

static uint64_t read_all(unsigned kind, const char *path)
{
    struct columns c;
    struct named_record rec;
    union any r;
    uint64_t sum = 0, line = 0, offset = 0;
    columns_init(&c, NAMES, NAMES_USED);
    if (open_any(kind, path, &c, &r) == ST_OK) {
        while (next_any(kind, &r, &rec) == ST_OK) {
            if (rec.line <= line || (line > 0 && rec.offset <= offset))
                abort();
            line = rec.line;
            offset = rec.offset;
            sum = sum * 31 + sum_values(&c, &rec);
        }
        close_any(kind, &r);
    }
    columns_release(&c);
    return sum;
}

/* Both checksums of each record, as far as lengths lead. */
static void sign(uint8_t *file, size_t n)
{
    for (size_t at = 0; n - at >= 12;) {
        uint64_t bytes;
        memcpy(&bytes, file + at, 8);
        uint32_t sum = crc32c_masked(file + at, 8);
        memcpy(file + at + 8, &sum, 4);
        if (bytes > n - at - 12 || n - at - 12 - bytes < 4)
            return;
        sum = crc32c_masked(file + at + 12, bytes);
        memcpy(file + at + 12 + bytes, &sum, 4);
        at += 16 + bytes;
    }
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
    unsigned kind = (data[0] & 7) % 5;
    uint8_t *file = malloc(size);
    memcpy(file, data + 1, size - 1);
    if (data[0] & 8)
        sign(file, size - 1);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, file, size - 1, 0) != (ssize_t)(size - 1))
        abort();
    free(file);
    if (read_all(kind, path) != read_all(kind, path))
        abort();
    return 0;
}
