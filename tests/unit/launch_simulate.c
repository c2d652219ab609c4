/* launch_simulate.c - simulated people against a node that follows the interface, and breaks it on demand. */
#include "tests/unit/data_case.h"

#include <math.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "launch/cmd_simulate.h"
#include "launch/crowd.h"
#include "launch/simulate.h"
#include "tests/support/launch_node.h"

static const struct shop_config shop = {.users = 500, .items = 200, .events = 20000, .seed = 3};
static const volatile int go_on;

static struct crowd_conf usual(uint64_t visits)
{
    struct crowd_conf c = {
        .shop = shop,
        .people = {.seed = 5, .rate = 2000, .speed = 3600, .candidates = 30},
        .form = {.context = VISIT_HOUR | VISIT_DEVICE | VISIT_POSITION, .candidates = 30},
        .visits_max = visits,
        .in_flight = 8,
        .deadline_us = 2000000,
        .nodes = 1,
        .quiet = true};
    return c;
}

struct played {
    struct tally tally;
    struct node_counts counts;
    double seconds;
};

/* One node with these ways; the caller releases the tally. */
static struct played play(const struct crowd_conf *conf, const struct node_ways *ways)
{
    struct played p;
    struct crowd_conf c = *conf;
    struct node *n = node_start(ways);
    uint64_t begun = clock_now_us();
    c.node[0] = node_url(n);
    tally_init(&p.tally);
    assert_int_equal(crowd_run(&c, &go_on, &p.tally, &err), ST_OK);
    p.seconds = (double)(clock_now_us() - begun) / 1e6;
    p.counts = node_counts(n);
    assert_string_equal(node_problem(n), "");
    node_stop(n);
    return p;
}

static void calm_node(void **state)
{
    struct crowd_conf c = usual(400);
    struct played p = play(&c, &(struct node_ways){0});
    const struct tally *t = &p.tally;
    (void)state;
    assert_string_equal(t->error.text, "");
    assert_int_equal(t->visits, 400);
    assert_int_equal(t->visits_done, 400);
    assert_int_equal(t->fault[VISIT_SOUND], 400);
    assert_int_equal(tally_wrong(t), 0);
    assert_int_equal(p.counts.ranks, 400);
    assert_int_equal(t->events_sent, p.counts.events);
    assert_int_equal(t->events_accepted, p.counts.events);
    assert_int_equal(t->events_sent, t->clicks + t->carts + t->buys);
    assert_int_equal(p.counts.doubles, 0);
    assert_int_equal(p.counts.items, shop.items + t->items_new);
    assert_true(p.counts.users > 100 && p.counts.in_flight_max <= c.in_flight);
    assert_int_equal(t->code[200] + t->code[202], 400 + t->profiles + t->events_us.n);
    assert_int_equal(t->versions_low, 1);
    assert_int_equal(t->versions_high, 1);
    assert_int_equal(t->shown, 4000);
    /* A hash for a score: the order is random, and blind to who likes what. */
    assert_true(fabs(t->expected - t->random) < .03 * t->random && t->best > 1.5 * t->random);
    assert_true(fabs((double)t->clicks - t->expected) < 4 * sqrt(t->expected));
    assert_true(fabs(auc_value(&t->served).auc - .5) < .03 && auc_value(&t->truth).auc > .7);
    tally_release(&p.tally);
}

static void same_seed_asks_the_same(void **state)
{
    struct crowd_conf c = usual(150);
    (void)state;
    c.in_flight = 1; /* more of them arrive in an order that is the network's */
    struct played a = play(&c, &(struct node_ways){0});
    struct played b = play(&c, &(struct node_ways){.busy_every = 7, .listens = true});
    c.people.seed = 6;
    struct played d = play(&c, &(struct node_ways){0});
    assert_int_equal(a.tally.visits, 150);
    assert_true(a.counts.asked != d.counts.asked);
    /* What is answered changes nothing: b's retries are asked again, so its hash is compared by a calm twin. */
    c.people.seed = 5;
    struct played e = play(&c, &(struct node_ways){.listens = true, .variants = 2});
    assert_true(a.counts.asked == e.counts.asked);
    assert_true(b.tally.fault[VISIT_SOUND] == 150 && b.tally.visits_lost == 0);
    tally_release(&a.tally);
    tally_release(&b.tally);
    tally_release(&d.tally);
    tally_release(&e.tally);
}

/* A node that knows the truth: as good as can be. */
struct oracle {
    struct shop_world *world;
    size_t item_of[1000], user_of[1000];
};

