/* wake.c - see wake.h. */
#include "common/net/wake.h"

#include <sys/eventfd.h>
#include <unistd.h>

enum status wake_init(struct wake *w, struct errbuf *err)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0)
        return errbuf_errno(err, ST_IO, "cannot make an eventfd");
    w->fd = fd;
    return ST_OK;
}

void wake_release(struct wake *w)
{
    if (w->fd > 0)
        close(w->fd);
    w->fd = 0;
}

void wake_signal(const struct wake *w)
{
    /* It fails only when 2^64 - 2 signals are pending: the owner is awake then. */
    (void)eventfd_write(w->fd, 1);
}

void wake_clear(const struct wake *w)
{
    eventfd_t n;
    (void)eventfd_read(w->fd, &n);
}
