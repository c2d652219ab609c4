/* worker_comm.c - the sum of gradients over 1 to 6 real ranks, bit by bit.
 *
 * The test starts itself under mpirun. Each rank makes the arrays of all ranks out of a seed, adds them up by
 * recursion as the header says, and compares; so all ranks have the same bits, those of the tree. Ranks without
 * an array are left out at random.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/options.h"
#include "common/base/rng.h"
#include "worker/comm.h"

enum { RANKS = 6, N_MAX = 70000, ROUNDS = 40 };

static float *leaf[RANKS]; /* (n); [N_MAX]: 1 if the rank has one */

static float value(uint64_t round, uint32_t rank, size_t i)
{
    return (float)((rng_unit(round, rank, i) - 0.5) * (i % 7 == 0 ? 1e6 : 1e-3));
}

/* Sum of leaves [lo, hi), into out; false: nobody has any. */
static bool tree(uint32_t lo, uint32_t hi, size_t n, float *out)
{
    if (hi - lo == 1) {
        memcpy(out, leaf[lo], n * sizeof *out);
        return leaf[lo][N_MAX] == 1;
    }
    float *right = mem_array(n, sizeof *right);
    const uint32_t middle = lo + (hi - lo) / 2;
    const bool l = tree(lo, middle, n, out), r = tree(middle, hi, n, right);
    for (size_t i = 0; i < n && r; i++)
        out[i] = l ? out[i] + right[i] : right[i];
    free(right);
    return l || r;
}

static void fold(uint32_t into, uint32_t from, size_t n)
{
    const bool has = leaf[into][N_MAX] == 1;
    for (size_t i = 0; i < n && leaf[from][N_MAX] == 1; i++)
        leaf[into][i] = has ? leaf[into][i] + leaf[from][i] : leaf[from][i];
    leaf[into][N_MAX] = has || leaf[from][N_MAX] == 1;
}

static int round_of(uint64_t round, size_t n, float *mine, float *want)
{
    struct errbuf err = ERRBUF_INIT;
    const uint32_t size = comm_size(), rank = comm_rank();
    uint32_t even = 1;
    for (uint32_t r = 0; r < size; r++) {
        /* one of them always has */
        leaf[r][N_MAX] = r == round % size || rng_unit(round, 99, r) < 0.7;
        for (size_t i = 0; i < n; i++)
            leaf[r][i] = value(round, r, i);
    }
    const bool has = leaf[rank][N_MAX] == 1;
    memcpy(mine, leaf[rank], n * sizeof *mine);
    while (2 * even <= size)
        even *= 2;
    for (uint32_t r = even; r < size; r++)
        fold(r - even, r, n);
    if (comm_tree_f32(mine, n, has, NULL, NULL, &err) != ST_OK) {
        fprintf(stderr, "rank %u: %s\n", rank, err.text);
        return 1;
    }
    if (!tree(0, even, n, want) || memcmp(mine, want, n * sizeof *mine) != 0) {
        fprintf(stderr, "rank %u of %u, round %llu of %zu floats: other bits\n", rank, size,
                (unsigned long long)round, n);
        return 1;
    }
    return 0;
}

static int as_rank(void)
{
    struct errbuf err = ERRBUF_INIT;
    if (comm_open(&err) != ST_OK)
        return 1;
    float *mine = mem_array(N_MAX, sizeof *mine), *want = mem_array(N_MAX, sizeof *want);
    int bad = 0;
    for (uint32_t r = 0; r < RANKS; r++)
        leaf[r] = mem_array(N_MAX + 1, sizeof *leaf[r]);
    for (uint64_t round = 0; round < ROUNDS && bad == 0; round++)
        bad = round_of(round, round % 10 == 9 ? N_MAX : 1 + 37 * (size_t)round, mine, want);
    for (uint32_t r = 0; r < RANKS; r++)
        free(leaf[r]);
    free(mine);
    free(want);
    comm_close(bad);
    return bad;
}

static void all_ranks_get_the_bits_of_the_tree(void **state)
{
    char self[4096], command[5000];
    (void)state;
    if (system("command -v mpirun >/dev/null") != 0)
        skip();
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = '\0';
    for (int ranks = 1; ranks <= RANKS; ranks++) {
        snprintf(command, sizeof command,
                 "timeout 60 mpirun --allow-run-as-root --oversubscribe --bind-to none --quiet "
                 "--mca btl self,vader -np %d '%s' >&2",
                 ranks, self);
        assert_int_equal(system(command), 0);
    }
}

int main(void)
{
    if (option_env("OMPI_COMM_WORLD_SIZE") != NULL)
        return as_rank();
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_ranks_get_the_bits_of_the_tree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
