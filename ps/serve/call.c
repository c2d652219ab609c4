/* call.c - see call.h. */
#include "ps/serve/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

const double call_edges[NODE_BUCKETS] = {.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1};

struct call *call_new(struct node_loop *l, struct http_request *http, const struct route *route)
{
    struct call *c = mem_zalloc(sizeof(*c));
    c->loop = l;
    c->http = http;
    c->route = route;
    c->request.kind = route->kind;
    c->request.now_us = clock_wall_us();
    atomic_init(&c->holders, 1);
    return c;
}

void call_drop(struct call *c)
{
    if (atomic_fetch_sub_explicit(&c->holders, 1, memory_order_acq_rel) != 1) {
        return;
    }
    service_request_release(&c->request);
    json_free(c->request.answer);
    json_free(c->body);
    json_free(c->query);
    infer_free(c->infer);
    free(c);
}

bool call_parse_body(struct call *c)
{
    struct errbuf err = ERRBUF_INIT;
    const char *text = c->http->body != NULL ? c->http->body : "";
    if (c->http->body_n == 0) {
        call_fail(c, 400, "a body is needed: a JSON object; see /openapi.json");
        return false;
    }
    if (json_parse(text, c->http->body_n, "body", &c->body, &err) != ST_OK) {
        call_fail(c, 400, "%s%s", err.text,
                  strstr(err.text, "too big integer") != NULL
                      ? "; write an id beyond 9223372036854775807 as a string"
                      : "");
        return false;
    }
    if (json_kind(c->body) != JSON_MAP) {
        call_fail(c, 400, "body: it must be a JSON object; see /openapi.json");
        return false;
    }
    return true;
}

void call_parse_query(struct call *c)
{
    const struct http_target *t = &c->http->target;
    c->query = json_object();
    for (size_t i = 0; i < t->pairs; i++) {
        json_set_str(c->query, t->pair[i].key, t->pair[i].value);
    }
}

static void put_version(struct call *c, struct replica_reader *reader, struct json *answer)
{
    const uint64_t k = c->request.answered;
    if (reader == NULL || json_get(answer, "incarnation") != NULL) {
        return;
    }
    if (k != 0) { /* of whatever stream scored it */
        if (json_get(answer, "snapshot_version") == NULL) {
            json_set_u64(answer, "snapshot_version", k);
        }
        json_set_u64(answer, "incarnation", c->request.incarnation);
        return;
    }
    const struct version *v = replica_enter(reader, 0);
    if (v != NULL) {
        if (json_get(answer, "snapshot_version") == NULL) {
            json_set_u64(answer, "snapshot_version", version_cut(v));
        }
        json_set_u64(answer, "incarnation", version_incarnation(v));
    }
    replica_leave(reader);
}

void call_answer(struct call *c, struct replica_reader *reader, int status, struct json *answer)
{
    if (json_kind(answer) == JSON_MAP && status < 400) {
        put_version(c, reader, answer);
    }
    char *text = answer != NULL ? json_text(answer, 0) : NULL;
    json_free(answer);
    http_answer(c->http, (unsigned)status, text, text != NULL ? strlen(text) : 0, NULL);
}

void call_fail(struct call *c, int status, const char *fmt, ...)
{
    char why[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    if (status == 429 || status == 503) {
        http_answer_header(c->http, "Retry-After", "1");
    }
    http_answer_error(c->http, (unsigned)status, "%s", why);
}

void call_score(struct call *c)
{
    c->loop->score[c->loop->score_n++] = c;
}

void call_write(struct call *c)
{
    atomic_fetch_add_explicit(&c->holders, 1, memory_order_relaxed);
    if (queue_push(c->loop->node->writes, c, 0) != ST_OK) {
        call_fail(c, 429, "this node has as much to write as it takes; try again");
        call_drop(c);
    }
}
