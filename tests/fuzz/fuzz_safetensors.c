/* fuzz_safetensors.c - data files: the format alone, and taken apart by a plan.
 *
 * What is accepted is read to its last byte, so that ASan sees a tensor that leaves its file.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ps/snapshot/part.h"
#include "ps/snapshot/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink;

static void touch(const uint8_t *at, uint64_t n)
{
    uint8_t sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + at[i]);
    sink = sum;
}

static void run_format(const uint8_t *data, size_t size)
{
    struct safetensors s;
    struct errbuf err = ERRBUF_INIT;
    enum status st = safetensors_parse(data, size, "fuzz", &s, &err);
    if (st != ST_OK) {
        assert(st == ST_BAD_DATA && err.text[0] != '\0');
        return;
    }
    uint64_t all = 0;
    for (size_t i = 0; i < s.n; i++) {
        assert(safetensors_find(&s, s.tensors[i].name) == &s.tensors[i]);
        touch(s.data + s.tensors[i].begin, s.tensors[i].end - s.tensors[i].begin);
        all += s.tensors[i].end - s.tensors[i].begin;
    }
    assert(s.data + all == data + size);
    safetensors_close(&s);
}

static void make_plan(struct plan *p)
{
    const struct job_optim optim = {.kind = JOB_SGD, .rate = .01};
    plan_add_sparse(p, "t", 2, PLAN_ZERO, 0, &optim);
    plan_add_tensor(p, PLAN_DENSE, "w", 2, (uint64_t[]){3, 100}, PLAN_ZERO, 0, &optim);
    plan_add_tensor(p, PLAN_DENSE, "b", 1, (uint64_t[]){3}, PLAN_ZERO, 0, &optim);
    plan_add_tensor(p, PLAN_STAT, "m", 1, (uint64_t[]){3}, PLAN_ZERO, 0, &optim);
}

static void run_part(const uint8_t *data, size_t size, const struct plan *plan)
{
    struct part p;
    if (part_parse(data, size, "fuzz", plan, &p, NULL) != ST_OK)
        return;
    for (size_t t = 0; t < p.tables; t++) {
        const struct part_table *pt = &p.table[t];
        uint8_t *floats = malloc(4 * ((size_t)pt->dim + pt->state_floats) + 1);
        assert(floats != NULL);
        for (uint64_t i = 0; i < pt->n; i++) {
            struct part_row row = part_row(pt, i);
            assert(i == 0 || part_key(pt, i) > part_key(pt, i - 1));
            touch(floats, part_floats(pt, &row, floats));
            touch(row.meta, 8);
        }
        for (uint64_t i = 0; i < pt->tombs; i++)
            sink = (uint8_t)part_tomb(pt, i);
        free(floats);
    }
    part_close(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct plan plan;
    if (plan.tables_used == 0)
        make_plan(&plan);
    run_format(data, size);
    run_part(data, size, &plan);
    return 0;
}
