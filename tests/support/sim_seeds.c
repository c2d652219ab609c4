/* sim_seeds.c - whole histories, each a function of its seed, shared by the tests that run many of them. */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/options.h"
#include "tests/support/sim_world.h"

enum { LIVES = 4, REPORT_LINES = 150 };

void sim_seeds(uint64_t or_else, uint64_t *out_first, uint64_t *out_n)
{
    const char *first = option_env("SEED"), *n = option_env("SEEDS");
    *out_first = first == NULL ? 1 : strtoull(first, NULL, 10);
    *out_n = first == NULL ? or_else : 1;
    if (n != NULL)
        *out_n = strtoull(n, NULL, 10);
}

bool sim_report(const struct sim_world *w, const char *program, uint64_t seed)
{
    if (!w->failed)
        return false;
    sim_print_tail(w, REPORT_LINES);
    fprintf(stderr, "%s\nagain: SEED=%llu build/tests/sim/%s (TRACE=1 shows every message)\n",
            w->why, (unsigned long long)seed, program);
    return true;
}

bool sim_lives(const char *program, const char *what,
               struct sim_world *(*history)(uint64_t seed, bool check_all), uint64_t or_else)
{
    uint64_t first, n, lives = 0, commits = 0, holds = 0, begun = clock_cpu_us();
    sim_seeds(or_else, &first, &n);
    for (uint64_t seed = first; seed < first + n; seed++) {
        struct sim_world *w = history(seed, false);
        const bool failed = sim_report(w, program, seed);
        lives += w->life;
        commits += w->commits;
        holds += w->holds;
        sim_free(w);
        if (failed)
            return false;
    }
    fprintf(stderr,
            "# %s: %llu histories, %llu lives, %llu holds, %llu cuts; %.0f histories/min of CPU\n",
            what, (unsigned long long)n, (unsigned long long)lives, (unsigned long long)holds,
            (unsigned long long)commits, 60e6 * (double)n / (double)(clock_cpu_us() - begun));
    return true;
}

struct sim_world *sim_history_lossy(uint64_t seed, bool check_all)
{
    struct sim_conf conf = sim_conf_lossy(seed);
    conf.check_all |= check_all;
    struct sim_world *w = sim_new(&conf, NULL);
    sim_run(w);
    if (!w->failed && w->head.code != 0 &&
        w->victim != 0) { /* on a disk that was too bad: a new one */
        conf.disk_fail = conf.disk_slow = conf.commit_fail = 0;
        sim_restart(w, &conf);
        sim_run(w);
    }
    sim_check_end(w);
    return w;
}

/* Who dies: everybody, or one alone, who may come back as somebody else. */
static void choose_death(struct sim_conf *c, struct rng *r)
{
    static const uint32_t kinds[3] = {SIM_HEAD, SIM_SHARD, SIM_WORKER};
    uint64_t what = rng_below(r, 6);
    uint32_t kind = kinds[what % 3];
    uint32_t n = kind == SIM_SHARD ? c->shards : c->workers;
    c->kill_who = what >= 3 ? 0 : kind == SIM_HEAD ? kind : kind + (uint32_t)rng_below(r, n);
    c->revive_us = rng_below(r, 2) == 0 ? 0 : 1 + rng_below(r, 2500000);
}

static void next_life(struct sim_conf *c, struct rng *r, bool last)
{
    uint64_t at = 5000 + rng_below(r, 120000);
    bool stop = rng_below(r, 3) == 0;
    c->shards = 1 + (uint32_t)rng_below(r, 4);
    c->workers = 1 + (uint32_t)rng_below(r, 4);
    c->permits = 1 + (uint32_t)rng_below(r, 3);
    if (c->bsp) { /* as many as four slices can be dealt to */
        c->workers = c->workers == 3 ? 4 : c->workers;
        c->permits = 1;
    }
    c->kill_us = last || stop ? 0 : at;
    c->stop_us = last || !stop ? 0 : at;
    choose_death(c, r);
}

static struct sim_world *lives(uint64_t seed, struct sim_conf conf)
{
    struct rng r = {.key = rng_mix(seed, 3), .n = 0};
    next_life(&conf, &r, false);
    struct sim_world *w = sim_new(&conf, NULL);
    for (uint64_t n = 2;; n++) {
        bool killed = sim_run(w);
        bool died = w->victim != 0 && w->head.code != 0;
        if (w->failed || (!killed && !died && conf.stop_us == 0))
            break;
        next_life(&conf, &r, n >= LIVES);
        sim_restart(w, &conf);
    }
    sim_check_end(w);
    return w;
}

struct sim_world *sim_history_resume(uint64_t seed, bool check_all)
{
    struct sim_conf conf = sim_conf_lossy(seed);
    conf.check_all |= check_all;
    conf.commit_lost = seed % 4 == 0 ? 0.05 : 0;
    return lives(seed, conf);
}

/* What the dead have sent is still on its way, by the hundred, while their successors work: a third of all
 * messages takes up to .3 s, and nothing else is in the way. */
struct sim_world *sim_history_stale(uint64_t seed, bool check_all)
{
    struct sim_conf conf = sim_conf_lossy(seed);
    conf.check_all |= check_all;
    conf.late = 0.35;
    conf.twice = 0.4;
    conf.loss = 0.05;
    conf.pause = conf.disk_slow = conf.disk_fail = conf.commit_fail = 0;
    conf.hold_us = 1000000;
    conf.write_us = 2000000;
    return lives(seed, conf);
}

/* The same log on one worker and one shard, in order, without a cut but those at the ends of epochs. */
static void check_bits(struct sim_world *w)
{
    struct sim_conf conf = sim_conf_quiet(1), *c = &w->conf;
    struct sim_outcome got, want;
    conf.workers = conf.shards = conf.permits = 1;
    conf.bsp = true;
    conf.check_all = false;
    conf.cut_every_us = 1000000000;
    conf.records = c->records;
    conf.batch = c->batch;
    conf.epochs = c->epochs;
    conf.has_valid = c->has_valid;
    conf.plateau_factor = c->plateau_factor;
    conf.replay = c->replay;
    struct sim_world *one = sim_new(&conf, NULL);
    sim_run(one);
    if (one->failed) {
        sim_fail(w, "one worker", "%s", one->why);
    } else {
        sim_outcome_take(w, &got);
        sim_outcome_take(one, &want);
        const char *what = sim_outcome_differs(&want, &got);
        if (what != NULL)
            sim_fail(w, "bits", "%s differs from what one worker gets", what);
        sim_outcome_release(&got);
        sim_outcome_release(&want);
    }
    sim_free(one);
}

struct sim_world *sim_history_ssp(uint64_t seed, bool check_all)
{
    struct sim_conf conf = sim_conf_lossy(seed);
    conf.ssp = seed % 4 != 3;
    conf.allreduce = seed % 2;
    conf.check_all |= check_all;
    return lives(seed, conf);
}

struct sim_world *sim_history_bsp(uint64_t seed, bool check_all)
{
    struct sim_conf conf = sim_conf_lossy(seed);
    conf.bsp = true;
    conf.allreduce = seed % 2;
    conf.check_all |= check_all;
    struct sim_world *w = lives(seed, conf);
    if (!w->failed)
        check_bits(w);
    return w;
}
