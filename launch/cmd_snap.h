/* cmd_snap.h - `penstock snap list|show|verify|diff`: what complete cuts a run's folder holds.
 *
 * argv[0] is "snap". Returns the exit code: 0 done (diff: equal), 1 anything else (diff: different),
 * 2 the call is wrong, 3 a snapshot is wrong.
 */
#ifndef PENSTOCK_LAUNCH_CMD_SNAP_H
#define PENSTOCK_LAUNCH_CMD_SNAP_H

int cmd_snap(int argc, char **argv);

#endif
