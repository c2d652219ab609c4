/* prepare.c - see prepare.h.
 *
 * A folder that holds a run is never taken over silently: --resume goes on from its newest complete cut,
 * --force (without --resume) begins again and removes only what a run is known to leave there.
 */
#include "launch/prepare.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/net/http_server.h"
#include "common/net/listen_address.h"
#include "common/net/run_dir.h"
#include "launch/run.h"
#include "ps/snapshot/manifest.h"

#define PLAN_BYTES_MAX     (16u << 20)
#define RESOLVED_BYTES_MAX (1u << 20)
#define PLAN_DEADLINE_US   60000000u

enum status prepare_job(const char *path, char *const *sets, size_t sets_used, struct job *out,
                        struct errbuf *err)
{
    enum status st = job_load(path, sets, sets_used, out, err);
    if (st != ST_OK) {
        return st;
    }
    st = job_check(out, err);
    if (st == ST_OK) {
        st = listen_address_check(out->cluster.bind, err);
    }
    if (st == ST_OK && out->cluster.metrics[0] != '\0') {
        st = http_address_check(out->cluster.metrics, "cluster.metrics", err);
    }
    if (st == ST_OK && out->cluster.stream[0] != '\0') {
        char address[ADDRESS_MAX];
        st = listen_address_port(out->cluster.stream, "cluster.stream", address, err);
    }
    if (st == ST_OK && out->cluster.stream[0] != '\0') {
        char address[ADDRESS_MAX];
        st = listen_address_port(out->cluster.stream, "cluster.stream", address, err);
    }
    if (st != ST_OK) {
        job_release(out);
        return st;
    }
    if (out->cluster.shards == 0) {
        out->cluster.shards = out->cluster.servers;
    }
    return ST_OK;
}

enum status prepare_plan(const char *job_path, char *const *sets, size_t sets_used,
                         struct plan *out, char **out_text, struct errbuf *err)
{
    char program[1100];
    enum status st = run_program("penstock-worker", program, sizeof(program), err);
    if (st != ST_OK) {
        return st;
    }
    const char **argv = mem_array(2 * sets_used + 4, sizeof(*argv));
    size_t n = 0;
    argv[n++] = program;
    argv[n++] = "--plan";
    argv[n++] = job_path;
    for (size_t i = 0; i < sets_used; i++) {
        argv[n++] = "--set";
        argv[n++] = sets[i];
    }
    char *text = NULL;
    size_t bytes = 0;
    int code = 0;
    st = run_capture((char *const *)argv, PLAN_BYTES_MAX, PLAN_DEADLINE_US, &text, &bytes, &code,
                     err);
    free(argv);
    if (st != ST_OK) {
        return st;
    }
    if (code != 0) {
        free(text);
        return errbuf_set(err, code == 2 ? ST_USAGE : ST_INTERNAL,
                          "the model can't be built (the reason stands above)");
    }
    st = plan_parse(text, bytes, "plan of penstock-worker", out, err);
    if (st != ST_OK) {
        free(text);
        return st;
    }
    *out_text = text;
    return ST_OK;
}

static enum status take_lock(struct prepare *r, struct errbuf *err)
{
    char *path = file_join(r->dir, "lock");
    r->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    free(path);
    if (r->lock_fd < 0) {
        return errbuf_errno(err, ST_IO, "%s/lock", r->dir);
    }
    if (flock(r->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return errbuf_set(err, ST_REFUSED,
                          "%s: another penstock train works there; wait for it, or give another "
                          "--out",
                          r->dir);
    }
    return ST_OK;
}

/* Remove the files of one folder of ours, and the folder. */
static void remove_folder(const char *dir, const char *name)
{
    char *path = file_join(dir, name);
    DIR *d = opendir(path);
    if (d != NULL) {
        for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
            if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
                if (unlinkat(dirfd(d), e->d_name, 0) != 0 && errno == EISDIR) {
                    remove_folder(path, e->d_name);
                }
            }
        }
        closedir(d);
        rmdir(path);
    }
    free(path);
}

static void begin_again(const char *dir)
{
    static const char *const folders[] = {"cuts", "data", "run", "log", "live", "tensorboard"};
    static const char *const files[] = {"job",          "resolved.yaml", "plan.json",
                                        "head",         "report.json",   "run.json",
                                        "servers.conf", "metrics",       "stream"};
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        remove_folder(dir, folders[i]);
    }
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *path = file_join(dir, files[i]);
        unlink(path);
        free(path);
    }
}

static enum status load_resolved(const char *dir, struct job *out, struct errbuf *err)
{
    char *path = file_join(dir, "resolved.yaml");
    char *text = NULL;
    size_t n = 0;
    enum status st = file_read(path, RESOLVED_BYTES_MAX, &text, &n, err);
    if (st == ST_OK) {
        st = job_parse(text, n, path, dir, NULL, 0, out, err);
        free(text);
    }
    free(path);
    return st;
}

