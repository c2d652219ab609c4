/* ab_calc.c - see ab_calc.h. Reading first, into plain structs, with every key judged; then computing, which can't
 * fail but for a lack of data.
 */
#include "common/metrics/ab_calc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/metrics/ab_cuped.h"
#include "common/metrics/ab_effect.h"
#include "common/metrics/ab_sequence.h"
#include "common/metrics/ab_srm.h"
#include "common/metrics/ab_sums.h"

#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))
#define NUMBER_MAX  1e150 /* squares of means stay finite */
#define PERIODS_MAX 1000000u

enum which { BOTH, SEQUENTIAL, FIXED };

struct arm {
    const char *name; /* borrowed from the input, or from `letters` */
    double weight;
    bool covariate;
    struct ab_sums sums;
};

struct call {
    const char *name; /* of the input */
    int kind, which, side;
    double alpha, n_star;
    size_t arms;
    struct arm arm[AB_VARIANTS_MAX];
    const struct json *periods; /* borrowed; NULL: one, the arms' n */
};

static const char *const kinds[] = {"mean", "proportion", "ratio", NULL};
static const char *const whiches[] = {"both", "sequential", "fixed", NULL};
static const char *const sides[] = {"two-sided", "greater", "less", NULL};
static const char *const letters[AB_VARIANTS_MAX] = {"A", "B", "C", "D", "E", "F", "G", "H",
                                                     "I", "J", "K", "L", "M", "N", "O", "P"};

/* -- reading -- */

static bool listed(const char *const *list, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], key) == 0)
            return true;
    return false;
}

static enum status known_keys(const struct call *c, const struct json *obj, const char *place,
                              const char *const *keys, size_t n, struct errbuf *err)
{
    const char *key;
    const struct json *value;
    for (size_t i = 0; json_item(obj, i, &key, &value); i++) {
        if (listed(keys, n, key))
            continue;
        enum status st = errbuf_set(err, ST_USAGE, "%s: %s%.60s: no such key here; there are",
                                    c->name, place, key);
        for (size_t k = 0; k < n && err != NULL; k++) {
            const size_t used = strlen(err->text);
            snprintf(err->text + used, sizeof err->text - used, "%s %s", k > 0 ? "," : "", keys[k]);
        }
        return st;
    }
    return ST_OK;
}

static enum status choose(const struct call *c, const struct json *in, const char *key,
                          const char *const *choices, int *out, struct errbuf *err)
{
    if (json_get(in, key) == NULL)
        return ST_OK;
    const char *text = json_str(in, key, "");
    for (int i = 0; choices[i] != NULL; i++) {
        if (strcmp(choices[i], text) == 0) {
            *out = i;
            return ST_OK;
        }
    }
    return errbuf_set(err, ST_USAGE, "%s: %s must be one of %s, %s, %s", c->name, key, choices[0],
                      choices[1], choices[2]);
}

/* A number within bounds; absent: *out stays, unless it is needed. */
static enum status number(const struct call *c, const struct json *obj, const char *place,
                          const char *key, double min, double max, bool needed, double *out,
                          struct errbuf *err)
{
    double v;
    if (json_get(obj, key) == NULL && !needed)
        return ST_OK;
    if (json_need_f64(obj, key, &v, err) != ST_OK)
        return errbuf_wrap(err, ST_USAGE, "%s: %s", c->name, place);
    if (!(v >= min && v <= max))
        return errbuf_set(err, ST_USAGE, "%s: %s%s: %g must be from %g to %g", c->name, place, key,
                          v, min, max);
    *out = v;
    return ST_OK;
}

static const char *const arm_keys[] = {"name",
                                       "n",
                                       "sum",
                                       "sum_squares",
                                       "weight",
                                       "covariate_sum",
                                       "covariate_sum_squares",
                                       "cross_sum",
                                       "denominator_sum",
                                       "denominator_sum_squares",
                                       "denominator_cross_sum"};

/* Sums that no numbers have: n Q < S^2 (Cauchy), but for rounding. */
static bool impossible(double n, double sum, double square_sum)
{
    return sum * sum > n * square_sum * (1 + 1e-9);
}

