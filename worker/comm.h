/* comm.h - what workers use MPI for: ranks, one broadcast, sums, one exchange; the only door to mpi.h.
 *
 * A rank that waits inside MPI burns a core (worker/README.md, "MPI"), so every collective here is
 * non-blocking: test, sleep a little, test. Every wait ends: with its deadline, or when *stop becomes true.
 * After one that did not complete nothing but comm_close may be called.
 *
 * Not under mpirun there is one rank, and MPI is never touched. Main thread only.
 */
#ifndef PENSTOCK_WORKER_COMM_H
#define PENSTOCK_WORKER_COMM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"

MUST_CHECK enum status comm_open(struct errbuf *err);
uint32_t comm_rank(void);
uint32_t comm_size(void);
/* The value of rank 0 on all. stop: borrowed, may be NULL. */
MUST_CHECK enum status comm_bcast_u64(uint64_t *v, const atomic_bool *stop, struct errbuf *err);
/* In place: rank 0 gets the sums over all ranks, the others keep their own. */
MUST_CHECK enum status comm_sum_u64(uint64_t *v, size_t n, const atomic_bool *stop,
                                    struct errbuf *err);
MUST_CHECK enum status comm_sum_f64(double *v, size_t n, const atomic_bool *stop,
                                    struct errbuf *err);
/* *io: items of so many bytes for each rank, counts (comm_size) of them, in the order of ranks; becomes those that all
 * ranks gave for this one, in the order of ranks, on the heap as before. Where it fails, what was given belongs to MPI.
 * No rank may give or get more than INT_MAX items. */
MUST_CHECK enum status comm_exchange(void **io, const uint64_t *counts, size_t bytes, size_t *out_n,
                                     const atomic_bool *stop, struct errbuf *err);
/* The arrays of all ranks summed as a pairwise tree in the order of ranks (common/math/merge.h, for a power of two; the
 * ranks beyond the largest one in the world are first added to ranks 0, 1 ...), on every rank the same bits. Ranks that
 * don't have any (has false: v is only written) count as nothing; some rank must have. Like the others it ends when
 * *stop becomes true, and also when *generation, if not NULL, changes: ST_REFUSED. Ranks that wait for others nap. */
MUST_CHECK enum status comm_tree_f32(float *v, size_t n, bool has, const atomic_bool *stop,
                                     const _Atomic uint64_t *generation, struct errbuf *err);
/* MPI_Finalize, with a watchdog that ends the process with `code` after 10 s. Under LeakSanitizer: the leak
 * check comes first, so everything of ours must be released by now. */
void comm_close(int code);

#endif
