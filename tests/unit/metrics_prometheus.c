/* metrics_prometheus.c - the exposition format, letter by letter. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/metrics/prometheus.h"

static void text(void **state)
{
    (void)state;
    struct buffer out = BUFFER_INIT;
    prometheus_one(&out, "penstock_pushes_total", PROMETHEUS_COUNTER, "a\\b\nc \"d\"", 3);
    prometheus_metric(&out, "penstock_x", PROMETHEUS_GAUGE, "X.");
    prometheus_sample(&out, "penstock_x", "job", "a\"b\\c\nd", .1);
    prometheus_sample(&out, "penstock_x", NULL, NULL, NAN);
    prometheus_sample(&out, "penstock_x", NULL, NULL, -INFINITY);
    prometheus_sample(&out, "penstock_x", NULL, NULL, 1e18);
    assert_string_equal(buffer_text(&out),
                        "# HELP penstock_pushes_total a\\\\b\\nc \"d\"\n"
                        "# TYPE penstock_pushes_total counter\n"
                        "penstock_pushes_total 3\n"
                        "# HELP penstock_x X.\n"
                        "# TYPE penstock_x gauge\n"
                        "penstock_x{job=\"a\\\"b\\\\c\\nd\"} 0.10000000000000001\n"
                        "penstock_x NaN\n"
                        "penstock_x -Inf\n"
                        "penstock_x 1e+18\n");
    buffer_release(&out);
}

static void histogram(void **state)
{
    (void)state;
    static const double edges[] = {.0005, .25, 1};
    static const uint64_t counts[] = {3, 0, 2, 1};
    struct buffer out = BUFFER_INIT;
    prometheus_metric(&out, "h", PROMETHEUS_HISTOGRAM, "H.");
    prometheus_histogram(&out, "h", "route", "a\"", edges, counts, 3, 2.5);
    prometheus_histogram(&out, "h", NULL, NULL, edges, counts, 1, 0);
    assert_string_equal(buffer_text(&out), "# HELP h H.\n"
                                           "# TYPE h histogram\n"
                                           "h_bucket{route=\"a\\\"\",le=\"0.0005\"} 3\n"
                                           "h_bucket{route=\"a\\\"\",le=\"0.25\"} 3\n"
                                           "h_bucket{route=\"a\\\"\",le=\"1\"} 5\n"
                                           "h_bucket{route=\"a\\\"\",le=\"+Inf\"} 6\n"
                                           "h_sum{route=\"a\\\"\"} 2.5\n"
                                           "h_count{route=\"a\\\"\"} 6\n"
                                           "h_bucket{le=\"0.0005\"} 3\n"
                                           "h_bucket{le=\"+Inf\"} 3\n"
                                           "h_sum 0\n"
                                           "h_count 3\n");
    buffer_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(text), cmocka_unit_test(histogram)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