static enum status judge_arm(const struct call *c, const struct arm *a, const char *place,
                             struct errbuf *err)
{
    const struct ab_sums *s = &a->sums;
    const char *why = NULL;
    if (s->n != floor(s->n))
        why = "n must be a whole number";
    else if (c->kind == AB_PROPORTION && !(s->sum >= 0 && s->sum <= s->n))
        why = "sum of a proportion must be from 0 to n";
    else if (c->kind != AB_PROPORTION && impossible(s->n, s->sum, s->square_sum))
        why = "sum_squares is below sum^2 / n: no numbers have these sums";
    else if (impossible(s->n, s->x_sum, s->x_square_sum))
        why = "covariate_sum_squares is below covariate_sum^2 / n: no numbers have these sums";
    else if (impossible(s->n, s->d_sum, s->d_square_sum))
        why = "denominator_sum_squares is below denominator_sum^2 / n: no numbers have these sums";
    return why == NULL ? ST_OK : errbuf_set(err, ST_USAGE, "%s: %s%s", c->name, place, why);
}

static enum status read_arm(const struct call *c, const struct json *obj, size_t i, struct arm *a,
                            struct errbuf *err)
{
    const bool ratio = c->kind == AB_RATIO, proportion = c->kind == AB_PROPORTION;
    char place[32];
    snprintf(place, sizeof place, "arms[%zu].", i);
    a->name = json_str(obj, "name", letters[i]);
    a->weight = 1;
    a->covariate = json_get(obj, "covariate_sum") != NULL ||
                   json_get(obj, "covariate_sum_squares") != NULL ||
                   json_get(obj, "cross_sum") != NULL;
    if (a->covariate && ratio)
        return errbuf_set(err, ST_USAGE, "%s: %scovariate_sum: CUPED is for mean and proportion",
                          c->name, place);
    const bool x = a->covariate;
    const struct {
        const char *key;
        double min, max;
        bool needed;
        double *out;
    } cells[] = {
        {"n", 0, 1e15, true, &a->sums.n},
        {"sum", -NUMBER_MAX, NUMBER_MAX, true, &a->sums.sum},
        {"sum_squares", 0, NUMBER_MAX, !proportion, &a->sums.square_sum},
        {"weight", 1e-9, 1e9, false, &a->weight},
        {"covariate_sum", -NUMBER_MAX, NUMBER_MAX, x, &a->sums.x_sum},
        {"covariate_sum_squares", 0, NUMBER_MAX, x, &a->sums.x_square_sum},
        {"cross_sum", -NUMBER_MAX, NUMBER_MAX, x, &a->sums.xy_sum},
        {"denominator_sum", 0, NUMBER_MAX, ratio, &a->sums.d_sum},
        {"denominator_sum_squares", 0, NUMBER_MAX, ratio, &a->sums.d_square_sum},
        {"denominator_cross_sum", -NUMBER_MAX, NUMBER_MAX, ratio, &a->sums.yd_sum},
    };
    enum status st = known_keys(c, obj, place, arm_keys, COUNT(arm_keys), err);
    for (size_t k = 0; st == ST_OK && k < COUNT(cells); k++)
        st = number(c, obj, place, cells[k].key, cells[k].min, cells[k].max, cells[k].needed,
                    cells[k].out, err);
    if (st != ST_OK)
        return st;
    if (!ratio && json_get(obj, "denominator_sum") != NULL)
        return errbuf_set(err, ST_USAGE, "%s: %sdenominator_sum: only with kind ratio", c->name,
                          place);
    if (proportion)
        a->sums.square_sum = a->sums.sum;
    return judge_arm(c, a, place, err);
}

static enum status read_periods(struct call *c, const struct json *in, struct errbuf *err)
{
    c->periods = json_get(in, "periods");
    if (c->periods == NULL)
        return ST_OK;
    const size_t n = json_len(c->periods);
    if (n == 0 || n > PERIODS_MAX)
        return errbuf_set(err, ST_USAGE, "%s: periods must be a list of 1 to %u lists", c->name,
                          PERIODS_MAX);
    for (size_t i = 0; i < n; i++) {
        const struct json *one = json_at(c->periods, i);
        bool good = json_len(one) == c->arms;
        for (size_t k = 0; good && k < c->arms; k++) {
            const double v = json_f64(json_at(one, k), "", -1);
            good = v >= 0 && v <= 1e15;
        }
        if (!good)
            return errbuf_set(err, ST_USAGE, "%s: periods[%zu] must be %zu counts, one an arm",
                              c->name, i, c->arms);
    }
    return ST_OK;
}

