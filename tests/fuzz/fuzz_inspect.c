/* fuzz_inspect.c - `penstock data inspect` over any file; the job it guesses must be one that penstock reads.
 *
 * The file is a plain, gzip or zstd one by its first bytes, as it is for the readers.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/job.h"
#include "common/data/inspect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A guess without a label says so and is no job yet; any other is one. */
static void check_job(const struct inspect *in)
{
    struct buffer text = BUFFER_INIT;
    struct errbuf err = ERRBUF_INIT;
    struct job job;
    bool label = in->libsvm;
    for (size_t c = 0; c < in->columns_used; c++)
        label |= in->column[c].type == FIELD_LABEL;
    inspect_job(in, &text);
    enum status st =
        job_parse(buffer_text(&text), text.used, "guess.yaml", "/", NULL, 0, &job, &err);
    if (st == ST_OK) {
        job_release(&job);
    } else if (label && text.used < 1 << 20) { /* a job is at most a megabyte */
        fprintf(stderr, "%s\n%s", err.text, buffer_text(&text));
        abort();
    }
    buffer_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[40];
    struct errbuf err = ERRBUF_INIT;
    struct inspect in;
    if (fd < 0) {
        fd = memfd_create("fuzz", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    enum status st = inspect_file(path, &in, &err);
    if (st != ST_OK) {
        assert(st == ST_BAD_DATA && strstr(err.text, path) != NULL);
        return 0;
    }
    struct buffer text = BUFFER_INIT;
    inspect_text(&in, &text);
    for (size_t i = 0; i < text.used; i++) /* nothing in it that a terminal would obey */
        assert(text.data[i] == '\n' || (text.data[i] >= 0x20 && text.data[i] != 0x7f));
    buffer_release(&text);
    check_job(&in);
    inspect_release(&in);
    return 0;
}
