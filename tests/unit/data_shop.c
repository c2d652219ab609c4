/* data_shop.c - the generated shop against its promises. */
#include "tests/unit/data_case.h"

#include <math.h>

#include "common/data/baselines.h"
#include "common/data/convert.h"
#include "common/data/shop.h"

struct seen {
    struct shop_event *e;
    enum part *part;
    size_t n, max;
};

static void see(void *arg, enum part part, const struct shop_event *e)
{
    struct seen *s = arg;
    assert_true(s->n < s->max);
    s->part[s->n] = part;
    s->e[s->n++] = *e;
}

static const struct shop_config small = {.users = 2000, .items = 1000, .events = 60000, .seed = 1};

static int by_truth(const void *a, const void *b)
{
    double x = ((const struct shop_event *)a)->truth[SHOP_CLICK];
    double y = ((const struct shop_event *)b)->truth[SHOP_CLICK];
    return x < y ? -1 : x > y;
}

static void shop_keeps_its_promises(void **state)
{
    struct seen s = {.max = small.events};
    struct shop_written w;
    static bool early_user[2001], early_item[1001];
    size_t new_users = 0, new_items = 0, clicks_first = 0, clicks_last = 0, bought = 0;
    (void)state;
    s.e = calloc(s.max, sizeof *s.e);
    s.part = calloc(s.max, sizeof *s.part);
    assert_int_equal(shop_write(&small, case_path("shop"), see, &s, NULL, &w, &err), ST_OK);
    assert_int_equal(s.n, small.events);
    assert_int_equal(w.lines[0] + w.lines[1] + w.lines[2], small.events);
    assert_in_range(w.lines[PART_TRAIN], 48000, 48200);
    assert_in_range(w.lines[PART_VALID], 5800, 6200);
    for (size_t i = 0; i < s.n; i++) {
        const struct shop_event *e = &s.e[i];
        assert_in_range(e->user, 1, small.users);
        assert_in_range(e->item, 1, small.items);
        assert_true(e->truth[SHOP_BUY] > 0 && e->truth[SHOP_BUY] < e->truth[SHOP_CART]);
        assert_true(e->truth[SHOP_CART] < e->truth[SHOP_CLICK] && e->truth[SHOP_CLICK] < 1);
        assert_true(e->price > 0 && e->hour < 24 && e->position >= 1 && e->position <= 10);
        assert_true((!e->cart || e->click) && (!e->buy || e->cart));
        if (i > 0) {
            assert_true(e->time >= s.e[i - 1].time && s.part[i] >= s.part[i - 1]);
            if (s.part[i] != s.part[i - 1])
                assert_true(e->time > s.e[i - 1].time);
        }
        clicks_first += e->position == 1 && e->click;
        clicks_last += e->position == 10 && e->click;
        bought += e->buy;
        if (i < s.n * 3 / 4)
            early_user[e->user] = early_item[e->item] = true;
        else if (i >= s.n * 9 / 10) {
            new_users += !early_user[e->user];
            new_items += !early_item[e->item];
        }
    }
    assert_true(new_users > 50 && new_items > 20);
    assert_true(clicks_first > clicks_last * 3 / 2);
    assert_true(bought > 100);
    /* The truth is calibrated and ranks as the README says. */
    qsort(s.e, s.n, sizeof *s.e, by_truth);
    double expected = 0, clicks = 0, negatives = 0, pairs = 0;
    for (size_t i = 0; i < s.n; i++) {
        expected += s.e[i].truth[SHOP_CLICK];
        clicks += s.e[i].click;
        if (s.e[i].click)
            pairs += negatives;
        else
            negatives++;
    }
    double auc = pairs / (clicks * negatives);
    assert_true(fabs(expected - clicks) < 4 * sqrt(expected));
    double more[SHOP_KINDS] = {0}, got[SHOP_KINDS] = {0};
    for (size_t i = 0; i < s.n; i++) {
        for (size_t k = 0; k < SHOP_KINDS; k++)
            more[k] += s.e[i].truth[k];
        got[SHOP_CLICK] += s.e[i].click;
        got[SHOP_CART] += s.e[i].cart;
        got[SHOP_BUY] += s.e[i].buy;
    }
    for (size_t k = 0; k < SHOP_KINDS; k++)
        assert_true(fabs(more[k] - got[k]) < 4 * sqrt(more[k]));
    if (!(auc > .79 && auc < .84))
        print_error("best AUC %.4f\n", auc);
    assert_true(auc > .79 && auc < .84);
    free(s.e);
    free(s.part);
}

