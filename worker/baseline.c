/* baseline.c - see baseline.h. */
#include "worker/baseline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/data/beside.h"
#include "common/net/run_dir.h"
#include "worker/ease.h"

static enum status print_ease(const struct run_dir *run, enum part part, struct errbuf *err)
{
    const double lambda = run->job.train.ease;
    const uint64_t begin_us = clock_now_us();
    struct ranking sums = {.count = 0};
    enum status st = lambda > 0 ? ease_rank(&run->job, run->cache, part, lambda, &sums, err)
                                : errbuf_set(err, ST_REFUSED, "train.ease is 0");
    if (st != ST_OK && st != ST_REFUSED && st != ST_NO_MEMORY)
        return st;
    const struct ranking means = ranking_value(&sums);
    struct json *o = json_object();
    json_set_f64(o, "lambda", lambda);
    if (st == ST_OK)
        beside_put_ranking(&means, o);
    else
        json_set_str(o, "why", err->text);
    json_set_f64(o, "seconds", (double)(clock_now_us() - begin_us) / 1e6);
    char *text = json_text(o, 2);
    puts(text);
    free(text);
    json_free(o);
    return ST_OK;
}

static enum status take_part(const char *name, enum part *out, struct errbuf *err)
{
    if (strcmp(name, "valid") != 0 && strcmp(name, "test") != 0)
        return errbuf_set(err, ST_USAGE, "--data %s: neither valid nor test", name);
    *out = name[0] == 'v' ? PART_VALID : PART_TEST;
    return ST_OK;
}

int baseline_main(int argc, char **argv)
{
    struct errbuf err = ERRBUF_INIT;
    struct run_dir run;
    enum part part = PART_TEST;
    enum status st = ST_OK;
    memset(&run, 0, sizeof(run));
    if (argc != 6 || strcmp(argv[2], "--dir") != 0 || strcmp(argv[4], "--data") != 0)
        st = errbuf_set(&err, ST_USAGE, "--baseline needs --dir DIR --data valid|test");
    if (st == ST_OK)
        st = take_part(argv[5], &part, &err);
    if (st == ST_OK)
        st = run_dir_open(argv[3], &run, &err);
    if (st == ST_OK) {
        if (run.job.data.records != JOB_SEQUENCES)
            st = errbuf_set(&err, ST_USAGE, "%s: EASE is for records of sequences", argv[3]);
        else
            st = print_ease(&run, part, &err);
        run_dir_release(&run);
    }
    if (st != ST_OK)
        fprintf(stderr, "penstock-worker: baseline: %s\n", err.text);
    return status_exit_code(st);
}
