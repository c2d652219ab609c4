/* cmd_ab.h - `penstock ab hash | calc | assign | check | aa`: A/B tests without a node. Exit codes: 0, 2 usage. */
#ifndef PENSTOCK_LAUNCH_CMD_AB_H
#define PENSTOCK_LAUNCH_CMD_AB_H

int cmd_ab(int argc, char **argv);

#endif
