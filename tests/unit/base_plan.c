/* base_plan.c - the plan: blocks, owners, initial values, and its text against damage. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/plan.h"

static const struct job_optim adam = {
    .kind = JOB_ADAM, .rate = 1e-3, .l2 = .05, .beta1 = .9, .beta2 = .999, .eps = 1e-8};
static const struct job_optim ftrl = {
    .kind = JOB_FTRL, .rate = .1, .l2_mode = JOB_L2_TOUCHED, .momentum = .5, .beta = 2, .l1 = 3};

static void add_dense(struct plan *p, const char *name, uint64_t out, uint64_t in)
{
    uint64_t shape[2] = {out, in};
    plan_add_tensor(p, PLAN_DENSE, name, in > 1 ? 2 : 1, shape, PLAN_UNIFORM, .5, &ftrl);
}

/* Calls in the order of a model file, which mixes the kinds. */
static void make(struct plan *p)
{
    uint64_t width = 300;
    memset(p, 0, sizeof *p);
    p->seed = 7;
    plan_add_sparse(p, "embedding", 10, PLAN_NORMAL, 1e-2, &adam);
    plan_add_tensor(p, PLAN_STAT, "bn.mean", 1, &width, PLAN_ZERO, 0, NULL);
    plan_add_tensor(p, PLAN_STAT, "bn.var", 1, &width, PLAN_ONE, 0, NULL);
    add_dense(p, "mlp.0.weight", 300, 100);
    add_dense(p, "mlp.0.bias", 300, 1);
    add_dense(p, "small", 1, 1);
    plan_add_sparse(p, "linear", 1, PLAN_ZERO, 0, &ftrl);
}

static void test_layout(void **state)
{
    (void)state;
    static struct plan p;
    make(&p);
    assert_int_equal(p.tables_used, 4);
    assert_int_equal(plan_find(&p, "embedding"),
                     0); /* sparse, dense, stat, whatever the calls' order */
    assert_int_equal(plan_find(&p, "linear"), 1);
    assert_int_equal(plan_find(&p, "dense"), 2);
    assert_int_equal(plan_find(&p, "stat"), 3);
    assert_int_equal(plan_find(&p, "none"), -1);
    const struct plan_table *dense = &p.tables[2];
    assert_int_equal(dense->tensors_used, 3);
    assert_int_equal(dense->tensors[0].blocks, 118); /* 30,000 / 256, up */
    assert_int_equal(dense->tensors[1].block_first, 118);
    assert_int_equal(dense->tensors[1].blocks, 2);
    assert_int_equal(dense->tensors[2].block_first, 120);
    assert_int_equal(dense->blocks, 121);
    assert_int_equal(dense->dim, DENSE_BLOCK);
    assert_int_equal(dense->optim.kind, JOB_FTRL);
    assert_int_equal(p.tables[3].blocks, 4);
    plan_release(&p);
    assert_int_equal(p.tables_used, 0);
}

static void test_owners_of_blocks(void **state)
{
    (void)state;
    for (uint64_t blocks = 0; blocks < 70; blocks++) {
        struct plan_table t = {.blocks = blocks};
        for (uint32_t shards = 1; shards < 20; shards++) {
            uint64_t next = 0;
            for (uint32_t s = 0; s < shards; s++) {
                uint64_t first, end;
                plan_blocks_of(&t, s, shards, &first, &end);
                assert_int_equal(first, next); /* contiguous, no gap */
                for (uint64_t b = first; b < end; b++)
                    assert_int_equal(b * shards / blocks, s); /* the rule */
                next = end;
            }
            assert_int_equal(next, blocks);
        }
    }
    struct plan_table large = {.blocks = UINT64_MAX}; /* no overflow */
    uint64_t first, end;
    plan_blocks_of(&large, 4095, 4096, &first, &end);
    assert_true(end == UINT64_MAX && first > UINT64_MAX - (UINT64_MAX >> 11));
}

static void test_initial_rows(void **state)
{
    (void)state;
    static struct plan p;
    make(&p);
    float w[DENSE_BLOCK], v[DENSE_BLOCK];
    double square = 0;
    for (uint64_t key = 0; key < 10000; key++) {
        plan_init_row(&p, 0, key * 0x9E3779B97F4A7C15u, w);
        for (int j = 0; j < 10; j++)
            square += w[j] * w[j];
    }
    assert_true(fabs(sqrt(square / 1e5) - 1e-2) < 1e-4); /* the deviation that was asked for */
    plan_init_row(&p, 0, 1, w);
    plan_init_row(&p, 0, 2, v);
    assert_memory_not_equal(w, v, 10 * sizeof(float));
    plan_init_row(&p, 1, 5, w);
    assert_true(w[0] == 0);
    p.seed = 8;
    plan_init_row(&p, 0, 2, w);
    assert_memory_not_equal(w, v, 10 * sizeof(float));
    p.seed = 7;
    plan_init_row(&p, 0, 2, w);
    assert_memory_equal(w, v, 10 * sizeof(float));
    plan_release(&p);
}

