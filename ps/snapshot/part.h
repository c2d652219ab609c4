/* part.h - one data file of a cut, checked and taken apart: the rows of each table as views into the map.
 *
 * Opening checks all there is to check without other files: size, xxh3, structure, that each tensor belongs
 * to the plan and has the shape it must have, that ids rise. Dense tensors come out as blocks, so that a
 * table is a sorted list of (key, record) whatever its kind. Read only; a part may be used by one thread.
 */
#ifndef PENSTOCK_PS_SNAPSHOT_PART_H
#define PENSTOCK_PS_SNAPSHOT_PART_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/plan.h"
#include "ps/snapshot/manifest.h"
#include "ps/snapshot/safetensors.h"

struct part_row {        /* views into the map; may be unaligned */
    const uint8_t *meta; /* last_step u32, freq u16, flags u16 */
    const uint8_t *weights;
    const uint8_t *state;
    uint32_t weight_bytes; /* less than 4 * dim in the last block of a dense tensor: zeros follow */
    uint32_t state_bytes;
};

struct part_block { /* dense kinds */
    uint64_t key;
    struct part_row row;
};

struct part_table {
    uint64_t n; /* rows or blocks */
    uint32_t dim, state_floats;
    const uint8_t *ids, *weights, *state, *meta; /* sparse */
    const uint8_t *tomb;                         /* sparse: keys removed since the file before */
    uint64_t tombs;
    struct part_block *block; /* dense kinds; owned */
};

struct part {
    struct safetensors file;
    uint64_t k;
    char name[96]; /* of the file, as the manifest has it */
    size_t tables;
    struct part_table table[PLAN_TABLES_MAX];
};

/* ST_BAD_DATA names file and tensor; ST_NOT_FOUND (a listed file is gone) becomes ST_BAD_DATA. */
MUST_CHECK enum status part_open(const char *dir, const struct manifest_file *f,
                                 const struct plan *plan, struct part *out, struct errbuf *err);
/* The same of bytes in memory that outlive the part, without their sums: for part_open and its fuzzer. */
MUST_CHECK enum status part_parse(const uint8_t *bytes, size_t n, const char *name,
                                  const struct plan *plan, struct part *out, struct errbuf *err);
void part_close(struct part *p);
uint64_t part_key(const struct part_table *t, uint64_t i);
uint64_t part_tomb(const struct part_table *t, uint64_t i);
struct part_row part_row(const struct part_table *t, uint64_t i);
/* weights (padded with zeros to dim), then state; returns the bytes written. */
size_t part_floats(const struct part_table *t, const struct part_row *row, void *dst);
uint64_t part_rows(const struct part *p); /* over all tables */

#endif