static double oracle_score(void *arg, uint64_t user, uint64_t item, uint64_t hour,
                           const char *device)
{
    const struct oracle *o = arg;
    float taste[SHOP_DIMS];
    const struct shop_user *u = &o->world->user[o->user_of[user]];
    uint32_t on = 0;
    while (strcmp(shop_device_names[on], device) != 0)
        on++;
    shop_world_taste(u, 1, taste);
    const struct shop_moment m = {u, taste, 1, (double)hour, on};
    return shop_world_sigmoid(shop_world_logit(o->world, &m, &o->world->item[o->item_of[item]]));
}

static void the_truth_is_the_best_order(void **state)
{
    struct oracle o;
    struct crowd_conf c = usual(400);
    (void)state;
    assert_int_equal(shop_world_open(&shop, &o.world, &err), ST_OK);
    shop_world_grow_items(o.world, 400);
    shop_world_grow_users(o.world, 800);
    for (size_t i = 0; i < 400; i++)
        o.item_of[shop_world_item_name(o.world, i)] = i;
    for (size_t u = 0; u < 800; u++)
        o.user_of[shop_world_user_name(o.world, u)] = u;
    struct played p = play(&c, &(struct node_ways){.score = oracle_score, .arg = &o});
    const struct tally *t = &p.tally;
    assert_int_equal(tally_wrong(t), 0);
    assert_true(t->expected > .999 * t->best && t->expected <= t->best * 1.000001);
    assert_true(fabs(auc_value(&t->served).auc - auc_value(&t->truth).auc) < .002);
    tally_release(&p.tally);
    c.form.recommend = true; /* the node's first fifty items against the whole shop */
    p = play(&c, &(struct node_ways){.score = oracle_score, .arg = &o});
    assert_int_equal(tally_wrong(&p.tally), 0);
    assert_int_equal(p.tally.fault[VISIT_SOUND], 400);
    assert_true(p.tally.expected > p.tally.random && p.tally.expected < p.tally.best);
    tally_release(&p.tally);
    shop_world_close(o.world);
}

static void nothing_is_lost_on_a_bad_day(void **state)
{
    struct crowd_conf c = usual(300);
    (void)state;
    const struct node_ways ways = {
        .busy_every = 11, .down_every = 13, .cut_every = 17, .mute_every = 9};
    struct played p = play(&c, &ways);
    const struct tally *t = &p.tally;
    assert_int_equal(tally_wrong(t), 0);
    assert_int_equal(t->visits, 300);
    assert_int_equal(t->visits_done + t->visits_lost, 300);
    assert_true(t->visits_lost < 20); /* three tries, each failing by .23: 3.5 are expected */
    assert_int_equal(t->events_lost, 0);
    assert_int_equal(t->events_sent, p.counts.events); /* each once, however often it was sent */
    assert_true(p.counts.doubles > 0 && t->events_duplicate > 0);
    assert_int_equal(t->events_accepted + t->events_duplicate, t->events_sent);
    assert_true(t->code[429] > 10 && t->code[503] > 10 && t->code[0] > 10);
    assert_int_equal(t->backed_off, t->code[429] + t->code[503]);
    assert_true(t->retries >= t->backed_off);
    tally_release(&p.tally);
}

static void wrong_answers_are_counted(void **state)
{
    struct crowd_conf c = usual(400);
    (void)state;
    const struct node_ways ways = {
        .torn_every = 11, .none_every = 13, .two_every = 17, .foreign_every = 7};
    struct played p = play(&c, &ways);
    const struct tally *t = &p.tally;
    assert_true(p.counts.torn > 10 && p.counts.none > 10 && p.counts.two > 10);
    assert_int_equal(t->fault[VISIT_MALFORMED], p.counts.torn);
    assert_int_equal(t->fault[VISIT_NO_VERSION], p.counts.none);
    assert_int_equal(t->fault[VISIT_TWO_VERSIONS], p.counts.two);
    assert_int_equal(t->fault[VISIT_WRONG_ITEMS], p.counts.foreign);
    assert_int_equal(t->fault[VISIT_SOUND], p.counts.sound);
    assert_int_equal(tally_wrong(t),
                     p.counts.torn + p.counts.none + p.counts.two + p.counts.foreign);
    assert_int_equal(t->visits_lost, tally_wrong(t));
    tally_release(&p.tally);
    p = play(&c, &(struct node_ways){.refuses = true});
    assert_int_equal(p.tally.code[400], 400);
    assert_int_equal(p.tally.visits_lost, 400);
    assert_non_null(strstr(p.tally.error.text, "context.position: the job has no such field"));
    tally_release(&p.tally);
}

