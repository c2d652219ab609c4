/* verify.c - check one complete cut from its files alone (snapshot_verify of restore.h).
 *
 * Deliberately another way than restore.c's: the files are merged, not loaded, and the hash is summed from
 * the merged rows. So a cut that verifies and a cut that restores to the same hash agree by two codes, and
 * no table needs to fit into memory.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/snapshot/chain.h"
#include "ps/snapshot/cut_hash.h"
#include "ps/snapshot/restore.h"

static enum status check_plan(const struct manifest *m, const struct plan *plan, struct errbuf *err)
{
    if (m->tables != plan->tables_used)
        return errbuf_set(err, ST_BAD_DATA, "it has %u tables, the plan has %zu", m->tables,
                          plan->tables_used);
    for (uint32_t t = 0; t < m->tables; t++)
        if (strcmp(m->table_name[t], plan->tables[t].name) != 0)
            return errbuf_set(err, ST_BAD_DATA, "its table %u is %s, the plan's is %s", t,
                              m->table_name[t], plan->tables[t].name);
    return ST_OK;
}

static enum status check_table(const struct chain *c, const struct manifest *m, uint32_t table,
                               uint64_t *out_rows, struct errbuf *err)
{
    const struct plan_table *pt = &c->plan->tables[table];
    uint64_t seed = cut_table_seed(pt->name), sum = 0, weights = 0, rows = 0, key = 0;
    size_t most = 0;
    for (size_t p = 0; p < c->parts; p++)
        if (c->part[p].table[table].state_floats > most)
            most = c->part[p].table[table].state_floats;
    uint8_t *floats = mem_alloc(4 * (pt->dim + most));
    struct chain_cursor at;
    const struct part_table *t;
    struct part_row row;
    enum status st;
    chain_cursor_init(&at, c, table);
    while ((st = chain_next(&at, &key, &t, &row, err)) == ST_OK) {
        size_t n = part_floats(t, &row, floats);
        sum += cut_row_hash(seed, key, row.meta, floats, n);
        weights += cut_weights_hash(seed, key, floats, 4 * (size_t)pt->dim);
        rows++;
    }
    chain_cursor_release(&at);
    free(floats);
    if (st != ST_END)
        return st;
    uint64_t blocks = pt->kind == PLAN_SPARSE ? rows : pt->blocks;
    if (rows != m->rows[table] || rows != blocks)
        return errbuf_set(err, ST_BAD_DATA,
                          "table %s: %" PRIu64 " rows in the files, the manifest says %" PRIu64,
                          pt->name, rows, m->rows[table]);
    if (sum != m->hash[table])
        return errbuf_set(err, ST_BAD_DATA,
                          "table %s: the hash of its rows is %016" PRIx64
                          ", the manifest says %016" PRIx64,
                          pt->name, sum, m->hash[table]);
    if (weights != m->weights[table])
        return errbuf_set(err, ST_BAD_DATA,
                          "table %s: the hash of its weights is %016" PRIx64
                          ", the manifest says %016" PRIx64,
                          pt->name, weights, m->weights[table]);
    *out_rows += rows;
    return ST_OK;
}

static enum status check_chain(const char *dir, const struct manifest *m, const struct plan *plan,
                               struct verify_result *out, struct errbuf *err)
{
    struct chain c;
    enum status st = check_plan(m, plan, err);
    if (st == ST_OK)
        st = chain_open(dir, m, plan, &c, err);
    if (st != ST_OK)
        return st;
    struct verify_result r = {m->files_used, 0, 0};
    for (size_t i = 0; i < m->files_used && st == ST_OK; i++) {
        r.bytes += m->files[i].bytes;
        if (part_rows(&c.part[i]) != m->files[i].rows)
            st = errbuf_set(err, ST_BAD_DATA, "%s: %" PRIu64 " rows, the manifest says %" PRIu64,
                            m->files[i].name, part_rows(&c.part[i]), m->files[i].rows);
    }
    for (uint32_t t = 0; t < plan->tables_used && st == ST_OK; t++)
        st = check_table(&c, m, t, &r.rows, err);
    chain_close(&c);
    if (st == ST_OK)
        *out = r;
    return st;
}

enum status snapshot_verify(const char *dir, uint64_t k, const struct plan *plan,
                            struct verify_result *out, struct errbuf *err)
{
    struct manifest m;
    enum status st = manifest_read(dir, k, &m, err);
    if (st != ST_OK)
        return st;
    st = check_chain(dir, &m, plan, out, err);
    manifest_release(&m);
    return st == ST_OK ? st : errbuf_wrap(err, st, "cut %" PRIu64 ": ", k);
}
