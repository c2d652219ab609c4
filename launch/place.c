/* place.c - see place.h.
 *
 * One launcher of servers a host would be one process less to watch, but then one dead server would take its
 * neighbours with it, so each has an agent of its own. Under Slurm one step holds all servers: a cluster's
 * accounting shows "servers" and "workers", and a step that loses a task ends as a whole (--kill-on-bad-exit).
 *
 * Steps overlap: a step that doesn't would wait for processors and memory that the other one holds, and srun
 * waits without an end. Nothing is bound to cores, or servers and workers would be bound to the same ones.
 */
#include "launch/place.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/net/listen_address.h"

#define AGENT_DEADLINE_US 30000000u /* of one look at one host */
#define STEP_DEADLINE_US  120000000u
#define ANSWER_BYTES_MAX  (4u << 20)
#define WORDS_MAX         48

/* An argument vector whose numbers and paths live in it. */
struct words {
    const char *word[WORDS_MAX];
    size_t used;
    char text[8][24]; /* numbers */
    size_t texts;
    char *agent; /* owned: the agent's words, cut in place */
};

static void add(struct words *w, const char *word)
{
    if (w->used < WORDS_MAX - 1) {
        w->word[w->used++] = word;
        w->word[w->used] = NULL;
    }
}

static void add_number(struct words *w, const char *before, uint64_t n)
{
    char *t = w->text[w->texts++ % 8];
    snprintf(t, sizeof(w->text[0]), "%s%" PRIu64, before, n);
    add(w, t);
}

static void add_agent(struct words *w, const struct job *job, const char *host)
{
    w->agent = file_join(NULL, job->cluster.agent);
    char *rest = w->agent;
    for (char *word; (word = strsep(&rest, " \t")) != NULL;) {
        if (*word != '\0') {
            add(w, word);
        }
    }
    add(w, host);
}

static bool any_elsewhere(const struct hosts *h)
{
    for (size_t i = 0; i < h->used; i++) {
        if (!hosts_is_here(h->name[i])) {
            return true;
        }
    }
    return false;
}

/* srun and scontrol know the allocation from the environment of the batch script. */
static enum status slurm_nodes(struct hosts *out, struct errbuf *err)
{
    const char *argv[] = {"scontrol", "show", "hostnames", NULL};
    char *text = NULL;
    size_t n = 0;
    int code = 0;
    if (!run_found("scontrol")) {
        return errbuf_set(
            err, ST_NOT_FOUND,
            "--slurm: there is no scontrol here: install Slurm's commands (Debian: apt-get "
            "install slurm-client), or train without --slurm");
    }
    enum status st = run_capture((char *const *)argv, ANSWER_BYTES_MAX, AGENT_DEADLINE_US, &text,
                                 &n, &code, err);
    if (st == ST_OK && (code != 0 || n == 0)) {
        st = errbuf_set(
            err, ST_USAGE,
            "--slurm: this is no allocation of Slurm; `penstock submit` writes and submits a "
            "script in which it is one");
    }
    if (st == ST_OK) {
        st = hosts_parse(text, "scontrol show hostnames", out, err);
    }
    free(text);
    return st;
}

enum status place_init(struct place *p, const struct job *job, const char *hostfile, bool slurm,
                       struct errbuf *err)
{
    memset(p, 0, sizeof(*p));
    p->job = job;
    enum status st = ST_OK;
    if (slurm && hostfile != NULL) {
        return errbuf_set(err, ST_USAGE, "--slurm and --hostfile exclude each other");
    }
    if (slurm) {
        p->kind = PLACE_SLURM;
        st = slurm_nodes(&p->hosts, err);
    } else if (hostfile != NULL) {
        st = hosts_read(hostfile, &p->hosts, err);
        p->hostfile = hostfile;
        p->kind = st == ST_OK && any_elsewhere(&p->hosts) ? PLACE_HOSTS : PLACE_HERE;
    }
    if (st == ST_OK && (p->kind == PLACE_HOSTS || p->hosts.used > 1)) {
        st = listen_address_check_hosts(job->cluster.bind, err);
    }
    if (st != ST_OK) {
        hosts_release(&p->hosts);
    }
    return st;
}

