/* ask.c - see ask.h. The folder's `head` file may be stale or not there yet: it is read again before
 * every question, and a new address means a new connection. */
#include "launch/ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/net/endpoint.h"
#include "common/net/run_dir.h"
#include "common/wire/msg.h"

#define POOL_BYTES (4u << 20)

struct ask {
    struct endpoint_hub *hub; /* owned */
    struct frame_pool *pool;  /* owned */
    struct endpoint *ep;      /* owned; NULL while there is no address */
    struct endpoint_set *set; /* owned */
    char *dir;                /* owned */
    char address[ADDRESS_MAX];
    uint64_t job, boot;
};

enum status ask_open(const char *dir, uint64_t job_id, struct ask **out, struct errbuf *err)
{
    struct ask *a = mem_zalloc(sizeof(*a));
    enum status st = endpoint_hub_new(&a->hub, err);
    if (st != ST_OK) {
        free(a);
        return st;
    }
    a->pool = frame_pool_new(POOL_BYTES);
    a->set = endpoint_set_new();
    a->dir = mem_strdup(dir);
    a->job = job_id;
    a->boot = rng_os_u64();
    *out = a;
    return ST_OK;
}

void ask_close(struct ask *a)
{
    if (a == NULL) {
        return;
    }
    endpoint_set_free(a->set);
    endpoint_close(a->ep);
    endpoint_hub_free(a->hub);
    frame_pool_free(a->pool);
    free(a->dir);
    free(a);
}

static enum status connect_head(struct ask *a, struct errbuf *err)
{
    char address[ADDRESS_MAX];
    enum status st = run_dir_head_read(a->dir, a->job, address, err);
    if (st != ST_OK) {
        return st == ST_NOT_FOUND ? ST_TIMEOUT : st;
    }
    if (a->ep != NULL && strcmp(address, a->address) == 0) {
        return ST_OK;
    }
    endpoint_set_clear(a->set);
    endpoint_close(a->ep);
    a->ep = NULL;
    struct endpoint_conf conf = {
        .job = a->job, .boot = a->boot, .role = ROLE_FRONT, .pool = a->pool};
    st = endpoint_dial(a->hub, &conf, address, &a->ep, err);
    if (st != ST_OK) {
        return errbuf_wrap(err, st, "%s/head", a->dir);
    }
    snprintf(a->address, sizeof(a->address), "%s", address);
    endpoint_set_add(a->set, a->ep);
    return ST_OK;
}

static enum status take_answer(struct ask *a, struct json **out, bool *got, struct errbuf *err)
{
    struct msg *m = NULL;
    uint64_t route = 0;
    enum status st = ST_OK;
    while (endpoint_recv(a->ep, &m, &route) == ST_OK) {
        size_t n = m->frames > 0 ? m->frame[0].bytes : 0;
        if (m->kind == MSG_REPORT && n > 0) {
            json_free(*out);
            *out = NULL;
            st = json_parse(m->frame[0].data, n, "the head's report", out, err);
            *got = st == ST_OK;
        } else if (m->kind == MSG_REFUSED) {
            st = errbuf_set(err, ST_FOREIGN, "the head at %s refuses: %.*s", a->address, (int)n,
                            n > 0 ? (const char *)m->frame[0].data : "");
        }
        msg_free(m);
        if (st != ST_OK) {
            return st;
        }
    }
    return ST_OK;
}

enum status ask_head(struct ask *a, bool want_stop, uint64_t wait_us, struct json **out,
                     struct errbuf *err)
{
    enum status st = connect_head(a, err);
    if (st != ST_OK) {
        return st;
    }
    struct msg *q = msg_new(MSG_STATUS);
    q->job = a->job;
    q->boot = a->boot;
    q->role = ROLE_FRONT;
    q->u.want_stop = want_stop;
    (void)endpoint_send(a->ep, ENDPOINT_PEER, &q); /* it is asked again if it gets lost */
    uint64_t until = clock_now_us() + wait_us;
    bool got = false;
    struct json *answer = NULL;
    while (st == ST_OK && !got) {
        uint64_t now = clock_now_us();
        if (now >= until) {
            st = errbuf_set(err, ST_TIMEOUT, "no answer from the head at %s", a->address);
            break;
        }
        endpoint_set_wait(a->set, until - now);
        st = take_answer(a, &answer, &got, err);
    }
    if (st == ST_OK) {
        *out = answer;
    } else {
        json_free(answer);
    }
    return st;
}
