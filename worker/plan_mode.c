/* plan_mode.c - see plan_mode.h. The model is really built (for a batch of one), so what the front shows and
 * what the servers keep is what will be trained. */
#include "worker/plan_mode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/job.h"
#include "common/base/mem.h"
#include "common/base/plan.h"
#include "common/data/dataset.h"
#include "common/nn/model.h"

static enum status print_plan(const struct job *job, struct errbuf *err)
{
    size_t fields = 0, floats = 0;
    struct model *model = NULL;
    struct plan plan;
    memset(&plan, 0, sizeof(plan));
    schema_counts(job, &fields, &floats);
    enum status st = model_new(job, fields, floats, 1, &model, &plan, err);
    if (st != ST_OK) {
        return st;
    }
    char *text = plan_text(&plan);
    if (puts(text) < 0 || fflush(stdout) != 0) {
        st = errbuf_errno(err, ST_IO, "standard output");
    }
    free(text);
    plan_release(&plan);
    model_free(model);
    return st;
}

int plan_mode_main(int argc, char **argv)
{
    struct errbuf err = ERRBUF_INIT;
    struct job job;
    size_t sets_used = 0;
    if (argc < 3) {
        fprintf(stderr, "penstock-worker: --plan needs a job file\n");
        return 2;
    }
    char **sets = mem_array((size_t)argc, sizeof(*sets));
    enum status st = ST_OK;
    for (int i = 3; i < argc; i += 2) {
        if (strcmp(argv[i], "--set") != 0 || i + 1 >= argc) {
            st = errbuf_set(&err, ST_USAGE, "%s: --plan takes only --set KEY=VALUE", argv[i]);
            break;
        }
        sets[sets_used++] = argv[i + 1];
    }
    if (st == ST_OK) {
        st = job_load(argv[2], sets, sets_used, &job, &err);
    }
    if (st == ST_OK) {
        st = print_plan(&job, &err);
        job_release(&job);
    }
    free(sets);
    if (st != ST_OK) {
        fprintf(stderr, "penstock-worker: %s\n", err.text);
    }
    return status_exit_code(st);
}