void place_release(struct place *p)
{
    hosts_release(&p->hosts);
}

/* ---- does every host see what it needs ---- */

/* Prints "HOST PATH" for the first thing that a host does not see. */
static void check_script(const struct place *p, const char *host, const char *ps,
                         const char *worker, struct buffer *out)
{
    buffer_printf(out, "miss() { echo %s \"$1\"; exit 0; }; d=", host);
    hosts_quote(out, p->dir->dir);
    buffer_printf(out, "; grep -qs %016" PRIx64 " \"$d/job\" || miss \"$d\"; ", p->dir->job_id);
    const char *paths[] = {p->dir->cache, ps, worker};
    for (size_t i = 0; i < 3; i++) {
        buffer_printf(out, "p=");
        hosts_quote(out, paths[i]);
        buffer_printf(out, "; [ -x \"$p\" ] || miss \"$p\"; ");
    }
}

static enum status judge_answer(const struct place *p, char *answer, struct errbuf *err)
{
    char *space = strchr(answer, ' ');
    if (space == NULL) {
        return ST_OK;
    }
    *space = '\0';
    char *path = space + 1;
    path[strcspn(path, "\n")] = '\0';
    bool program = strcmp(path, p->dir->dir) != 0 && strcmp(path, p->dir->cache) != 0;
    return errbuf_set(err, ST_USAGE,
                      program
                          ? "host %s has no %s: install the same build at the same path there, or "
                            "put it on a file system that all hosts share"
                          : "host %s does not see %s: the run's folder and the cache must be on a "
                            "file system that all hosts share; name one with --out (and "
                            "data.cache)",
                      answer, path);
}

static enum status look_at_host(const struct place *p, const char *host, const char *ps,
                                const char *worker, struct errbuf *err)
{
    struct words w = {.used = 0};
    struct buffer script = BUFFER_INIT;
    char *text = NULL;
    size_t n = 0;
    int code = 0;
    check_script(p, host, ps, worker, &script);
    add_agent(&w, p->job, host);
    add(&w, buffer_text(&script));
    enum status st = run_capture((char *const *)w.word, ANSWER_BYTES_MAX, AGENT_DEADLINE_US, &text,
                                 &n, &code, err);
    if (st == ST_OK && code != 0) {
        st = errbuf_set(
            err, ST_IO,
            "host %s: `%s %s` ended with code %d (the reason stands above); it must log in "
            "without a question",
            host, p->job->cluster.agent, host, code);
    }
    if (st == ST_OK) {
        st = judge_answer(p, text, err);
    }
    free(text);
    free(w.agent);
    buffer_release(&script);
    return st;
}

static void add_srun(struct words *w, const char *name, uint64_t nodes, uint64_t tasks)
{
    add(w, "srun");
    add(w, "--job-name");
    add(w, name);
    add_number(w, "--nodes=", nodes);
    add_number(w, "--ntasks=", tasks);
    add(w, "--overlap");
    add(w, "--cpu-bind=none");
    add(w, "--distribution=cyclic");
    add(w, "--kill-on-bad-exit=1");
}

static enum status look_by_step(const struct place *p, const char *ps, const char *worker,
                                struct errbuf *err)
{
    struct words w = {.used = 0};
    struct buffer script = BUFFER_INIT;
    char *text = NULL;
    size_t n = 0;
    int code = 0;
    add_srun(&w, "look", p->hosts.used, p->hosts.used);
    check_script(p, "\"$SLURMD_NODENAME\"", ps, worker, &script);
    add(&w, "sh");
    add(&w, "-c");
    add(&w, buffer_text(&script));
    enum status st = run_capture((char *const *)w.word, ANSWER_BYTES_MAX, STEP_DEADLINE_US, &text,
                                 &n, &code, err);
    if (st == ST_OK && code != 0) {
        st = errbuf_set(err, ST_IO, "srun ended with code %d (the reason stands above)", code);
    }
    if (st == ST_OK) {
        st = judge_answer(p, text, err);
    }
    free(text);
    buffer_release(&script);
    return st;
}

