/* beside.c - see beside.h. */
#include "common/data/beside.h"

#include <math.h>

#include "common/data/baselines.h"
#include "common/data/popularity_rank.h"

void beside_put_ranking(const struct ranking *means, struct json *out)
{
    json_set_f64(out, "hr5", means->hr[RANKING_5]);
    json_set_f64(out, "hr10", means->hr[RANKING_10]);
    json_set_f64(out, "hr20", means->hr[RANKING_20]);
    json_set_f64(out, "ndcg5", means->ndcg[RANKING_5]);
    json_set_f64(out, "ndcg10", means->ndcg[RANKING_10]);
    json_set_f64(out, "ndcg20", means->ndcg[RANKING_20]);
    json_set_f64(out, "mrr", means->mrr);
}

static struct json *beside_ranks(const struct job *job, const char *cache_dir, enum part part,
                                 struct dataset *judged, struct errbuf *why)
{
    struct json *named = json_object();
    for (int recent = 0; recent < 2; recent++) {
        struct errbuf none = ERRBUF_INIT;
        struct ranking sums;
        if (popularity_rank(job, cache_dir, part, judged, recent != 0, &sums,
                            recent ? &none : why) != ST_OK)
            continue;
        const struct ranking means = ranking_value(&sums);
        struct json *o = json_object();
        beside_put_ranking(&means, o);
        json_set(named, baseline_name(recent ? BASELINE_RECENT : BASELINE_POPULARITY), o);
    }
    return named;
}

struct json *beside_result(const struct job *job, const char *cache_dir, enum part part,
                           struct dataset *judged, struct errbuf *why)
{
    struct baselines b;
    why->text[0] = '\0';
    if (job_ranks(job))
        return beside_ranks(job, cache_dir, part, judged, why);
    return baselines_of(job, cache_dir, part, judged, &b, why) == ST_OK ? baselines_json(&b)
                                                                        : json_object();
}

void beside_print(const struct json *named, FILE *out)
{
    const char *name;
    const struct json *o;
    for (size_t i = 0; json_item(named, i, &name, &o); i++) {
        if (json_get(o, "hr10") != NULL)
            fprintf(out, "  %-18s HR@10 %.5f  NDCG@10 %.5f  MRR %.5f\n", name,
                    json_f64(o, "hr10", NAN), json_f64(o, "ndcg10", NAN), json_f64(o, "mrr", NAN));
        else
            fprintf(out, "  %-18s AUC %.5f  logloss %.5f  (%s)\n", name, json_f64(o, "auc", NAN),
                    json_f64(o, "logloss", NAN), json_str(o, "field", "?"));
    }
}
