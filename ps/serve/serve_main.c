/* serve_main.c - penstock-serve: a serving node. `penstock serve` becomes this program.
 *
 *     penstock-serve --job JOB.yaml (--snapshot DIR[@k] | --follow DIR | --follow tcp://HOST:PORT)
 *                    [--http [HOST:]PORT] [--state DIR] [--token-file FILE] [--loops N] [--keep N] [--wait SECONDS]
 *                    [--ab EXPERIMENT.yaml]
 *
 *   first TERM, INT  not ready; answer what has begun; end with 0
 *   second           exit 1 at once
 *
 * The job file says which model is expected: the one that the snapshot or the stream has must be it.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/job.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/options.h"
#include "common/base/thread.h"
#include "ps/serve/node.h"

#define DRAIN_US  10000000u
#define TOKEN_MIN 16u
#define TOKEN_MAX 4096u

struct call_of_program {
    const char *job, *snapshot, *follow, *http, *state, *token_file, *ab;
    uint64_t loops, keep, wait_s;
    char *set[256]; /* borrowed */
    size_t sets;
};

static const char usage[] = "usage: penstock-serve --job JOB.yaml (--snapshot DIR[@k] | --follow "
                            "DIR | --follow tcp://HOST:PORT)\n"
                            "           [--http [HOST:]PORT] [--state DIR] [--token-file FILE] "
                            "[--loops N] [--keep N] [--wait SECONDS]\n"
                            "           [--ab EXPERIMENT.yaml] [--set KEY=VALUE]...\n";

static enum status parse_call(int argc, char **argv, struct call_of_program *out,
                              struct errbuf *err)
{
    struct call_of_program c = {.http = "127.0.0.1:8080", .keep = 3, .wait_s = 60};
    enum status st = ST_OK;
    for (int i = 1; i < argc && st == ST_OK; i++) {
        const char *name = argv[i], *v = i + 1 < argc ? argv[++i] : NULL;
        if (v == NULL) {
            st = errbuf_set(err, ST_USAGE, "%s is not known or has no value\n%s", name, usage);
        } else if (strcmp(name, "--job") == 0) {
            c.job = v;
        } else if (strcmp(name, "--snapshot") == 0) {
            c.snapshot = v;
        } else if (strcmp(name, "--follow") == 0) {
            c.follow = v;
        } else if (strcmp(name, "--http") == 0) {
            c.http = v;
        } else if (strcmp(name, "--state") == 0) {
            c.state = v;
        } else if (strcmp(name, "--token-file") == 0) {
            c.token_file = v;
        } else if (strcmp(name, "--ab") == 0) {
            c.ab = v;
        } else if (strcmp(name, "--loops") == 0) {
            st = option_parse_u64(v, name, 1, HTTP_LOOPS_MAX, &c.loops, err);
        } else if (strcmp(name, "--keep") == 0) {
            st = option_parse_u64(v, name, 1, REPLICA_KEEP_MAX, &c.keep, err);
        } else if (strcmp(name, "--wait") == 0) {
            st = option_parse_u64(v, name, 0, 86400, &c.wait_s, err);
        } else if (strcmp(name, "--set") == 0 && c.sets < sizeof(c.set) / sizeof(c.set[0])) {
            c.set[c.sets++] = argv[i];
        } else {
            st = errbuf_set(err, ST_USAGE, "%s is not known\n%s", name, usage);
        }
    }
    if (st == ST_OK && (c.job == NULL || (c.snapshot == NULL) == (c.follow == NULL))) {
        st = errbuf_set(err, ST_USAGE, "%s", usage);
    }
    if (st == ST_OK) {
        *out = c;
    }
    return st;
}

/* The token is what the file holds, without the line's end. */
static enum status read_token(const char *path, char **out, struct errbuf *err)
{
    size_t n = 0;
    enum status st = file_read(path, TOKEN_MAX, out, &n, err);
    if (st != ST_OK) {
        return errbuf_wrap(err, ST_USAGE, "--token-file: ");
    }
    while (n > 0 && ((*out)[n - 1] == '\n' || (*out)[n - 1] == '\r')) {
        (*out)[--n] = '\0';
    }
    if (n < TOKEN_MIN || strlen(*out) != n || strcspn(*out, " \t\r\n") != n) {
        return errbuf_set(err, ST_USAGE,
                          "--token-file: %s must hold one word of at least %u characters", path,
                          TOKEN_MIN);
    }
    return ST_OK;
}