static char *bytes_of(const char *name, size_t *out_n)
{
    char *bytes = NULL;
    assert_int_equal(file_read(case_path(name), 64 << 20, &bytes, out_n, &err), ST_OK);
    return bytes;
}

static void shop_is_a_function_of_its_seed(void **state)
{
    struct shop_written w;
    struct shop_config other = small;
    static const char *const names[] = {"train.csv",       "valid.csv",       "test.csv",
                                        "truth.train.csv", "truth.valid.csv", "truth.test.csv"};
    (void)state;
    assert_int_equal(shop_write(&small, case_path("s1"), NULL, NULL, NULL, &w, &err), ST_OK);
    assert_int_equal(shop_write(&small, case_path("s2"), NULL, NULL, NULL, &w, &err), ST_OK);
    other.seed = 2;
    assert_int_equal(shop_write(&other, case_path("s3"), NULL, NULL, NULL, &w, &err), ST_OK);
    for (size_t i = 0; i < 6; i++) {
        char name[3][64];
        char *bytes[3];
        size_t n[3];
        for (int k = 0; k < 3; k++) {
            snprintf(name[k], sizeof name[k], "s%d/%s", k + 1, names[i]);
            bytes[k] = bytes_of(name[k], &n[k]);
        }
        assert_int_equal(n[0], n[1]);
        assert_memory_equal(bytes[0], bytes[1], n[0]);
        assert_true(n[0] != n[2] || memcmp(bytes[0], bytes[2], n[0]) != 0);
        for (int k = 0; k < 3; k++)
            free(bytes[k]);
    }
}

static void shop_log_converts(void **state)
{
    struct job job;
    struct convert_result r;
    struct baselines got;
    struct shop_written w;
    (void)state;
    assert_int_equal(shop_write(&small, case_path("s1"), NULL, NULL, NULL, &w, &err), ST_OK);
    case_job(&job,
             "  train: s1/train.csv\n  valid: s1/valid.csv\n  test: s1/test.csv\n  bad_max: 0\n"
             "  fields:\n    - {name: click, type: label}\n    - {name: user, type: user}\n"
             "    - {name: item, type: item}\n    - {name: price, type: float, norm: log}\n"
             "    - {name: time, type: time}\n    - {name: position, type: id}\n");
    assert_int_equal(convert_job(&job, case_path("s1c"), NULL, NULL, &r, &err), ST_OK);
    for (int p = 0; p < PARTS; p++) {
        assert_int_equal(r.rows[p], w.lines[p]);
        assert_int_equal(r.positives[p], w.kinds[p][SHOP_CLICK]);
    }
    assert_int_equal(baselines_of(&job, case_path("s1c"), PART_TEST, NULL, &got, &err), ST_OK);
    if (!(got.of[BASELINE_POPULARITY].auc > .62 && got.of[BASELINE_POPULARITY].auc < .72))
        print_error("popularity AUC %.4f\n", got.of[BASELINE_POPULARITY].auc);
    assert_true(got.of[BASELINE_POPULARITY].auc > .62 && got.of[BASELINE_POPULARITY].auc < .72);
    job_release(&job);
}

static void shop_bounds(void **state)
{
    struct shop_config c = small;
    struct shop_written w;
    volatile int stop = 1;
    (void)state;
    c.users = 1;
    assert_int_equal(shop_write(&c, case_path("sb"), NULL, NULL, NULL, &w, &err), ST_USAGE);
    c = small;
    c.items = 3;
    assert_int_equal(shop_write(&c, case_path("sb"), NULL, NULL, NULL, &w, &err), ST_USAGE);
    c = small;
    c.events = 0;
    assert_int_equal(shop_write(&c, case_path("sb"), NULL, NULL, NULL, &w, &err), ST_USAGE);
    assert_false(file_exists(case_path("sb")));
    assert_int_equal(shop_write(&small, case_path("sb"), NULL, NULL, &stop, &w, &err), ST_REFUSED);
    assert_int_equal(rmdir(case_path("sb")), 0); /* empty: nothing half-written */
    c = (struct shop_config){.users = 10, .items = 50, .events = 1000, .seed = 0};
    assert_int_equal(shop_write(&c, case_path("sb"), NULL, NULL, NULL, &w, &err), ST_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shop_keeps_its_promises),
        cmocka_unit_test(shop_is_a_function_of_its_seed),
        cmocka_unit_test(shop_log_converts),
        cmocka_unit_test(shop_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