static void test_initial_blocks(void **state)
{
    (void)state;
    static struct plan p;
    make(&p);
    float w[DENSE_BLOCK], v[DENSE_BLOCK];
    plan_init_row(&p, 2, 117, w); /* the last block of 30,000 floats: 48 and padding */
    float most = 0;
    for (int j = 0; j < 48; j++) {
        assert_true(w[j] != 0 && w[j] >= -.5f && w[j] < .5f);
        most = fmaxf(most, fabsf(w[j]));
    }
    assert_true(most > .4f);
    for (unsigned j = 48; j < DENSE_BLOCK; j++)
        assert_true(w[j] == 0);
    plan_init_row(&p, 3, 3, w); /* bn.var, ones, then padding */
    for (unsigned j = 0; j < DENSE_BLOCK; j++)
        assert_true(w[j] == (j < 44 ? 1 : 0));
    plan_init_row(&p, 2, 999, w); /* beyond the end: nothing there */
    for (unsigned j = 0; j < DENSE_BLOCK; j++)
        assert_true(w[j] == 0);
    plan_init_row(&p, 2, 118, v); /* mlp.0.bias keeps its values when a tensor comes before it */
    plan_release(&p);
    memset(&p, 0, sizeof p);
    p.seed = 7;
    add_dense(&p, "new", 1000, 1);
    add_dense(&p, "mlp.0.bias", 300, 1);
    plan_init_row(&p, 0, 4, w);
    assert_memory_equal(w, v, sizeof w);
    plan_release(&p);
}

/* Two values that stand in snapshots: a change of them is a change of the format. */
static void test_values_are_pinned(void **state)
{
    (void)state;
    static struct plan p;
    make(&p);
    float w[DENSE_BLOCK];
    plan_init_row(&p, 0, 12345, w);
    uint64_t row = hash_bytes(w, 10 * sizeof(float), 0);
    plan_init_row(&p, 2, 3, w);
    uint64_t block = hash_bytes(w, sizeof w, 0);
    if (row != 0x47cc6bdd6fca926du || block != 0x87818c4f92829d42u)
        fail_msg("row %016lx block %016lx", (unsigned long)row, (unsigned long)block);
    plan_release(&p);
}

static void test_text(void **state)
{
    (void)state;
    static struct plan p, q;
    struct errbuf err = ERRBUF_INIT;
    make(&p);
    p.seed = UINT64_MAX;
    char *text = plan_text(&p);
    if (plan_parse(text, strlen(text), "plan.json", &q, &err) != ST_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < p.tables_used; i++) {
        struct plan_table a = p.tables[i], b = q.tables[i];
        assert_int_equal(a.tensors_used, b.tensors_used);
        if (a.tensors_used > 0)
            assert_memory_equal(a.tensors, b.tensors, a.tensors_used * sizeof *a.tensors);
        a.tensors = b.tensors = NULL;
        assert_memory_equal(&a, &b, sizeof a);
    }
    assert_true(q.seed == UINT64_MAX);
    char *again = plan_text(&q);
    assert_string_equal(text, again);
    plan_release(&q);
    /* Reformatted it is still the same plan. */
    struct json *j = NULL;
    assert_int_equal(json_parse(text, strlen(text), "t", &j, &err), ST_OK);
    char *flat = json_text(j, 0);
    assert_int_equal(plan_parse(flat, strlen(flat), "plan.json", &q, &err), ST_OK);
    plan_release(&q);
    json_free(j);
    free(flat);
    free(again);
    free(text);
    plan_release(&p);
}

