/* head_link.h - a dialed endpoint to the run's head, wherever it lives now.
 *
 * The head's address stands in DIR/head, which may be written late, and again by a head that was started
 * anew. So the file is read again each beat while the head is silent, and a new address is dialed. The
 * protocol needs no more: whoever gets no ORDER for T_orphan ends itself.
 * Owned by one thread.
 */
#ifndef PENSTOCK_COMMON_NET_HEAD_LINK_H
#define PENSTOCK_COMMON_NET_HEAD_LINK_H

#include "common/net/endpoint.h"
#include "common/net/run_dir.h"

struct head_link {
    /* -- set once in init -- */
    struct endpoint_hub *hub; /* borrowed, as the next */
    const char *dir;
    struct endpoint_conf conf;
    uint64_t beat_us;
    /* -- owner only -- */
    struct endpoint *ep; /* owned; NULL until DIR/head was read */
    uint64_t heard_us, read_us;
    enum status said; /* last trouble with DIR/head that was logged */
};

void head_link_init(struct head_link *l, struct endpoint_hub *hub, const char *dir,
                    const struct endpoint_conf *conf, uint64_t beat_us);
void head_link_release(struct head_link *l);
/* Call each beat or more often: reads DIR/head when it is time. */
void head_link_tick(struct head_link *l, uint64_t now_us);
/* The next message of the head, or NULL. */
struct msg *head_link_recv(struct head_link *l, uint64_t now_us);
/* Takes *m; without a connection it is dropped: control messages repeat. */
void head_link_send(struct head_link *l, struct msg **m);

#endif
