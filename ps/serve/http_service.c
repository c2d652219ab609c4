/* http_service.c - see http_service.h. What the bodies are is service.h's; here they become requests to it. */
#include "ps/serve/http_service.h"

#include "ps/serve/call.h"

void http_service_refused(struct call *c)
{
    struct json *answer = c->request.answer;
    c->request.answer = NULL;
    if (c->request.status == 429 || c->request.status == 503) {
        http_answer_header(c->http, "Retry-After", "1");
    }
    call_answer(c, c->loop->reader, c->request.status, answer);
}

void http_service(struct call *c)
{
    struct errbuf err = ERRBUF_INIT;
    if (c->route->has_body && !call_parse_body(c)) {
        return;
    }
    call_parse_query(c);
    if (!c->route->has_body && c->route->kind != SERVICE_SIMILAR && c->http->target.pairs > 0) {
        call_fail(c, 400, "the query has \"%s\": this route takes none",
                  c->http->target.pair[0].key);
        return;
    }
    c->request.id = c->id[0];
    c->request.body = c->body;
    c->request.query = c->query;
    service_assign(c->loop->worker, &c->request);
    if (service_check(c->loop->worker, &c->request, &err) != ST_OK) {
        http_service_refused(c);
    } else if (service_writes(c->request.kind)) {
        call_write(c);
    } else {
        call_score(c);
    }
}
