/* fuzz_serve_infer.c - bodies of POST /v2/models/{m}/infer, as any client may send them.
 *
 * What is accepted has as many cells as its shapes say, each a text that the body or the request's own room holds, and is
 * answered with tensors of that many scores. What is refused says what was expected.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ps/serve/infer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_answer(const struct infer *f)
{
    struct json *j = infer_answer(f, "m", 7, 1);
    const struct json *outputs = json_get(j, "outputs");
    size_t wanted = 0;
    for (size_t k = 0; k < f->outputs; k++) {
        wanted += f->want[k];
    }
    assert(wanted >= 1 && json_len(outputs) == wanted);
    for (size_t i = 0; i < wanted; i++) {
        const struct json *one = json_at(outputs, i);
        assert(json_len(json_get(one, "data")) == f->table.records);
        assert(json_u64(json_at(json_get(one, "shape"), 0), NULL, 0) == f->table.records);
    }
    assert(json_u64(j, "parameters.snapshot_version", 0) == 7);
    json_free(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const output[] = {"probability", "cart"};
    struct errbuf err = ERRBUF_INIT;
    struct json *body = NULL;
    struct infer *f = NULL;
    if (json_parse((const char *)data, size, "body", &body, &err) != ST_OK) {
        return 0;
    }
    if (json_kind(body) == JSON_MAP) {
        enum status st = infer_parse(body, size, 4, output, 2, &f, &err);
        assert(st == ST_OK || (st == ST_USAGE && err.text[0] != '\0'));
    }
    if (f != NULL) {
        const struct service_table *t = &f->table;
        assert(t->columns >= 1 && t->columns <= 4 && t->records >= 1);
        for (size_t i = 0; i < t->columns * t->records; i++) {
            assert(t->cell[i].text != NULL && memchr(t->cell[i].text, '\0', t->cell[i].n) == NULL);
        }
        for (size_t i = 0; i < t->columns; i++) {
            assert(strlen(t->name[i]) < size);
        }
        check_answer(f);
    }
    infer_free(f);
    json_free(body);
    return 0;
}
