/* fuzz_reader_text.c - the delimited reader over any bytes, with the delimiter and quote of the first byte.
 *
 * Checked besides memory: cells lie in what was read, offsets and lines only grow, and what is read does not
 * depend on how often it is asked (a second pass gives the same).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/hash.h"
#include "common/data/reader_text.h"
#include "common/feature/number.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t read_all(const char *path, const char *delimiter, const char *quote)
{
    struct reader_text *r;
    struct text_record rec;
    uint64_t sum = 0, line = 0, offset = 0;
    double v;
    int64_t time;
    if (reader_text_open(path, 1 << 24, delimiter, quote, &r, NULL) != ST_OK)
        return 0;
    while (reader_text_next(r, &rec, NULL) == ST_OK) {
        if (rec.line <= line || (line > 0 && rec.offset <= offset))
            abort();
        line = rec.line;
        offset = rec.offset;
        if ((rec.fault != NULL) != (rec.cells_used == 0))
            abort();
        for (size_t c = 0; c < rec.cells_used; c++) {
            sum = hash_bytes(rec.cell[c].at, rec.cell[c].n, sum + 1);
            (void)number_parse(rec.cell[c].at, rec.cell[c].n, &v);
            (void)number_parse_time(rec.cell[c].at, rec.cell[c].n, &time);
        }
        sum = hash_bytes(rec.raw, rec.raw_n, sum);
    }
    reader_text_close(r);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const delimiters[] = {",", "\t", "::", "\"", "a,a"};
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
    const char *delimiter = delimiters[data[0] / 2 % 5], *quote = data[0] & 1 ? "\"" : "";
    if (read_all(path, delimiter, quote) != read_all(path, delimiter, quote))
        abort();
    return 0;
}
