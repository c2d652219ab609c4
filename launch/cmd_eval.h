/* cmd_eval.h - `penstock eval`: judge a snapshot; penstock-worker does the work. Returns the exit code. */
#ifndef PENSTOCK_LAUNCH_CMD_EVAL_H
#define PENSTOCK_LAUNCH_CMD_EVAL_H

int cmd_eval(int argc, char **argv);

#endif
