/* baseline.h - `penstock-worker --baseline --dir DIR --data valid|test`: EASE on a part of the run's log, as JSON.
 *
 * Here because only this program links OpenBLAS, whose LAPACK inverts the matrix. Where EASE is left out the JSON says
 * why, and the exit code is 0: a run is no worse for want of it.
 */
#ifndef PENSTOCK_WORKER_BASELINE_H
#define PENSTOCK_WORKER_BASELINE_H

int baseline_main(int argc, char **argv);

#endif
