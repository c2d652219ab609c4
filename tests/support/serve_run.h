/* serve_run.h - a run's folder with everything a serving node looks for, under a test's hand (snapshot_world.h). */
#ifndef PENSTOCK_TESTS_SUPPORT_SERVE_RUN_H
#define PENSTOCK_TESTS_SUPPORT_SERVE_RUN_H

#include "ps/serve/version.h"
#include "tests/support/snapshot_world.h"

/* A world whose dir is a run: job, resolved.yaml, plan.json, cache/encoder.bin. */
struct world *serve_run_new(uint32_t shards, uint64_t seed);
void serve_run_free(struct world *w); /* with its dir */
void serve_run_cut(struct world *w, uint64_t k, bool full);
/* Restart on another number of shards, from what was cut last: the rows stay, the map and e change; w is freed, and the
 * next cut must be a full one. */
struct world *serve_run_reshard(struct world *w, uint32_t shards);
/* v is, row by row, what the shards hold (asserts); nothing was pushed since v's cut. */
void serve_run_equal(const struct world *w, const struct version *v);
void serve_run_poison(struct world *w); /* a row of table 0 gets a weight that is not a number */
void serve_run_heal(struct world *w);   /* and is a number again */
void serve_run_forge(struct world *w,
                     uint64_t k); /* the manifest of k says another hash of weights, and is whole */
void serve_run_flip(const char *path); /* one bit of a file, in its middle */
void serve_run_manifest(const struct world *w,
                        const struct manifest *m); /* write cuts/<k>.json again */

#endif
