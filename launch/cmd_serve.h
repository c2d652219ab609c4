/* cmd_serve.h - `penstock serve`: a serving node; penstock-serve does the work. Returns the exit code. */
#ifndef PENSTOCK_LAUNCH_CMD_SERVE_H
#define PENSTOCK_LAUNCH_CMD_SERVE_H

int cmd_serve(int argc, char **argv);

#endif
