/* cmd_check.h - `penstock check`: the resolved job, its plan of shards and memory. Returns the exit code. */
#ifndef PENSTOCK_LAUNCH_CMD_CHECK_H
#define PENSTOCK_LAUNCH_CMD_CHECK_H

int cmd_check(int argc, char **argv);

#endif
