/* metrics_ab_online.c - the accumulator of one variant: against the same sums taken from the whole history at once,
 * merged, corrected, saved and loaded, over its bound, and with every bit of its bytes flipped.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/metrics/ab_online.h"
#include "tests/unit/metrics_case.h"

static const enum ab_kind kinds[] = {AB_RATIO, AB_PROPORTION, AB_MEAN};
enum { METRICS = 3 };

static void expect_sums(const struct ab_sums *got, const struct ab_sums *want)
{
    const double *g = (const double *)got, *w = (const double *)want;
    for (size_t i = 0; i < sizeof *got / sizeof *g; i++)
        assert_true(fabs(g[i] - w[i]) <= 1e-9 * fmax(1, fabs(w[i])));
}

/* -- users -- */

enum { USERS = 3000, EVENTS = 60000 };

struct history { /* the slow way: every user's whole row, summed at the end */
    double shown[USERS], y[METRICS][USERS], x[METRICS][USERS];
};

static void sums_of(const struct history *h, size_t m, struct ab_sums *s)
{
    memset(s, 0, sizeof *s);
    for (int i = 0; i < USERS; i++) {
        const double d = h->shown[i], x = h->x[m][i];
        const double y = kinds[m] == AB_PROPORTION ? h->y[m][i] > 0 : h->y[m][i];
        if (d == 0)
            continue;
        s->n += 1;
        s->sum += y, s->square_sum += y * y;
        s->d_sum += d, s->d_square_sum += d * d, s->yd_sum += y * d;
        s->x_sum += x, s->x_square_sum += x * x, s->xy_sum += x * y;
    }
}

/* Deals random events to `parts` accumulators and to the history of all. */
static void deal(struct ab_users *parts, size_t parts_n, struct history *h, uint64_t seed)
{
    struct rng rng = {.key = seed};
    memset(h, 0, sizeof *h);
    for (int e = 0; e < EVENTS; e++) {
        const uint64_t who = rng_below(&rng, USERS), user = hash_u64(who);
        struct ab_users *u = &parts[rng_below(&rng, parts_n)];
        const size_t m = (size_t)rng_below(&rng, METRICS);
        const double amount = m == 2 ? rng_next_unit(&rng) * 100 - 10 : 1;
        const bool known = ab_users_row(u, user) != NULL;
        switch (rng_below(&rng, 4)) {
        case 0:
        case 1:
            assert_true(ab_users_exposure(u, user, (double)(1 + m)));
            h->shown[who] += (double)(1 + m);
            break;
        case 2:
            assert_int_equal(ab_users_outcome(u, user, m, amount), known);
            h->y[m][who] += known ? amount : 0;
            break;
        default:
            if (parts_n > 1)
                break; /* covariates don't add: see test_merge_keeps_covariates */
            assert_int_equal(ab_users_covariate(u, user, m, amount), known);
            h->x[m][who] = known ? amount : h->x[m][who];
        }
    }
}

static void test_sums_follow_users(void **state)
{
    (void)state;
    static struct history h;
    struct ab_users u;
    struct ab_sums want;
    ab_users_init(&u, kinds, METRICS, 1 << 20);
    deal(&u, 1, &h, 1);
    assert_int_equal(u.users, USERS);
    for (size_t m = 0; m < METRICS; m++) {
        sums_of(&h, m, &want);
        expect_sums(&u.sums[m], &want);
    }
    assert_true(u.refused > 0); /* outcomes of who was not exposed yet */
    ab_users_release(&u);
}

static void test_users_merge(void **state)
{
    (void)state;
    static struct history h;
    struct ab_users parts[4];
    struct ab_sums want;
    uint64_t refused = 0;
    for (size_t i = 0; i < 4; i++)
        ab_users_init(&parts[i], kinds, METRICS, 1 << 20);
    deal(parts, 4, &h, 2);
    for (size_t i = 0; i < 4; i++)
        refused += parts[i].refused;
    for (size_t i = 1; i < 4; i++)
        ab_users_merge(&parts[0], &parts[i]);
    for (size_t m = 0; m < METRICS; m++) {
        sums_of(&h, m, &want);
        expect_sums(&parts[0].sums[m], &want);
    }
    assert_int_equal(parts[0].refused, refused);
    for (size_t i = 0; i < 4; i++)
        ab_users_release(&parts[i]);
}

