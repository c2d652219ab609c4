/* cmd_submit.c - `penstock submit`: the same job in Slurm's queue.
 *
 * What can be known now is refused now: a job that doesn't load, a folder that holds a run, a cluster.bind
 * that several nodes can't use. An error three hours later in a queue is no error message.
 */
#include "launch/cmd_submit.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/net/listen_address.h"
#include "launch/args.h"
#include "launch/batch.h"
#include "launch/folds.h"
#include "launch/prepare.h"
#include "launch/run.h"

#define SBATCH_DEADLINE_US 60000000u

struct submit_call {
    struct args_list sets;
    const char *nodes, *servers, *shards, *workers, *time, *out;
    uint64_t folds; /* 0: one run */
    bool resume, force, print;
};

/* --servers 2 is --set cluster.servers=2 behind all other assignments. */
static void add_cluster_sets(struct submit_call *call, char text[3][64])
{
    const char *values[3] = {call->servers, call->shards, call->workers};
    static const char *const keys[3] = {"cluster.servers", "cluster.shards", "cluster.workers"};
    for (size_t i = 0; i < 3; i++) {
        if (values[i] != NULL &&
            call->sets.used < sizeof(call->sets.item) / sizeof(call->sets.item[0])) {
            snprintf(text[i], sizeof(text[i]), "%s=%.40s", keys[i], values[i]);
            call->sets.item[call->sets.used++] = text[i];
        }
    }
}

static enum status check_nodes(const struct job *job, const char *text, uint64_t *out,
                               struct errbuf *err)
{
    uint64_t most = job->cluster.shards + job->cluster.workers;
    *out = 1;
    if (text == NULL) {
        return ST_OK;
    }
    enum status st = option_parse_u64(text, "--nodes", 1, 65536, out, err);
    if (st == ST_OK && *out > most) {
        st = errbuf_set(err, ST_USAGE,
                        "--nodes %" PRIu64 ": %" PRIu64 " shards and %" PRIu64
                        " workers can't use more than %" PRIu64 " nodes",
                        *out, job->cluster.shards, job->cluster.workers, most);
    }
    if (st == ST_OK && *out > 1) {
        st = listen_address_check_hosts(job->cluster.bind, err);
    }
    return st;
}

static enum status check_dir(const char *dir, const struct submit_call *call, struct errbuf *err)
{
    char *folder = call->folds > 0 ? folds_dir(dir, 0) : mem_strdup(dir);
    char *resolved = file_join(folder, "resolved.yaml");
    free(folder);
    bool holds_run = file_exists(resolved);
    free(resolved);
    if (holds_run && !call->resume && !call->force) {
        return errbuf_set(
            err, ST_USAGE,
            "%s holds a run already: --resume goes on with it, --force begins again and "
            "removes it, --out names another folder",
            dir);
    }
    if (!holds_run && call->resume) {
        return errbuf_set(err, ST_USAGE, "%s holds no run to resume", dir);
    }
    return ST_OK;
}

/* sbatch --parsable answers "ID" or "ID;CLUSTER". */
static enum status submit(const char *script, struct errbuf *err)
{
    const char *argv[] = {"sbatch", "--parsable", script, NULL};
    char *text = NULL;
    size_t n = 0;
    int code = 0;
    if (!run_found("sbatch")) {
        return errbuf_set(
            err, ST_NOT_FOUND,
            "there is no sbatch here: install Slurm's commands (Debian: apt-get install "
            "slurm-client) and this cluster's slurm.conf, or run it without a queue: "
            "penstock train --hostfile F; the script is written: %s",
            script);
    }
    enum status st =
        run_capture((char *const *)argv, 1u << 16, SBATCH_DEADLINE_US, &text, &n, &code, err);
    if (st == ST_OK && (code != 0 || !isdigit((unsigned char)text[0]))) {
        st = errbuf_set(err, ST_INTERNAL,
                        "sbatch ended with code %d (the reason stands above); the script: %s", code,
                        script);
    }
    if (st == ST_OK) {
        printf("%.*s\n", (int)strspn(text, "0123456789"), text);
    }
    free(text);
    return st;
}

static enum status write_and_submit(const char *dir, struct buffer *text, struct errbuf *err)
{
    enum status st = file_mkdirs(dir, err);
    if (st != ST_OK) {
        return st;
    }
    char *script = file_join(dir, "submit.sh");
    st = file_write_atomic(script, buffer_text(text), text->used, err);
    if (st == ST_OK) {
        st = submit(script, err);
    }
    free(script);
    return st;
}