/* Two fields are the same when they encode the same: what a cell becomes depends on no other setting. */
static bool same_field(const struct job_field *a, const struct job_field *b)
{
    return strcmp(a->name, b->name) == 0 && a->type == b->type && a->hash == b->hash &&
           a->min_count == b->min_count && a->norm == b->norm;
}

static enum status check_job(const struct call_of_program *c, const struct job *run,
                             struct errbuf *err)
{
    const char *path = c->job;
    struct job job;
    enum status st = job_load(path, c->set, c->sets, &job, err);
    if (st != ST_OK) {
        return st;
    }
    if (job.model.family != run->model.family || job.model.embedding != run->model.embedding ||
        job.data.fields_used != run->data.fields_used) {
        st = errbuf_set(err, ST_USAGE,
                        "%s: model or fields are not those of the run that is to be served", path);
    }
    for (size_t i = 0; i < job.data.fields_used && st == ST_OK; i++) {
        if (!same_field(&job.data.fields[i], &run->data.fields[i])) {
            st = errbuf_set(err, ST_USAGE,
                            "%s: field \"%s\" is not that of the run that is to be served", path,
                            job.data.fields[i].name);
        }
    }
    job_release(&job);
    return st;
}

/* -- its life ----------------------------------------------------------------------------------- */

struct serving {
    struct call_of_program call;
    char *token, *state;                      /* owned */
    struct experiment experiment;             /* with --ab */
    struct replica *variant[AB_VARIANTS_MAX]; /* a variant's own; NULL: it takes the node's */
    struct replica *replica;
    struct service *service;
    struct node *node;
    int signals;
};

static enum status take_signals(int *out, struct errbuf *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    *out = signalfd(-1, &set, SFD_CLOEXEC);
    return *out >= 0 ? ST_OK : errbuf_errno(err, ST_INTERNAL, "signalfd");
}

static void wait_signal(int fd)
{
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info)) {
        if (errno != EINTR) {
            return;
        }
    }
}

static void *second_signal(void *arg)
{
    wait_signal(*(int *)arg);
    log_error("asked to end twice: exit 1 now");
    _exit(1);
}

/* The folder of the run that a node reads, without "@k"; NULL: it follows a stream. */
static char *folder_of(const struct call_of_program *c)
{
    char *dir = mem_strdup(c->snapshot != NULL ? c->snapshot : c->follow);
    char *at = c->snapshot != NULL ? strrchr(dir, '@') : NULL;
    if (at != NULL && strspn(at + 1, "0123456789") == strlen(at + 1)) {
        *at = '\0';
    }
    if (strncmp(dir, "tcp://", 6) == 0) {
        free(dir);
        return NULL;
    }
    return dir;
}

/* A replica of the variant's own: a cut out of the run's folder stays whatever is shown, a stream is another job's. */
static enum status open_variant(struct serving *s, size_t at, const char *dir, struct errbuf *err)
{
    const struct experiment_variant *v = &s->experiment.variant[at];
    struct replica_conf conf = {.keep = (uint32_t)s->call.keep,
                                .wait_us = s->call.wait_s * 1000000u};
    char cut[4200];
    if (v->source == SOURCE_LIVE) {
        return ST_OK;
    }
    if (v->source == SOURCE_SETTINGS) {
        return errbuf_set(err, ST_USAGE,
                          "%s: variant %s: settings: a node has no option that a variant could "
                          "set; give it a version or a stream",
                          s->call.ab, v->name);
    }
    if (v->source == SOURCE_VERSION) {
        if (dir == NULL) {
            return errbuf_set(err, ST_USAGE,
                              "%s: variant %s: version: a cut can be had from a run's folder only; "
                              "serve with --follow DIR or --snapshot DIR",
                              s->call.ab, v->name);
        }
        snprintf(cut, sizeof(cut), "%s@%" PRIu64, dir, v->version);
        conf.snapshot = cut;
    } else {
        conf.follow = v->stream;
    }
    const enum status st = replica_open(&conf, &s->variant[at], err);
    return st == ST_OK ? st : errbuf_wrap(err, st, "%s: variant %s: ", s->call.ab, v->name);
}

static enum status open_variants(struct serving *s, struct errbuf *err)
{
    char *dir = folder_of(&s->call);
    enum status st = ST_OK;
    for (size_t v = 0; v < s->experiment.variants && st == ST_OK; v++) {
        st = open_variant(s, v, dir, err);
    }
    free(dir);
    return st;
}

