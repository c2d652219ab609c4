/* fuzz_metrics_experiment.c - experiment files of any bytes: one that loads comes back the same when written, and
 * deals everybody to nobody or to a variant that is shown.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/metrics/experiment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_users(const struct experiment *e)
{
    char user[16];
    for (int u = 0; u < 50; u++) {
        snprintf(user, sizeof user, "%d", u);
        const int v = experiment_assign(e, user);
        if (v >= (int)e->variants || (v >= 0 && e->variant[v].shadow))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct experiment e, again;
    struct buffer one = BUFFER_INIT, two = BUFFER_INIT;
    struct errbuf err = ERRBUF_INIT;
    if (experiment_parse((const char *)data, size, "e.yaml", &e, &err) != ST_OK) {
        if (size > 0 && strncmp(err.text, "e.yaml", 6) != 0)
            abort(); /* every complaint says where */
        return 0;
    }
    check_users(&e);
    experiment_dump(&e, &one);
    if (experiment_parse(buffer_text(&one), one.used, "again", &again, NULL) != ST_OK)
        abort();
    experiment_dump(&again, &two);
    if (one.used != two.used || memcmp(one.data, two.data, one.used) != 0)
        abort();
    experiment_release(&again);
    experiment_release(&e);
    buffer_release(&one);
    buffer_release(&two);
    return 0;
}
