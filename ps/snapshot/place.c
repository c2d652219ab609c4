/* place.c - see place.h. */
#include "ps/snapshot/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int place_by_link(int from_fd, const char *from, int to_fd, const char *to)
{
    if (linkat(from_fd, from, to_fd, to, 0) != 0)
        return -1;
    /* The file stands under its final name; a second name that can't be removed is litter, no failure. */
    (void)unlinkat(from_fd, from, 0);
    return 0;
}

int place_file(int from_fd, const char *from, int to_fd, const char *to)
{
    if (renameat2(from_fd, from, to_fd, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP)
        return -1;
    return place_by_link(from_fd, from, to_fd, to);
}

int place_write(int fd, const void *bytes, size_t n)
{
    const char *at = bytes;
    while (n > 0) {
        ssize_t did = write(fd, at, n);
        if (did < 0 && errno == EINTR)
            continue;
        if (did < 0)
            return -1;
        at += did;
        n -= (size_t)did;
    }
    return 0;
}
