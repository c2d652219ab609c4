/* http_infer.c - see http_infer.h. Tensors become columns of texts (struct service_table), scores become a tensor. */
#include "ps/serve/http_infer.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/option.h"
#include "ps/serve/call.h"
#include "ps/serve/http_health.h"
#include "ps/serve/http_service.h"

#define RECORDS_MAX ((size_t)1 << 20) /* the service has its own, smaller bound */
#define ID_MAX      256u

/* What a request holds until it is answered. */
struct infer {
    struct service_table table;
    const char **name;            /* (columns) */
    struct service_cell *cell;    /* (columns, records) */
    char (*room)[JSON_CELL_ROOM]; /* numbers as texts: (columns, records); NULL: there are none */
    float *scores;                /* (records, outputs) */
    bool want[64];                /* which outputs */
    const char *id;               /* borrowed from the body; NULL: none */
};

static void infer_free(struct infer *f)
{
    free(f->name);
    free(f->cell);
    free(f->room);
    free(f->scores);
    free(f);
}

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

/* -- tensors in --------------------------------------------------------------------------------- */

enum tensor_kind { TENSOR_NONE, TENSOR_TEXT, TENSOR_WHOLE, TENSOR_REAL, TENSOR_TRUTH };

static const struct datatype {
    const char *name;
    enum tensor_kind kind;
    double least, most; /* inclusive */
} datatypes[] = {
    {"BYTES", TENSOR_TEXT, 0, 0},
    {"BOOL", TENSOR_TRUTH, 0, 0},
    {"UINT8", TENSOR_WHOLE, 0, 255},
    {"UINT16", TENSOR_WHOLE, 0, 65535},
    {"UINT32", TENSOR_WHOLE, 0, 4294967295.0},
    {"UINT64", TENSOR_WHOLE, 0, 0x1p63}, /* JSON here has no larger ones */
    {"INT8", TENSOR_WHOLE, -128, 127},
    {"INT16", TENSOR_WHOLE, -32768, 32767},
    {"INT32", TENSOR_WHOLE, -2147483648.0, 2147483647.0},
    {"INT64", TENSOR_WHOLE, -0x1p63, 0x1p63},
    {"FP16", TENSOR_REAL, -65504, 65504},
    {"FP32", TENSOR_REAL, -FLT_MAX, FLT_MAX},
    {"FP64", TENSOR_REAL, -DBL_MAX, DBL_MAX},
};

static const struct datatype *datatype_of(const char *name)
{
    for (size_t i = 0; i < sizeof(datatypes) / sizeof(datatypes[0]); i++) {
        if (strcmp(datatypes[i].name, name) == 0) {
            return &datatypes[i];
        }
    }
    return NULL;
}

/* [n] or [n, 1] into *out_n. */
static bool shape_of(const struct json *shape, size_t *out_n)
{
    uint64_t n = 0, one = 1;
    size_t rank = json_len(shape);
    bool good = rank >= 1 && rank <= 2 && json_need_u64(json_at(shape, 0), NULL, &n, NULL) == ST_OK;
    good = good && (rank == 1 || json_need_u64(json_at(shape, 1), NULL, &one, NULL) == ST_OK);
    *out_n = (size_t)n;
    return good && one == 1 && n >= 1 && n <= RECORDS_MAX;
}

/* One value into a cell; it must be what its datatype says. */
static bool take_value(const struct json *v, const struct datatype *type, char *room,
                       struct service_cell *out)
{
    enum json_kind is = json_kind(v);
    bool good = type->kind == TENSOR_TEXT    ? is == JSON_TEXT
                : type->kind == TENSOR_TRUTH ? is == JSON_BOOL
                : type->kind == TENSOR_WHOLE ? is == JSON_WHOLE
                                             : is == JSON_WHOLE || is == JSON_FRACTION;
    if (good && (type->kind == TENSOR_WHOLE || type->kind == TENSOR_REAL)) {
        double x = json_f64(v, NULL, NAN);
        good = x >= type->least && x <= type->most;
    }
    if (good) {
        out->text = json_cell(v, room, &out->n);
        good = out->text != NULL;
    }
    return good;
}

/* Tensor i of the request into column i. */
static enum status take_input(struct infer *f, size_t i, const struct json *in, struct errbuf *err)
{
    const char *name = NULL, *type_name = json_str(in, "datatype", "");
    const struct datatype *type = datatype_of(type_name);
    const struct json *data = json_get(in, "data");
    size_t n = 0;
    if (json_need_str(in, "name", &name, NULL) != ST_OK) {
        return errbuf_set(err, ST_USAGE, "inputs[%zu].name: the name of a field is needed", i);
    }
    if (type == NULL) {
        return errbuf_set(
            err, ST_USAGE,
            "inputs[%zu] (%s).datatype: \"%s\": it must be BYTES, BOOL, INT8 to INT64, "
            "UINT8 to UINT64, FP16, FP32 or FP64",
            i, name, type_name);
    }
    if (!shape_of(json_get(in, "shape"), &n) || n != f->table.records) {
        return errbuf_set(err, ST_USAGE,
                          "inputs[%zu] (%s).shape: it must be [n] or [n, 1] with the same n, 1 to "
                          "%zu, in all inputs",
                          i, name, RECORDS_MAX);
    }
    if (json_len(data) != n) {
        return errbuf_set(err, ST_USAGE,
                          "inputs[%zu] (%s).data: it must be an array of %zu values, as the shape "
                          "says; it has %zu",
                          i, name, n, json_len(data));
    }
    f->name[i] = name;
    for (size_t k = 0; k < n; k++) {
        const struct json *v = json_at(data, k);
        v = json_kind(v) == JSON_LIST && json_len(v) == 1 ? json_at(v, 0) : v; /* [n, 1] nested */
        if (!take_value(v, type, f->room[i * n + k], &f->cell[i * n + k])) {
            return errbuf_set(err, ST_USAGE, "inputs[%zu] (%s).data[%zu]: it must be of %s", i,
                              name, k, type->name);
        }
    }
    return ST_OK;
}

