/* serve_ask.c - ps/serve's service without HTTP: requests from standard input, a line each, answers to standard output.
 *
 *   serve_ask RUN[@k] STATE [option=value ...]
 *
 *   {"kind": "rank", "id": "...", "body": {...}, "query": {...}, "now": us, "version": k}
 *
 * Lines up to an empty one (or the end) are one batch: those that read are scored together, then those that write, and
 * exposures, are written as one group. {"kind": "tick", "now": us} and {"kind": "stats"} stand alone. Each answer is
 * a line: its HTTP status, a blank, the JSON; flushed at the end of a batch.
 *
 * With loops=n so many threads ask all the while, each by a worker of its own; a score that is no number, a status of
 * 500 or more, or an answer of a user that is not whole ends the program with 3.
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "ps/serve/replica.h"
#include "ps/serve/service.h"

#define BATCH 4096

static const char *const KINDS[SERVICE_KINDS] = {
    "rank",   "recommend", "similar",     "infer",    "user_get",    "item_get",
    "events", "user_put",  "user_delete", "item_put", "item_delete",
};

struct line {
    struct json *json;
    struct service_request request;
    bool checked;
};

static int fail(const struct errbuf *err)
{
    fprintf(stderr, "serve_ask: %s\n", err->text);
    return 1;
}

static bool take(struct service_worker *w, const char *text, struct line *l)
{
    struct errbuf err = ERRBUF_INIT;
    memset(l, 0, sizeof(*l));
    if (json_parse(text, strlen(text), "line", &l->json, &err) != ST_OK) {
        fprintf(stderr, "serve_ask: %s\n", err.text);
        return false;
    }
    struct service_request *r = &l->request;
    const char *kind = json_str(l->json, "kind", "");
    while (r->kind < SERVICE_KINDS && strcmp(KINDS[r->kind], kind) != 0)
        r->kind++;
    if (r->kind == SERVICE_KINDS)
        return false;
    r->id = json_str(l->json, "id", NULL);
    r->body = json_get(l->json, "body");
    r->query = json_get(l->json, "query");
    r->now_us = json_u64(l->json, "now", clock_wall_us());
    r->version = json_u64(l->json, "version", 0);
    l->checked = service_check(w, r, &err) == ST_OK;
    return true;
}

static void answer(struct line *l)
{
    char *text = json_text(l->request.answer, 0);
    printf("%d %s\n", l->request.status, text);
    free(text);
    json_free(l->request.answer);
    service_request_release(&l->request);
    json_free(l->json);
}

static void batch(struct service *s, struct service_worker *w, struct line *line, size_t n)
{
    static struct service_request *score[BATCH], *write[BATCH];
    size_t scores = 0, writes = 0;
    for (size_t i = 0; i < n; i++)
        if (line[i].checked && !service_writes(line[i].request.kind))
            score[scores++] = &line[i].request;
    if (scores > 0)
        service_score(w, score, scores);
    for (size_t i = 0; i < n; i++)
        if (line[i].checked && (service_writes(line[i].request.kind) || line[i].request.logs))
            write[writes++] = &line[i].request;
    if (writes > 0)
        service_write(s, write, writes);
    for (size_t i = 0; i < n; i++)
        answer(&line[i]);
    fflush(stdout);
}

static void stats(const struct service *s)
{
    struct service_stats x;
    service_stats(s, &x);
    printf("200 {\"users\": %" PRIu64 ", \"items\": %" PRIu64 ", \"events\": %" PRIu64
           ", \"exposures\": %" PRIu64 ", \"exposures_lost\": %" PRIu64 ", \"outcomes\": %" PRIu64
           ", \"outcomes_late\": %" PRIu64 ", \"journal_bytes\": %" PRIu64 ", \"read_only\": %s}\n",
           x.users, x.items, x.events, x.exposures, x.exposures_lost, x.outcomes, x.outcomes_late,
           x.journal_bytes, x.read_only ? "true" : "false");
    fflush(stdout);
}

static void serve(struct service *s, struct service_worker *w)
{
    static struct line line[BATCH];
    char *text = NULL;
    size_t cap = 0, n = 0;
    ssize_t got;
    while ((got = getline(&text, &cap, stdin)) > 0) {
        text[strcspn(text, "\n")] = '\0';
        const bool alone =
            strstr(text, "\"kind\": \"tick\"") || strstr(text, "\"kind\": \"stats\"");
        if (text[0] == '\0' || alone) {
            batch(s, w, line, n);
            n = 0;
        }
        if (alone && strstr(text, "stats")) {
            stats(s);
        } else if (alone) {
            struct errbuf err = ERRBUF_INIT;
            struct json *j;
            if (json_parse(text, strlen(text), "line", &j, &err) == ST_OK) {
                service_tick(s, json_u64(j, "now", clock_wall_us()));
                json_free(j);
            }
        } else if (text[0] != '\0' && n < BATCH) {
            n += take(w, text, &line[n]);
        }
    }
    batch(s, w, line, n);
    free(text);
}

/* ---- others who ask meanwhile ------------------------------------------------------------------- */

#define LOOPS_MAX 16

static struct loop {
    struct service *service;
    pthread_t thread;
    uint64_t rounds, bad;
} loop[LOOPS_MAX];
static size_t loops;
static atomic_bool stop;

