/* cmd_status.h - `penstock status`: ask a run's head, or read how the run ended. Returns the exit code. */
#ifndef PENSTOCK_LAUNCH_CMD_STATUS_H
#define PENSTOCK_LAUNCH_CMD_STATUS_H

int cmd_status(int argc, char **argv);

#endif
