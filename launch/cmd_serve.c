/* cmd_serve.c - `penstock serve`: hand the call to penstock-serve, which has replica, service and HTTP. */
#include "launch/cmd_serve.h"

#include <stdlib.h>
#include <unistd.h>

#include "launch/args.h"
#include "launch/run.h"

struct serve_call {
    const char *snapshot, *follow, *http, *state, *token_file, *ab, *loops, *keep, *wait;
    struct args_list sets;
};

static enum status become_serve(const char *job, const struct serve_call *c, struct errbuf *err)
{
    char program[1100];
    enum status st = run_program("penstock-serve", program, sizeof(program), err);
    if (st != ST_OK) {
        return st;
    }
    const struct {
        const char *name, *value;
    } words[] = {{"--job", job},          {"--snapshot", c->snapshot},
                 {"--follow", c->follow}, {"--http", c->http},
                 {"--state", c->state},   {"--token-file", c->token_file},
                 {"--loops", c->loops},   {"--keep", c->keep},
                 {"--wait", c->wait},     {"--ab", c->ab}};
    const char *argv[2 + 2 * (sizeof(words) / sizeof(words[0])) + 2 * 256];
    size_t n = 0;
    argv[n++] = program;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (words[i].value != NULL) {
            argv[n++] = words[i].name;
            argv[n++] = words[i].value;
        }
    }
    for (size_t i = 0; i < c->sets.used; i++) {
        argv[n++] = "--set";
        argv[n++] = c->sets.item[i];
    }
    argv[n] = NULL;
    /* OpenBLAS makes its threads before main: they would fight the loops for the cores, and, since they block no
     * signal, TERM would end the node in the middle of requests. */
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    execv(program, (char *const *)argv);
    return errbuf_errno(err, ST_IO, "%s", program);
}

int cmd_serve(int argc, char **argv)
{
    struct serve_call c = {0};
    struct args_list rest;
    const struct args_flag flags[] = {
        {"--snapshot", ARGS_TEXT, &c.snapshot, "DIR[@k]",
         "load one version: of a run's folder the best cut, or cut k"},
        {"--follow", ARGS_TEXT, &c.follow, "DIR|tcp://HOST:PORT",
         "follow a run's complete cuts, in its folder or from its servers (cluster.stream)"},
        {"--http", ARGS_TEXT, &c.http, "[HOST:]PORT",
         "where to listen; default 127.0.0.1:8080; port 0 is chosen by the system; beyond loopback "
         "only with a token"},
        {"--state", ARGS_TEXT, &c.state, "DIR",
         "users, items, events and the interaction log; default <job's name>.serve"},
        {"--token-file", ARGS_TEXT, &c.token_file, "FILE",
         "holds the bearer token that requests must show"},
        {"--ab", ARGS_TEXT, &c.ab, "EXPERIMENT.yaml",
         "deal users to variants and measure each of them; see `ab check`, `ab report`"},
        {"--loops", ARGS_TEXT, &c.loops, "N", "threads that answer; default: one a CPU"},
        {"--keep", ARGS_TEXT, &c.keep, "N", "versions to keep for pin and rollback; default 3"},
        {"--wait", ARGS_TEXT, &c.wait, "SECONDS",
         "how long to wait for the run and its first version; default 60"},
        {"--set", ARGS_LIST, &c.sets, "KEY=VALUE",
         "change one option of the job, as it was done for the run; may be repeated"},
    };
    const struct args_spec spec = {
        "serve JOB.yaml (--snapshot DIR[@k] | --follow DIR|tcp://HOST:PORT) [--http [HOST:]PORT]\n"
        "           [--state DIR] [--token-file FILE] [--loops N] [--keep N] [--ab "
        "EXPERIMENT.yaml]",
        "A serving node: ranks and recommends by HTTP, as of the newest complete cut and the last "
        "click.\nGET /openapi.json describes the interface. TERM answers what has begun and ends.",
        flags,
        sizeof(flags) / sizeof(flags[0]),
        1,
        1};
    struct errbuf err = ERRBUF_INIT;
    enum status st = args_parse(&spec, argc, argv, &rest, &err);
    if (st == ST_OK && (c.snapshot == NULL) == (c.follow == NULL)) {
        st = errbuf_set(&err, ST_USAGE,
                        "one of --snapshot and --follow is needed; usage: penstock %s", spec.usage);
    }
    if (st == ST_OK) {
        st = become_serve(rest.item[0], &c, &err);
    }
    return args_fail("serve", st, &err);
}
