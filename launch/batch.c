/* batch.c - see batch.h. */
#include "launch/batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "launch/folds.h"
#include "launch/hosts.h"
#include "launch/place.h"

#define NOTICE_SECONDS 120u /* a cut within cluster.hold and cluster.write, and the judge's start */

static void line(struct buffer *out, const char *before, const char *word)
{
    buffer_put(out, before, strlen(before));
    hosts_quote(out, word);
    buffer_u8(out, '\n');
}

/* "minutes", "minutes:seconds", "hours:minutes:seconds", "days-hours[:minutes[:seconds]]"; 0: none of these. */
static uint64_t limit_seconds(const char *time)
{
    uint64_t part[3] = {0, 0, 0}, days = 0;
    size_t parts = 0;
    const char *dash = strchr(time, '-');
    if (dash != NULL && sscanf(time, "%5" SCNu64 "-", &days) != 1) {
        return 0;
    }
    for (const char *at = dash != NULL ? dash + 1 : time; at != NULL && parts < 3;) {
        if (sscanf(at, "%9" SCNu64, &part[parts++]) != 1) {
            return 0;
        }
        at = strchr(at, ':');
        at = at != NULL ? at + 1 : NULL;
    }
    if (dash != NULL) {
        return ((days * 24 + part[0]) * 60 + part[1]) * 60 + part[2];
    }
    if (parts == 3) {
        return (part[0] * 60 + part[1]) * 60 + part[2];
    }
    return part[0] * 60 + part[1];
}

uint64_t batch_notice_seconds(const char *time)
{
    uint64_t seconds = time != NULL ? limit_seconds(time) : 0;
    return seconds > 0 && seconds / 4 < NOTICE_SECONDS ? seconds / 4 + 1 : NOTICE_SECONDS;
}

static void put_story(const struct batch *b, struct buffer *out)
{
    const struct job *job = b->job;
    struct buffer servers = BUFFER_INIT, workers = BUFFER_INIT;
    place_slurm_text(job, b->nodes, b->dir, &servers, &workers);
    buffer_printf(out,
                  "#!/bin/bash\n"
                  "# Penstock: job %s, %" PRIu64 " servers (%" PRIu64 " shards) and %" PRIu64
                  " workers on %" PRIu64 " node%s. Written by `penstock submit`;\n"
                  "# `sbatch` this file to submit it again.\n"
                  "#\n"
                  "# `penstock train --slurm` starts two steps on the nodes of the allocation, "
                  "looks after them,\n"
                  "# and judges the best cut at the end:\n",
                  job->name, job->cluster.servers, job->cluster.shards, job->cluster.workers,
                  b->nodes, b->nodes > 1 ? "s" : "");
    buffer_printf(out, "#   servers: %s\n", buffer_text(&servers));
    buffer_printf(out, "#   workers: %s\n", buffer_text(&workers));
    buffer_printf(out,
                  "# Logs by role are in %s/log; this script's own is %s/slurm-<job id>.log.\n#\n",
                  b->dir, b->dir);
    buffer_release(&servers);
    buffer_release(&workers);
}

static void put_requests(const struct batch *b, struct buffer *out)
{
    line(out, "#SBATCH --job-name=", b->job->name);
    buffer_printf(out, "#SBATCH --nodes=%" PRIu64 "\n", b->nodes);
    buffer_printf(out, "#SBATCH --ntasks=%" PRIu64 "\n",
                  b->job->cluster.shards + b->job->cluster.workers);
    if (b->time != NULL) {
        line(out, "#SBATCH --time=", b->time);
    }
    line(out, "#SBATCH --chdir=", b->cwd);
    struct buffer log = BUFFER_INIT;
    buffer_printf(&log, "%s/slurm-%%j.log", b->dir);
    line(out, "#SBATCH --output=", buffer_text(&log));
    buffer_release(&log);
    buffer_printf(
        out, "#SBATCH --open-mode=append\n#SBATCH --requeue\n#SBATCH --signal=B:TERM@%" PRIu64 "\n",
        batch_notice_seconds(b->time));
    if (b->flags->used > 1) {
        buffer_printf(out, "#SBATCH");
        for (size_t i = 1; i < b->flags->used; i++) {
            buffer_u8(out, ' ');
            hosts_quote(out, b->flags->item[i]);
        }
        buffer_u8(out, '\n');
    }
}

static void put_call(const struct batch *b, struct buffer *out)
{
    buffer_printf(out, "\ntrain=(");
    hosts_quote(out, b->program);
    buffer_printf(out, " train ");
    hosts_quote(out, b->job_path);
    buffer_printf(out, " --slurm --out ");
    hosts_quote(out, b->dir);
    if (b->folds > 0) {
        buffer_printf(out, " --folds %" PRIu64, b->folds);
    }
    for (size_t i = 0; i < b->sets->used; i++) {
        buffer_printf(out, " \\\n       --set ");
        hosts_quote(out, b->sets->item[i]);
    }
    buffer_printf(out, ")\n");
}

static const char begin_again[] = "# A job that begins again (time limit, preemption, a lost node) "
                                  "goes on from its last complete cut.\n"
                                  "if [ \"${SLURM_RESTART_COUNT:-0}\" -gt 0 ] && [ -e "
                                  "\"$begun\" ]; then mode=--resume; fi\n";

static const char run_it[] =
    "stopped=no\n"
    "trap 'stopped=yes; kill -TERM $run 2>/dev/null' TERM\n"
    "for try in 1 2 3 4; do\n"
    "    \"${train[@]}\" $mode &\n"
    "    run=$!\n"
    "    wait $run\n"
    "    code=$?\n"
    "    while kill -0 $run 2>/dev/null; do # the trap ended the wait, not the run\n"
    "        wait $run\n"
    "        code=$?\n"
    "    done\n"
    "    # A process was lost (1; 2 and 3 are the job's or the data's fault): on from the last "
    "cut, three times at most.\n"
    "    if [ $code != 1 ] || [ $stopped = yes ] || [ $try = 4 ] || [ ! -e \"$begun\" ]; then "
    "break; "
    "fi\n"
    "    echo \"submit.sh: going on from the last complete cut, $try of 3\"\n"
    "    mode=--resume\n"
    "    sleep 5 &\n"
    "    run=$!\n"
    "    wait $run\n"
    "    if [ $stopped = yes ]; then break; fi\n"
    "done\n"
    "\n"
    "# Back into the queue if time was too short; not if it was cancelled meanwhile. Preemption is "
    "Slurm's own to requeue.\n"
    "if [ $code != 0 ] && [ $stopped = yes ] && scontrol show job \"$SLURM_JOB_ID\" | grep -q "
    "'JobState=RUNNING'; then\n"
    "    scontrol requeue \"$SLURM_JOB_ID\" && sleep 60 # Slurm ends this script\n"
    "fi\n"
    "exit $code\n";

void batch_text(const struct batch *b, struct buffer *out)
{
    put_story(b, out);
    put_requests(b, out);
    put_call(b, out);
    char *folder = b->folds > 0 ? folds_dir(b->dir, 0) : mem_strdup(b->dir);
    char *begun = file_join(folder, "resolved.yaml");
    line(out, "begun=", begun); /* there is something to go on with */
    free(begun);
    free(folder);
    buffer_printf(out, "mode=%s\n", b->resume ? "--resume" : b->force ? "--force" : "");
    buffer_put(out, begin_again, strlen(begin_again));
    buffer_printf(
        out, "\n# TERM comes %" PRIu64 " s before the time limit: the run makes a cut and ends.\n",
        batch_notice_seconds(b->time));
    buffer_put(out, run_it, strlen(run_it));
}
