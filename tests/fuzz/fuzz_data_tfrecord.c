/* fuzz_data_tfrecord.c - TFRecord files and the tf.Examples in them, over any bytes.
 *
 * Input: u8 mode (bit 0: the rest is one record's data and gets a frame; else it is the file), then bytes.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/crc32c.h"
#include "common/data/reader_tfrecord.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const NAMES[] = {"a", "a[1]", "b.c", "1", "label", "@0", "7"};
enum { NAMES_USED = sizeof NAMES / sizeof NAMES[0] };

/* Every value is bytes that are there, and a column wants no more than its own. */
static void check(const struct named_record *rec)
{
    unsigned sum = 0;
    for (size_t c = 0; c < NAMES_USED; c++) {
        uint32_t n = 0;
        for (const struct value *v = columns_first(rec->columns, c); v != NULL;
             v = columns_next(rec->columns, v), n++)
            for (size_t i = 0; i < v->n; i++)
                sum += (unsigned char)v->at[i];
        if (n != rec->columns->set[c].n || (rec->fault != NULL && n > 0) ||
            (rec->columns->column[c].one && n > 1))
            abort();
    }
    for (size_t i = 0; i < rec->raw_n; i++)
        sum += (unsigned char)rec->raw[i];
    if (sum == 0xffffffffu)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[40];
    struct columns columns;
    struct named_record rec;
    uint64_t line = 0;
    struct reader_tfrecord *r;
    if (fd < 0) {
        fd = memfd_create("fuzz", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (size == 0)
        return 0;
    struct buffer file = BUFFER_INIT;
    if (data[0] & 1) {
        buffer_u64(&file, size - 1);
        buffer_u32(&file, crc32c_masked(file.data, 8));
        buffer_put(&file, data + 1, size - 1);
        buffer_u32(&file, crc32c_masked(data + 1, size - 1));
    } else {
        buffer_put(&file, data + 1, size - 1);
    }
    if (ftruncate(fd, 0) != 0 || pwrite(fd, file.data, file.used, 0) != (ssize_t)file.used)
        abort();
    buffer_release(&file);
    columns_init(&columns, NAMES, NAMES_USED);
    if (reader_tfrecord_open(path, 1 << 24, &columns, &r, NULL) == ST_OK) {
        while (reader_tfrecord_next(r, &rec, NULL) == ST_OK) {
            if (rec.line <= line)
                abort();
            line = rec.line;
            check(&rec);
        }
        reader_tfrecord_close(r);
    }
    columns_release(&columns);
    return 0;
}
