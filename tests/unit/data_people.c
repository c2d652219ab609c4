/* data_people.c - the shop's people: a function of their seed, true to the truth, and the log is what it was. */
#include "tests/unit/data_case.h"

#include <math.h>

#include "common/base/hash.h"
#include "common/data/shop_people.h"

#define CANDIDATES 40

static const struct shop_config shop = {.users = 2000, .items = 1000, .events = 60000, .seed = 1};
static const struct shop_people_config usual = {
    .seed = 7, .rate = 100, .speed = 3600, .candidates = CANDIDATES};

static struct shop_people *open_people(const struct shop_people_config *c)
{
    struct shop_people *p = NULL;
    assert_int_equal(shop_people_open(&shop, c, &p, &err), ST_OK);
    return p;
}

/* The log's bits stood here before anybody shared its world: no command may generate another one. */
static void log_is_what_it_was(void **state)
{
    struct shop *s = NULL;
    uint64_t sum = 0;
    (void)state;
    assert_int_equal(shop_open(&shop, &s, &err), ST_OK);
    for (int i = 0; i < 20000; i++) {
        struct shop_event e;
        char line[256];
        shop_next(s, &e);
        int n = snprintf(line, sizeof line, "%lld,%llu,%llu,%llu,%u,%u,%u,%u,%u,%u,%d,%d,%d",
                         (long long)e.time, (unsigned long long)e.session,
                         (unsigned long long)e.user, (unsigned long long)e.item, e.category,
                         e.brand, e.hour, e.position, e.device, e.segment, e.click, e.cart, e.buy);
        sum = hash_bytes(line, (size_t)n, sum);
    }
    shop_close(s);
    if (sum != 0x85b361cd12e3f22eull)
        print_error("the log of seed 1 has hash %016llx\n", (unsigned long long)sum);
    assert_true(sum == 0x85b361cd12e3f22eull);
}

static void same_seed_same_visits(void **state)
{
    struct shop_people_config other = usual;
    (void)state;
    other.seed = 8;
    struct shop_people *a = open_people(&usual), *b = open_people(&usual), *c = open_people(&other);
    size_t ia[CANDIDATES], ib[CANDIDATES], ic[CANDIDATES], users_differ = 0;
    struct shop_visit va = {.candidate = ia}, vb = {.candidate = ib}, vc = {.candidate = ic};
    double before = 0;
    for (uint64_t k = 0; k < 3000; k++) {
        shop_people_next(a, &va);
        shop_people_next(b, &vb);
        shop_people_next(c, &vc);
        assert_int_equal(va.number, k);
        assert_true(va.at == vb.at && va.time == vb.time && va.user == vb.user);
        assert_true(va.device == vb.device && va.hour == vb.hour && va.hour < 24);
        assert_memory_equal(ia, ib, sizeof ia);
        assert_memory_equal(va.taste, vb.taste, sizeof va.taste);
        users_differ += va.user != vc.user;
        assert_true(va.at > before && va.part > 1);
        assert_int_equal(va.time, SHOP_BEGIN + (int64_t)(SHOP_SPAN + va.at * 3600));
        before = va.at;
        for (size_t i = 0; i < CANDIDATES; i++) {
            assert_true(ia[i] < shop_people_world(a)->items);
            for (size_t j = 0; j < i; j++)
                assert_true(ia[i] != ia[j]);
        }
        struct shop_choice x = shop_people_choose(a, &va, ia[3], 2);
        struct shop_choice y = shop_people_choose(b, &vb, ib[3], 2);
        assert_true(x.click == y.click && x.liking == y.liking && x.buy == y.buy);
    }
    assert_true(users_differ > 2900);
    /* 3000 arrivals of a Poisson process: the time they take has a deviation of sqrt(3000) gaps */
    assert_true(fabs(before * 100 - 3000) < 4 * sqrt(3000));
    shop_people_close(a);
    shop_people_close(b);
    shop_people_close(c);
}

/* |count - expected| in deviations of a sum of independent draws. */
static void near(const char *what, double count, double expected, double variance)
{
    if (fabs(count - expected) > 4 * sqrt(variance))
        fail_msg("%s: %.0f, expected %.1f +- %.1f", what, count, expected, sqrt(variance));
}

static void clicks_are_the_truths(void **state)
{
    struct shop_people *p = open_people(&usual);
    size_t item[CANDIDATES];
    struct shop_visit v = {.candidate = item};
    double n[SHOP_PAGE] = {0}, sum[SHOP_PAGE] = {0}, var[SHOP_PAGE] = {0};
    double likes = 0, liking = 0, likes_var = 0, carts = 0, cart = 0, cart_var = 0;
    (void)state;
    for (int k = 0; k < 8000; k++) {
        shop_people_next(p, &v);
        for (size_t at = 0; at < SHOP_PAGE; at++) {
            struct shop_choice c = shop_people_choose(p, &v, item[at], at);
            const struct shop_item *t = &shop_people_world(p)->item[item[at]];
            double logit = log(c.liking) - log1p(-c.liking);
            double truth = c.liking * pow((double)at + 1, -.4);
            double then = 1 / (1 + exp(1 - .5 * logit + .3 * t->price_rel));
            n[at] += c.click;
            sum[at] += truth;
            var[at] += truth * (1 - truth);
            likes += c.likes;
            liking += c.liking;
            likes_var += c.liking * (1 - c.liking);
            assert_true((!c.click || c.likes) && (!c.cart || c.click) && (!c.buy || c.cart));
            if (!c.click)
                continue;
            carts += c.cart;
            cart += then;
            cart_var += then * (1 - then);
        }
    }
    for (size_t at = 0; at < SHOP_PAGE; at++)
        near("clicks at a position", n[at], sum[at], var[at]);
    near("likes", likes, liking, likes_var);
    near("carts", carts, cart, cart_var);
    assert_true(n[0] > 1.8 * n[9]);
    shop_people_close(p);
}

