/* snapshot_world.h - shards without a protocol: tables, undo logs, cuts and manifests under a test's hand.
 *
 * A plan with two sparse tables and three dense tensors; pushes are made up by a seeded stream. What a shard
 * holds at an instant can be photographed (struct shot) and compared, whatever way it came there.
 */
#ifndef PENSTOCK_TESTS_SUPPORT_SNAPSHOT_WORLD_H
#define PENSTOCK_TESTS_SUPPORT_SNAPSHOT_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/rng.h"
#include "ps/snapshot/cut.h"
#include "ps/snapshot/manifest.h"
#include "ps/snapshot/undo.h"

#define WORLD_SHARDS 8u

struct world_shard {
    struct store *store;
    struct undo *open, *taken;
    uint32_t stamp; /* of the open interval */
    uint64_t step;  /* pushes applied */
    uint64_t taken_step;
    struct cut_hash hash; /* as of the last complete cut */
};

struct world {
    struct plan plan;
    uint32_t state[PLAN_TABLES_MAX];
    uint32_t shards;
    uint16_t map[BUCKETS];
    struct world_shard shard[WORLD_SHARDS];
    struct rng rng;
    char dir[256]; /* made by world_dir; removed by world_release */
    uint64_t e, rendered;
    struct manifest last; /* the last committed; k = 0: none */
};

/* All rows of some store at an instant. */
struct shot {
    struct buffer
        bytes; /* (table u32, key u64, last_step, freq, flags, weights, state)... sorted */
    uint64_t rows;
};

void world_plan(struct plan *p);
void world_init(struct world *w, uint32_t shards, uint64_t seed);
void world_release(struct world *w);
const char *world_dir(struct world *w); /* a new folder under TMPDIR or /tmp */
void world_remove_dir(const char *dir);

/* A push: about n rows of the sparse tables over `keys` different keys, all dense blocks now and then. Every
 * shard takes part, as in the protocol. */
void world_push(struct world *w, uint32_t n, uint64_t keys);
void world_take(struct world *w); /* all shards: open -> taken */
void world_complete(struct world *w, const struct cut_hash *const *hash); /* free the taken logs */
void world_abandon(struct world *w);                                      /* fold */

/* A decay of exactly 1 a missed step, table "embedding" only: exact in floats and composable. */
void world_render(void *ctx, uint32_t table, void *record, uint64_t step);
struct cut_conf world_cut_conf(struct world *w, uint32_t shard, uint64_t k, bool full);
/* Take, write the files of cut k, commit and complete. between: called now and then while writing. */
void world_cut(struct world *w, uint64_t k, bool full, void (*between)(struct world *w));
/* The same without the take: what world_take closed is written. */
void world_write(struct world *w, uint64_t k, bool full, void (*between)(struct world *w));

void shot_store(struct shot *s, const struct store *store);
void shot_world(struct shot *s, const struct world *w);
/* As shot_store, rows rendered to `step` first. */
void shot_rendered(struct shot *s, const struct world *w, uint64_t step);
bool shot_equal(const struct shot *a, const struct shot *b);
void shot_release(struct shot *s);
/* Sum over all rows of a shard, computed anew; with world_render up to `step`. */
uint64_t world_full_hash(const struct world *w, uint32_t shard, uint32_t table, uint64_t step);

#endif
