/* stat.c - tensors that are averaged, not trained: w += (x - w) * PLAN_STAT_RATE.
 *
 * Batch norm's running mean and variance. What arrives in the place of a gradient is the batch's own value;
 * a step without a push moves nothing, so there is no replay and no schedule.
 */
#include "ps/optim/kernels.h"

void optim_stat_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                      uint64_t step)
{
    (void)state, (void)last, (void)step;
    for (uint32_t j = 0; g != NULL && j < o->dim; j++)
        w[j] += (g[j] - w[j]) * PLAN_STAT_RATE;
}
