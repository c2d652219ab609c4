/* cmd_serving.h - `penstock serving`: which versions a node keeps, and which one it shows. Returns the exit code. */
#ifndef PENSTOCK_LAUNCH_CMD_SERVING_H
#define PENSTOCK_LAUNCH_CMD_SERVING_H

int cmd_serving(int argc, char **argv);

#endif
