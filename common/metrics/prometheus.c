/* prometheus.c - see prometheus.h. Escapes as the format has them: backslash and line end in HELP, and the quote
 * too in a label's value. */
#include "common/metrics/prometheus.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static void escaped(struct buffer *out, const char *text, bool quote)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\\' || (quote && *c == '"')) {
            buffer_u8(out, '\\');
            buffer_u8(out, (uint8_t)*c);
        } else if (*c == '\n') {
            buffer_put(out, "\\n", 2);
        } else {
            buffer_u8(out, (uint8_t)*c);
        }
    }
}

void prometheus_metric(struct buffer *out, const char *name, enum prometheus_type type,
                       const char *help)
{
    buffer_printf(out, "# HELP %s ", name);
    escaped(out, help, false);
    static const char *const types[] = {"counter", "gauge", "histogram"};
    buffer_printf(out, "\n# TYPE %s %s\n", name, types[type]);
}

void prometheus_sample(struct buffer *out, const char *name, const char *label,
                       const char *label_value, double value)
{
    buffer_put(out, name, strlen(name));
    if (label != NULL) {
        buffer_printf(out, "{%s=\"", label);
        escaped(out, label_value, true);
        buffer_printf(out, "\"}");
    }
    if (isnan(value)) {
        buffer_printf(out, " NaN\n");
    } else if (isinf(value)) {
        buffer_printf(out, " %cInf\n", value > 0 ? '+' : '-');
    } else {
        buffer_printf(out, " %.17g\n", value);
    }
}

void prometheus_one(struct buffer *out, const char *name, enum prometheus_type type,
                    const char *help, double value)
{
    prometheus_metric(out, name, type, help);
    prometheus_sample(out, name, NULL, NULL, value);
}

static void histogram_line(struct buffer *out, const char *name, const char *what,
                           const char *label, const char *label_value, const char *edge)
{
    buffer_printf(out, "%s%s", name, what);
    if (label == NULL && edge == NULL) {
        return;
    }
    buffer_u8(out, '{');
    if (label != NULL) {
        buffer_printf(out, "%s=\"", label);
        escaped(out, label_value, true);
        buffer_printf(out, "\"%s", edge != NULL ? "," : "");
    }
    if (edge != NULL) {
        buffer_printf(out, "le=\"%s\"", edge);
    }
    buffer_u8(out, '}');
}

void prometheus_histogram(struct buffer *out, const char *name, const char *label,
                          const char *label_value, const double *edges, const uint64_t *counts,
                          size_t n, double sum)
{
    uint64_t all = 0;
    char edge[32];
    for (size_t i = 0; i <= n; i++) {
        all += counts[i];
        if (i < n) {
            snprintf(edge, sizeof(edge), "%g", edges[i]);
        }
        histogram_line(out, name, "_bucket", label, label_value, i < n ? edge : "+Inf");
        buffer_printf(out, " %llu\n", (unsigned long long)all);
    }
    histogram_line(out, name, "_sum", label, label_value, NULL);
    buffer_printf(out, " %.17g\n", sum);
    histogram_line(out, name, "_count", label, label_value, NULL);
    buffer_printf(out, " %llu\n", (unsigned long long)all);
}
