/* http_infer.c - see http_infer.h. infer.h has the tensors. */
#include "ps/serve/http_infer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/option.h"
#include "ps/serve/call.h"
#include "ps/serve/http_health.h"
#include "ps/serve/http_service.h"

/* -- names and versions ------------------------------------------------------------------------- */

static const char *model_name(const struct call *c)
{
    return replica_model(c->loop->node->replica)->job.name;
}

/* The path's model and version; *out_k = 0: none is named. False: answered with 404. */
static bool find_model(struct call *c, uint64_t *out_k)
{
    *out_k = 0;
    if (c->id[0] == NULL || strcmp(c->id[0], model_name(c)) != 0) {
        call_fail(c, 404, "there is no model \"%s\"; this node serves \"%s\"", c->id[0],
                  model_name(c));
        return false;
    }
    if (c->id[1] == NULL) {
        return true;
    }
    if (option_parse_u64(c->id[1], "version", 1, INT64_MAX, out_k, NULL) == ST_OK) {
        const struct version *v = replica_enter(c->loop->reader, *out_k);
        replica_leave(c->loop->reader);
        if (v != NULL) {
            return true;
        }
    }
    call_fail(c, 404,
              "there is no version \"%s\" of \"%s\"; GET /v1/versions lists those that are kept",
              c->id[1], c->id[0]);
    return false;
}

void http_infer_server(struct call *c)
{
    struct json *j = json_object();
    json_set_str(j, "name", "penstock");
    json_set_str(j, "version", "2");
    json_set(j, "extensions", json_array());
    call_answer(c, NULL, 200, j);
}

static void add_tensor(struct json *list, const char *name, const char *datatype)
{
    struct json *one = json_object(), *shape = json_array();
    json_set_str(one, "name", name);
    json_set_str(one, "datatype", datatype);
    json_add_i64(shape, -1);
    json_set(one, "shape", shape);
    json_add(list, one);
}

void http_infer_model(struct call *c)
{
    struct node *n = c->loop->node;
    const struct service_input *input;
    const char *const *output;
    struct replica_version kept[2 * REPLICA_KEEP_MAX];
    uint64_t k;
    char text[24];
    if (!find_model(c, &k)) {
        return;
    }
    struct json *j = json_object(), *versions = json_array(), *inputs = json_array(),
                *outputs = json_array();
    size_t kept_n = replica_list(n->replica, kept, sizeof(kept) / sizeof(kept[0]));
    for (size_t i = 0; i < kept_n; i++) {
        if (!kept[i].refused) {
            snprintf(text, sizeof(text), "%" PRIu64, kept[i].k);
            json_add_str(versions, text);
        }
    }
    size_t inputs_n = service_inputs(n->service, 0, &input);
    for (size_t i = 0; i < inputs_n; i++) {
        add_tensor(inputs, input[i].name, input[i].type == FIELD_FLOAT ? "FP32" : "BYTES");
    }
    size_t outputs_n = service_outputs(n->service, 0, &output);
    for (size_t i = 0; i < outputs_n; i++) {
        add_tensor(outputs, output[i], "FP32");
    }
    json_set_str(j, "name", model_name(c));
    json_set(j, "versions", versions);
    json_set_str(j, "platform", "penstock");
    json_set(j, "inputs", inputs);
    json_set(j, "outputs", outputs);
    call_answer(c, NULL, 200, j);
}

void http_infer_ready(struct call *c)
{
    uint64_t k;
    if (!find_model(c, &k)) {
        return;
    }
    const bool ready = http_health_is_ready(c->loop);
    struct json *j = json_object();
    json_set_str(j, "name", model_name(c));
    json_set_bool(j, "ready", ready);
    call_answer(c, NULL, ready ? 200 : 503, j);
}

static void infer_scored(struct call *c)
{
    uint64_t incarnation = 0;
    if (c->request.status != 200) {
        http_service_refused(c);
        return;
    }
    const struct version *v = replica_enter(c->loop->reader, c->request.answered);
    if (v != NULL) {
        incarnation = version_incarnation(v);
    }
    replica_leave(c->loop->reader);
    call_answer(c, NULL, 200,
                infer_answer(c->infer, model_name(c), c->request.answered, incarnation));
}

void http_infer(struct call *c)
{
    const struct service *service = c->loop->node->service;
    const struct service_input *input;
    const char *const *output;
    struct errbuf err = ERRBUF_INIT;
    uint64_t k;
    if (!find_model(c, &k) || !call_parse_body(c)) {
        return;
    }
    size_t inputs = service_inputs(service, 0, &input),
           outputs = service_outputs(service, 0, &output);
    if (infer_parse(c->body, c->http->body_n, inputs, output, outputs, &c->infer, &err) != ST_OK) {
        call_fail(c, 400, "%s", err.text);
        return;
    }
    c->request.version = k;
    c->request.table = &c->infer->table;
    c->request.scores = c->infer->scores;
    c->scored = infer_scored;
    if (service_check(c->loop->worker, &c->request, &err) != ST_OK) {
        http_service_refused(c);
        return;
    }
    call_score(c);
}
