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

enum {
    NAP_US = 500,
    NAP_FIRST_US = 20,
    NAP_PART = 8, /* a nap is as long as so many-th part of the wait so far: late by that at most */
    TREE_TAG = 7,
    DEADLINE_US = 600000000,
    CLOSE_US = 10000000
};

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

struct until { /* what ends a wait beside its deadline */
    const atomic_bool *stop;
    const _Atomic uint64_t *generation; /* NULL: does not matter */
    uint64_t was;
};

static uint64_t nap_us(uint64_t waited_us)
{
    const uint64_t us = NAP_FIRST_US + waited_us / NAP_PART;
    return us < NAP_US ? us : NAP_US;
}

static bool given_up(const struct until *u)
{
    return (u->stop != NULL && atomic_load(u->stop)) ||
           (u->generation != NULL && atomic_load(u->generation) != u->was);
}

/* nap: sleep between two looks, the longer the longer it takes; else only give the core away, for a transfer that is
 * under way. */
static enum status finish(int rc, MPI_Request *request, int requests, bool nap, const char *what,
                          const struct until *until, struct errbuf *err)
{
    const uint64_t begin_us = clock_now_us();
    int done = 0;
    while (rc == MPI_SUCCESS) {
        rc = MPI_Testall(requests, request, &done, MPI_STATUSES_IGNORE);
        if (done)
            return ST_OK;
        if (given_up(until))
            return errbuf_set(err, ST_REFUSED, "%s was given up: the run ends", what);
        const uint64_t waited_us = clock_now_us() - begin_us;
        if (waited_us >= DEADLINE_US)
            return errbuf_set(err, ST_TIMEOUT, "%s: some rank did not join in %d s", what,
                              DEADLINE_US / 1000000);
        if (nap)
            clock_sleep_us(nap_us(waited_us));
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
    return finish(rc, &request, 1, true, "a broadcast", &(struct until){.stop = stop}, err);
}

/* Open MPI moves a large message only inside its calls, a piece in each: with naps between them the 16 MB of
 * an AUC took 1.7 s. So the ranks first meet, asleep; then they are all there, and nobody waits long. */
static enum status meet(const struct until *until, struct errbuf *err)
{
    MPI_Request request;
    int rc = MPI_Ibarrier(MPI_COMM_WORLD, &request);
    return finish(rc, &request, 1, true, "a meeting of the workers", until, err);
}

static enum status sum(void *v, size_t n, MPI_Datatype type, const atomic_bool *stop,
                       struct errbuf *err)
{
    MPI_Request request;
    assert(n <= INT_MAX);
    if (!comm.mpi)
        return ST_OK;
    const struct until until = {.stop = stop};
    enum status st = meet(&until, err);
    if (st != ST_OK)
        return st;
    bool root = comm.rank == 0;
    size_t bytes = n * sizeof(uint64_t);
    mem_grow(&comm.room, &comm.room_cap, bytes, 1);
    memcpy(comm.room, v, bytes);
    int rc = MPI_Ireduce(root ? MPI_IN_PLACE : comm.room, root ? comm.room : NULL, (int)n, type,
                         MPI_SUM, 0, MPI_COMM_WORLD, &request);
    st = finish(rc, &request, 1, false, "a sum over the workers", &until, err);
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
    const struct until until = {.stop = stop};
    enum status st = finish(rc, &request, 1, true, "a meeting of the workers", &until, err);
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
    st = finish(rc, &request, 1, false, "an exchange between the workers", &until, err);
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

/* -- the tree -- */

struct tree {
    float *mine, *theirs; /* (n + 1) in comm.room; [n]: 1 if there is anything */
    size_t n;
    struct until until;
};

/* Send mine if `send`, get theirs if `get`, from the rank `with`. */
static enum status exchange(struct tree *t, int with, bool send, bool get, struct errbuf *err)
{
    MPI_Request request[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    const int n = (int)t->n + 1;
    int rc = MPI_SUCCESS;
    if (get)
        rc = MPI_Irecv(t->theirs, n, MPI_FLOAT, with, TREE_TAG, MPI_COMM_WORLD, &request[0]);
    if (send && rc == MPI_SUCCESS)
        rc = MPI_Isend(t->mine, n, MPI_FLOAT, with, TREE_TAG, MPI_COMM_WORLD, &request[1]);
    return finish(rc, request, 2, false, "a sum over the workers", &t->until, err);
}

/* Addition commutes, so both sides of an exchange get the same bits. */
static void add(struct tree *t)
{
    const size_t n = t->n;
    if (t->theirs[n] == 0)
        return;
    if (t->mine[n] == 0)
        memcpy(t->mine, t->theirs, n * sizeof(float));
    else
        for (size_t i = 0; i < n; i++)
            t->mine[i] += t->theirs[i];
    t->mine[n] = 1;
}

static enum status run_tree(struct tree *t, struct errbuf *err)
{
    int even = 1; /* the largest power of two in size */
    while (2 * even <= comm.size)
        even *= 2;
    const int over = comm.size - even;
    enum status st = ST_OK;
    if (comm.rank >= even) { /* is added to another, and told the result */
        st = exchange(t, comm.rank - even, true, false, err);
        if (st == ST_OK)
            st = exchange(t, comm.rank - even, false, true, err);
        memcpy(t->mine, t->theirs, st == ST_OK ? t->n * sizeof(float) : 0);
        return st;
    }
    if (comm.rank < over) {
        st = exchange(t, comm.rank + even, false, true, err);
        if (st == ST_OK)
            add(t);
    }
    for (int apart = 1; apart < even && st == ST_OK; apart *= 2) {
        st = exchange(t, comm.rank ^ apart, true, true, err);
        if (st == ST_OK)
            add(t);
    }
    if (comm.rank < over && st == ST_OK)
        st = exchange(t, comm.rank + even, true, false, err);
    return st;
}

enum status comm_tree_f32(float *v, size_t n, bool has, const atomic_bool *stop,
                          const _Atomic uint64_t *generation, struct errbuf *err)
{
    assert(n < INT_MAX);
    if (!comm.mpi || comm.size == 1)
        return ST_OK;
    struct tree t = {.n = n, .until = {.stop = stop, .generation = generation}};
    t.until.was = generation != NULL ? atomic_load(generation) : 0;
    enum status st = meet(&t.until, err);
    if (st != ST_OK)
        return st;
    mem_grow(&comm.room, &comm.room_cap, 2 * (n + 1) * sizeof(float), 1);
    t.mine = (float *)(void *)comm.room;
    t.theirs = t.mine + n + 1;
    if (has)
        memcpy(t.mine, v, n * sizeof(float));
    t.mine[n] = has;
    st = run_tree(&t, err);
    if (st == ST_OK)
        memcpy(v, t.mine, n * sizeof(float));
    return st;
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