static void test_merge_keeps_covariates(void **state)
{
    (void)state;
    struct ab_users a, b;
    ab_users_init(&a, kinds, METRICS, 10);
    ab_users_init(&b, kinds, METRICS, 10);
    for (uint64_t user = 1; user <= 3; user++) {
        assert_true(ab_users_exposure(&a, user, 1) && ab_users_exposure(&b, user, 1));
        if (user < 3)
            assert_true(ab_users_covariate(&a, user, 2, 5));
        if (user > 1)
            assert_true(ab_users_covariate(&b, user, 2, 7));
    }
    ab_users_merge(&a, &b);
    assert_true(a.sums[2].x_sum == 5 + 5 + 7 && a.sums[2].d_sum == 6 && a.sums[2].n == 3);
    ab_users_release(&a);
    ab_users_release(&b);
}

static void test_bounded_users(void **state)
{
    (void)state;
    struct ab_users u, more;
    ab_users_init(&u, kinds, METRICS, 100);
    for (uint64_t user = 0; user < 150; user++) /* 0 is a user like others */
        assert_int_equal(ab_users_exposure(&u, hash_u64(user), 1), user < 100);
    assert_int_equal(u.users, 100);
    assert_int_equal(u.refused, 50);
    assert_false(ab_users_outcome(&u, hash_u64(120), 0, 1)); /* who found no room has no outcomes */
    assert_true(ab_users_outcome(&u, hash_u64(99), 0, 1));
    assert_false(ab_users_covariate(&u, hash_u64(120), 0, 1));
    assert_int_equal(u.refused, 52);
    assert_true(u.sums[0].n == 100);
    ab_users_init(&more, kinds, METRICS, 1000);
    for (uint64_t user = 90; user < 130; user++)
        assert_true(ab_users_exposure(&more, hash_u64(user), 2));
    ab_users_merge(&u, &more);
    assert_int_equal(u.users, 100);
    assert_int_equal(u.refused, 52 + 30);
    assert_true(u.sums[0].d_sum == 100 + 20);
    ab_users_release(&u);
    ab_users_release(&more);
    ab_users_init(&u, kinds, METRICS, 0);
    assert_false(ab_users_exposure(&u, 5, 1));
    assert_null(ab_users_row(&u, 5));
    ab_users_release(&u);
}

static void test_no_number_gets_in(void **state)
{
    (void)state;
    static const double bad[] = {NAN, INFINITY, -INFINITY, 2e15, -2e15};
    struct ab_users u;
    ab_users_init(&u, kinds, METRICS, 100);
    assert_true(ab_users_exposure(&u, 0, 1) && ab_users_exposure(&u, 0, 1));
    assert_true(ab_users_outcome(&u, 0, 2, 9e14));
    const struct ab_sums before = u.sums[2];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(ab_users_exposure(&u, 0, bad[i]));
        assert_false(ab_users_outcome(&u, 0, 2, bad[i]));
        assert_false(ab_users_covariate(&u, 0, 2, bad[i]));
    }
    assert_false(ab_users_exposure(&u, 0, 0) || ab_users_exposure(&u, 0, -1));
    assert_false(ab_users_outcome(&u, 0, 2, 9e14)); /* nor a sum beyond the bound */
    assert_int_equal(u.refused, 18);
    assert_memory_equal(&u.sums[2], &before, sizeof before);
    ab_users_release(&u);
}

/* -- scores -- */

static void test_progressive_metrics(void **state)
{
    (void)state;
    enum { N = 20000 };
    static float z[N], y[N];
    struct rng rng = {.key = 9};
    struct ab_online o;
    double loss = 0, predicted = 0, positives = 0;
    ab_online_init(&o, 1, kinds, METRICS, 10);
    for (int i = 0; i < N; i++) {
        z[i] = (float)rng_next_normal(&rng) - 1;
        const double p = 1 / (1 + exp(-(double)z[i]));
        y[i] = rng_next_unit(&rng) < p;
        assert_true(ab_online_example(&o, z[i], y[i] > 0));
        loss -= y[i] > 0 ? log(p) : log1p(-p);
        predicted += p;
        positives += (double)y[i];
    }
    const struct ab_online_result r = ab_online_value(&o);
    const double base = positives / N, h = -base * log(base) - (1 - base) * log(1 - base);
    assert_true(r.both_classes && r.examples == N && (double)r.positives == positives);
    assert_true(fabs(r.auc - auc_exact(z, y, N)) <= r.auc_bound && r.auc_bound < 1e-3);
    assert_true(close_to(r.logloss, loss / N, 1e-9));
    assert_true(close_to(r.entropy, loss / N / h, 1e-9) && r.entropy < 1);
    assert_true(close_to(r.calibration, predicted / positives, 1e-9));
    assert_true(fabs(r.calibration - 1) < .05); /* labels were drawn from the scores */
    ab_online_release(&o);
}

