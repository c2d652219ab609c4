/* prepare.h - the folder of a run: taken by one front at a time, prepared before any process starts.
 *
 *   DIR/lock           held (flock) by the front that owns the run
 *   DIR/job            the job's id, 16 hex digits: in every message, foreign ones are refused
 *   DIR/resolved.yaml  every option with its value; all processes load this
 *   DIR/plan.json      the parameters, made by penstock-worker --plan
 *   DIR/cache/         converted logs (unless data.cache names another folder)
 *   DIR/log/           <role>-<n>.log
 *   DIR/run, data, cuts, head   ps/snapshot/README.md
 *   DIR/report.json    how it ended
 */
#ifndef PENSTOCK_LAUNCH_PREPARE_H
#define PENSTOCK_LAUNCH_PREPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/base/plan.h"

struct prepare {
    char *dir;   /* owned, absolute */
    char *cache; /* owned: where this job's caches are */
    int lock_fd;
    uint64_t job_id;
    bool resumed; /* goes on from a complete cut */
    uint64_t resumed_cut;
    uint64_t resumed_applied; /* records applied before */
    uint64_t resumed_encoder; /* hash of what encoded them */
};

struct prepare_call {
    const char *dir;
    bool resume, force;
};

/* The job as it will run: loaded, checked, cluster.shards = 0 replaced by the number of servers. */
MUST_CHECK enum status prepare_job(const char *path, char *const *sets, size_t sets_used,
                                   struct job *out, struct errbuf *err);
/* Take DIR and write what the processes need. ST_USAGE: DIR holds another run, or the job changed in a key
 * that --resume may not change (named); ST_REFUSED: another front holds it. */
MUST_CHECK enum status prepare_open(const struct prepare_call *call, const struct job *job,
                                    struct prepare *out, struct errbuf *err);
void prepare_close(struct prepare *r);
/* The plan of a job file, from penstock-worker; text (owned by the caller) is what plan.json holds. */
MUST_CHECK enum status prepare_plan(const char *job_path, char *const *sets, size_t sets_used,
                                    struct plan *out, char **out_text, struct errbuf *err);

#endif
