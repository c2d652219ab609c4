/* fuzz_reader_libsvm.c - the libsvm reader over any bytes: what it gives is finite, faults give nothing. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/data/reader_libsvm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[40];
    struct reader_libsvm *r;
    struct libsvm_record rec;
    uint64_t line = 0;
    if (fd < 0) {
        fd = memfd_create("fuzz", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    if (reader_libsvm_open(path, 1 << 24, &r, NULL) != ST_OK)
        return 0;
    while (reader_libsvm_next(r, &rec, NULL) == ST_OK) {
        if (rec.line <= line || !isfinite(rec.label) || (rec.fault != NULL && rec.n > 0))
            abort();
        line = rec.line;
        for (size_t i = 0; i < rec.n; i++)
            if (!isfinite(rec.value[i]))
                abort();
    }
    reader_libsvm_close(r);
    return 0;
}
