/* cut.h - write a taken cut's file of one shard, bytes in file order, while training goes on.
 *
 * A cut is an iterator: cut_next yields the next bytes of the safetensors file; the shell writes them
 * (cut_file.h). Values are those of the take: a record's image in the open log if it carries the open
 * stamp, else the live record; of a row several times in the (folded) taken log, the oldest entry is its
 * old value for the hash. Rows added after the take are not in it.
 *
 * Tensors, rows sorted by key: emb.<table>.ids U64 (n), .tomb U64 (m), .rows F32 (n, dim), .state F32
 * (n, state), .meta U32 (n, 2: last_step, freq | flags << 16); empty tables have them, too. Dense tensors
 * by name: this shard's run of the tensor, <table> being "dense" or "stat": "<table>.<tensor>" F32 (shape)
 * when whole, else "<table>.<tensor>.<first element>" F32 (n); behind it their optimizer state
 * "....state" F32 (blocks, state) and "....meta" U32 (blocks, 2). Always all blocks.
 * Byte tables: ps/snapshot/README.md.
 *
 * Hash: h(table, key, record) = xxh3(weights and state; seed = xxh3(key, last_step, freq, flags; seed =
 * xxh3(table's name; seed 0))); H(table) = sum mod 2^64, kept per bucket (struct cut_hash), changed by
 * written rows only: + h(as written) - h(render(old image, rendered)). A full cut recomputes it, and an
 * audited one recomputes the old value as well and holds it against the one carried along. Beside it goes the hash
 * over weights alone, for who holds no state.
 */
#ifndef PENSTOCK_PS_SNAPSHOT_CUT_H
#define PENSTOCK_PS_SNAPSHOT_CUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"
#include "common/base/hash.h"
#include "ps/snapshot/undo.h"
#include "ps/store/table.h"

/* A copy of the record of plan table `table` as it would stand after `step` (missed decay replayed, meta's
 * last_step set). Passed in by ps/train, which alone knows optimizers. In place. NULL: nothing moves. */
typedef void (*cut_render)(void *ctx, uint32_t table, void *record, uint64_t step);

struct cut_hash {
    uint64_t *bucket[PLAN_TABLES_MAX]; /* (BUCKETS) each, owned */
    size_t tables;
    uint64_t rows[PLAN_TABLES_MAX];    /* live rows as of the last written cut */
    uint64_t weights[PLAN_TABLES_MAX]; /* sum of cut_weights_hash over them (cut_hash.h) */
};
void cut_hash_init(struct cut_hash *h, size_t tables);
void cut_hash_release(struct cut_hash *h);
uint64_t cut_hash_sum(const struct cut_hash *h, uint32_t table);
uint64_t cut_record_hash(const struct plan_table *t, uint32_t state_floats, uint64_t key,
                         const void *record);

struct cut_conf {
    const struct plan *plan; /* borrowed, all of these, until cut_free */
    struct store *store;
    const struct undo *taken; /* the closed log */
    const struct undo *open;  /* the log that takes touches now */
    uint32_t open_stamp;
    const struct cut_hash *hash; /* as of the last complete cut; not changed */
    cut_render render;
    void *render_ctx;
    uint64_t job, e, k;
    uint32_t shard, shards;
    uint64_t step;     /* pushes applied at the take */
    uint64_t rendered; /* step of the last full cut in the chain (0 = none); full: not used */
    bool full;         /* all rows, rendered to step */
    bool audit;        /* full: hash anew what the last complete cut had, too (cut_sound) */
};

struct cut; /* opaque */

/* Between the take and its resolution, at any time (rows added since are left out, and none may be removed):
 * best after RUN, since listing and sorting the rows takes a while and nobody else need wait for it.
 * The first cut of a chain must be full. ST_NO_MEMORY; ST_INTERNAL: a dense block is not in its table. */
MUST_CHECK enum status cut_begin(const struct cut_conf *conf, struct cut **out, struct errbuf *err);
/* Up to max bytes more, appended to out; *out_done when the file is finished. */
void cut_next(struct cut *c, size_t max, struct buffer *out, bool *out_done);
uint64_t cut_total_bytes(const struct cut *c);
uint64_t
cut_rows(const struct cut *c); /* records written, dense blocks counted: manifest_file.rows */
/* The hash as of this cut; valid when done; take it over when the cut is complete. */
const struct cut_hash *cut_new_hash(const struct cut *c);
/* When done, of an audited full cut: what stands here less what the taken log says has changed has the
 * hash that was carried from cut to cut (I13). False: rows changed behind the log's back; *out_table. */
bool cut_sound(const struct cut *c, uint32_t *out_table);
void cut_free(struct cut *c);

#endif
