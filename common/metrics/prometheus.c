/* prometheus.c - see prometheus.h. Escapes as the format has them: backslash and line end in HELP, and the quote
 * too in a label's value. */
#include "common/metrics/prometheus.h"

#include <math.h>
#include <stdbool.h>
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
    buffer_printf(out, "\n# TYPE %s %s\n", name, type == PROMETHEUS_COUNTER ? "counter" : "gauge");
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