static enum status read_call(struct call *c, const struct json *in, struct errbuf *err)
{
    static const char *const keys[] = {"kind",   "test", "side",   "alpha",
                                       "n_star", "arms", "periods"};
    const struct json *arms = json_get(in, "arms");
    enum status st = known_keys(c, in, "", keys, COUNT(keys), err);
    if (st == ST_OK)
        st = choose(c, in, "kind", kinds, &c->kind, err);
    if (st == ST_OK)
        st = choose(c, in, "test", whiches, &c->which, err);
    if (st == ST_OK)
        st = choose(c, in, "side", sides, &c->side, err);
    if (st == ST_OK)
        st = number(c, in, "", "alpha", 1e-9, c->side == AB_TWO_SIDED ? .999 : .499, false,
                    &c->alpha, err);
    if (st == ST_OK)
        st = number(c, in, "", "n_star", 1, 1e15, false, &c->n_star, err);
    if (st != ST_OK)
        return st;
    c->arms = json_len(arms);
    if (c->arms < 2 || c->arms > AB_VARIANTS_MAX)
        return errbuf_set(err, ST_USAGE,
                          "%s: arms must be a list of 2 to %u, the first the control", c->name,
                          AB_VARIANTS_MAX);
    for (size_t i = 0; st == ST_OK && i < c->arms; i++) {
        st = read_arm(c, json_at(arms, i), i, &c->arm[i], err);
        if (st == ST_OK && c->arm[i].covariate != c->arm[0].covariate)
            st = errbuf_set(err, ST_USAGE,
                            "%s: arms[%zu]: covariates must be in all arms or in none", c->name, i);
    }
    return st == ST_OK ? read_periods(c, in, err) : st;
}

/* -- computing -- */

static void set_or_null(struct json *to, const char *key, struct json *child)
{
    if (child != NULL)
        json_set(to, key, child);
    else
        json_set_null(to, key);
}

static struct json *interval_json(const struct ab_interval *i)
{
    struct json *j = json_object();
    json_set_f64(j, "from", i->from);
    json_set_f64(j, "to", i->to);
    json_set_f64(j, "half_width", i->half);
    json_set_f64(j, "p", i->p);
    return j;
}

/* NULL: not enough data. */
static struct json *effect_json(const struct call *c, const struct ab_arm *a,
                                const struct ab_arm *b, enum ab_lift lift)
{
    struct ab_effect e;
    const enum ab_side side = (enum ab_side)c->side;
    if (!ab_effect_between(a, b, lift, &e))
        return NULL;
    struct json *j = json_object();
    json_set_f64(j, "lift", e.lift);
    json_set_f64(j, "se", e.se);
    if (c->which != SEQUENTIAL) {
        const struct ab_interval i = ab_effect_fixed(&e, side, c->alpha);
        struct json *fixed = interval_json(&i);
        json_set_f64(fixed, "degrees", e.degrees);
        json_set(j, "fixed", fixed);
    }
    if (c->which != FIXED) {
        const struct ab_interval i = ab_sequence_at(&e, side, c->alpha, c->n_star);
        struct json *sequence = interval_json(&i);
        json_set_f64(sequence, "rho", ab_sequence_rho(c->alpha, c->n_star, side));
        json_set(j, "sequential", sequence);
    }
    return j;
}

/* The lift's interval that agrees with the absolute test; NULL: not enough data. */
static struct json *fieller_json(const struct call *c, const struct ab_arm *a,
                                 const struct ab_arm *b)
{
    struct ab_interval i;
    if (!ab_sequence_lift(a, b, (enum ab_side)c->side, c->alpha, c->n_star, &i))
        return NULL;
    struct json *j = json_object();
    json_set_f64(j, "lift", (b->mean - a->mean) / a->base);
    json_set_f64(j, "from", i.from);
    json_set_f64(j, "to", i.to);
    json_set_f64(j, "p", i.p);
    return j;
}

