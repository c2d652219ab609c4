/* cmd_serving.c - `penstock serving NODE list|pin K|unpin|rollback`: a request to the node, its answer as a table. */
#include "launch/cmd_serving.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/option.h"
#include "launch/args.h"
#include "launch/node_ask.h"

#define ANSWER_US 5000000u

static void print_versions(const struct json *j)
{
    const struct json *list = json_get(j, "versions");
    printf("%12s %12s  %-20s %s\n", "version", "incarnation", "taken", "");
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *v = json_at(list, i);
        time_t taken = (time_t)json_f64(v, "taken", 0);
        struct tm tm;
        char when[32] = "";
        gmtime_r(&taken, &tm);
        strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
        printf("%12" PRIu64 " %12" PRIu64 "  %-20s %s%s%s\n", json_u64(v, "snapshot_version", 0),
               json_u64(v, "incarnation", 0), taken > 0 ? when : "",
               json_bool(v, "shown", false) ? "shown" : "",
               json_bool(v, "pinned", false) ? ", pinned" : "",
               json_bool(v, "refused", false) ? "refused: weights that are not finite" : "");
    }
}

/* The word and its number into a request. */
static enum status request_of(const struct args_list *rest, const char **out_method,
                              const char **out_path, char *body, size_t body_n, struct errbuf *err)
{
    const char *word = rest->item[1];
    uint64_t k = 0;
    const bool pin = strcmp(word, "pin") == 0;
    *out_method = "POST";
    body[0] = '\0';
    if (pin != (rest->used == 3)) {
        return errbuf_set(err, ST_USAGE, "%s",
                          pin ? "pin needs the number of a version, see `list`"
                              : "only pin takes a number");
    }
    if (pin) {
        enum status st = option_parse_u64(rest->item[2], "pin", 1, INT64_MAX, &k, err);
        snprintf(body, body_n, "{\"snapshot_version\": %" PRIu64 "}", k);
        *out_path = "/v1/versions/pin";
        return st;
    }
    if (strcmp(word, "list") == 0) {
        *out_method = "GET";
        *out_path = "/v1/versions";
    } else if (strcmp(word, "unpin") == 0) {
        *out_path = "/v1/versions/unpin";
    } else if (strcmp(word, "rollback") == 0) {
        *out_path = "/v1/versions/rollback";
    } else {
        return errbuf_set(err, ST_USAGE, "%s: it must be list, pin, unpin or rollback", word);
    }
    return ST_OK;
}

static enum status serving(const struct args_list *rest, const char *token_file, bool as_json,
                           struct errbuf *err)
{
    const char *method = NULL, *path = NULL;
    char body[64], *token = NULL;
    size_t token_n = 0;
    struct json *j = NULL;
    enum status st = request_of(rest, &method, &path, body, sizeof(body), err);
    if (st == ST_OK && token_file != NULL) {
        st = file_read(token_file, 4096, &token, &token_n, err);
        if (st != ST_OK) {
            return errbuf_wrap(err, ST_USAGE, "--token-file: ");
        }
        token[strcspn(token, "\r\n")] = '\0';
    }
    if (st == ST_OK) {
        st = node_ask(rest->item[0], method, path, token, body[0] != '\0' ? body : NULL, ANSWER_US,
                      &j, err);
    }
    free(token);
    if (st != ST_OK) {
        return st;
    }
    if (as_json) {
        char *text = json_text(j, 2);
        printf("%s\n", text);
        free(text);
    } else {
        print_versions(j);
    }
    json_free(j);
    return ST_OK;
}

int cmd_serving(int argc, char **argv)
{
    const char *token_file = NULL;
    bool json = false;
    struct args_list rest;
    const struct args_flag flags[] = {
        {"--token-file", ARGS_TEXT, &token_file, "FILE", "holds the node's token, if it has one"},
        {"--json", ARGS_SWITCH, &json, NULL, "print the answer as JSON"},
    };
    const struct args_spec spec = {
        "serving HOST:PORT (list | pin K | unpin | rollback) [--token-file FILE] [--json]",
        "Which versions a serving node keeps, and which one it shows. pin K shows version K until "
        "unpin;\nrollback pins the one before that which is shown.",
        flags,
        sizeof(flags) / sizeof(flags[0]),
        2,
        3};
    struct errbuf err = ERRBUF_INIT;
    enum status st = args_parse(&spec, argc, argv, &rest, &err);
    if (st == ST_OK) {
        st = serving(&rest, token_file, json, &err);
    }
    return args_fail("serving", st, &err);
}