enum status place_check(struct place *p, const struct prepare *dir, struct errbuf *err)
{
    char ps[1100], worker[1100];
    p->dir = dir;
    if (p->kind == PLACE_HERE) {
        return ST_OK;
    }
    enum status st = run_program("penstock-ps", ps, sizeof(ps), err);
    if (st == ST_OK) {
        st = run_program("penstock-worker", worker, sizeof(worker), err);
    }
    if (st == ST_OK) {
        st = file_mkdirs(dir->cache, err);
    }
    if (st == ST_OK && p->kind == PLACE_SLURM) {
        return look_by_step(p, ps, worker, err);
    }
    for (size_t i = 0; st == ST_OK && i < p->hosts.used; i++) {
        if (!hosts_is_here(p->hosts.name[i])) {
            st = look_at_host(p, p->hosts.name[i], ps, worker, err);
        }
    }
    return st;
}

/* ---- servers ---- */

uint64_t place_server_children(const struct place *p)
{
    return p->kind == PLACE_SLURM ? 1 : p->job->cluster.servers;
}

static void add_server(struct words *w, const char *program, const char *dir, uint64_t server,
                       uint64_t servers)
{
    add(w, program);
    add(w, "--dir");
    add(w, dir);
    add(w, "--server");
    add_number(w, "", server);
    add(w, "--servers");
    add_number(w, "", servers);
    add(w, "--lifeline");
    if (server == 0) {
        add(w, "--head");
    }
}

/* The agent hands its words to a shell over there, so they go as one, quoted. */
static enum status start_over_agent(const struct place *p, struct run *r, const char *host,
                                    const char *name, const struct words *server,
                                    struct errbuf *err)
{
    struct words w = {.used = 0};
    struct buffer line = BUFFER_INIT;
    buffer_printf(&line, "exec");
    for (size_t i = 0; i < server->used; i++) {
        buffer_u8(&line, ' ');
        hosts_quote(&line, server->word[i]);
    }
    add_agent(&w, p->job, host);
    add(&w, buffer_text(&line));
    enum status st = run_start(r, name, (char *const *)w.word, true, err);
    buffer_release(&line);
    free(w.agent);
    return st;
}

