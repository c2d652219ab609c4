/* place.h - where the processes of a run are started, and by what: here, on hosts, or as steps of Slurm.
 *
 * | place | servers                                     | workers                                        |
 * |-------|---------------------------------------------|------------------------------------------------|
 * | here  | children of the front                       | one mpirun                                     |
 * | hosts | AGENT HOST penstock-ps, one child a server,  | one mpirun --hostfile F over the same agent    |
 * |       | round robin over the hosts                   |                                                |
 * | slurm | one srun step, DIR/servers.conf             | another srun step, --mpi=pmix                  |
 *
 * In all of them servers are one launch and workers another (in one MPI launch all ranks call MPI_Init or none
 * does, and one dead rank ends it), each child is looked after in the same way (run.h), and its standard input is
 * the lifeline: ssh and srun hand its end on to what they started.
 */
#ifndef PENSTOCK_LAUNCH_PLACE_H
#define PENSTOCK_LAUNCH_PLACE_H

#include "common/base/job.h"
#include "launch/hosts.h"
#include "launch/prepare.h"
#include "launch/run.h"

enum place_kind { PLACE_HERE, PLACE_HOSTS, PLACE_SLURM };

struct place {
    enum place_kind kind;
    const char *hostfile; /* borrowed; PLACE_HOSTS */
    struct hosts hosts;   /* owned */
    const struct job *job;
    const struct prepare *dir; /* borrowed, both */
};

/* Learn the hosts, and hold cluster.bind against them. hostfile NULL and !slurm: here. A hostfile that names
 * this host alone is here, too. ST_USAGE: the file, the bind, or no allocation of Slurm. */
MUST_CHECK enum status place_init(struct place *p, const struct job *job, const char *hostfile,
                                  bool slurm, struct errbuf *err);
void place_release(struct place *p);

/* From here on with the run's folder. Each host must see DIR, the cache and the programs under the paths they have
 * here: ST_USAGE names the host and the path; ST_IO: a host is not reached. */
MUST_CHECK enum status place_check(struct place *p, const struct prepare *dir, struct errbuf *err);
/* How many children the servers are: one each, but one for all under Slurm. */
uint64_t place_server_children(const struct place *p);
MUST_CHECK enum status place_start_server(const struct place *p, struct run *r, uint64_t child,
                                          struct errbuf *err);
MUST_CHECK enum status place_start_workers(const struct place *p, struct run *r,
                                           struct errbuf *err);
/* The command lines of the two steps, for a reader of the batch script; text to write behind "# ". */
void place_slurm_text(const struct job *job, uint64_t nodes, const char *dir,
                      struct buffer *servers, struct buffer *workers);

#endif
