/* http_openapi.c - see http_openapi.h. Nothing is said here that is not in a row of the table; tests/cluster/serve_http.sh
 * asks each route for each of its codes. */
#include "ps/serve/http_openapi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/serve/call.h"

static const char *method_name(enum http_method m)
{
    static const char *const names[] = {"get", "post", "put", "delete", "other"};
    return names[m];
}

static enum status schema(const char *text, const char *of, struct json **out, struct errbuf *err)
{
    char *copy = mem_strdup(text);
    for (char *c = copy; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    enum status st = json_parse(copy, strlen(copy), of, out, err);
    free(copy);
    return st == ST_OK ? st : ST_INTERNAL;
}

static struct json *content(struct json *of_schema, const char *type)
{
    struct json *media = json_object(), *all = json_object();
    json_set(media, "schema", of_schema);
    json_set(all, type, media);
    return all;
}

static struct json *error_content(void)
{
    struct json *ref = json_object();
    json_set_str(ref, "$ref", "#/components/schemas/Error");
    return content(ref, "application/json");
}

/* {id} in the path. */
static struct json *parameters(const char *path)
{
    struct json *list = json_array();
    for (const char *at = path; (at = strchr(at, '{')) != NULL; at++) {
        char name[32];
        struct json *one = json_object(), *type = json_object();
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(at + 1, "}"), at + 1);
        json_set_str(one, "name", name);
        json_set_str(one, "in", "path");
        json_set_bool(one, "required", true);
        json_set_str(type, "type", "string");
        json_set(one, "schema", type);
        json_add(list, one);
    }
    return list;
}

static enum status responses(const struct route *r, struct json *into, struct errbuf *err)
{
    char codes[64];
    snprintf(codes, sizeof(codes), "%s", r->codes);
    char *rest = codes;
    for (char *code; (code = strsep(&rest, " ")) != NULL;) {
        struct json *one = json_object();
        const bool good = code[0] == '2';
        json_set_str(one, "description", good ? "done" : "why not, in `error`");
        if (good && r->response != NULL) {
            struct json *s = NULL;
            enum status st = schema(r->response, r->name, &s, err);
            if (st != ST_OK) {
                json_free(one);
                return st;
            }
            json_set(one, "content", content(s, "application/json"));
        } else if (good) {
            struct json *text = json_object();
            json_set_str(text, "type", "string");
            json_set(one, "content", content(text, "text/plain"));
        } else if (r->response != NULL && strstr(r->name, "health") == NULL) {
            json_set(one, "content", error_content());
        }
        json_set(into, code, one);
    }
    return ST_OK;
}

static enum status operation(const struct route *r, struct json *into, struct errbuf *err)
{
    struct json *answers = json_object();
    json_set_str(into, "operationId", r->name);
    json_set_str(into, "summary", r->summary);
    json_set(into, "parameters", parameters(r->path));
    if (r->request != NULL) {
        struct json *s = NULL, *body = json_object();
        enum status st = schema(r->request, r->name, &s, err);
        if (st != ST_OK) {
            json_free(body);
            json_free(answers);
            return st;
        }
        json_set_bool(body, "required", true);
        json_set(body, "content", content(s, "application/json"));
        json_set(into, "requestBody", body);
    }
    enum status st = responses(r, answers, err);
    json_set(into, "responses", answers);
    return st;
}

static void put_frame(struct json *all)
{
    struct json *info = json_object(), *components = json_object(), *schemas = json_object(),
                *security = json_object(), *bearer = json_object(), *error = NULL;
    json_set_str(all, "openapi", "3.0.3");
    json_set_str(info, "title", "Penstock serving node");
    json_set_str(info, "version", "1");
    json_set_str(info, "description",
                 "Any route may answer 400 (malformed), 401 (no token, where one is set), 413, 429 "
                 "(as much under "
                 "way as the node takes) and 503 (stopping, or no version yet), with the reason in "
                 "`error`.");
    json_set(all, "info", info);
    if (schema("{'type': 'object', 'required': ['error'], 'properties': {'error': {'type': "
               "'string'}}}",
               "error", &error, NULL) == ST_OK) {
        json_set(schemas, "Error", error);
    }
    json_set_str(bearer, "type", "http");
    json_set_str(bearer, "scheme", "bearer");
    json_set(security, "bearer", bearer);
    json_set(components, "schemas", schemas);
    json_set(components, "securitySchemes", security);
    json_set(all, "components", components);
}

enum status http_openapi_text(const struct route *routes, size_t n, char **out, struct errbuf *err)
{
    struct json *all = json_object(), *paths = json_object();
    enum status st = ST_OK;
    put_frame(all);
    for (size_t i = 0; i < n && st == ST_OK; i++) {
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++) {
            seen = strcmp(routes[k].path, routes[i].path) == 0;
        }
        if (seen) {
            continue;
        }
        struct json *methods = json_object();
        for (size_t k = i; k < n && st == ST_OK; k++) {
            if (strcmp(routes[k].path, routes[i].path) == 0) {
                struct json *one = json_object();
                st = operation(&routes[k], one, err);
                json_set(methods, method_name(routes[k].method), one);
            }
        }
        json_set(paths, routes[i].path, methods);
    }
    json_set(all, "paths", paths);
    if (st == ST_OK) {
        *out = json_text(all, 1);
    }
    json_free(all);
    return st;
}

void http_openapi(struct call *c)
{
    const char *text = c->loop->node->openapi;
    http_answer(c->http, 200, mem_strdup(text), strlen(text), NULL);
}
