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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
