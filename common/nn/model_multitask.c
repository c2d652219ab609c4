/* model_multitask.c - several labels of one record: a shared bottom and a tower a task (Caruana 1997).
 *
 * Tables, features and the hidden layers of model.hidden are the mlp's and shared by all tasks; behind them each task
 * has layers of its own (model.tower) and a logit. The loss is the weighted sum of the tasks' (op_bce).
 *
 *     z_t = out_t(tower_t(hidden(E)))
 *
 * Tensors of a tower are named after its task's place, not its label: "task0.0.weight", "task0.out.weight".
 */
#include <stdio.h>

#include "common/base/job_task.h"
#include "common/nn/families.h"
#include "common/nn/ops.h"

uint32_t model_multitask_build(struct graph *g, struct errbuf *err)
{
    (void)err;
    const uint32_t shared = model_mlp_hidden(g, model_mlp_features(g, model_mlp_table(g)));
    uint32_t z[JOB_TASKS_MAX];
    for (size_t t = 0; t < g->tasks; t++) {
        char tower[PLAN_NAME_MAX], out[PLAN_NAME_MAX];
        (void)snprintf(tower, sizeof tower, "task%zu", t);
        (void)snprintf(out, sizeof out, "task%zu.out", t);
        const struct model_net net = {tower, &g->job->model.tower, g->job->model.dropout};
        z[t] = model_mlp_linear(g, model_mlp_net(g, shared, &net), out, 1, &(struct epilogue){0});
    }
    return op_concat(g, z, g->tasks);
}