static struct json *cuped_json(const struct ab_cuped *cuped)
{
    struct json *j = json_object();
    json_set_f64(j, "theta", cuped->theta);
    json_set_f64(j, "reduction", cuped->reduction);
    return j;
}

static struct json *comparison_json(const struct call *c, const struct arm *control,
                                    const struct arm *arm)
{
    struct ab_arm a, b;
    struct ab_cuped cuped;
    const bool enough = ab_arm_from(&control->sums, (enum ab_kind)c->kind, &a) &&
                        ab_arm_from(&arm->sums, (enum ab_kind)c->kind, &b);
    struct json *j = json_object();
    json_set_str(j, "arm", arm->name);
    json_set_str(j, "control", control->name);
    if (arm->covariate) {
        const bool adjusted = enough && ab_cuped_adjust(&control->sums, &arm->sums, &a, &b, &cuped);
        set_or_null(j, "cuped", adjusted ? cuped_json(&cuped) : NULL);
    }
    set_or_null(j, "absolute", enough ? effect_json(c, &a, &b, AB_ABSOLUTE) : NULL);
    set_or_null(j, "relative", enough ? effect_json(c, &a, &b, AB_RELATIVE) : NULL);
    if (c->which != FIXED)
        set_or_null(j, "fieller", enough ? fieller_json(c, &a, &b) : NULL);
    return j;
}

static struct json *arm_json(const struct call *c, const struct arm *arm)
{
    struct ab_arm a;
    struct json *j = json_object();
    json_set_str(j, "name", arm->name);
    json_set_f64(j, "n", arm->sums.n);
    const bool enough = ab_arm_from(&arm->sums, (enum ab_kind)c->kind, &a);
    json_set_f64(j, "mean", enough ? a.mean : NAN);
    json_set_f64(j, "sd", enough ? sqrt(a.var) : NAN);
    json_set_f64(j, "se", enough ? sqrt(a.var / a.n) : NAN);
    return j;
}

static struct json *srm_json(const struct call *c)
{
    double weight[AB_VARIANTS_MAX], count[AB_VARIANTS_MAX];
    struct ab_srm_result r;
    struct ab_srm s;
    for (size_t i = 0; i < c->arms; i++) {
        weight[i] = c->arm[i].weight;
        count[i] = c->arm[i].sums.n;
    }
    if (!ab_srm_chi_square(count, weight, c->arms, &r) || !ab_srm_init(&s, weight, c->arms))
        return NULL;
    if (c->periods == NULL)
        (void)ab_srm_look(&s, count);
    for (size_t p = 0; p < json_len(c->periods); p++) {
        for (size_t i = 0; i < c->arms; i++)
            count[i] = json_f64(json_at(json_at(c->periods, p), i), "", 0);
        (void)ab_srm_look(&s, count);
    }
    struct json *j = json_object();
    json_set_f64(j, "chi_square", r.chi_square);
    json_set_f64(j, "p", r.p);
    json_set_f64(j, "sequential_p", s.p);
    return j;
}

enum status ab_calc(const struct json *in, const char *name, struct json **out, struct errbuf *err)
{
    struct call c = {.name = name, .alpha = .05, .n_star = AB_N_STAR};
    enum status st = read_call(&c, in, err);
    if (st != ST_OK)
        return st;
    struct json *j = json_object(), *arms = json_array(), *comparisons = json_array();
    for (size_t i = 0; i < c.arms; i++)
        json_add(arms, arm_json(&c, &c.arm[i]));
    for (size_t i = 1; i < c.arms; i++)
        json_add(comparisons, comparison_json(&c, &c.arm[0], &c.arm[i]));
    json_set_str(j, "kind", kinds[c.kind]);
    json_set_str(j, "side", sides[c.side]);
    json_set_f64(j, "alpha", c.alpha);
    json_set_f64(j, "n_star", c.n_star);
    json_set(j, "arms", arms);
    set_or_null(j, "srm", srm_json(&c));
    json_set(j, "comparisons", comparisons);
    *out = j;
    return ST_OK;
}
