/* head_link.c - find the head and keep finding it (head_link.h). */
#include "common/net/head_link.h"

#include <string.h>

#include "common/base/log.h"

enum { SILENT_BEATS = 5 };

void head_link_init(struct head_link *l, struct endpoint_hub *hub, const char *dir,
                    const struct endpoint_conf *conf, uint64_t beat_us)
{
    *l = (struct head_link){.hub = hub, .dir = dir, .conf = *conf, .beat_us = beat_us};
}

void head_link_release(struct head_link *l)
{
    endpoint_close(l->ep);
    l->ep = NULL;
}

static void dial(struct head_link *l, const char *address)
{
    struct endpoint *ep = NULL;
    struct errbuf err = ERRBUF_INIT;
    if (endpoint_dial(l->hub, &l->conf, address, &ep, &err) != ST_OK) {
        log_warn("head: %s", err.text);
        return;
    }
    log_info("head: at %s", address);
    endpoint_close(l->ep);
    l->ep = ep;
}

void head_link_tick(struct head_link *l, uint64_t now_us)
{
    struct errbuf err = ERRBUF_INIT;
    char address[ADDRESS_MAX];
    if (l->ep != NULL && now_us < l->heard_us + SILENT_BEATS * l->beat_us)
        return;
    if (l->read_us != 0 && now_us < l->read_us + l->beat_us)
        return;
    l->read_us = now_us;
    enum status st = run_dir_head_read(l->dir, l->conf.job, address, &err);
    if (st == ST_OK && (l->ep == NULL || strcmp(endpoint_address(l->ep), address) != 0))
        dial(l, address);
    else if (st != ST_OK && st != ST_NOT_FOUND && st != l->said)
        log_warn("head: %s; looking again each beat", err.text);
    l->said = st;
}

struct msg *head_link_recv(struct head_link *l, uint64_t now_us)
{
    struct msg *m = NULL;
    uint64_t route = 0;
    if (l->ep == NULL || endpoint_recv(l->ep, &m, &route) != ST_OK)
        return NULL;
    l->heard_us = now_us;
    return m;
}

void head_link_send(struct head_link *l, struct msg **m)
{
    if (l->ep != NULL) {
        (void)endpoint_send(l->ep, ENDPOINT_PEER, m);
        return;
    }
    msg_free(*m);
    *m = NULL;
}
