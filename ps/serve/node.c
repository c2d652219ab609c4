/* node.c - see node.h. */
#include "ps/serve/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "ps/serve/call.h"
#include "ps/serve/http_openapi.h"
#include "ps/serve/http_routes.h"

#define WRITES_MAX  2048u
#define WRITE_BATCH 256u
#define TICK_US     1000000u

/* One writer a counter: no locked instruction. */
static void count(_Atomic uint64_t *v, uint64_t n)
{
    atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static size_t bucket_of(uint64_t took_us)
{
    size_t b = 0;
    while (b < NODE_BUCKETS && (double)took_us * 1e-6 > call_edges[b]) {
        b++;
    }
    return b;
}

/* -- what a loop does --------------------------------------------------------------------------- */

static bool loop_head(void *arg, unsigned loop, struct http_request *r)
{
    struct node *n = arg;
    const char *id[CALL_IDS_MAX];
    unsigned methods = 0;
    const struct route *route = http_routes_find(r->method, &r->target, id, &methods);
    if (route == NULL && methods == 0) {
        http_answer_error(r, 404, "there is no such route; GET /openapi.json lists them");
        return false;
    }
    if (route == NULL) {
        http_answer_header(r, "Allow", n->allow[methods & 15u]);
        http_answer_error(r, 405, "this route takes %s", n->allow[methods & 15u]);
        return false;
    }
    struct call *c = call_new(&n->loop[loop], r, route);
    c->id[0] = id[0];
    c->id[1] = id[1];
    r->of_owner = c;
    return true;
}

/* To the writer for its exposure, when the answer has been made. */
static void log_exposure(struct call *c)
{
    struct node *n = c->loop->node;
    atomic_fetch_add_explicit(&c->holders, 1, memory_order_relaxed);
    if (queue_push(n->writes, c, 0) != ST_OK) {
        atomic_fetch_add_explicit(&n->exposures_dropped, 1, memory_order_relaxed);
        call_drop(c);
    }
}

static void score_batch(struct node_loop *l)
{
    const size_t n = l->score_n;
    for (size_t i = 0; i < n; i++) {
        l->ask[i] = &l->score[i]->request;
    }
    l->score_n = 0;
    count(&l->counts.batches, 1);
    count(&l->counts.batch_requests, n);
    service_score(l->worker, l->ask, n);
    for (size_t i = 0; i < n; i++) {
        struct call *c = l->score[i];
        const bool logs = c->request.logs;
        if (c->scored != NULL) {
            c->scored(c);
        } else {
            struct json *answer = c->request.answer;
            c->request.answer = NULL;
            if (c->request.status == 429 || c->request.status == 503) {
                http_answer_header(c->http, "Retry-After", "1");
            }
            call_answer(c, l->reader, c->request.status, answer);
        }
        if (logs) {
            service_shadow(l->worker, &c->request);
            log_exposure(c);
        }
    }
}

static void loop_serve(void *arg, unsigned loop, struct http_request **r, size_t n)
{
    struct node_loop *l = &((struct node *)arg)->loop[loop];
    for (size_t i = 0; i < n; i++) {
        struct call *c = r[i]->of_owner;
        c->route->serve(c);
    }
    if (l->score_n > 0) {
        score_batch(l);
    }
}

static bool loop_idle(void *arg, unsigned loop)
{
    return service_prepare(((struct node *)arg)->loop[loop].worker);
}

static void loop_done(void *arg, unsigned loop, const struct http_request *r, unsigned code)
{
    struct node *n = arg;
    struct node_counts *counts = &n->loop[loop].counts;
    struct call *c = r->of_owner;
    count(&counts->code[code < 600 ? code : 0], 1);
    if (c == NULL) {
        return;
    }
    if (r->whole_us != 0) {
        const size_t route = (size_t)(c->route - n->routes);
        const uint64_t took_us = clock_now_us() - r->whole_us;
        count(&counts->bucket[route][bucket_of(took_us)], 1);
        count(&counts->sum_us[route], took_us);
    }
    call_drop(c);
}

/* -- the writer --------------------------------------------------------------------------------- */

static void write_batch(struct node *n, struct call **call, struct service_request **ask, size_t m)
{
    for (size_t i = 0; i < m; i++) {
        ask[i] = &call[i]->request;
    }
    service_write(n->service, ask, m);
    for (size_t i = 0; i < m; i++) {
        struct call *c = call[i];
        if (c->request.kind == SERVICE_EVENTS && c->request.status == 202) {
            const uint64_t took_us = clock_now_us() - c->http->whole_us;
            count(&n->event_bucket[bucket_of(took_us)], 1);
            count(&n->event_us, took_us);
        }
        if (service_writes(c->request.kind)) { /* else only its exposure was written */
            struct json *answer = c->request.answer;
            c->request.answer = NULL;
            if (c->request.status == 429 || c->request.status == 503) {
                http_answer_header(c->http, "Retry-After", "1");
            }
            call_answer(c, n->writer_reader, c->request.status, answer);
        }
        call_drop(c);
    }
}

static void *writer_run(void *arg)
{
    struct node *n = arg;
    struct call *call[WRITE_BATCH];
    struct service_request *ask[WRITE_BATCH];
    uint64_t ticked_us = clock_now_us();
    for (;;) {
        void *item = NULL;
        size_t m = 0;
        enum status st = queue_pop(n->writes, &item, TICK_US);
        while (st == ST_OK) { /* what came while the last group was written is one group */
            call[m++] = item;
            st = m < WRITE_BATCH ? queue_pop(n->writes, &item, 0) : ST_AGAIN;
        }
        if (m > 0) {
            write_batch(n, call, ask, m);
        }
        uint64_t now = clock_now_us();
        if (now - ticked_us >= TICK_US) {
            ticked_us = now;
            service_tick(n->service, clock_wall_us());
        }
        if (st == ST_END) {
            return NULL;
        }
    }
}

/* -- beginning and end -------------------------------------------------------------------------- */

static void name_methods(struct node *n)
{
    static const char *const names[] = {"GET, HEAD", "POST", "PUT", "DELETE"};
    for (unsigned set = 0; set < 16; set++) {
        for (unsigned m = 0; m < 4; m++) {
            if ((set >> m & 1u) != 0) {
                size_t used = strlen(n->allow[set]);
                snprintf(n->allow[set] + used, sizeof(n->allow[set]) - used, "%s%s",
                         used > 0 ? ", " : "", names[m]);
            }
        }
    }
}

static void node_free(struct node *n)
{
    for (unsigned i = 0; i < n->loops; i++) {
        struct node_loop *l = &n->loop[i];
        if (l->worker != NULL) {
            service_worker_free(l->worker);
        }
        if (l->reader != NULL) {
            replica_part(l->reader);
        }
        free(l->score);
        free(l->ask);
    }
    if (n->writer_reader != NULL) {
        replica_part(n->writer_reader);
    }
    if (n->writes != NULL) {
        queue_free(n->writes);
    }
    free(n->loop);
    free(n->openapi);
    free(n);
}

static enum status start_loop(struct node *n, unsigned i, struct errbuf *err)
{
    struct node_loop *l = &n->loop[i];
    l->node = n;
    l->index = i;
    l->score = mem_array(n->conf.held_max, sizeof(*l->score));
    l->ask = mem_array(n->conf.held_max, sizeof(*l->ask));
    l->reader = replica_join(n->replica);
    if (l->reader == NULL) {
        return errbuf_set(err, ST_REFUSED, "%u loops: the replica has no reader left", n->loops);
    }
    return service_worker_new(n->service, &l->worker, err);
}

static struct http_conf http_conf_of(const struct node_conf *c)
{
    struct http_conf conf = HTTP_CONF_DEFAULT;
    conf.address = c->http;
    conf.what = "--http";
    conf.token = c->token;
    conf.open_paths = http_routes_open;
    return conf;
}

enum status node_check(const struct node_conf *c, struct errbuf *err)
{
    const struct http_conf conf = http_conf_of(c);
    return http_server_check(&conf, err);
}

static enum status start_http(struct node *n, struct errbuf *err)
{
    struct http_conf conf = http_conf_of(&n->conf);
    const struct http_owner owner = {
        .arg = n, .head = loop_head, .serve = loop_serve, .idle = loop_idle, .done = loop_done};
    conf.loops = n->loops;
    conf.held_max = n->conf.held_max;
    conf.connections_max = n->conf.connections_max;
    conf.body_max = n->conf.body_max;
    conf.patience_us = n->conf.patience_us;
    return http_server_start(&conf, &owner, &n->server, err);
}

static void defaults(struct node_conf *c)
{
    const struct http_conf http = HTTP_CONF_DEFAULT;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    c->loops = c->loops > 0 ? c->loops : (unsigned)(cpus > 0 ? cpus : 1);
    c->loops = c->loops < HTTP_LOOPS_MAX ? c->loops : HTTP_LOOPS_MAX;
    c->held_max = c->held_max > 0 ? c->held_max : http.held_max;
    c->connections_max = c->connections_max > 0 ? c->connections_max : http.connections_max;
    c->body_max = c->body_max > 0 ? c->body_max : http.body_max;
    c->patience_us = c->patience_us > 0 ? c->patience_us : http.patience_us;
}

enum status node_start(const struct node_conf *conf, struct replica *replica,
                       struct service *service, struct node **out, struct errbuf *err)
{
    struct node *n = mem_zalloc(sizeof(*n));
    n->conf = *conf;
    defaults(&n->conf);
    n->replica = replica;
    n->service = service;
    n->routes = http_routes;
    n->routes_used = http_routes_used;
    n->loops = n->conf.loops;
    n->loop = mem_aligned(64, n->loops * sizeof(*n->loop));
    n->writes = queue_new(WRITES_MAX);
    n->started_us = clock_now_us();
    name_methods(n);
    enum status st = http_openapi_text(http_routes, http_routes_used, &n->openapi, err);
    for (unsigned i = 0; i < n->loops && st == ST_OK; i++) {
        st = start_loop(n, i, err);
    }
    if (st == ST_OK && (n->writer_reader = replica_join(replica)) == NULL) {
        st = errbuf_set(err, ST_REFUSED, "the replica has no reader left");
    }
    if (st == ST_OK) {
        st = thread_start(&n->writer, "writer", writer_run, n, err);
    }
    if (st == ST_OK) {
        st = start_http(n, err);
    }
    if (st != ST_OK) {
        queue_close(n->writes);
        thread_stop(&n->writer);
        node_free(n);
        return st;
    }
    *out = n;
    return ST_OK;
}

const char *node_address(const struct node *n)
{
    return http_server_address(n->server);
}

enum status node_stop(struct node *n, uint64_t wait_us)
{
    atomic_store(&n->draining, true);
    enum status st = http_server_stop(n->server, wait_us);
    if (st != ST_OK) {
        return st;
    }
    queue_close(n->writes); /* what is left in it is written first */
    thread_stop(&n->writer);
    node_free(n);
    return ST_OK;
}