static enum status start_service(struct serving *s, struct errbuf *err)
{
    struct replica *all[1 + AB_VARIANTS_MAX] = {s->replica};
    struct service_conf conf = {.state = s->state,
                                .experiment = s->call.ab != NULL ? &s->experiment : NULL};
    uint32_t streams = 1;
    for (size_t v = 0; v < s->experiment.variants; v++) {
        if (s->variant[v] != NULL) {
            conf.variant_stream[v] = streams;
            all[streams++] = s->variant[v];
        }
    }
    if (streams > SERVICE_STREAMS_MAX) {
        return errbuf_set(err, ST_USAGE, "%s: %u variants of a version or stream; at most %u",
                          s->call.ab, streams - 1, SERVICE_STREAMS_MAX - 1);
    }
    return service_new(&conf, all, streams, &s->service, err);
}

static enum status start(struct serving *s, struct errbuf *err)
{
    const struct call_of_program *c = &s->call;
    const struct replica_conf replica = {.snapshot = c->snapshot,
                                         .follow = c->follow,
                                         .keep = (uint32_t)c->keep,
                                         .wait_us = c->wait_s * 1000000u};
    enum status st = c->token_file != NULL ? read_token(c->token_file, &s->token, err) : ST_OK;
    const struct node_conf node = {.http = c->http, .token = s->token, .loops = (unsigned)c->loops};
    if (st == ST_OK) {
        st = node_check(&node, err);
    }
    if (st == ST_OK && c->ab != NULL) {
        st = experiment_read(c->ab, &s->experiment, err);
    }
    if (st == ST_OK) {
        st = replica_open(&replica, &s->replica, err);
    }
    if (st == ST_OK) {
        st = check_job(c, &replica_model(s->replica)->job, err);
    }
    if (st == ST_OK) {
        st = open_variants(s, err);
    }
    if (st != ST_OK) {
        return st;
    }
    char own[300];
    snprintf(own, sizeof(own), "%.250s.serve", replica_model(s->replica)->job.name);
    s->state = mem_strdup(c->state != NULL ? c->state : own);
    st = start_service(s, err);
    if (st == ST_OK) {
        st = node_start(&node, s->replica, s->service, &s->node, err);
    }
    return st;
}

static void say_where(const struct serving *s)
{
    struct replica_stats stats;
    replica_stats(s->replica, &stats);
    printf("serving %s at http://%s, ", replica_model(s->replica)->job.name, node_address(s->node));
    if (stats.shown_k > 0) {
        printf("version %" PRIu64 "\n", stats.shown_k);
    } else {
        printf("no version yet\n");
    }
    fflush(stdout);
}

static enum status stop(struct serving *s, struct errbuf *err)
{
    if (s->node != NULL && node_stop(s->node, DRAIN_US) != ST_OK) {
        return errbuf_set(err, ST_TIMEOUT, "requests are still under way after %u s",
                          DRAIN_US / 1000000u);
    }
    service_free(s->service);
    for (size_t v = 0; v < AB_VARIANTS_MAX; v++) {
        replica_close(s->variant[v]);
    }
    replica_close(s->replica);
    if (s->experiment.variant != NULL) {
        experiment_release(&s->experiment);
    }
    free(s->token);
    free(s->state);
    return ST_OK;
}

static enum status serve(struct serving *s, struct errbuf *err)
{
    struct thread watch = {0};
    enum status st = take_signals(&s->signals, err);
    if (st == ST_OK) {
        st = start(s, err);
    }
    if (st == ST_OK) {
        say_where(s);
        wait_signal(s->signals);
        log_info("asked to end: what has begun is answered first");
        st = thread_start(&watch, "signals", second_signal, &s->signals, err);
    }
    struct errbuf why = ERRBUF_INIT;
    enum status stopped = stop(s, &why);
    if (st == ST_OK && stopped != ST_OK) {
        *err = why;
        st = stopped;
    }
    return st;
}

int main(int argc, char **argv)
{
    struct errbuf err = ERRBUF_INIT;
    struct serving s = {.signals = -1};
    enum status st = ST_OK;
    if (log_open("serve", NULL, false, &err) != ST_OK) {
        fprintf(stderr, "penstock serve: %s\n", err.text);
        return 1;
    }
    st = parse_call(argc, argv, &s.call, &err);
    if (st == ST_OK) {
        st = serve(&s, &err);
    }
    if (st != ST_OK) {
        fprintf(stderr, "penstock serve: %s\n", err.text);
    }
    fflush(stdout);
    _exit(status_exit_code(st)); /* a thread may still wait for a second signal */
}
