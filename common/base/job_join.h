/* job_join.h - data.join: the side files of a job. For job.c only. */
#ifndef PENSTOCK_COMMON_BASE_JOB_JOIN_H
#define PENSTOCK_COMMON_BASE_JOB_JOIN_H

#include "common/base/job.h"

/* After data.format and data.delimiter are in job. name: of the job's text, for errors. ST_USAGE. */
MUST_CHECK enum status job_join_load(const struct yaml_node *root, const char *name,
                                     struct job *job, struct errbuf *err);
void job_join_release(struct job *job);
/* As YAML, to stand behind the rows of the data section; nothing if there are none. */
void job_join_dump(const struct job *job, struct buffer *out);
/* Item i in one line: what hash and --resume compare. */
void job_join_put(const struct job *job, size_t i, struct buffer *out);

#endif