static enum status check_resume(const struct prepare_call *call, const struct job *job,
                                struct prepare *r, struct errbuf *err)
{
    struct job was;
    enum status st = load_resolved(r->dir, &was, err);
    if (st != ST_OK) {
        return errbuf_wrap(err, st, "can't resume");
    }
    struct errbuf values = ERRBUF_INIT;
    const char *key = job_resume_conflict(&was, job, &values);
    if (key != NULL && !call->force) {
        st = errbuf_set(err, ST_USAGE,
                        "can't resume: %s was changed (%s); put it back, give another --out, or "
                        "add --force to go on all the same",
                        key, values.text);
    }
    job_release(&was);
    if (st != ST_OK) {
        return st;
    }
    struct manifest m;
    struct errbuf notes = ERRBUF_INIT;
    st = manifest_newest(r->dir, &m, &notes, err);
    if (notes.text[0] != '\0') {
        fprintf(stderr, "penstock train: %s\n", notes.text);
    }
    if (st == ST_NOT_FOUND) {
        fprintf(stderr, "penstock train: %s has no complete cut yet; beginning at record 0\n",
                r->dir);
        return ST_OK;
    }
    if (st != ST_OK) {
        return st;
    }
    r->resumed = true;
    r->resumed_cut = m.k;
    r->resumed_applied = m.applied;
    r->resumed_encoder = m.encoder_hash;
    manifest_release(&m);
    return ST_OK;
}

static enum status take_job_id(struct prepare *r, struct errbuf *err)
{
    char *path = file_join(r->dir, "job");
    char *text = NULL;
    size_t n = 0;
    enum status st = ST_OK;
    if (file_exists(path)) {
        st = file_read(path, 64, &text, &n, err);
        if (st == ST_OK && (sscanf(text, "%16" SCNx64, &r->job_id) != 1 || r->job_id == 0)) {
            st = errbuf_set(err, ST_BAD_DATA, "%s: not a job id (16 hex digits)", path);
        }
        free(text);
    } else {
        char id[20];
        r->job_id = rng_os_u64() | 1u;
        snprintf(id, sizeof(id), "%016" PRIx64 "\n", r->job_id);
        st = file_write_atomic(path, id, strlen(id), err);
    }
    free(path);
    return st;
}

static enum status write_in(const char *dir, const char *name, const char *text, size_t n,
                            struct errbuf *err)
{
    char *path = file_join(dir, name);
    enum status st = file_write_atomic(path, text, n, err);
    free(path);
    return st;
}

/* resolved.yaml, then plan.json from it. A plan that differs from the one of earlier cuts can't go on. */
static enum status write_contract(const struct prepare *r, const struct job *job,
                                  struct errbuf *err)
{
    struct buffer dump = BUFFER_INIT;
    job_dump(job, &dump);
    enum status st = write_in(r->dir, "resolved.yaml", buffer_text(&dump), dump.used, err);
    buffer_release(&dump);
    if (st != ST_OK) {
        return st;
    }
    char *path = file_join(r->dir, "resolved.yaml");
    struct plan plan;
    char *text = NULL;
    memset(&plan, 0, sizeof(plan));
    st = prepare_plan(path, NULL, 0, &plan, &text, err);
    free(path);
    if (st != ST_OK) {
        return st;
    }
    plan_release(&plan);
    st = write_in(r->dir, "plan.json", text, strlen(text), err);
    free(text);
    return st;
}

static enum status look_at(const struct prepare_call *call, const struct job *job,
                           struct prepare *r, struct errbuf *err)
{
    char *resolved = file_join(r->dir, "resolved.yaml");
    bool holds_run = file_exists(resolved);
    free(resolved);
    if (call->resume) {
        if (!holds_run) {
            return errbuf_set(err, ST_USAGE, "%s holds no run to resume", r->dir);
        }
        return check_resume(call, job, r, err);
    }
    if (holds_run && !call->force) {
        return errbuf_set(err, ST_USAGE,
                          "%s holds a run already: --resume goes on with it, --force begins again "
                          "and removes it, --out names another folder",
                          r->dir);
    }
    if (holds_run) {
        begin_again(r->dir);
    }
    return ST_OK;
}

enum status prepare_open(const struct prepare_call *call, const struct job *job,
                         struct prepare *out, struct errbuf *err)
{
    memset(out, 0, sizeof(*out));
    out->lock_fd = -1;
    enum status st = file_mkdirs(call->dir, err);
    if (st != ST_OK) {
        return st;
    }
    out->dir = realpath(call->dir, NULL);
    if (out->dir == NULL) {
        return errbuf_errno(err, ST_IO, "%s", call->dir);
    }
    out->cache = run_dir_cache(out->dir, job);
    st = take_lock(out, err);
    if (st == ST_OK) {
        st = look_at(call, job, out, err);
    }
    if (st == ST_OK) {
        char *log = file_join(out->dir, "log");
        st = file_mkdirs(log, err);
        free(log);
    }
    if (st == ST_OK) {
        st = take_job_id(out, err);
    }
    if (st == ST_OK) {
        st = write_contract(out, job, err);
    }
    if (st != ST_OK) {
        prepare_close(out);
    }
    return st;
}

void prepare_close(struct prepare *r)
{
    if (r->lock_fd >= 0) {
        close(r->lock_fd);
    }
    free(r->dir);
    free(r->cache);
    memset(r, 0, sizeof(*r));
    r->lock_fd = -1;
}
