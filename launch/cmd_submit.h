/* cmd_submit.h - `penstock submit`: write a batch script for Slurm and submit it. Returns the exit code. */
#ifndef PENSTOCK_LAUNCH_CMD_SUBMIT_H
#define PENSTOCK_LAUNCH_CMD_SUBMIT_H

int cmd_submit(int argc, char **argv);

#endif
