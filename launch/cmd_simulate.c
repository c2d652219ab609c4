/* cmd_simulate.c - `penstock simulate`: the words; the people are common/data/shop_people, their visits crowd.c. */
#include "launch/cmd_simulate.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "launch/args.h"
#include "launch/crowd.h"
#include "launch/simulate.h"

struct words {
    struct args_list nodes;
    uint64_t rate, seconds, requests, seed, candidates, in_flight, deadline_ms, speed, probe;
    const char *context, *token;
    bool recommend, known, impressions, json;
};

static volatile int interrupted; /* polled by crowd_run */

static void on_signal(int sig)
{
    interrupted = sig;
    signal(sig, SIG_DFL); /* the second one ends it at once */
}

static enum status check_range(const char *flag, uint64_t v, uint64_t min, uint64_t max,
                               struct errbuf *err)
{
    if (v >= min && v <= max)
        return ST_OK;
    return errbuf_set(err, ST_USAGE, "%s %" PRIu64 ": allowed are %" PRIu64 " to %" PRIu64, flag, v,
                      min, max);
}

static enum status check_node(const char *node, struct errbuf *err)
{
    size_t scheme = strncmp(node, "http://", 7) == 0    ? 7
                    : strncmp(node, "https://", 8) == 0 ? 8
                                                        : 0;
    size_t n = strlen(node);
    if (scheme == 0 || n == scheme || n > 200 || strpbrk(node + scheme, "/?#@ ") != NULL)
        return errbuf_set(err, ST_USAGE,
                          "--node \"%.200s\": it must be http://HOST:PORT, with nothing behind it",
                          node);
    return ST_OK;
}

static enum status check_words(const struct words *w, struct errbuf *err)
{
    const struct {
        const char *flag;
        uint64_t v, min, max;
    } ranges[] = {
        {"--rate", w->rate, 1, 100000},
        {"--seconds", w->seconds, 0, 30 * 86400},
        {"--requests", w->requests, 0, 1000000000000},
        {"--in-flight", w->in_flight, 1, SIMULATE_SLOTS_MAX},
        {"--deadline", w->deadline_ms, 1, 600000},
        {"--speed", w->speed, 1, 8640000},
        {"--candidates", w->candidates, SHOP_PAGE, SHOP_CANDIDATES_MAX},
    };
    if (w->nodes.used == 0)
        return errbuf_set(err, ST_USAGE, "--node http://HOST:PORT is missing");
    if (w->nodes.used > CROWD_NODES_MAX)
        return errbuf_set(err, ST_USAGE, "--node: more than %u times", CROWD_NODES_MAX);
    if (w->seconds > 0 && w->requests > 0)
        return errbuf_set(err, ST_USAGE, "--seconds and --requests: only one of them can end it");
    enum status st = ST_OK;
    for (size_t i = 0; st == ST_OK && i < sizeof ranges / sizeof ranges[0]; i++)
        st = check_range(ranges[i].flag, ranges[i].v, ranges[i].min, ranges[i].max, err);
    for (size_t i = 0; st == ST_OK && i < w->nodes.used; i++)
        st = check_node(w->nodes.item[i], err);
    return st;
}

/* The file's first line: the token itself would stand in everybody's list of processes. */
static enum status read_token(const char *path, char **out, struct errbuf *err)
{
    char *text = NULL;
    size_t n = 0;
    enum status st = file_read(path, 4096, &text, &n, err);
    if (st != ST_OK)
        return errbuf_wrap(err, ST_USAGE, "--token-file: ");
    text[strcspn(text, "\r\n")] = '\0';
    if (text[0] == '\0' || strlen(text) > n) {
        free(text);
        return errbuf_set(err, ST_USAGE, "--token-file: %s: its first line must be the token",
                          path);
    }
    *out = text;
    return ST_OK;
}

static enum status fill_conf(const struct words *w, const char *dir, struct crowd_conf *conf,
                             char **out_token, struct errbuf *err)
{
    enum status st = check_words(w, err);
    if (st == ST_OK)
        st = visit_context_parse(w->context, &conf->form.context, err);
    if (st == ST_OK && w->token != NULL)
        st = read_token(w->token, out_token, err);
    if (st == ST_OK)
        st = shop_people_read(dir, &conf->shop, err);
    if (st != ST_OK)
        return st;
    conf->people = (struct shop_people_config){.seed = w->seed,
                                               .rate = (double)w->rate,
                                               .speed = (double)w->speed,
                                               .candidates = (size_t)w->candidates};
    conf->form.candidates = (size_t)w->candidates;
    conf->form.recommend = w->recommend;
    conf->form.impressions = w->impressions;
    conf->nodes = w->nodes.used;
    memcpy(conf->node, w->nodes.item, conf->nodes * sizeof conf->node[0]);
    conf->token = *out_token;
    conf->visits_max = w->requests;
    conf->seconds = w->requests > 0 ? 0 : w->seconds > 0 ? (double)w->seconds : 10;
    conf->in_flight = (size_t)w->in_flight;
    conf->deadline_us = w->deadline_ms * 1000;
    conf->probe_every = w->probe;
    conf->known = w->known;
    return ST_OK;
}

