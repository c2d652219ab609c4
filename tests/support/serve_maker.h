/* serve_maker.h - cuts out of nothing: any row of any cut is a function of (seed, table, key, cut), so that a reader in
 * the middle of a race knows what it must find. A source (ps/serve/source.h) of parts in memory.
 */
#ifndef PENSTOCK_TESTS_SUPPORT_SERVE_MAKER_H
#define PENSTOCK_TESTS_SUPPORT_SERVE_MAKER_H

#include "ps/serve/follow.h"

struct maker {
    struct plan plan; /* two sparse tables, two dense tensors, an averaged one */
    uint64_t seed;
    uint64_t keys;           /* that there may be, by table */
    uint32_t change, remove; /* of 1000 keys a cut */
    uint32_t grow;           /* keys more at each cut */
    uint64_t poison_k,
        forge_k;        /* cuts with a NaN, and with another hash than their rows; 0: none */
    uint64_t damaged_k; /* its files can't be read while damaged > 0 */
    uint32_t damaged;
    uint64_t parts; /* read so far */
};

void maker_init(struct maker *m, uint64_t seed, uint64_t keys);
void maker_release(struct maker *m);
uint32_t maker_shards(uint64_t k); /* changes now and then */
uint64_t maker_key(uint64_t i);
/* Row of key number i of table t at cut k into out (dim); false: there is none. */
bool maker_row(const struct maker *m, uint32_t t, uint64_t i, uint64_t k, float *out);
/* Cut k, its chain beginning with the full files of cut `full`. */
void maker_manifest(const struct maker *m, uint64_t k, uint64_t full, struct manifest *out);
struct source maker_source(struct maker *m);
/* All keys of all tables of v are what the maker says; returns how many differ. Asserts nothing: for any thread. */
uint64_t maker_differs(const struct maker *m, const struct version *v);
/* The same of `n` keys drawn from *at on. */
uint64_t maker_differs_some(const struct maker *m, const struct version *v, uint64_t *at, size_t n);

#endif
