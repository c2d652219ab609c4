/* job_task.h - the tasks of a job: its fields of type label, in the order of data.fields.
 *
 * A task is named as its field. Each family but multitask has one; sequences have none, which counts as one without
 * a label. What judges an epoch (train.metric), and what has one value where tasks have one each, is that of
 * train.task.
 */
#ifndef PENSTOCK_COMMON_BASE_JOB_TASK_H
#define PENSTOCK_COMMON_BASE_JOB_TASK_H

#include <stddef.h>

#include "common/base/errbuf.h"
#include "common/base/job.h"

#define JOB_TASKS_MAX 8u
#define LABEL_MISSING (-1.0f) /* beside 0 and 1: this record says nothing about this task */

size_t job_tasks(const struct job *job); /* at least 1 */
/* task < job_tasks; "label" where no field says it. */
const char *job_task_name(const struct job *job, size_t task);
double job_task_weight(const struct job *job, size_t task);
/* The one that train.task names, else 0. */
size_t job_task(const struct job *job);
/* Labels, their weights and train.task go with the family. ST_USAGE. */
MUST_CHECK enum status job_task_check(const struct job *job, struct errbuf *err);

#endif