static void print_tally(const struct words *w, const struct crowd_conf *conf,
                        const struct tally *tally)
{
    if (w->json) {
        struct json *j = tally_json(tally);
        json_set_u64(j, "seed", w->seed);
        json_set_f64(j, "rate_asked", conf->people.rate);
        char *text = json_text(j, 2);
        printf("%s\n", text);
        free(text);
        json_free(j);
        return;
    }
    struct buffer text = BUFFER_INIT;
    tally_text(tally, &text);
    fputs(buffer_text(&text), stdout);
    buffer_release(&text);
}

static enum status play(const struct words *w, const char *dir, struct errbuf *err)
{
    struct crowd_conf conf;
    struct tally tally;
    char *token = NULL;
    memset(&conf, 0, sizeof conf);
    enum status st = fill_conf(w, dir, &conf, &token, err);
    if (st == ST_OK) {
        tally_init(&tally);
        signal(SIGINT, on_signal);
        signal(SIGTERM, on_signal);
        st = crowd_run(&conf, &interrupted, &tally, err);
        if (st == ST_OK)
            print_tally(w, &conf, &tally);
        if (st == ST_OK && (tally_wrong(&tally) > 0 || tally.fault[VISIT_SOUND] == 0))
            st = errbuf_set(err, ST_BAD_PEER, "%s; %s",
                            tally_wrong(&tally) > 0 ? "some answers were wrong" : "no ranking came",
                            tally.error.text[0] != '\0' ? tally.error.text : "see \"wrong\"");
        tally_release(&tally);
    }
    free(token);
    return st;
}

int cmd_simulate(int argc, char **argv)
{
    struct words w = {.rate = 100,
                      .seed = 1,
                      .candidates = 100,
                      .in_flight = 64,
                      .deadline_ms = 2000,
                      .speed = 3600,
                      .probe = 20,
                      .context = "hour,device,position"};
    const struct args_flag flags[] = {
        {"--node", ARGS_LIST, &w.nodes, "URL",
         "http://HOST:PORT of a serving node; again for each other"},
        {"--rate", ARGS_U64, &w.rate, "N", "visits a second, each one ranking; default 100"},
        {"--seconds", ARGS_U64, &w.seconds, "S", "how long people come; default 10"},
        {"--requests", ARGS_U64, &w.requests, "N", "or how many of them: the same ones each time"},
        {"--seed", ARGS_U64, &w.seed, "S", "the same seed asks the same; default 1"},
        {"--candidates", ARGS_U64, &w.candidates, "N", "items to be ranked; default 100"},
        {"--recommend", ARGS_SWITCH, &w.recommend, NULL,
         "ask /v1/recommend instead: the node finds the items"},
        {"--context", ARGS_TEXT, &w.context, "LIST",
         "columns sent along, of hour,device,position,user_segment, or none; default the first "
         "three"},
        {"--speed", ARGS_U64, &w.speed, "N", "the shop's time against ours; default 3600"},
        {"--in-flight", ARGS_U64, &w.in_flight, "N", "requests at once, at most; default 64"},
        {"--deadline", ARGS_U64, &w.deadline_ms, "MS", "of a request; default 2000"},
        {"--probe", ARGS_U64, &w.probe, "N",
         "each N-th visit with a click asks again until the ranking changes; default 20, 0 none"},
        {"--impressions", ARGS_SWITCH, &w.impressions, NULL, "report what was shown, too"},
        {"--known", ARGS_SWITCH, &w.known, NULL,
         "the nodes know the log's items and users: introduce only new ones"},
        {"--token-file", ARGS_TEXT, &w.token, "FILE",
         "whose first line is the nodes' bearer token"},
        {"--json", ARGS_SWITCH, &w.json, NULL, "the figures as JSON"},
    };
    const struct args_spec spec = {
        .usage =
            "simulate SHOP_DIR --node http://HOST:PORT... [--rate N] [--seconds S | --requests "
            "N]",
        .about =
            "Play the people of a shop (`penstock data synth shop`) against serving nodes: they "
            "come, are\n"
            "shown what the node ranks first, look down the list, click by their true tastes, and "
            "it is\n"
            "reported. Ends with latencies, freshness, and clicks against the best and a random "
            "order.",
        .flags = flags,
        .flags_used = sizeof flags / sizeof flags[0],
        .rest_min = 1,
        .rest_max = 1,
    };
    struct errbuf err = ERRBUF_INIT;
    struct args_list rest;
    enum status st = args_parse(&spec, argc, argv, &rest, &err);
    if (st == ST_OK)
        st = play(&w, rest.item[0], &err);
    return args_fail("simulate", st, &err);
}
