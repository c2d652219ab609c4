/* http_health.c - see http_health.h. */
#include "ps/serve/http_health.h"

#include "common/base/clock.h"
#include "ps/serve/call.h"

bool http_health_is_ready(struct node_loop *l)
{
    bool ready = replica_enter(l->reader, 0) != NULL && !atomic_load(&l->node->draining);
    replica_leave(l->reader);
    return ready;
}

void http_health(struct call *c)
{
    struct node *n = c->loop->node;
    struct json *j = json_object();
    const bool ready = http_health_is_ready(c->loop);
    const struct version *v = replica_enter(c->loop->reader, 0);
    json_set_str(j, "status", ready ? "ok" : v == NULL ? "no version yet" : "stopping");
    if (v != NULL) {
        uint64_t now = clock_wall_us(), taken = version_wall_us(v);
        json_set_u64(j, "snapshot_version", version_cut(v));
        json_set_u64(j, "incarnation", version_incarnation(v));
        json_set_f64(j, "age_seconds", now > taken ? (double)(now - taken) * 1e-6 : 0);
    }
    replica_leave(c->loop->reader);
    json_set_f64(j, "up_seconds", (double)(clock_now_us() - n->started_us) * 1e-6);
    call_answer(c, c->loop->reader, ready ? 200 : 503, j);
}

void http_health_live(struct call *c)
{
    struct json *j = json_object();
    json_set_bool(j, "live", true);
    call_answer(c, NULL, 200, j);
}

void http_health_ready(struct call *c)
{
    struct json *j = json_object();
    const bool ready = http_health_is_ready(c->loop);
    json_set_bool(j, "live", true);
    json_set_bool(j, "ready", ready);
    call_answer(c, NULL, ready ? 200 : 503, j);
}