static void time_goes_on(void **state)
{
    struct shop_people_config fast = usual;
    fast.speed = 86400; /* a day a second */
    struct shop_people *p = open_people(&fast);
    size_t item[CANDIDATES], seen_new = 0, new_users = 0, found;
    struct shop_visit v = {.candidate = item};
    (void)state;
    for (int k = 0; k < 1500; k++) {
        shop_people_next(p, &v);
        for (size_t i = 0; i < CANDIDATES; i++)
            seen_new += item[i] >= shop.items;
        new_users += v.user >= shop.users;
    }
    const struct shop_world *w = shop_people_world(p);
    /* 15 % of 1000 items in 30 days */
    double days = (double)(v.time - SHOP_BEGIN) / 86400 - SHOP_DAYS;
    assert_true(days > 12 && days < 18);
    assert_true(fabs((double)(w->items - shop.items) - days * 5) <= 1);
    assert_true(fabs((double)(w->users - shop.users) - days * 500 / 30) <= 1);
    assert_true(seen_new > 1500 && seen_new < 4500 && new_users > 20);
    for (size_t i = 0; i < w->items; i++) {
        uint64_t name = shop_world_item_name(w, i);
        assert_true(i < shop.items ? name <= shop.items : name == i + 1);
        assert_true(shop_people_find(p, name, &found) && found == i);
        if (i > shop.items)
            assert_true(w->item[i].born >= w->item[i - 1].born && w->item[i].born <= v.part);
    }
    assert_false(shop_people_find(p, 0, &found) || shop_people_find(p, w->items + 1, &found));
    /* Tastes turn at .35 radians a span, as in the log: now = cos, then = sin of the angle. */
    const struct shop_user *u = &w->user[v.user];
    for (size_t d = 0; d < SHOP_DIMS; d++) {
        double want = cos(.35 * v.part) * u->now[d] + sin(.35 * v.part) * u->then[d];
        assert_true(fabs(v.taste[d] - want) < 1e-5);
    }
    shop_people_close(p);
}

static void orders_are_best_and_mean(void **state)
{
    struct shop_people *p = open_people(&usual);
    size_t item[CANDIDATES];
    struct shop_visit v = {.candidate = item};
    (void)state;
    for (int k = 0; k < 200; k++) {
        double best, mean, all, unused, p3[3], high = 0, sum = 0;
        shop_people_next(p, &v);
        for (size_t i = 0; i < 3; i++)
            p3[i] = shop_people_choose(p, &v, item[i], 0).liking;
        for (size_t a = 0; a < 3; a++)
            for (size_t b = 0; b < 3; b++) {
                if (a == b)
                    continue;
                double x = p3[a] + p3[b] * pow(2, -.4);
                high = x > high ? x : high;
                sum += x / 6;
            }
        shop_people_orders(p, &v, item, 3, 2, &best, &mean);
        assert_true(fabs(best - high) < 1e-12 && fabs(mean - sum) < 1e-12);
        shop_people_orders(p, &v, item, CANDIDATES, SHOP_PAGE, &best, &mean);
        shop_people_orders(p, &v, NULL, 0, SHOP_PAGE, &all, &unused);
        assert_true(best > mean && all >= best);
    }
    shop_people_close(p);
}

static void bounds(void **state)
{
    struct shop_people *p = NULL;
    struct shop_people_config c = usual;
    struct shop_config got;
    (void)state;
    c.candidates = 9;
    assert_int_equal(shop_people_open(&shop, &c, &p, &err), ST_USAGE);
    c.candidates = 501;
    assert_int_equal(shop_people_open(&shop, &c, &p, &err), ST_USAGE);
    assert_non_null(strstr(err.text, "at most half of the shop's 1000 items"));
    c.candidates = 500; /* all but exhausted categories: still no item twice */
    p = open_people(&c);
    size_t *item = calloc(500, sizeof *item);
    bool *there = calloc(3000, sizeof *there);
    struct shop_visit v = {.candidate = item};
    for (int k = 0; k < 20; k++) {
        memset(there, 0, 3000 * sizeof *there);
        shop_people_next(p, &v);
        for (size_t i = 0; i < 500; i++) {
            assert_false(there[item[i]]);
            there[item[i]] = true;
        }
    }
    free(item);
    free(there);
    shop_people_close(p);
    c = usual;
    c.rate = 0;
    assert_int_equal(shop_people_open(&shop, &c, &p, &err), ST_USAGE);
    assert_int_equal(shop_people_read(case_path("nothing"), &got, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "data synth shop"));
    case_text("truth.json", "{\"users\": 20, \"items\": 60, \"events\": 1000}");
    assert_int_equal(shop_people_read(case_dir(), &got, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "seed"));
    case_text("truth.json", "{\"users\": 20, \"items\": 60, \"events\": 1000, \"seed\": 3}");
    assert_int_equal(shop_people_read(case_dir(), &got, &err), ST_OK);
    assert_true(got.users == 20 && got.items == 60 && got.seed == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_is_what_it_was),       cmocka_unit_test(same_seed_same_visits),
        cmocka_unit_test(clicks_are_the_truths),    cmocka_unit_test(time_goes_on),
        cmocka_unit_test(orders_are_best_and_mean), cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
