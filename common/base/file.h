/* file.h - whole files and folders, with errors that name the path. */
#ifndef PENSTOCK_COMMON_BASE_FILE_H
#define PENSTOCK_COMMON_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"

/* Read at most max bytes (ST_BAD_DATA beyond). *out_bytes: owned, with a 0 behind the last byte.
 * ST_NOT_FOUND: there is no such file; ST_IO: it can't be read, or is a folder, a pipe, a device. */
MUST_CHECK enum status file_read(const char *path, size_t max, char **out_bytes, size_t *out_n,
                                 struct errbuf *err);
/* Write path.tmp.<pid>, fsync, rename over path, fsync the folder: old or new, never half. */
MUST_CHECK enum status file_write_atomic(const char *path, const void *bytes, size_t n,
                                         struct errbuf *err);
/* mkdir -p. */
MUST_CHECK enum status file_mkdirs(const char *path, struct errbuf *err);
/* fsync a folder. */
MUST_CHECK enum status file_sync_dir(const char *path, struct errbuf *err);
bool file_exists(const char *path);
/* Map a whole file for reading. An empty file gives out_n 0 and a non-NULL address. */
struct file_map {
    const uint8_t *data;
    size_t n;
};
MUST_CHECK enum status file_map_open(const char *path, struct file_map *out, struct errbuf *err);
void file_map_close(struct file_map *m);
/* "a" + "/" + "b", owned; b alone if it is absolute or a is NULL or "". */
char *file_join(const char *a, const char *b);

#endif
