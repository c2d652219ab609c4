/* http_versions.c - see http_versions.h. The pointer moves under the replica's own lock, which no request takes. */
#include "ps/serve/http_versions.h"

#include "ps/serve/call.h"

static struct json *versions(struct replica *r)
{
    struct replica_version v[2 * REPLICA_KEEP_MAX];
    size_t n = replica_list(r, v, sizeof(v) / sizeof(v[0]));
    struct json *all = json_object(), *list = json_array();
    for (size_t i = 0; i < n; i++) {
        struct json *one = json_object();
        json_set_u64(one, "snapshot_version", v[i].k);
        json_set_u64(one, "incarnation", v[i].e);
        json_set_f64(one, "taken", (double)v[i].wall_us * 1e-6);
        json_set_f64(one, "ready", (double)v[i].shown_us * 1e-6);
        json_set_bool(one, "shown", v[i].shown);
        json_set_bool(one, "pinned", v[i].pinned);
        json_set_bool(one, "refused", v[i].refused);
        json_add(list, one);
    }
    json_set(all, "versions", list);
    return all;
}

static void answer(struct call *c, enum status st, const struct errbuf *err)
{
    if (st == ST_OK) {
        call_answer(c, c->loop->reader, 200, versions(c->loop->node->replica));
    } else if (st == ST_NOT_FOUND || st == ST_REFUSED) {
        call_fail(c, st == ST_NOT_FOUND ? 404 : 409, "%s", err->text);
    } else {
        call_fail(c, 500, "%s", err->text);
    }
}

void http_versions_list(struct call *c)
{
    answer(c, ST_OK, NULL);
}

void http_versions_pin(struct call *c)
{
    struct errbuf err = ERRBUF_INIT;
    uint64_t k = 0;
    if (!call_parse_body(c)) {
        return;
    }
    if (json_need_u64(c->body, "snapshot_version", &k, &err) != ST_OK || k == 0) {
        call_fail(
            c, 400,
            "snapshot_version: the number of a version that GET /v1/versions lists is needed");
        return;
    }
    answer(c, replica_pin(c->loop->node->replica, k, &err), &err);
}

void http_versions_unpin(struct call *c)
{
    replica_unpin(c->loop->node->replica);
    answer(c, ST_OK, NULL);
}

void http_versions_rollback(struct call *c)
{
    struct errbuf err = ERRBUF_INIT;
    uint64_t k = 0;
    enum status st = replica_rollback(c->loop->node->replica, &k, &err);
    if (st == ST_OK) {
        atomic_fetch_add_explicit(&c->loop->node->rollbacks, 1, memory_order_relaxed);
    }
    /* There is nothing older: the node's state, not a wrong name. */
    answer(c, st == ST_NOT_FOUND ? ST_REFUSED : st, &err);
}
