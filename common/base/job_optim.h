/* job_optim.h - optimizer.tables: single tables' optimizers. For job.c and job_check.c only. */
#ifndef PENSTOCK_COMMON_BASE_JOB_OPTIM_H
#define PENSTOCK_COMMON_BASE_JOB_OPTIM_H

#include "common/base/job.h"

/* After the rest of the optimizer section is in job. name: of the job's text, for errors. ST_USAGE. */
MUST_CHECK enum status job_optim_load(const struct yaml_node *root, const char *name,
                                      struct job *job, struct errbuf *err);
void job_optim_release(struct job *job);
/* As YAML, to stand behind the rows of the optimizer section; nothing if there are none. */
void job_optim_dump(const struct job *job, struct buffer *out);
/* Item i in one line: what hash and --resume compare. */
void job_optim_put(const struct job *job, size_t i, struct buffer *out);
/* Combinations: what a kind can't be used for, and what can't be replayed exactly. */
MUST_CHECK enum status job_optim_check(const struct job *job, struct errbuf *err);

#endif
