/* follow.c - an example: follow a run and say a line for each version that is shown.
 *
 *     cc follow.c $(pkg-config --cflags --libs penstock-replica) -o follow
 *     ./follow [--for SECONDS] DIR | tcp://HOST:PORT
 *
 * A line: "cut K incarnation E after MS ms  TABLE=HASH ...": when it was taken until it was ready here, and the hash over
 * weights of each table, which stands in the cut's manifest, too. Each second without a new one: "still K", or "gone" if
 * there is none any more, which never happens. Ends after SECONDS (default: never).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <penstock_replica.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print_version(struct penstock_replica *r, const struct penstock_version *v)
{
    char line[4096];
    size_t used = 0;
    for (size_t i = 0; i < penstock_replica_tables(r); i++) {
        struct penstock_table t;
        uint64_t cut = 0;
        if (penstock_replica_table(r, i, &t, &cut) != PENSTOCK_OK || cut != v->cut) {
            return; /* a newer one is shown already: its line comes next */
        }
        const int n = snprintf(line + used, sizeof line - used, "  %s=%016" PRIx64, t.name, t.hash);
        used += n > 0 && (size_t)n < sizeof line - used ? (size_t)n : 0;
    }
    printf("cut %" PRIu64 " incarnation %" PRIu64 " after %.1f ms%s\n", v->cut, v->incarnation,
           (double)(v->shown_us - v->wall_us) / 1e3, line);
}

static void follow(struct penstock_replica *r, double until)
{
    struct penstock_version v = {0};
    while (now() < until) {
        struct penstock_version next;
        if (penstock_replica_wait(r, v.cut, 1, &next) == PENSTOCK_OK) {
            v = next;
            print_version(r, &v);
        } else if (v.cut != 0) {
            const int there = penstock_replica_version(r, &next) == PENSTOCK_OK;
            printf("%s %" PRIu64 "\n", there ? "still" : "gone", v.cut);
        }
        fflush(stdout);
    }
    struct penstock_counts c;
    penstock_replica_counts(r, &c);
    printf("shown %" PRIu64 ", mismatched %" PRIu64 ", refused %" PRIu64 ", damaged %" PRIu64
           ", resynced %" PRIu64 ", asked again %" PRIu64 "\n",
           c.shown, c.mismatched, c.refused, c.damaged, c.resynced, c.retried);
}

int main(int argc, char **argv)
{
    double seconds = 1e9;
    char why[512];
    struct penstock_replica *r;
    if (argc == 4 && strcmp(argv[1], "--for") == 0) {
        seconds = strtod(argv[2], NULL);
        argv += 2;
        argc -= 2;
    }
    if (argc != 2) {
        fprintf(stderr, "usage: %s [--for SECONDS] DIR | tcp://HOST:PORT\n", argv[0]);
        return 2;
    }
    const double until = now() + seconds;
    if (penstock_replica_open(argv[1], PENSTOCK_FOLLOW, seconds < 30 ? seconds : 30, &r, why,
                              sizeof why) != PENSTOCK_OK) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    follow(r, until);
    penstock_replica_close(r);
    return 0;
}