static enum status make(const struct job *job, const struct submit_call *call,
                        const struct args_list *rest, struct errbuf *err)
{
    char program[1100], cwd[4096], out[512];
    uint64_t nodes = 1;
    enum status st = check_nodes(job, call->nodes, &nodes, err);
    if (st == ST_OK) {
        st = run_program("penstock", program, sizeof(program), err);
    }
    if (st == ST_OK && getcwd(cwd, sizeof(cwd)) == NULL) {
        st = errbuf_errno(err, ST_IO, "the current folder");
    }
    if (st != ST_OK) {
        return st;
    }
    snprintf(out, sizeof(out), "%s.run", job->name);
    char *dir = file_join(cwd, call->out != NULL ? call->out : out);
    char *job_path = file_join(cwd, rest->item[0]);
    struct batch batch = {.job = job,
                          .program = program,
                          .job_path = job_path,
                          .dir = dir,
                          .cwd = cwd,
                          .nodes = nodes,
                          .time = call->time,
                          .folds = call->folds,
                          .sets = &call->sets,
                          .flags = rest,
                          .resume = call->resume,
                          .force = call->force};
    struct buffer text = BUFFER_INIT;
    st = check_dir(dir, call, err);
    if (st == ST_OK) {
        batch_text(&batch, &text);
        if (call->print) {
            fputs(buffer_text(&text), stdout);
        } else {
            st = write_and_submit(dir, &text, err);
        }
    }
    buffer_release(&text);
    free(job_path);
    free(dir);
    return st;
}

static enum status parse(struct submit_call *call, int argc, char **argv, struct args_list *rest,
                         struct errbuf *err)
{
    const struct args_flag flags[] = {
        {"--nodes", ARGS_TEXT, &call->nodes, "N", "nodes to ask for; default 1"},
        {"--servers", ARGS_TEXT, &call->servers, "N",
         "parameter-server processes (cluster.servers)"},
        {"--shards", ARGS_TEXT, &call->shards, "N", "shards over all servers (cluster.shards)"},
        {"--workers", ARGS_TEXT, &call->workers, "N", "worker ranks (cluster.workers)"},
        {"--time", ARGS_TEXT, &call->time, "T",
         "time limit as Slurm reads it (MINUTES, HH:MM:SS, DAYS-HH); default: the partition's"},
        {"--out", ARGS_TEXT, &call->out, "DIR",
         "folder of the run, seen by all nodes; default ./<job>.run"},
        {"--resume", ARGS_SWITCH, &call->resume, NULL, "go on from the newest complete cut in DIR"},
        {"--force", ARGS_SWITCH, &call->force, NULL, "begin again where DIR holds a run"},
        {"--set", ARGS_LIST, &call->sets, "KEY=VALUE",
         "change one option of the job; may be repeated"},
        {"--folds", ARGS_U64, &call->folds, "K",
         "cross-validation, as of penstock train: K runs, one after the other, in this one job"},
        {"--print", ARGS_SWITCH, &call->print, NULL, "print the script and submit nothing"},
    };
    const struct args_spec spec = {
        "submit JOB.yaml [--nodes N] [--servers N] [--workers N] [--time T] [--out DIR] [--folds "
        "K] "
        "[--print] "
        "[-- any flag of sbatch]",
        "Writes DIR/submit.sh, submits it to Slurm, and prints the job's id alone. The job trains "
        "as\n"
        "`penstock train` does; before its time limit it makes a cut and goes back into the queue.",
        flags,
        sizeof(flags) / sizeof(flags[0]),
        1,
        250};
    enum status st = args_parse(&spec, argc, argv, rest, err);
    if (st == ST_OK && call->folds != NO_FOLDS && (call->folds < 2 || call->folds > FOLDS_MAX)) {
        st = errbuf_set(err, ST_USAGE, "--folds: %" PRIu64 " is not between 2 and %d", call->folds,
                        FOLDS_MAX);
    }
    call->folds = call->folds == NO_FOLDS ? 0 : call->folds;
    if (st == ST_OK && rest->item[0][0] == '-') {
        st = errbuf_set(err, ST_USAGE, "the job stands before --; usage: penstock %s", spec.usage);
    }
    return st;
}

int cmd_submit(int argc, char **argv)
{
    struct submit_call call;
    struct args_list rest;
    struct errbuf err = ERRBUF_INIT;
    char sets[3][64];
    struct job job;
    memset(&call, 0, sizeof(call));
    call.folds = NO_FOLDS;
    enum status st = parse(&call, argc, argv, &rest, &err);
    if (st == ST_OK) {
        add_cluster_sets(&call, sets);
        st = prepare_job(rest.item[0], (char *const *)call.sets.item, call.sets.used, &job, &err);
        if (st == ST_OK) {
            st = make(&job, &call, &rest, &err);
            job_release(&job);
        }
    }
    return args_fail("submit", st, &err);
}
