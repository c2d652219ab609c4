/* infer.c - see infer.h. */
#include "ps/serve/infer.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

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
    return good && one == 1 && n >= 1 && n <= INFER_RECORDS_MAX;
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
                          i, name, INFER_RECORDS_MAX);
    }
    if (json_len(data) != n) {
        return errbuf_set(err, ST_USAGE,
                          "inputs[%zu] (%s).data: it must be an array of %zu values, as the shape "
                          "says; it has %zu",
                          i, name, n, json_len(data));
    }
    for (size_t k = 0; k < i; k++) {
        if (strcmp(f->name[k], name) == 0) {
            return errbuf_set(err, ST_USAGE, "inputs[%zu].name: %s is there already", i, name);
        }
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

static enum status take_outputs(struct infer *f, const struct json *asked, struct errbuf *err)
{
    for (size_t i = 0; i < f->outputs; i++) {
        f->want[i] = json_len(asked) == 0;
    }
    for (size_t i = 0; i < json_len(asked); i++) {
        const char *name = json_str(json_at(asked, i), "name", "");
        size_t k = 0;
        while (k < f->outputs && strcmp(f->output[k], name) != 0) {
            k++;
        }
        if (k == f->outputs) {
            return errbuf_set(err, ST_USAGE, "outputs[%zu].name: \"%s\": the model has %s%s", i,
                              name, f->output[0], f->outputs > 1 ? " and others" : "");
        }
        f->want[k] = true;
    }
    return ST_OK;
}

static enum status take_request(struct infer *f, const struct json *body, size_t text_n,
                                size_t inputs_max, struct errbuf *err)
{
    const struct json *inputs = json_get(body, "inputs");
    size_t columns = json_len(inputs), n = 0;
    if (columns == 0 || columns > inputs_max) {
        return errbuf_set(
            err, ST_USAGE,
            "inputs: an array of 1 to %zu tensors is needed; the model's metadata names "
            "them",
            inputs_max);
    }
    if (json_get(body, "id") != NULL) {
        f->id = json_str(body, "id", NULL);
        if (f->id == NULL || strlen(f->id) > INFER_ID_MAX) {
            return errbuf_set(err, ST_USAGE, "id: it must be a string of at most %u bytes",
                              INFER_ID_MAX);
        }
    }
    /* A value has two bytes at least: nothing is laid out that the text can't fill. */
    if (!shape_of(json_get(json_at(inputs, 0), "shape"), &n) || n > text_n / 2 / columns) {
        return errbuf_set(
            err, ST_USAGE,
            "inputs[0].shape: it must be [n] or [n, 1], n 1 to %zu, and as many values "
            "in data",
            INFER_RECORDS_MAX);
    }
    f->table.records = n;
    f->table.columns = columns;
    f->name = mem_array(columns, sizeof(*f->name));
    f->cell = mem_array(columns * n, sizeof(*f->cell));
    f->room = mem_array(columns * n, sizeof(*f->room));
    f->scores = mem_array(n * f->outputs, sizeof(*f->scores));
    f->table.name = f->name;
    f->table.cell = f->cell;
    enum status st = take_outputs(f, json_get(body, "outputs"), err);
    for (size_t i = 0; i < columns && st == ST_OK; i++) {
        st = take_input(f, i, json_at(inputs, i), err);
    }
    return st;
}

enum status infer_parse(const struct json *body, size_t text_n, size_t inputs_max,
                        const char *const *output, size_t outputs, struct infer **out,
                        struct errbuf *err)
{
    struct infer *f = mem_zalloc(sizeof(*f));
    f->output = output;
    f->outputs = outputs < INFER_OUTPUTS_MAX ? outputs : INFER_OUTPUTS_MAX;
    enum status st = take_request(f, body, text_n, inputs_max, err);
    if (st != ST_OK) {
        infer_free(f);
        return st;
    }
    *out = f;
    return ST_OK;
}

void infer_free(struct infer *f)
{
    if (f == NULL) {
        return;
    }
    free(f->name);
    free(f->cell);
    free(f->room);
    free(f->scores);
    free(f);
}

struct json *infer_answer(const struct infer *f, const char *model, uint64_t version,
                          uint64_t incarnation)
{
    char text[24];
    struct json *j = json_object(), *parameters = json_object(), *list = json_array();
    snprintf(text, sizeof(text), "%" PRIu64, version);
    json_set_str(j, "model_name", model);
    json_set_str(j, "model_version", text);
    if (f->id != NULL) {
        json_set_str(j, "id", f->id);
    }
    json_set_u64(parameters, "snapshot_version", version);
    if (incarnation != 0) {
        json_set_u64(parameters, "incarnation", incarnation);
    }
    json_set(j, "parameters", parameters);
    for (size_t k = 0; k < f->outputs; k++) {
        if (!f->want[k]) {
            continue;
        }
        struct json *one = json_object(), *shape = json_array(), *data = json_array();
        json_set_str(one, "name", f->output[k]);
        json_add_u64(shape, f->table.records);
        json_set(one, "shape", shape);
        json_set_str(one, "datatype", "FP32");
        for (size_t i = 0; i < f->table.records; i++) {
            json_add_f64(data, (double)f->scores[i * f->outputs + k]);
        }
        json_set(one, "data", data);
        json_add(list, one);
    }
    json_set(j, "outputs", list);
    return j;
}