static void ask_once(struct service_worker *w, struct loop *l, uint64_t n)
{
    static const struct {
        enum service_kind kind;
        const char *body;
    } asked[] = {
        {SERVICE_RANK,
         "{\"user_id\": \"u%u\", \"items\": [\"n1\", \"n2\", {\"item_id\": 3}], \"log\": false}"},
        {SERVICE_RECOMMEND, "{\"user_id\": \"u%u\", \"n\": 3, \"log\": false}"},
        {SERVICE_USER_GET, "{}"},
        {SERVICE_SIMILAR, NULL},
    };
    struct service_request request[4], *list[4];
    struct json *body[4] = {NULL};
    size_t used = 0;
    char text[200], id[16];
    snprintf(id, sizeof(id), "u%u", (unsigned)(n % 50));
    memset(request, 0, sizeof(request));
    for (size_t i = 0; i < 4; i++) {
        struct errbuf err = ERRBUF_INIT;
        struct service_request *r = &request[i];
        r->kind = asked[i].kind;
        r->now_us = clock_wall_us();
        r->id = asked[i].kind == SERVICE_SIMILAR ? "n1" : id;
        if (asked[i].body != NULL) {
            snprintf(text, sizeof(text), asked[i].body, (unsigned)(n % 50));
            l->bad += json_parse(text, strlen(text), "loop", &body[i], &err) != ST_OK;
            r->body = body[i];
        }
        if (service_check(w, r, &err) == ST_OK)
            list[used++] = r;
    }
    service_score(w, list, used);
    for (size_t i = 0; i < 4; i++) {
        const struct service_request *r = &request[i];
        /* The first shelf of items may still be in the making. */
        const bool soon = r->kind == SERVICE_SIMILAR && r->status == 503;
        if (((r->status >= 500 && !soon) || r->status == 0 ||
             (r->kind == SERVICE_RANK && json_len(json_get(r->answer, "items")) != 3)) &&
            l->bad++ == 0) {
            char *said = json_text(r->answer, 0);
            fprintf(stderr, "serve_ask: kind %d: %d %s\n", r->kind, r->status, said);
            free(said);
        }
        json_free(request[i].answer);
        service_request_release(&request[i]);
        json_free(body[i]);
    }
}

static void *ask_on(void *arg)
{
    struct loop *l = arg;
    struct errbuf err = ERRBUF_INIT;
    struct service_worker *w;
    if (service_worker_new(l->service, &w, &err) != ST_OK) {
        l->bad++;
        return NULL;
    }
    for (; !atomic_load(&stop); l->rounds++) {
        ask_once(w, l, l->rounds);
        (void)service_prepare(w);
    }
    service_worker_free(w);
    return NULL;
}

static int end_loops(void)
{
    uint64_t rounds = 0, bad = 0;
    atomic_store(&stop, true);
    for (size_t i = 0; i < loops; i++) {
        pthread_join(loop[i].thread, NULL);
        rounds += loop[i].rounds;
        bad += loop[i].bad;
    }
    if (loops > 0)
        fprintf(stderr, "serve_ask: %" PRIu64 " rounds meanwhile, %" PRIu64 " bad\n", rounds, bad);
    return bad > 0 || (loops > 0 && rounds == 0) ? 3 : 0;
}

static void set_option(struct service_conf *c, const char *text)
{
    const char *value = strchr(text, '=') + 1;
    const uint64_t n = strtoull(value, NULL, 10);
    if (strncmp(text, "batch=", 6) == 0)
        c->batch_max = n;
    else if (strncmp(text, "window=", 7) == 0)
        c->window_us = n;
    else if (strncmp(text, "compact=", 8) == 0)
        c->compact_bytes = n;
    else if (strncmp(text, "log_bytes=", 10) == 0)
        c->log_bytes = n;
    else if (strncmp(text, "history=", 8) == 0)
        c->history_max = n;
    else if (strncmp(text, "loops=", 6) == 0)
        loops = n < LOOPS_MAX ? n : LOOPS_MAX;
    else if (strncmp(text, "interactions=", 13) == 0)
        c->interactions = value;
}

int main(int argc, char **argv)
{
    struct errbuf err = ERRBUF_INIT;
    struct replica *replica;
    struct service *service;
    struct service_worker *worker;
    if (argc < 3)
        return 2;
    signal(SIGXFSZ, SIG_IGN);
    const struct replica_conf rc = {.snapshot = argv[1]};
    struct service_conf conf = {.state = argv[2]};
    for (int i = 3; i < argc; i++)
        set_option(&conf, argv[i]);
    if (replica_open(&rc, &replica, &err) != ST_OK)
        return fail(&err);
    if (service_new(&conf, &replica, 1, &service, &err) != ST_OK ||
        service_worker_new(service, &worker, &err) != ST_OK)
        return fail(&err);
    for (size_t i = 0; i < loops; i++) {
        loop[i].service = service;
        if (pthread_create(&loop[i].thread, NULL, ask_on, &loop[i]) != 0)
            return 1;
    }
    serve(service, worker);
    const int code = end_loops();
    service_worker_free(worker);
    service_free(service);
    replica_close(replica);
    return code;
}