/* Late positives: as if they had been known in time. */
static void test_corrections(void **state)
{
    (void)state;
    struct rng rng = {.key = 10};
    struct ab_online late, known;
    ab_online_init(&late, 1, kinds, METRICS, 10);
    ab_online_init(&known, 1, kinds, METRICS, 10);
    for (int i = 0; i < 5000; i++) {
        const float z = (float)rng_next_normal(&rng);
        const bool y = rng_next_unit(&rng) < .3;
        assert_true(ab_online_example(&known, z, y));
        assert_true(ab_online_example(&late, z, false));
        if (y)
            assert_true(ab_online_correct(&late, z));
    }
    const struct ab_online_result a = ab_online_value(&late), b = ab_online_value(&known);
    assert_int_equal(a.positives, b.positives);
    assert_int_equal(late.corrected, b.positives);
    assert_int_equal(late.loss.correct, known.loss.correct);
    assert_true(a.auc == b.auc && a.auc_bound == b.auc_bound);
    assert_true(close_to(a.logloss, b.logloss, 1e-12) && close_to(a.entropy, b.entropy, 1e-12));
    assert_true(close_to(a.calibration, b.calibration, 1e-12));
    /* What was never a negative can't be corrected; what is no number isn't counted. */
    assert_false(ab_online_correct(&late, 50));
    assert_false(ab_online_example(&late, NAN, true) || ab_online_example(&late, INFINITY, true));
    assert_false(ab_online_correct(&late, NAN));
    assert_int_equal(late.refused, 4);
    assert_int_equal(ab_online_value(&late).examples, 5000);
    ab_online_release(&late);
    ab_online_release(&known);
}

static void test_one_class_is_not_enough(void **state)
{
    (void)state;
    struct ab_online o;
    ab_online_init(&o, 1, kinds, METRICS, 10);
    struct ab_online_result r = ab_online_value(&o);
    assert_true(!r.both_classes && r.auc == .5 && r.entropy == 0 && r.logloss == 0 &&
                r.calibration == 0);
    assert_true(ab_online_example(&o, 1, true));
    r = ab_online_value(&o);
    assert_true(!r.both_classes && r.calibration > 0 && r.logloss > 0);
    assert_true(ab_online_example(&o, 1, false));
    assert_true(ab_online_value(&o).both_classes);
    ab_online_release(&o);
}

/* -- bytes -- */

static void fill(struct ab_online *o, uint64_t tag, uint64_t seed, int n)
{
    struct rng rng = {.key = seed};
    ab_online_init(o, tag, kinds, METRICS, 10000);
    for (int i = 0; i < n; i++) {
        const uint64_t user = hash_u64(rng_below(&rng, (uint64_t)n / 2));
        const float z = (float)rng_next_normal(&rng);
        assert_true(ab_online_example(o, z, i % 3 == 0));
        if (i % 7 == 1)
            assert_true(ab_online_correct(o, z) || i % 3 == 0);
        assert_true(ab_users_exposure(&o->users, user, 1));
        if (i % 5 == 0)
            assert_true(ab_users_outcome(&o->users, user, (size_t)i % METRICS, 2.5));
        if (i % 11 == 0)
            assert_true(ab_users_covariate(&o->users, user, 1, .5));
    }
    assert_false(ab_users_outcome(&o->users, 12345, 0, 1));
}

static void expect_same(const struct ab_online *a, const struct ab_online *b)
{
    const struct ab_online_result x = ab_online_value(a), y = ab_online_value(b);
    assert_memory_equal(&x, &y, sizeof x);
    assert_int_equal(a->corrected, b->corrected);
    assert_int_equal(a->refused, b->refused);
    assert_int_equal(a->users.refused, b->users.refused);
    assert_int_equal(a->users.users, b->users.users);
    for (size_t m = 0; m < METRICS; m++)
        expect_sums(&a->users.sums[m], &b->users.sums[m]);
}

static void test_saved_and_loaded(void **state)
{
    (void)state;
    struct ab_online o, back, more;
    struct buffer bytes = BUFFER_INIT;
    fill(&o, 7, 1, 4000);
    fill(&back, 7, 99, 50); /* is replaced wholly */
    ab_online_save(&o, &bytes);
    assert_int_equal(ab_online_load(&back, bytes.data, bytes.used, "saved", NULL), ST_OK);
    expect_same(&o, &back);
    /* Life goes on as if nothing had happened. */
    fill(&more, 7, 3, 2000);
    ab_online_merge(&o, &more);
    ab_online_merge(&back, &more);
    expect_same(&o, &back);
    buffer_release(&bytes);
    ab_online_release(&o);
    ab_online_release(&back);
    ab_online_release(&more);
}

