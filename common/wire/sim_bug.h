/* sim_bug.h - planted bugs, for tests/sim only: each must be found within its seeds.
 *
 * A build with PENSTOCK_SIM_BUGS asks the global sim_bug (defined by tests/sim) which one is planted; every
 * other build has a constant 0 here and no trace of them. The numbers: ps/train/README.md, "Planted
 * bugs"; who finds them and when: tests/sim/README.md.
 *
 * SIM_BLIND: production's own checks of what they cause look away, so that the tests' oracle must find it.
 */
#ifndef PENSTOCK_COMMON_WIRE_SIM_BUG_H
#define PENSTOCK_COMMON_WIRE_SIM_BUG_H

#ifdef PENSTOCK_SIM_BUGS
#include <stdbool.h>

extern int sim_bug;
extern bool sim_blind;
#define SIM_BUG(number) (sim_bug == (number))
#define SIM_BLIND       sim_blind
#else
#define SIM_BUG(number) 0
#define SIM_BLIND       0
#endif

#endif
