/* comm.c - MPI for the few things it is good at (comm.h).
 *
 * Static state: MPI itself is one a process. LeakSanitizer cannot suppress what MPI_Init leaks by name, so
 * MPI_Init is bracketed, and the leak check is made before MPI_Finalize (worker/README.md, "MPI").
 */
#include "worker/comm.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <mpi.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/options.h"

#ifdef __SANITIZE_ADDRESS__
void __lsan_disable(void);
void __lsan_enable(void);
void __lsan_do_leak_check(void);
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libpmix.so\nleak:libopen-pal.so\nleak:libmpi.so\n";
}
#else
static void __lsan_disable(void)
{
}
static void __lsan_enable(void)
{
}
static void __lsan_do_leak_check(void)
{
}
#endif

enum { NAP_US = 500, DEADLINE_US = 600000000, CLOSE_US = 10000000 };

static struct {
    bool mpi;
    int rank, size;
    /* Sums are made in here and not in the caller's arrays: one that was given up goes on being received
     * while MPI_Finalize waits, when those are long freed. Never freed. */
    char *room;
    size_t room_cap;
} comm = {.size = 1};

enum status comm_open(struct errbuf *err)
{
    int got = 0;
    /* mpirun and srun --mpi=pmix set these; alone, MPI_Init would start a daemon for nothing. */
    if (option_env("OMPI_COMM_WORLD_SIZE") == NULL && option_env("PMIX_RANK") == NULL)
        return ST_OK;
    __lsan_disable();
    int rc = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &got);
    __lsan_enable();
    if (rc != MPI_SUCCESS)
        return errbuf_set(err, ST_INTERNAL, "MPI_Init failed with code %d", rc);
    comm.mpi = true;
    if (got < MPI_THREAD_FUNNELED)
        return errbuf_set(err, ST_INTERNAL, "this MPI knows no threads");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &comm.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &comm.size);
    return ST_OK;
}

uint32_t comm_rank(void)
{
    return (uint32_t)comm.rank;
}

uint32_t comm_size(void)
{
    return (uint32_t)comm.size;
}

/* nap: sleep between two looks; else only give the core away, for a transfer that is under way. */
static enum status finish(int rc, MPI_Request *request, bool nap, const char *what,
                          const atomic_bool *stop, struct errbuf *err)
{
    uint64_t until_us = clock_now_us() + DEADLINE_US;
    int done = 0;
    while (rc == MPI_SUCCESS) {
        rc = MPI_Test(request, &done, MPI_STATUS_IGNORE);
        if (done)
            return ST_OK;
        if (stop != NULL && atomic_load(stop))
            return errbuf_set(err, ST_REFUSED, "%s was given up: the run ends", what);
        if (clock_now_us() >= until_us)
            return errbuf_set(err, ST_TIMEOUT, "%s: some rank did not join in %d s", what,
                              DEADLINE_US / 1000000);
        if (nap)
            clock_sleep_us(NAP_US);
        else
            sched_yield();
    }
    return errbuf_set(err, ST_INTERNAL, "%s failed with MPI code %d", what, rc);
}

enum status comm_bcast_u64(uint64_t *v, const atomic_bool *stop, struct errbuf *err)
{
    MPI_Request request;
    if (!comm.mpi)
        return ST_OK;
    int rc = MPI_Ibcast(v, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD, &request);
    return finish(rc, &request, true, "a broadcast", stop, err);
}

/* Open MPI moves a large message only inside its calls, a piece in each: with naps between them the 16 MB of
 * an AUC took 1.7 s. So the ranks first meet, asleep; then they are all there, and nobody waits long. */