static void test_damage_is_found(void **state)
{
    (void)state;
    struct ab_online o, back;
    struct buffer bytes = BUFFER_INIT;
    struct errbuf err = ERRBUF_INIT;
    fill(&o, 7, 1, 40);
    fill(&back, 7, 99, 50);
    const uint64_t users = back.users.users;
    ab_online_save(&o, &bytes);
    for (size_t bit = 0; bit < 8 * bytes.used; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(ab_online_load(&back, bytes.data, bytes.used, "saved", &err), ST_BAD_DATA);
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t n = 0; n < bytes.used; n++)
        assert_int_equal(ab_online_load(&back, bytes.data, n, "saved", &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "saved: damaged: "));
    assert_int_equal(back.users.users, users);
    buffer_release(&bytes);
    ab_online_release(&o);
    ab_online_release(&back);
}

static void test_foreign_bytes(void **state)
{
    (void)state;
    struct ab_online o, other;
    struct buffer bytes = BUFFER_INIT;
    struct errbuf err = ERRBUF_INIT;
    fill(&o, 7, 1, 100);
    ab_online_save(&o, &bytes);
    ab_online_init(&other, 8, kinds, METRICS, 1000);
    assert_int_equal(ab_online_load(&other, bytes.data, bytes.used, "b", &err), ST_FOREIGN);
    ab_online_release(&other);
    ab_online_init(&other, 7, kinds, METRICS - 1, 1000);
    assert_int_equal(ab_online_load(&other, bytes.data, bytes.used, "b", &err), ST_FOREIGN);
    ab_online_release(&other);
    const enum ab_kind others[] = {AB_RATIO, AB_MEAN, AB_MEAN};
    ab_online_init(&other, 7, others, METRICS, 1000);
    assert_int_equal(ab_online_load(&other, bytes.data, bytes.used, "b", &err), ST_FOREIGN);
    ab_online_release(&other);
    ab_online_init(&other, 7, kinds, METRICS, o.users.users - 1);
    assert_int_equal(ab_online_load(&other, bytes.data, bytes.used, "b", &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "raise users_max"));
    ab_online_release(&other);
    buffer_release(&bytes);
    ab_online_release(&o);
}

/* Lies behind a right checksum: a user twice, a cell that is no number, bins that don't add up. */
static void test_signed_lies(void **state)
{
    (void)state;
    struct ab_online o, back;
    struct buffer bytes = BUFFER_INIT;
    const size_t row = 16 + 16 * METRICS;
    fill(&o, 7, 1, 40);
    ab_online_init(&back, 7, kinds, METRICS, 1000);
    for (int lie = 0; lie < 7; lie++) {
        buffer_reset(&bytes);
        ab_online_save(&o, &bytes);
        uint8_t *last = bytes.data + bytes.used - 8 - row, *bin = bytes.data + 104 + 4 * METRICS;
        const double nan = NAN;
        switch (lie) {
        case 1: memcpy(last, last - row, 8); break; /* twice the same user */
        case 2: memcpy(last + 16, &nan, 8); break;  /* no number */
        case 3: memset(last + 8, 0, 8); break;      /* never exposed */
        case 4: memcpy(bin + 12, bin, 12); break;   /* a bin twice */
        case 5: bin[4]++; break;                    /* one more negative than examples */
        case 6: memcpy(bytes.data + 40, &nan, 8); break;
        }
        const uint64_t sum = hash_bytes(bytes.data, bytes.used - 8, 0);
        memcpy(bytes.data + bytes.used - 8, &sum, 8);
        const enum status st = ab_online_load(&back, bytes.data, bytes.used, "saved", NULL);
        assert_int_equal(st, lie == 0 ? ST_OK : ST_BAD_DATA);
    }
    buffer_release(&bytes);
    ab_online_release(&o);
    ab_online_release(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_follow_users),
        cmocka_unit_test(test_users_merge),
        cmocka_unit_test(test_merge_keeps_covariates),
        cmocka_unit_test(test_bounded_users),
        cmocka_unit_test(test_no_number_gets_in),
        cmocka_unit_test(test_progressive_metrics),
        cmocka_unit_test(test_corrections),
        cmocka_unit_test(test_one_class_is_not_enough),
        cmocka_unit_test(test_saved_and_loaded),
        cmocka_unit_test(test_damage_is_found),
        cmocka_unit_test(test_foreign_bytes),
        cmocka_unit_test(test_signed_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
