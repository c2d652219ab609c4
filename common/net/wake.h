/* wake.h - wake a thread that waits in endpoint_set_wait: an eventfd.
 *
 * Any thread signals, as often as it likes; the owner clears when it wakes up and then looks at all its
 * queues. A signal between clear and look costs one more round and loses nothing.
 */
#ifndef PENSTOCK_COMMON_NET_WAKE_H
#define PENSTOCK_COMMON_NET_WAKE_H

#include "common/base/errbuf.h"

struct wake {
    int fd; /* for endpoint_set_add_fd or poll(2) */
};

MUST_CHECK enum status wake_init(struct wake *w, struct errbuf *err);
void wake_release(struct wake *w);
void wake_signal(const struct wake *w);
void wake_clear(const struct wake *w);

#endif
