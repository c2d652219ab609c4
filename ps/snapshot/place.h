/* place.h - give a finished file its final name, never over another one.
 *
 * renameat2(RENAME_NOREPLACE); where the file system refuses the flag, linkat (which refuses an existing
 * name, too) and unlink of the old name. Works by folder descriptors: a removed folder is ENOENT.
 */
#ifndef PENSTOCK_PS_SNAPSHOT_PLACE_H
#define PENSTOCK_PS_SNAPSHOT_PLACE_H

#include <stddef.h>

#include "common/base/status.h"

/* 0, or -1 with errno as the system calls set it. */
MUST_CHECK int place_file(int from_fd, const char *from, int to_fd, const char *to);
/* The fallback alone, for the test that can't have such a file system. */
MUST_CHECK int place_by_link(int from_fd, const char *from, int to_fd, const char *to);
/* All n bytes, however many calls it takes. 0 or -1 with errno. */
MUST_CHECK int place_write(int fd, const void *bytes, size_t n);

#endif
