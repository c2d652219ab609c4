/* plan_mode.h - `penstock-worker --plan JOB.yaml [--set k=v]...`: the parameters of a job's model, as JSON. */
#ifndef PENSTOCK_WORKER_PLAN_MODE_H
#define PENSTOCK_WORKER_PLAN_MODE_H

/* argv[1] is "--plan". Prints the plan (common/base/plan.h) on stdout; returns the exit code. No MPI. */
int plan_mode_main(int argc, char **argv);

#endif