static enum status sum(void *v, size_t n, MPI_Datatype type, const atomic_bool *stop,
                       struct errbuf *err)
{
    MPI_Request request;
    assert(n <= INT_MAX);
    if (!comm.mpi)
        return ST_OK;
    int rc = MPI_Ibarrier(MPI_COMM_WORLD, &request);
    enum status st = finish(rc, &request, true, "a meeting of the workers", stop, err);
    if (st != ST_OK)
        return st;
    bool root = comm.rank == 0;
    size_t bytes = n * sizeof(uint64_t);
    mem_grow(&comm.room, &comm.room_cap, bytes, 1);
    memcpy(comm.room, v, bytes);
    rc = MPI_Ireduce(root ? MPI_IN_PLACE : comm.room, root ? comm.room : NULL, (int)n, type,
                     MPI_SUM, 0, MPI_COMM_WORLD, &request);
    st = finish(rc, &request, false, "a sum over the workers", stop, err);
    if (st == ST_OK && root)
        memcpy(v, comm.room, bytes);
    return st;
}

enum status comm_sum_u64(uint64_t *v, size_t n, const atomic_bool *stop, struct errbuf *err)
{
    return sum(v, n, MPI_UINT64_T, stop, err);
}

enum status comm_sum_f64(double *v, size_t n, const atomic_bool *stop, struct errbuf *err)
{
    return sum(v, n, MPI_DOUBLE, stop, err);
}

/* What one rank sends to each, or gets from each. */
struct lane {
    int *count, *first; /* (comm.size) */
    size_t all;
};

static struct lane lane_new(void)
{
    const size_t n = (size_t)comm.size;
    return (struct lane){mem_array(n, sizeof(int)), mem_array(n, sizeof(int)), 0};
}

static bool lane_fill(struct lane *l, const uint64_t *counts)
{
    for (int r = 0; r < comm.size; r++) {
        if (counts[r] > INT_MAX - l->all)
            return false;
        l->count[r] = (int)counts[r];
        l->first[r] = (int)l->all;
        l->all += (size_t)counts[r];
    }
    return true;
}

/* Everything that MPI may still write to when it is given up stays allocated: the process ends then. */
enum status comm_exchange(void **io, const uint64_t *counts, size_t bytes, size_t *out_n,
                          const atomic_bool *stop, struct errbuf *err)
{
    MPI_Request request;
    MPI_Datatype item;
    struct lane give = lane_new(), get = lane_new();
    const size_t n = (size_t)comm.size;
    uint64_t *tell = mem_array(n, sizeof(*tell)), *told = mem_array(n, sizeof(*told));
    assert(comm.mpi);
    memcpy(tell, counts, n * sizeof(*tell));
    int rc = MPI_Ialltoall(tell, 1, MPI_UINT64_T, told, 1, MPI_UINT64_T, MPI_COMM_WORLD, &request);
    enum status st = finish(rc, &request, true, "a meeting of the workers", stop, err);
    if (st == ST_OK && (!lane_fill(&give, tell) || !lane_fill(&get, told)))
        st = errbuf_set(err, ST_NO_MEMORY, "more than %d items to exchange with the workers",
                        INT_MAX);
    if (st != ST_OK)
        return st;
    void *got = mem_array(get.all + 1, bytes);
    MPI_Type_contiguous((int)bytes, MPI_BYTE, &item);
    MPI_Type_commit(&item);
    rc = MPI_Ialltoallv(*io, give.count, give.first, item, got, get.count, get.first, item,
                        MPI_COMM_WORLD, &request);
    st = finish(rc, &request, false, "an exchange between the workers", stop, err);
    if (st != ST_OK)
        return st;
    MPI_Type_free(&item);
    free(give.count);
    free(give.first);
    free(get.count);
    free(get.first);
    free(tell);
    free(told);
    free(*io);
    *io = got;
    *out_n = get.all;
    return ST_OK;
}

static void *watchdog(void *arg)
{
    int code = *(int *)arg;
    clock_sleep_us(CLOSE_US);
    log_warn("MPI_Finalize takes too long (another rank died?): exit %d", code);
    _exit(code);
}

void comm_close(int code)
{
    static int exit_code;
    pthread_t dog;
    if (!comm.mpi)
        return;
    __lsan_do_leak_check();
    exit_code = code;
    if (pthread_create(&dog, NULL, watchdog, &exit_code) == 0)
        pthread_detach(dog);
    MPI_Finalize();
}
