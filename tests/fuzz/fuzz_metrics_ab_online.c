/* fuzz_metrics_ab_online.c - saved accumulators of any bytes: what is loaded is sound, and comes back the same.
 *
 * Random bytes die at the checksum, so with the first byte odd the harness signs what it got: head and checksum are
 * put right, and the checks behind them work.
 *
 * Input: u8 mode (bit 0: sign), then the bytes.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/metrics/ab_online.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const enum ab_kind kinds[] = {AB_RATIO, AB_PROPORTION, AB_MEAN};
enum { METRICS = 3, TAG = 7 };

static void put_u64(uint8_t *at, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(v >> 8 * i);
}

static void sign(uint8_t *bytes, size_t n)
{
    if (n < 104 + 4 * METRICS + 8)
        return;
    memcpy(bytes, "PNSTKABO\1\0\0\0\3\0\0\0", 16);
    put_u64(bytes + 16, TAG);
    for (uint8_t m = 0; m < METRICS; m++)
        memcpy(bytes + 104 + 4 * m, (uint8_t[]){(uint8_t)kinds[m], 0, 0, 0}, 4);
    put_u64(bytes + n - 8, hash_bytes(bytes, n - 8, 0));
}

/* Every statistic of what was accepted is a number or says that it is none. */
static void check(const struct ab_online *o)
{
    const struct ab_online_result r = ab_online_value(o);
    if (isnan(r.auc) || isnan(r.auc_bound) || isnan(r.logloss) || isnan(r.calibration))
        abort();
    if (r.positives > r.examples || o->users.users > o->users.users_max)
        abort();
    for (size_t m = 0; m < METRICS; m++) {
        struct ab_arm arm;
        if (!isfinite(o->users.sums[m].sum) || o->users.sums[m].n != (double)o->users.users)
            abort();
        if (ab_arm_from(&o->users.sums[m], kinds[m], &arm) && !(arm.var > 0))
            abort();
    }
}

static void check_again(const struct ab_online *o)
{
    static struct ab_online back;
    struct buffer one = BUFFER_INIT, two = BUFFER_INIT;
    if (back.auc.bins == NULL)
        ab_online_init(&back, TAG, kinds, METRICS, 1000);
    ab_online_save(o, &one);
    if (ab_online_load(&back, one.data, one.used, "again", NULL) != ST_OK)
        abort();
    for (size_t s = 0; s < o->users.slots; s++) {
        const size_t bytes = ab_users_width(&o->users) * sizeof(double);
        const double *row = o->users.row + s * ab_users_width(&o->users), *found;
        if (o->users.key[s] == 0)
            continue;
        found = ab_users_row(&back.users, o->users.key[s]);
        if (found == NULL || memcmp(found, row, bytes) != 0)
            abort();
    }
    ab_online_save(&back, &two);
    if (one.used != two.used)
        abort();
    buffer_release(&one);
    buffer_release(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ab_online o; /* kept: its megabytes would be most of a run */
    if (size < 1)
        return 0;
    if (o.auc.bins == NULL)
        ab_online_init(&o, TAG, kinds, METRICS, 1000);
    uint8_t *bytes = malloc(size);
    memcpy(bytes, data + 1, size - 1);
    if (data[0] & 1)
        sign(bytes, size - 1);
    if (ab_online_load(&o, bytes, size - 1, "saved", NULL) == ST_OK) {
        check(&o);
        check_again(&o);
    }
    free(bytes);
    return 0;
}
