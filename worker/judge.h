/* judge.h - `penstock-worker --eval`: a snapshot's model read from its files, judged on records. No cluster.
 *
 *   --snapshot DIR[@k]   the run; without @k the cut its recipe restores
 *   --job JOB.yaml       default: DIR/resolved.yaml; --set KEY=VALUE changes it
 *   --data WHAT          train, valid or test of the run, or files (repeated) of the same schema;
 *                        default: test, else valid
 *   --predictions FILE   a line a record: number, then label and probability of each task, by tabs
 *   --json               the result as JSON, else as a table
 */
#ifndef PENSTOCK_WORKER_JUDGE_H
#define PENSTOCK_WORKER_JUDGE_H

/* argv[1] is "--eval". Returns the exit code. No MPI. */
int judge_main(int argc, char **argv);

#endif
