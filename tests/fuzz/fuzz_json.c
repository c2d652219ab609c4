/* fuzz_json.c - JSON that others wrote: any text, and plan.json with its checksum put right.
 *
 * What is accepted must come back the same when it is written. Every getter is asked for what is there and for what
 * isn't; a plan that is accepted makes its rows.
 */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const struct json *j, unsigned depth)
{
    static const char *const paths[] = {"", "a", "a.b", "cut.version", "..", ".a", "plan.tables"};
    struct errbuf err = ERRBUF_INIT;
    const char *text;
    uint64_t u;
    double d;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        bool is_str = json_need_str(j, paths[i], &text, &err) == ST_OK;
        assert(json_str(j, paths[i], NULL) == (is_str ? text : NULL));
        if (json_need_u64(j, paths[i], &u, &err) == ST_OK)
            assert(json_u64(j, paths[i], ~u) == u);
        else
            assert(json_u64(j, paths[i], 7) == 7 && err.text[0] != '\0');
        if (json_need_f64(j, paths[i], &d, &err) == ST_OK)
            assert(isfinite(d) && json_f64(j, paths[i], d + 1) == d);
        (void)json_bool(j, paths[i], false);
    }
    if (depth == 0)
        return;
    for (size_t i = 0; i < json_len(j) && i < 8; i++)
        ask(json_at(j, i), depth - 1);
    const struct json *v;
    const char *key;
    for (size_t i = 0; i < 8 && json_item(j, i, &key, &v); i++) {
        assert(strlen(key) < 1 << 20);
        ask(v, depth - 1);
    }
}

static void run_json(const char *text, size_t n)
{
    struct errbuf err = ERRBUF_INIT;
    struct json *j, *again;
    enum status st = json_parse(text, n, "fuzz", &j, &err);
    if (st != ST_OK) {
        assert(st == ST_BAD_DATA && memcmp(err.text, "fuzz:", 5) == 0);
        return;
    }
    ask(j, 4);
    char *first = json_text(j, 1);
    st = json_parse(first, strlen(first), "written", &again, &err);
    assert(st == ST_OK);
    char *second = json_text(again, 1), *line = json_text(again, 0);
    assert(strcmp(first, second) == 0);
    free(line);
    free(second);
    free(first);
    json_free(again);
    json_free(j);
}

/* The text with the checksum of its plan where one is, as if somebody had edited the file and knew how. */
static char *sign(const char *text, size_t n)
{
    struct json *j;
    char digits[17];
    if (json_parse(text, n, "fuzz", &j, NULL) != ST_OK)
        return NULL;
    char *out = NULL;
    const struct json *plan = json_get(j, "plan");
    if (plan != NULL && json_get(j, "xxh3") != NULL) {
        char *body = json_text(plan, 0);
        snprintf(digits, sizeof digits, "%016llx",
                 (unsigned long long)hash_bytes(body, strlen(body), 0));
        json_set_str(j, "xxh3", digits);
        free(body);
        out = json_text(j, 1);
    }
    json_free(j);
    return out;
}

static void use_plan(const struct plan *p)
{
    static float w[1 << 16];
    for (size_t t = 0; t < p->tables_used; t++) {
        const struct plan_table *table = &p->tables[t];
        uint64_t first, end;
        assert(plan_find(p, table->name) == (int)t && table->dim <= 1 << 16);
        plan_init_row(p, (uint32_t)t, table->blocks / 2, w);
        for (uint32_t d = 0; d < table->dim; d++)
            assert(isfinite(w[d]));
        plan_blocks_of(table, 2, 7, &first, &end);
        assert(first <= end && end <= table->blocks);
    }
}

static void run_plan(const char *text, size_t n)
{
    struct errbuf err = ERRBUF_INIT;
    static struct plan p, again;
    enum status st = plan_parse(text, n, "fuzz", &p, &err);
    if (st != ST_OK) {
        assert(st == ST_BAD_DATA && strstr(err.text, "fuzz:") == err.text);
        return;
    }
    use_plan(&p);
    char *first = plan_text(&p);
    st = plan_parse(first, strlen(first), "written", &again, &err);
    assert(st == ST_OK);
    char *second = plan_text(&again);
    assert(strcmp(first, second) == 0);
    free(second);
    free(first);
    plan_release(&again);
    plan_release(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    run_json(text, size);
    run_plan(text, size);
    char *sure = sign(text, size);
    if (sure != NULL)
        run_plan(sure, strlen(sure));
    free(sure);
    return 0;
}