static enum status take_outputs(struct infer *f, const struct call *c, struct errbuf *err)
{
    const char *const *output;
    const struct json *asked = json_get(c->body, "outputs");
    size_t n = service_outputs(c->loop->node->service, 0, &output);
    n = n < 64 ? n : 64;
    for (size_t i = 0; i < n; i++) {
        f->want[i] = json_len(asked) == 0;
    }
    for (size_t i = 0; i < json_len(asked); i++) {
        const char *name = json_str(json_at(asked, i), "name", "");
        size_t k = 0;
        while (k < n && strcmp(output[k], name) != 0) {
            k++;
        }
        if (k == n) {
            return errbuf_set(err, ST_USAGE, "outputs[%zu].name: \"%s\": the model has %s%s", i,
                              name, output[0], n > 1 ? " and others" : "");
        }
        f->want[k] = true;
    }
    return ST_OK;
}

static enum status take_request(struct call *c, struct infer *f, struct errbuf *err)
{
    const struct json *inputs = json_get(c->body, "inputs");
    const struct service_input *known;
    const char *const *output;
    size_t columns = json_len(inputs), n = 0;
    size_t known_n = service_inputs(c->loop->node->service, 0, &known);
    size_t outputs = service_outputs(c->loop->node->service, 0, &output);
    if (columns == 0 || columns > known_n) {
        return errbuf_set(
            err, ST_USAGE,
            "inputs: an array of 1 to %zu tensors is needed; GET /v2/models/%s names them", known_n,
            model_name(c));
    }
    if (json_get(c->body, "id") != NULL) {
        f->id = json_str(c->body, "id", NULL);
        if (f->id == NULL || strlen(f->id) > ID_MAX) {
            return errbuf_set(err, ST_USAGE, "id: it must be a string of at most %u bytes", ID_MAX);
        }
    }
    if (!shape_of(json_get(json_at(inputs, 0), "shape"), &n) ||
        n > c->http->body_n / 2) { /* a value has two bytes at least */
        return errbuf_set(
            err, ST_USAGE,
            "inputs[0].shape: it must be [n] or [n, 1], n 1 to %zu, and as many values "
            "in data",
            RECORDS_MAX);
    }
    f->table.records = n;
    f->table.columns = columns;
    f->name = mem_array(columns, sizeof(*f->name));
    f->cell = mem_array(columns * n, sizeof(*f->cell));
    f->room = mem_array(columns * n, sizeof(*f->room));
    f->scores = mem_array(n * outputs, sizeof(*f->scores));
    f->table.name = f->name;
    f->table.cell = f->cell;
    enum status st = take_outputs(f, c, err);
    for (size_t i = 0; i < columns && st == ST_OK; i++) {
        st = take_input(f, i, json_at(inputs, i), err);
    }
    return st;
}

/* -- scores out --------------------------------------------------------------------------------- */

static void infer_scored(struct call *c)
{
    const struct infer *f = c->infer;
    const char *const *output;
    size_t outputs = service_outputs(c->loop->node->service, 0, &output);
    char version[24];
    if (c->request.status != 200) {
        http_service_refused(c);
        return;
    }
    struct json *j = json_object(), *parameters = json_object(), *list = json_array();
    snprintf(version, sizeof(version), "%" PRIu64, c->request.answered);
    json_set_str(j, "model_name", model_name(c));
    json_set_str(j, "model_version", version);
    if (f->id != NULL) {
        json_set_str(j, "id", f->id);
    }
    json_set_u64(parameters, "snapshot_version", c->request.answered);
    const struct version *v = replica_enter(c->loop->reader, c->request.answered);
    if (v != NULL) {
        json_set_u64(parameters, "incarnation", version_incarnation(v));
    }
    replica_leave(c->loop->reader);
    json_set(j, "parameters", parameters);
    for (size_t k = 0; k < outputs; k++) {
        if (!f->want[k]) {
            continue;
        }
        struct json *one = json_object(), *shape = json_array(), *data = json_array();
        json_set_str(one, "name", output[k]);
        json_add_u64(shape, f->table.records);
        json_set(one, "shape", shape);
        json_set_str(one, "datatype", "FP32");
        for (size_t i = 0; i < f->table.records; i++) {
            json_add_f64(data, (double)f->scores[i * outputs + k]);
        }
        json_set(one, "data", data);
        json_add(list, one);
    }
    json_set(j, "outputs", list);
    call_answer(c, NULL, 200, j);
}

void http_infer(struct call *c)
{
    struct errbuf err = ERRBUF_INIT;
    uint64_t k;
    if (!find_model(c, &k) || !call_parse_body(c)) {
        return;
    }
    c->infer = mem_zalloc(sizeof(*c->infer));
    c->infer_free = infer_free;
    if (take_request(c, c->infer, &err) != ST_OK) {
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