static void no_crowd_after_a_stall(void **state)
{
    struct crowd_conf c = usual(200);
    struct node_ways ways = {.stall_at = 60, .stall_ms = 700};
    uint64_t time[200];
    (void)state;
    c.people.rate = 100;
    c.known = true;
    struct tally t;
    struct node *n = node_start(&ways);
    c.node[0] = node_url(n);
    tally_init(&t);
    assert_int_equal(crowd_run(&c, &go_on, &t, &err), ST_OK);
    assert_int_equal(node_times(n, time, 200), 200);
    node_stop(n);
    /* Eight people wait in their slots through the stall; whoever comes then is put off by the rest of it. */
    assert_true(t.slipped_us > 400000 && t.slipped_us < 900000);
    size_t most = 0;
    for (size_t a = 0, b = 0; b < 200; b++) {
        while (time[b] - time[a] > 200000)
            a++;
        most = b - a + 1 > most ? b - a + 1 : most;
    }
    /* 20 in 200 ms and 8 that waited, + 4 deviations; the 60 that the stall kept out would show. */
    assert_true(most >= 20 && most < 8 + 20 + 4 * 4.5 + 1);
    tally_release(&t);
}

static void clocks_of_freshness(void **state)
{
    struct crowd_conf c = usual(300);
    (void)state;
    c.probe_every = 3;
    c.people.rate = 300;
    c.people.speed = 86400 * 20; /* twenty days a second: many new items */
    struct played p = play(&c, &(struct node_ways){.listens = true});
    const struct tally *t = &p.tally;
    assert_int_equal(tally_wrong(t), 0);
    assert_true(t->ranking_us.n > 20 && t->ranking_same == 0 && t->ranking_unclear == 0);
    assert_true(tally_clock_quantile(&t->ranking_us, .5) < 100000);
    assert_int_equal(p.counts.ranks - p.counts.unlogged, 300);
    assert_true(p.counts.unlogged >= t->ranking_us.n);
    assert_true(t->items_new > 10 && t->items_served > 0 && t->items_served <= t->items_new);
    assert_int_equal(t->item_us.n, t->items_served);
    tally_release(&p.tally);
    c.people.speed = 3600;
    /* A model without a history: told apart, and not asked for ever. */
    c.visits_max = 200;
    p = play(&c, &(struct node_ways){0});
    assert_int_equal(p.tally.ranking_us.n, 0);
    assert_in_range(p.tally.ranking_same, 1, 20 + c.in_flight);
    tally_release(&p.tally);
    /* A new version changes every score: that is no effect of the event. */
    p = play(&c, &(struct node_ways){.new_every = 1});
    assert_int_equal(p.tally.ranking_us.n, 0);
    assert_true(p.tally.ranking_unclear > 10 && p.tally.versions_high > p.tally.versions_low + 100);
    tally_release(&p.tally);
}

static void variants_and_impressions(void **state)
{
    struct crowd_conf c = usual(300);
    (void)state;
    c.form.impressions = true;
    struct played p = play(&c, &(struct node_ways){.variants = 3});
    const struct tally *t = &p.tally;
    uint64_t sum = 0;
    assert_int_equal(t->variants, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_in_range(t->variant[i].answers, 60, 140);
        sum += t->variant[i].answers;
    }
    assert_int_equal(sum, 300);
    assert_int_equal(t->events_accepted, 3000 + t->clicks + t->carts + t->buys);
    tally_release(&p.tally);
}

static void a_user_is_at_one_node(void **state)
{
    struct crowd_conf c = usual(300);
    struct node_ways ways = {.token = "sesame"};
    struct node *a = node_start(&ways), *b = node_start(&ways);
    struct tally t;
    (void)state;
    c.nodes = 2;
    c.node[0] = node_url(a);
    c.node[1] = node_url(b);
    tally_init(&t);
    assert_int_equal(crowd_run(&c, &go_on, &t, &err), ST_USAGE);
    assert_non_null(strstr(err.text, "--token-file"));
    c.token = "sesame";
    assert_int_equal(crowd_run(&c, &go_on, &t, &err), ST_OK);
    struct node_counts x = node_counts(a), y = node_counts(b);
    assert_int_equal(tally_wrong(&t), 0);
    assert_true(x.ranks + y.ranks == 300 && x.ranks > 80 && y.ranks > 80);
    assert_int_equal(x.items, y.items);
    for (uint64_t u = 1; u < 600; u++)
        assert_false(node_has_user(a, u) && node_has_user(b, u));
    tally_release(&t);
    node_stop(a);
    node_stop(b);
}

