/* penstock_replica.h - follow a model that Penstock trains, look up its rows and score records, inside your program.
 *
 *     struct penstock_replica *r;
 *     char why[256];
 *     if (penstock_replica_open("tcp://10.0.0.1:4700", PENSTOCK_FOLLOW, 30, &r, why, sizeof why) != PENSTOCK_OK) ...
 *     penstock_replica_key(r, "user", "4711", 4, &key);
 *     penstock_replica_lookup(r, "embedding", &key, 1, row, NULL, NULL);
 *     penstock_replica_close(r);
 *
 * Link with `pkg-config --cflags --libs penstock-replica`. Every function but close may be called from any thread at any
 * time (256 threads inside at once); none waits for a lock that following holds. A lookup or a score is of one version
 * whole. This header and what it declares stay compatible; nothing else of the library is exported.
 */
#ifndef PENSTOCK_REPLICA_H
#define PENSTOCK_REPLICA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef PENSTOCK_EXPORT
#define PENSTOCK_EXPORT
#endif

struct penstock_replica; /* opaque */

enum penstock_result {
    PENSTOCK_OK = 0,
    PENSTOCK_USAGE = 1,     /* the call is wrong: an address, a name */
    PENSTOCK_BAD_DATA = 2,  /* the snapshot is damaged or does not fit */
    PENSTOCK_NOT_FOUND = 3, /* no such table, field, version */
    PENSTOCK_TIMEOUT = 4,   /* nobody answered, or nothing newer came in time */
    PENSTOCK_FAILED = 5     /* anything else: why says it */
};

enum penstock_how { PENSTOCK_LOAD = 0, PENSTOCK_FOLLOW = 1 };

/* PENSTOCK_LOAD: where is "DIR" or "DIR@k", a run's folder, loaded once. PENSTOCK_FOLLOW: "DIR" or "tcp://HOST:PORT"; waits
 * up to wait_s seconds for a first version; none yet is no error. why: (why_cap) gets a sentence when the result is not
 * PENSTOCK_OK, here and below; may be NULL. */
PENSTOCK_EXPORT int penstock_replica_open(const char *where, int how, double wait_s,
                                          struct penstock_replica **out, char *why, size_t why_cap);
PENSTOCK_EXPORT void penstock_replica_close(struct penstock_replica *r);

struct penstock_version {
    uint64_t cut, incarnation;  /* which complete cut this is */
    uint64_t wall_us, shown_us; /* taken by the trainer, ready here: microseconds since 1970 */
    uint64_t step, records;     /* pushes and records of the log that are in it */
    int shown, pinned, refused; /* refused: it has weights that are not finite and is never shown */
};
/* The version shown now. PENSTOCK_NOT_FOUND: none yet. */
PENSTOCK_EXPORT int penstock_replica_version(struct penstock_replica *r,
                                             struct penstock_version *out);
/* All that are kept, oldest first, at most max; returns how many. */
PENSTOCK_EXPORT size_t penstock_replica_versions(struct penstock_replica *r,
                                                 struct penstock_version *out, size_t max);
/* Until another cut than `cut` is shown (0: any), at most wait_s. */
PENSTOCK_EXPORT int penstock_replica_wait(struct penstock_replica *r, uint64_t cut, double wait_s,
                                          struct penstock_version *out);
/* Show cut `cut` until it is unpinned (0). */
PENSTOCK_EXPORT int penstock_replica_pin(struct penstock_replica *r, uint64_t cut, char *why,
                                         size_t why_cap);

struct penstock_table {
    const char *name;    /* lives as long as the replica */
    uint32_t dim;        /* floats a row; 256 of "dense" and "stat", whose rows are blocks */
    int sparse;          /* rows are looked up by key */
    uint64_t rows, hash; /* of the version shown; hash: over weights, as the manifest's `weights` */
};
PENSTOCK_EXPORT size_t penstock_replica_tables(const struct penstock_replica *r);
/* Both hash and rows are of one version, `cut` (may be NULL). */
PENSTOCK_EXPORT int penstock_replica_table(struct penstock_replica *r, size_t i,
                                           struct penstock_table *out, uint64_t *cut);

/* The key of an id's text, as training made it from a log's cell of this field. */
PENSTOCK_EXPORT int penstock_replica_key(const struct penstock_replica *r, const char *field,
                                         const char *text, size_t n, uint64_t *out);
/* Rows of n keys into out, (n, dim). A key that no push has made gets its initial row and is counted in *unknown (may be
 * NULL); *cut (may be NULL): which version they are of. */
PENSTOCK_EXPORT int penstock_replica_lookup(struct penstock_replica *r, const char *table,
                                            const uint64_t *keys, size_t n, float *out,
                                            size_t *unknown, uint64_t *cut);
/* A copy of a dense tensor by its name in the plan ("mlp.0.weight") into out, at most max floats; returns how many it
 * has, 0: there is none. */
PENSTOCK_EXPORT size_t penstock_replica_dense(struct penstock_replica *r, const char *tensor,
                                              float *out, size_t max);

/* Scores records: probabilities, as `penstock eval --predictions` has them. cells: (n, fields) texts, one for each of
 * the names in fields; NULL or "" is a missing cell; a field of the job that is not named is missing, too. Not for
 * models of sequences (PENSTOCK_USAGE). */
PENSTOCK_EXPORT int penstock_replica_score(struct penstock_replica *r, const char *const *fields,
                                           size_t fields_n, const char *const *cells, size_t n,
                                           float *out, uint64_t *cut, char *why, size_t why_cap);

struct penstock_counts {
    uint64_t shown, mismatched, refused, damaged, resynced; /* versions, since open */
    uint64_t bytes, fetched_bytes, retried;
};
PENSTOCK_EXPORT void penstock_replica_counts(struct penstock_replica *r,
                                             struct penstock_counts *out);

#ifdef __cplusplus
}
#endif
#endif
