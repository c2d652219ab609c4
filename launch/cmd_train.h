/* cmd_train.h - `penstock train`: train a job on this host's cluster. Returns the exit code. */
#ifndef PENSTOCK_LAUNCH_CMD_TRAIN_H
#define PENSTOCK_LAUNCH_CMD_TRAIN_H

int cmd_train(int argc, char **argv);

#endif