static void every_wait_ends(void **state)
{
    struct crowd_conf c = usual(20);
    struct tally t;
    (void)state;
    /* All but the first ranking wait behind one that stalls: deadlines, tries, and an end. */
    c.deadline_us = 100000;
    c.known = true;
    c.in_flight = 4;
    struct played p = play(&c, &(struct node_ways){.stall_at = 1, .stall_ms = 1500});
    assert_true(p.tally.code[0] > 0 && p.tally.visits == 20);
    assert_true(p.seconds < 10);
    tally_release(&p.tally);
    /* By the clock; and where nobody is. */
    c = usual(0);
    c.seconds = .5;
    c.people.rate = 100;
    p = play(&c, &(struct node_ways){0});
    assert_in_range(p.tally.visits, 20, 90);
    assert_true(p.seconds < 5);
    tally_release(&p.tally);
    tally_init(&t);
    c.node[0] = "http://127.0.0.1:1";
    assert_int_equal(crowd_run(&c, &go_on, &t, &err), ST_IO);
    assert_non_null(strstr(err.text, "http://127.0.0.1:1: "));
    assert_non_null(strstr(err.text, "is a serving node there?"));
    tally_release(&t);
}

static void the_figures_as_text_and_json(void **state)
{
    struct crowd_conf c = usual(200);
    struct buffer text = BUFFER_INIT;
    (void)state;
    struct played p = play(&c, &(struct node_ways){.busy_every = 20});
    struct json *j = tally_json(&p.tally);
    assert_int_equal(json_u64(j, "visits.begun", 0), 200);
    assert_int_equal(json_u64(j, "requests.429", 0), p.tally.code[429]);
    assert_int_equal(json_u64(j, "wrong.all", 9), 0);
    assert_int_equal(json_u64(j, "versions.highest", 0), 1);
    assert_true(json_f64(j, "rank_ms.p99", 0) >= json_f64(j, "rank_ms.p50", 1e9));
    double ctr = json_f64(j, "clicks.ctr", 0);
    assert_true(fabs(ctr - (double)p.tally.clicks / (double)p.tally.shown) < 1e-12);
    json_free(j);
    tally_text(&p.tally, &text);
    assert_non_null(strstr(buffer_text(&text), "versions               1 to 1\n"));
    assert_non_null(strstr(buffer_text(&text), "best order"));
    buffer_release(&text);
    tally_release(&p.tally);
}

static void last_bits_are_no_change(void **state)
{
    struct visit_answer a = {.n = 3, .item = {4, 5, 6}, .score = {.9, .5, .1}}, b = a;
    (void)state;
    assert_true(visit_same(&a, &b));
    b.score[1] += 1e-7;
    b.item[1] = 6; /* as good as equal, so either may stand there */
    assert_true(visit_same(&a, &b));
    b.score[1] = .5001;
    assert_false(visit_same(&a, &b));
    b = a;
    b.n = 2;
    assert_false(visit_same(&a, &b));
    a.score[0] = -4000; /* a logit, or a score of any size: relative */
    b = a;
    b.score[0] = -4000.01;
    assert_true(visit_same(&a, &b));
    b.score[0] = -4001;
    assert_false(visit_same(&a, &b));
}

static void clocks_count_exactly(void **state)
{
    struct tally_clock c = {0};
    (void)state;
    assert_int_equal(tally_clock_quantile(&c, .5), 0);
    for (uint64_t i = 1000; i > 0; i--)
        tally_clock_add(&c, i);
    assert_int_equal(tally_clock_quantile(&c, .5), 500);
    assert_int_equal(tally_clock_quantile(&c, .99), 990);
    assert_int_equal(tally_clock_quantile(&c, 1), 1000);
    /* Beyond the sample: still of all readings, not of the first ones. */
    for (uint64_t i = 0; i < 4 * TALLY_SAMPLE; i++)
        tally_clock_add(&c, 1000000);
    assert_int_equal(tally_clock_quantile(&c, .5), 1000000);
    assert_true(tally_clock_quantile(&c, .001) < 1001);
    free(c.sample);
}

/* ---- the command -------------------------------------------------------------------------------- */

static int ask(char *out_text, size_t n, const char *const *words)
{
    char *argv[32] = {NULL}, *text;
    int argc = 0;
    size_t used;
    for (; words[argc] != NULL; argc++)
        argv[argc] = mem_strdup(words[argc]);
    int saved[2] = {dup(1), dup(2)};
    assert_non_null(freopen(case_path("said"), "w", stdout));
    assert_non_null(freopen(case_path("said"), "a", stderr));
    int code = cmd_simulate(argc, argv);
    fflush(stdout);
    fflush(stderr);
    for (int fd = 1; fd <= 2; fd++) {
        dup2(saved[fd - 1], fd);
        close(saved[fd - 1]);
    }
    assert_int_equal(file_read(case_path("said"), 1 << 20, &text, &used, &err), ST_OK);
    snprintf(out_text, n, "%s", text);
    free(text);
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return code;
}

