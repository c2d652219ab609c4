/* batch.h - the batch script of `penstock submit`: text for sbatch and for the person who reads it.
 *
 * It runs `penstock train --slurm` on the first node of the allocation, which starts, watches, ends and judges
 * as everywhere (place.h). What the script adds is Slurm's own: what is asked for, TERM before the time limit,
 * and that a job which begins again goes on from its last complete cut.
 */
#ifndef PENSTOCK_LAUNCH_BATCH_H
#define PENSTOCK_LAUNCH_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/job.h"
#include "launch/args.h"

struct batch {
    const struct job *job;         /* borrowed, as all pointers here */
    const char *program;           /* penstock, absolute */
    const char *job_path;          /* absolute */
    const char *dir;               /* absolute */
    const char *cwd;               /* where submit was called: relative paths of --set */
    uint64_t nodes;                /* 0: 1 */
    const char *time;              /* as Slurm reads it; NULL: the partition's limit */
    const struct args_list *sets;  /* of the train call: --servers and the like are among them */
    const struct args_list *flags; /* for sbatch; from item 1 on */
    uint64_t folds;                /* cross-validation of so many; 0: one run */
    bool resume, force;
};

void batch_text(const struct batch *b, struct buffer *out);
/* Seconds before the limit at which Slurm sends TERM: time for a cut, but never most of a short job. */
uint64_t batch_notice_seconds(const char *time);

#endif