/* Every flipped bit is refused or meant nothing (white space). */
static void test_flipped_bits(void **state)
{
    (void)state;
    static struct plan p, q;
    struct errbuf err = ERRBUF_INIT;
    make(&p);
    char *text = plan_text(&p);
    size_t n = strlen(text), refused = 0;
    for (size_t i = 0; i < n; i++) {
        char *bad = malloc(n);
        memcpy(bad, text, n);
        bad[i] = (char)(bad[i] ^ (1 << (i % 7)));
        enum status st = plan_parse(bad, n, "plan.json", &q, &err);
        if (st == ST_OK) {
            char *same = plan_text(&q);
            assert_string_equal(same, text);
            free(same);
            plan_release(&q);
        } else {
            assert_int_equal(st, ST_BAD_DATA);
            refused++;
        }
        free(bad);
    }
    assert_true(refused > n * 3 / 4);
    for (size_t cut = 0; cut + 1 < n; cut += 7)
        assert_int_equal(plan_parse(text, cut, "plan.json", &q, &err), ST_BAD_DATA);
    free(text);
    plan_release(&p);
}

/* A plan whose checksum is right and whose content is not: `from` replaced by `to`, signed again. */
static void forged(const char *from, const char *to, const char *why)
{
    static struct plan p, q;
    struct errbuf err = ERRBUF_INIT;
    make(&p);
    char *text = plan_text(&p);
    struct json *j = NULL;
    assert_int_equal(json_parse(text, strlen(text), "t", &j, &err), ST_OK);
    char *body = json_text(json_get(j, "plan"), 0);
    char *at = strstr(body, from);
    if (at == NULL)
        fail_msg("%s is not in %s", from, body);
    char changed[8192], whole[8300];
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - body), body, to, at + strlen(from));
    snprintf(whole, sizeof whole, "{\"xxh3\": \"%016lx\", \"plan\": %s}",
             (unsigned long)hash_bytes(changed, strlen(changed), 0), changed);
    assert_int_equal(plan_parse(whole, strlen(whole), "plan.json", &q, &err), ST_BAD_DATA);
    assert_memory_equal(err.text, "plan.json: ", 11);
    if (strstr(err.text, why) == NULL)
        fail_msg("%s lacks %s", err.text, why);
    json_free(j);
    free(body);
    free(text);
    plan_release(&p);
}

static void test_forged(void **state)
{
    (void)state;
    forged("\"seed\": 7", "\"seed\": -7", "seed");
    forged("\"kind\": \"sparse\"", "\"kind\": \"spars\"", "kind is unknown");
    forged("\"dim\": 10", "\"dim\": 0", "dim");
    forged("\"dim\": 10", "\"dim\": 65537", "dim");
    forged("\"dim\": 256", "\"dim\": 255", "dim");
    forged("\"name\": \"linear\"", "\"name\": \"embedding\"", "twice");
    forged("\"name\": \"embedding\"", "\"name\": \"\"", "name");
    forged("\"name\": \"embedding\"", "\"name\": \"a b\"", "name");
    forged("\"name\": \"embedding\"",
           "\"name\": \"0123456789012345678901234567890123456789012345678\"", "name");
    forged("\"shape\": [300, 100]", "\"shape\": [300, 101]", "blocks don't fit");
    forged("\"shape\": [300, 100]", "\"shape\": [4294967296, 4294967296]", "shape");
    forged("\"shape\": [300, 100]", "\"shape\": [0]", "shape");
    forged("\"shape\": [300, 100]", "\"shape\": [1, 1, 1]", "shape");
    forged("\"shape\": [300, 100]", "\"shape\": 3", "shape");
    forged("\"name\": \"mlp.0.bias\"", "\"name\": \"mlp.0.weight\"", "twice");
    forged("\"block_first\": 118", "\"block_first\": 117", "blocks don't fit");
    forged("\"init\": \"normal\"", "\"init\": \"gauss\"", "init");
    forged("\"kind\": 3", "\"kind\": 10", "optim");
    forged("\"rate\": 0.001", "\"rate\": \"x\"", "rate");
    forged("\"rate\": 0.001", "\"rates\": 1", "rate");
    forged("\"tables\": [", "\"tables\": 3, \"x\": [", "tables");
}

/* The fuzzer's valid plan (tests/fuzz/fuzz_json.c) is one today: it says every field. */
static void test_corpus(void **state)
{
    (void)state;
    static struct plan p;
    static const char path[] = "tests/fuzz/corpus/json/plan";
    struct errbuf err = ERRBUF_INIT;
    char *text;
    size_t n;
    assert_int_equal(file_read(path, 1 << 20, &text, &n, &err), ST_OK);
    if (plan_parse(text, n, path, &p, &err) != ST_OK)
        fail_msg("%s; make it with: penstock-worker --plan JOB.yaml >%s", err.text, path);
    plan_release(&p);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_owners_of_blocks),
        cmocka_unit_test(test_initial_rows),
        cmocka_unit_test(test_initial_blocks),
        cmocka_unit_test(test_values_are_pinned),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_forged),
        cmocka_unit_test(test_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