#define WRONG(code, says, ...)                                                                     \
    do {                                                                                           \
        char said[4096];                                                                           \
        int got = ask(said, sizeof said, (const char *const[]){"simulate", __VA_ARGS__, NULL});    \
        if (got != (code) || strstr(said, says) == NULL)                                           \
            fail_msg("code %d (not %d), said \"%s\" (not \"%s\")", got, code, said, says);         \
    } while (0)

static void wrong_calls(void **state)
{
    const char *dir = case_dir(), *at = "http://127.0.0.1:1";
    (void)state;
    case_text("truth.json", "{\"users\": 500, \"items\": 200, \"events\": 20000, \"seed\": 3}");
    WRONG(2, "an argument is missing", "--node", at);
    WRONG(2, "--node http://HOST:PORT is missing", dir);
    WRONG(2, "it must be http://HOST:PORT", dir, "--node", "127.0.0.1:8080");
    WRONG(2, "it must be http://HOST:PORT", dir, "--node", "http://127.0.0.1:1/v1");
    WRONG(2, "it must be http://HOST:PORT", dir, "--node", "file:///etc/passwd");
    WRONG(2, "--rate 0: allowed are 1 to", dir, "--node", at, "--rate", "0");
    WRONG(2, "--rate: ", dir, "--node", at, "--rate", "fast");
    WRONG(2, "only one of them", dir, "--node", at, "--seconds", "3", "--requests", "3");
    WRONG(2, "--candidates 9: allowed are 10", dir, "--node", at, "--candidates", "9");
    WRONG(2, "at most half of the shop's 200 items", dir, "--node", at, "--candidates", "101");
    WRONG(2, "--in-flight 0: allowed", dir, "--node", at, "--in-flight", "0");
    WRONG(2, "\"colour\": allowed are hour", dir, "--node", at, "--context", "hour,colour");
    WRONG(2, "--token-file: ", dir, "--node", at, "--token-file", case_path("absent"));
    WRONG(2, "its first line must be the token", dir, "--node", at, "--token-file",
          case_text("empty", "\n"));
    WRONG(2, "the nearest is --seconds", dir, "--node", at, "--second", "3");
    WRONG(3, "data synth shop", case_path("noshop"), "--node", at);
    case_text("truth.json", "{\"users\": 500, \"items\": 200, \"events\": 20000, \"seed\": 3");
    WRONG(3, "truth.json", dir, "--node", at);
    case_text("truth.json", "{\"users\": 500, \"items\": 7, \"events\": 20000, \"seed\": 3}");
    WRONG(2, "items", dir, "--node", at);
}

static void the_command(void **state)
{
    struct node_ways ways = {.none_every = 50};
    struct node *n = node_start(&ways);
    (void)state;
    case_text("truth.json", "{\"users\": 500, \"items\": 200, \"events\": 20000, \"seed\": 3}");
    WRONG(1, "no_version 1", case_dir(), "--node", node_url(n), "--requests", "60", "--rate", "1k");
    assert_string_equal(node_problem(n), "");
    node_stop(n);
    ways.none_every = 0;
    n = node_start(&ways);
    WRONG(0, "\"ctr_best\": ", case_dir(), "--node", node_url(n), "--requests", "60", "--rate",
          "1k", "--probe", "0", "--json");
    assert_int_equal(node_counts(n).ranks, 60);
    node_stop(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calm_node),
        cmocka_unit_test(same_seed_asks_the_same),
        cmocka_unit_test(the_truth_is_the_best_order),
        cmocka_unit_test(nothing_is_lost_on_a_bad_day),
        cmocka_unit_test(wrong_answers_are_counted),
        cmocka_unit_test(no_crowd_after_a_stall),
        cmocka_unit_test(clocks_of_freshness),
        cmocka_unit_test(variants_and_impressions),
        cmocka_unit_test(a_user_is_at_one_node),
        cmocka_unit_test(every_wait_ends),
        cmocka_unit_test(the_figures_as_text_and_json),
        cmocka_unit_test(last_bits_are_no_change),
        cmocka_unit_test(clocks_count_exactly),
        cmocka_unit_test(wrong_calls),
        cmocka_unit_test(the_command),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
