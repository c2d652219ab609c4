/* cmd_simulate.h - `penstock simulate`. Exit codes: 0, 2 usage, 3 no shop, 1 wrong answers or anything else. */
#ifndef PENSTOCK_LAUNCH_CMD_SIMULATE_H
#define PENSTOCK_LAUNCH_CMD_SIMULATE_H

int cmd_simulate(int argc, char **argv);

#endif
