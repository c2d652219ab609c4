/* fuzz_data_joins.c - side files of any bytes: what is found for an id is what stands in its line.
 *
 * Input: u8 mode (bit 0: no header; bit 1: RecBole's), then the file.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/data/joins.h"
#include "common/data/quarantine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every row is found by its own id. */
static void check(struct joins *js)
{
    struct join *j = &js->item[0];
    unsigned sum = 0;
    for (size_t row = 0; row < j->rows; row++) {
        const struct join_cell *cells = &j->cell[row * (j->columns + 1)];
        if (join_row(j, (const char *)j->text.data + cells[0].at, cells[0].n) != cells)
            abort();
        for (size_t c = 0; c < j->columns; c++) {
            size_t n;
            const char *at = join_text(j, cells, c, &n);
            for (size_t i = 0; i < n; i++)
                sum += (unsigned char)at[i];
        }
    }
    if (sum == 0xffffffffu || j->not_there > 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[40], item[48];
    static char *fields[] = {(char *)"id", (char *)"a", (char *)"b"};
    struct schema_field wanted[2];
    if (fd < 0) {
        fd = memfd_create("fuzz", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (size < 2)
        return 0;
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data + 1, size - 1, 0) != (ssize_t)size - 1)
        abort();
    memcpy(item, path, sizeof path);
    struct job_join spec = {.file = item, .on = fields[0], .key = fields[0]};
    struct job job;
    struct schema schema;
    struct joins js;
    struct sources sources;
    struct quarantine q;
    memset(&job, 0, sizeof job);
    memset(&schema, 0, sizeof schema);
    memset(&js, 0, sizeof js);
    memset(&sources, 0, sizeof sources);
    memset(wanted, 0, sizeof wanted);
    spec.delimiter = (char *)(data[0] & 2 ? "\t" : ",");
    if (data[0] & 1)
        spec.columns = (struct texts){fields, 3};
    job.data.format = data[0] & 2 ? JOB_RECBOLE : JOB_JSON;
    job.data.bytes_max = 1 << 24;
    job.data.join = &spec;
    job.data.joins_used = 1;
    wanted[0].column = fields[1];
    wanted[1].column = fields[2];
    schema.field = wanted;
    schema.fields_used = 2;
    quarantine_init(&q, "/tmp", 1);
    if (joins_sources(&js, &job, &sources, NULL) == ST_OK &&
        joins_load(&js, &job, &schema, &sources, &q, NULL) == ST_OK)
        check(&js);
    joins_release(&js);
    sources_release(&sources);
    quarantine_release(&q);
    return 0;
}
