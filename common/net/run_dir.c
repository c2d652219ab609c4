/* run_dir.c - read what the front left in DIR, and DIR/head (run_dir.h has the list). */
#include "common/net/run_dir.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/net/endpoint.h"

enum { RESOLVED_BYTES_MAX = 1 << 20, PLAN_BYTES_MAX = 16 << 20, SMALL_BYTES_MAX = 4096 };

static enum status read_job_id(const char *dir, uint64_t *out, struct errbuf *err)
{
    char *text = NULL, *end = NULL, *path = file_join(dir, "job");
    size_t n = 0;
    enum status st = file_read(path, SMALL_BYTES_MAX, &text, &n, err);
    if (st == ST_OK) {
        *out = strtoull(text, &end, 16);
        if (end != text + 16 || strspn(text, "0123456789abcdef") != 16 || *out == 0)
            st = errbuf_set(err, ST_BAD_DATA, "%s: not a job id of 16 hex digits", path);
    }
    free(text);
    free(path);
    return st;
}

static enum status read_plan(struct run_dir *r, struct errbuf *err)
{
    char *text = NULL, *path = file_join(r->path, "plan.json");
    size_t n = 0;
    enum status st = file_read(path, PLAN_BYTES_MAX, &text, &n, err);
    if (st == ST_OK) {
        r->plan_hash = hash_bytes(text, n, 0);
        st = plan_parse(text, n, path, &r->plan, err);
    }
    free(text);
    free(path);
    return st;
}

static enum status read_job(struct run_dir *r, struct errbuf *err)
{
    char *text = NULL, *path = file_join(r->path, "resolved.yaml");
    size_t n = 0;
    enum status st = file_read(path, RESOLVED_BYTES_MAX, &text, &n, err);
    if (st == ST_OK) {
        r->resolved_hash = hash_bytes(text, n, 0);
        st = job_load(path, NULL, 0, &r->job, err);
    }
    free(text);
    free(path);
    return st;
}

char *run_dir_cache(const char *path, const struct job *job)
{
    if (job->data.cache != NULL && job->data.cache[0] != 0)
        return mem_strdup(job->data.cache);
    return file_join(path, "cache");
}

enum status run_dir_open(const char *path, struct run_dir *out, struct errbuf *err)
{
    struct run_dir r;
    memset(&r, 0, sizeof(r));
    r.path = mem_strdup(path);
    enum status st = read_job_id(path, &r.job_id, err);
    if (st != ST_OK)
        goto free_path;
    st = read_job(&r, err);
    if (st != ST_OK)
        goto free_path;
    st = read_plan(&r, err);
    if (st != ST_OK)
        goto release_job;
    r.cache = run_dir_cache(path, &r.job);
    *out = r;
    return ST_OK;
release_job:
    job_release(&r.job);
free_path:
    free(r.path);
    return st;
}

void run_dir_release(struct run_dir *r)
{
    free(r->path);
    free(r->cache);
    job_release(&r->job);
    plan_release(&r->plan);
    memset(r, 0, sizeof(*r));
}

enum status run_dir_log(const struct run_dir *r, const char *program, const char *who,
                        struct errbuf *err)
{
    char name[96], zmq[32];
    snprintf(name, sizeof(name), "log/%s.log", who);
    char *path = file_join(r->path, name), *dir = file_join(r->path, "log");
    enum status st = file_mkdirs(dir, err);
    if (st == ST_OK)
        st = log_open(who, path, true, err);
    if (st == ST_OK) {
        endpoint_version(zmq);
        log_info("%s: job %016" PRIx64 " \"%s\", resolved %016" PRIx64 ", config %016" PRIx64
                 ", plan %016" PRIx64 ", seed %" PRIu64 ", %s, built by gcc %d.%d",
                 program, r->job_id, r->job.name != NULL ? r->job.name : "", r->resolved_hash,
                 job_config_hash(&r->job), r->plan_hash, r->job.train.seed, zmq, __GNUC__,
                 __GNUC_MINOR__);
    }
    free(dir);
    free(path);
    return st;
}

enum status run_dir_head_write(const char *path, uint64_t job_id, uint64_t boot,
                               const char *address, struct errbuf *err)
{
    char text[256];
    int n =
        snprintf(text, sizeof(text), "%s %016" PRIx64 " %016" PRIx64 "\n", address, job_id, boot);
    if (n < 0 || (size_t)n >= sizeof(text))
        return errbuf_set(err, ST_USAGE, "address too long: %s", address);
    char *file = file_join(path, "head");
    enum status st = file_write_atomic(file, text, (size_t)n, err);
    free(file);
    return st;
}

static enum status parse_head(const char *text, const char *name, uint64_t job_id, char *out,
                              struct errbuf *err)
{
    uint64_t job = 0, boot = 0;
    char address[ADDRESS_MAX];
    int used = 0;
    if (sscanf(text, "%95s %16" SCNx64 " %16" SCNx64 "%n", address, &job, &boot, &used) != 3 ||
        strcmp(text + used, "\n") != 0)
        return errbuf_set(err, ST_BAD_DATA, "%s: not a head file", name);
    if (job != job_id)
        return errbuf_set(err, ST_FOREIGN, "%s is of job %016" PRIx64 ", not %016" PRIx64, name,
                          job, job_id);
    memcpy(out, address, sizeof(address));
    return ST_OK;
}

enum status run_dir_head_read(const char *path, uint64_t job_id, char out_address[ADDRESS_MAX],
                              struct errbuf *err)
{
    char *text = NULL, *file = file_join(path, "head");
    size_t n = 0;
    enum status st = ST_NOT_FOUND;
    if (file_exists(file))
        st = file_read(file, SMALL_BYTES_MAX, &text, &n, err);
    else
        (void)errbuf_set(err, st, "%s: not there yet", file);
    if (st == ST_OK)
        st = parse_head(text, file, job_id, out_address, err);
    free(text);
    free(file);
    return st;
}
