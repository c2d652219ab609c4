/* fuzz_metrics_ab_calc.c - sums of any JSON: what is accepted is answered with JSON whose probabilities are some.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/metrics/ab_calc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every "p" is null or in [0, 1], every "se" and half width null or at least 0. */
static void check(const struct json *j)
{
    const char *key;
    const struct json *v;
    for (size_t i = 0; i < json_len(j); i++)
        check(json_at(j, i));
    for (size_t i = 0; json_item(j, i, &key, &v); i++) {
        const double x = json_f64(v, "", 0);
        const bool p = strcmp(key, "p") == 0 || strcmp(key, "sequential_p") == 0;
        const bool width = strcmp(key, "se") == 0 || strcmp(key, "half_width") == 0;
        if ((p && !(x >= 0 && x <= 1)) || (width && !(x >= 0)))
            abort();
        check(v);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json *in, *out, *again;
    struct errbuf err = ERRBUF_INIT;
    if (json_parse((const char *)data, size, "in", &in, NULL) != ST_OK)
        return 0;
    const enum status st = ab_calc(in, "in", &out, &err);
    if (st != ST_OK && (st != ST_USAGE || strncmp(err.text, "in: ", 4) != 0))
        abort();
    json_free(in);
    if (st != ST_OK)
        return 0;
    check(out);
    char *text = json_text(out, 0);
    if (json_parse(text, strlen(text), "out", &again, NULL) != ST_OK)
        abort();
    json_free(again);
    free(text);
    json_free(out);
    return 0;
}