/* srun's --multi-prog: which task runs what. Task 0 has the head. */
static enum status write_servers_conf(const struct place *p, const char *program, char **out_path,
                                      struct errbuf *err)
{
    struct buffer text = BUFFER_INIT;
    uint64_t servers = p->job->cluster.servers;
    buffer_printf(&text,
                  "# The step \"servers\": task number, program, arguments (srun --multi-prog; %%t "
                  "is the task).\n");
    for (int rest = 0; rest < (servers > 1 ? 2 : 1); rest++) {
        if (rest == 0) {
            buffer_printf(&text, "0 ");
        } else {
            buffer_printf(&text, servers > 2 ? "1-%" PRIu64 " " : "%" PRIu64 " ", servers - 1);
        }
        hosts_quote(&text, program);
        buffer_printf(&text, " --dir ");
        hosts_quote(&text, p->dir->dir);
        buffer_printf(&text, " --server %%t --servers %" PRIu64 " --lifeline%s\n", servers,
                      rest == 0 ? " --head" : "");
    }
    *out_path = file_join(p->dir->dir, "servers.conf");
    enum status st = file_write_atomic(*out_path, buffer_text(&text), text.used, err);
    buffer_release(&text);
    return st;
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void add_servers_step(struct words *w, const struct job *job, uint64_t nodes,
                             const char *conf)
{
    add_srun(w, "servers", at_most(nodes, job->cluster.servers), job->cluster.servers);
    add(w, "--multi-prog");
    add(w, conf);
}

static enum status start_servers_step(const struct place *p, struct run *r, const char *program,
                                      struct errbuf *err)
{
    struct words w = {.used = 0};
    char *conf = NULL;
    enum status st = write_servers_conf(p, program, &conf, err);
    if (st == ST_OK) {
        add_servers_step(&w, p->job, p->hosts.used, conf);
        st = run_start(r, "servers", (char *const *)w.word, true, err);
    }
    free(conf);
    return st;
}

enum status place_start_server(const struct place *p, struct run *r, uint64_t child,
                               struct errbuf *err)
{
    char program[1100], name[24];
    struct words w = {.used = 0};
    enum status st = run_program("penstock-ps", program, sizeof(program), err);
    if (st != ST_OK) {
        return st;
    }
    if (p->kind == PLACE_SLURM) {
        return start_servers_step(p, r, program, err);
    }
    snprintf(name, sizeof(name), "ps-%" PRIu64, child);
    add_server(&w, program, p->dir->dir, child, p->job->cluster.servers);
    if (p->kind == PLACE_HOSTS) {
        const char *host = p->hosts.name[child % p->hosts.used];
        if (!hosts_is_here(host)) {
            return start_over_agent(p, r, host, name, &w, err);
        }
    }
    /* A group of its own: a Ctrl-C in the terminal is ours to answer. */
    return run_start(r, name, (char *const *)w.word, true, err);
}

/* ---- workers ---- */

static void add_mpirun(struct words *w, const struct place *p)
{
    const struct job *job = p->job;
    add(w, "mpirun");
    add(w, "--allow-run-as-root");
    add(w, "--oversubscribe");
    add(w, "--bind-to");
    add(w, "none");
    add(w, "--quiet");
    add(w, "-x");
    add(w, "OPENBLAS_NUM_THREADS=1");
    if (p->kind == PLACE_HERE) {
        add(w, "--mca"); /* one host: no look around on its network cards */
        add(w, "btl");
        add(w, "self,vader");
    } else {
        static const char *const over[] = {"oob_tcp_if_include", "btl_tcp_if_include"};
        add(w, "--hostfile");
        add(w, p->hostfile);
        add(w, "--map-by");
        add(w, "node");
        add(w, "--mca");
        add(w, "plm");
        add(w, "rsh");
        add(w, "--mca");
        add(w, "plm_rsh_agent");
        add(w, job->cluster.agent);
        for (size_t i = 0; i < 2; i++) {
            add(w, "--mca");
            add(w, over[i]);
            add(w, job->cluster.bind);
        }
    }
    add(w, "-np");
    add_number(w, "", job->cluster.workers);
}

static void add_workers_step(struct words *w, const struct job *job, uint64_t nodes)
{
    add_srun(w, "workers", at_most(nodes, job->cluster.workers), job->cluster.workers);
    add(w, "--mpi=pmix");
    add(w, "--export=ALL,OPENBLAS_NUM_THREADS=1");
}

enum status place_start_workers(const struct place *p, struct run *r, struct errbuf *err)
{
    char program[1100];
    struct words w = {.used = 0};
    enum status st = run_program("penstock-worker", program, sizeof(program), err);
    if (st != ST_OK) {
        return st;
    }
    if (p->kind == PLACE_SLURM) {
        add_workers_step(&w, p->job, p->hosts.used);
    } else {
        add_mpirun(&w, p);
    }
    add(&w, program);
    add(&w, "--dir");
    add(&w, p->dir->dir);
    return run_start(r, "workers", (char *const *)w.word, true, err);
}

static void say_words(const struct words *w, struct buffer *out)
{
    for (size_t i = 0; i < w->used; i++) {
        if (i > 0) {
            buffer_u8(out, (uint8_t)' ');
        }
        hosts_quote(out, w->word[i]);
    }
}

void place_slurm_text(const struct job *job, uint64_t nodes, const char *dir,
                      struct buffer *servers, struct buffer *workers)
{
    struct words s = {.used = 0}, w = {.used = 0};
    char *conf = file_join(dir, "servers.conf");
    add_servers_step(&s, job, nodes, conf);
    say_words(&s, servers);
    add_workers_step(&w, job, nodes);
    add(&w, "penstock-worker");
    add(&w, "--dir");
    add(&w, dir);
    say_words(&w, workers);
    free(conf);
}
