/* http.c - see http.h: an http_server with one loop whose owner has one text; the one lock is around it. */
#include "common/net/http.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"

#define CONNECTIONS_MAX 32u
#define PATIENCE_US     10000000u
#define STOP_US         1000000u

struct http_page {
    /* -- set once in open -- */
    struct http_server *server;
    const char *path, *content_type; /* borrowed */
    /* -- under the lock -- */
    pthread_mutex_t lock;
    char *text; /* owned */
    size_t n;
};

static bool page_head(void *arg, unsigned loop, struct http_request *r)
{
    struct http_page *p = arg;
    (void)loop;
    if (r->target.segments != 1 || strcmp(r->target.segment[0], p->path + 1) != 0) {
        http_answer_error(r, 404, "there is only %s", p->path);
        return false;
    }
    if (r->method != HTTP_GET) {
        http_answer_header(r, "Allow", "GET, HEAD");
        http_answer_error(r, 405, "only GET");
        return false;
    }
    return true;
}

static void page_serve(void *arg, unsigned loop, struct http_request **r, size_t n)
{
    struct http_page *p = arg;
    (void)loop;
    for (size_t i = 0; i < n; i++) {
        pthread_mutex_lock(&p->lock);
        size_t text_n = p->n;
        char *copy = mem_alloc(text_n + 1);
        memcpy(copy, p->text, text_n);
        pthread_mutex_unlock(&p->lock);
        http_answer(r[i], 200, copy, text_n, p->content_type);
    }
}

enum status http_page_open(const char *address, const char *what, const char *path,
                           const char *content_type, struct http_page **out, struct errbuf *err)
{
    struct http_conf conf = HTTP_CONF_DEFAULT;
    struct http_page *p = mem_zalloc(sizeof(*p));
    const struct http_owner owner = {.arg = p, .head = page_head, .serve = page_serve};
    p->path = path;
    p->content_type = content_type;
    p->text = mem_strdup("");
    pthread_mutex_init(&p->lock, NULL);
    conf.address = address;
    conf.what = what;
    conf.anyone = true;
    conf.loops = 1;
    conf.connections_max = CONNECTIONS_MAX;
    conf.held_max = CONNECTIONS_MAX;
    conf.body_max = 0;
    conf.patience_us = PATIENCE_US;
    enum status st = http_server_start(&conf, &owner, &p->server, err);
    if (st != ST_OK) {
        http_page_close(p);
        return st;
    }
    *out = p;
    return ST_OK;
}

void http_page_set(struct http_page *p, const char *text, size_t n)
{
    char *copy = mem_alloc(n > 0 ? n : 1);
    memcpy(copy, text, n);
    pthread_mutex_lock(&p->lock);
    char *old = p->text;
    p->text = copy;
    p->n = n;
    pthread_mutex_unlock(&p->lock);
    free(old);
}

const char *http_page_address(const struct http_page *p)
{
    return http_server_address(p->server);
}

void http_page_close(struct http_page *p)
{
    if (p == NULL) {
        return;
    }
    if (http_server_stop(p->server, STOP_US) != ST_OK) {
        log_error("the page %s does not close", p->path); /* its threads still look at it */
        return;
    }
    pthread_mutex_destroy(&p->lock);
    free(p->text);
    free(p);
}
