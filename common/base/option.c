/* option.c - one value of an option, read and written.
 *
 * Numbers are scanned here and not by strtod alone: strtod takes hex, nan, inf and "infinity", and a
 * silent inf for 1e400. The grammar is digits, at most one point, an optional exponent, an optional unit;
 * nothing before, between or behind.
 *
 *   count   k M G T          1000s           25k = 25,000
 *   bytes   B k M G T (KiB)  1024s           64M = 67,108,864
 *   time    us ms s m h d    microseconds    10s; a bare number has no meaning and is refused, but for 0
 *
 * Digits alone are exact over all 64 bits (a seed); with a point or an exponent the product must be whole
 * and below 2^53. Reals are written with the fewest digits that read back to the same bits. Quoted scalars
 * are texts: a number in quotes is a mistake worth naming, not a number.
 */
#include "common/base/option.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "common/base/utf8.h"

enum { NUMBER_MAX = 64, ITEMS_MAX = 65536, SHOWN_MAX = 60 };

struct unit {
    const char *name;
    uint64_t scale;
};

static const struct unit count_units[] = {{"k", 1000},       {"K", 1000},          {"M", 1000000},
                                          {"G", 1000000000}, {"T", 1000000000000}, {NULL, 0}};
static const struct unit bytes_units[] = {
    {"B", 1},          {"k", 1ull << 10},   {"K", 1ull << 10}, {"KiB", 1ull << 10},
    {"M", 1ull << 20}, {"MiB", 1ull << 20}, {"G", 1ull << 30}, {"GiB", 1ull << 30},
    {"T", 1ull << 40}, {"TiB", 1ull << 40}, {NULL, 0}};
static const struct unit time_units[] = {{"us", 1},       {"ms", 1000},      {"s", 1000000},
                                         {"m", 60000000}, {"h", 3600000000}, {"d", 86400000000},
                                         {NULL, 0}};

/* Units for writing, largest first: the largest that divides the value is used. */
static const struct unit count_shown[] = {
    {"G", 1000000000}, {"M", 1000000}, {"k", 1000}, {"", 1}, {NULL, 0}};
static const struct unit bytes_shown[] = {{"T", 1ull << 40}, {"G", 1ull << 30}, {"M", 1ull << 20},
                                          {"k", 1ull << 10}, {"", 1},           {NULL, 0}};
static const struct unit time_shown[] = {{"d", 86400000000}, {"h", 3600000000}, {"m", 60000000},
                                         {"s", 1000000},     {"ms", 1000},      {"us", 1},
                                         {NULL, 0}};

const char *option_type_name(enum option_type type)
{
    switch (type) {
    case OPT_BOOL: return "true or false";
    case OPT_U64: return "count";
    case OPT_F64: return "number";
    case OPT_BYTES: return "bytes";
    case OPT_TIME: return "time";
    case OPT_TEXT: return "text";
    case OPT_PATH: return "path";
    case OPT_CHOICE: return "choice";
    case OPT_TEXTS: return "list of texts";
    case OPT_PATHS: return "list of paths";
    case OPT_U64S: return "list of counts";
    }
    return "?";
}

/* -- writing -- */

static void put_scaled(struct buffer *out, uint64_t v, const struct unit *units)
{
    while (v % units->scale != 0 || (v == 0 && units[1].name != NULL))
        units++;
    buffer_printf(out, "%" PRIu64 "%s", v / units->scale, units->name);
}

static void put_f64(struct buffer *out, double v)
{
    if (v == nearbyint(v) && fabs(v) < 1e15) { /* 10, where %g would write 1e+01 */
        buffer_printf(out, "%.0f", v == 0 ? 0.0 : v);
        return;
    }
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    buffer_printf(out, "%s", text);
}

/* A text that YAML reads back as itself without quotes, and no reader takes for something else. */
static bool is_plain(const char *s)
{
    static const char *const words[] = {"null", "true", "false", "yes", "no", "on", "off", NULL};
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./";
    if (*s == '\0' || *s == '-' || s[strspn(s, safe)] != '\0')
        return false;
    for (size_t i = 0; words[i] != NULL; i++)
        if (strcasecmp(s, words[i]) == 0)
            return false;
    return (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || *s == '/' || *s == '_';
}

/* What YAML can't hold as it is, or would fold: controls, its line breaks, byte order marks. */
static bool must_escape(uint32_t point)
{
    return point < 0x20 || (point >= 0x7F && point <= 0xA0) || point == 0x2028 || point == 0x2029 ||
           point == 0xFEFF || point == 0xFFFE || point == 0xFFFF;
}

static void put_text(struct buffer *out, const char *s)
{
    if (s == NULL)
        s = "";
    if (is_plain(s)) {
        buffer_printf(out, "%s", s);
        return;
    }
    buffer_u8(out, '"');
    while (*s != '\0') {
        uint32_t point = '?';
        size_t n = utf8_next(s, &point);
        if (point == '"' || point == '\\')
            buffer_printf(out, "\\%c", (int)point);
        else if (point == '\t')
            buffer_printf(out, "\\t");
        else if (point == '\n')
            buffer_printf(out, "\\n");
        else if (must_escape(point))
            buffer_printf(out, "\\u%04x", (unsigned)point);
        else if (n == 0)
            buffer_u8(out, '?');
        else
            buffer_put(out, s, n);
        s += n == 0 ? 1 : n;
    }
    buffer_u8(out, '"');
}

/* The i-th of "a|b|c" and its length; NULL beyond the last. */
static const char *choice_at(const char *choices, size_t i, size_t *out_n)
{
    for (; i > 0; i--) {
        choices = strchr(choices, '|');
        if (choices == NULL)
            return NULL;
        choices++;
    }
    *out_n = strcspn(choices, "|");
    return choices;
}

void option_put(const struct option *row, const void *slot, struct buffer *out)
{
    const struct texts *texts = slot;
    const struct u64s *u64s = slot;
    size_t n = 0;
    const char *choice;
    switch (row->type) {
    case OPT_BOOL: buffer_printf(out, *(const bool *)slot ? "true" : "false"); break;
    case OPT_U64: buffer_printf(out, "%" PRIu64, *(const uint64_t *)slot); break;
    case OPT_F64: put_f64(out, *(const double *)slot); break;
    case OPT_BYTES: put_scaled(out, *(const uint64_t *)slot, bytes_shown); break;
    case OPT_TIME: put_scaled(out, *(const uint64_t *)slot, time_shown); break;
    case OPT_TEXT:
    case OPT_PATH: put_text(out, *(char *const *)slot); break;
    case OPT_CHOICE:
        choice = choice_at(row->choices, (size_t) * (const int *)slot, &n);
        buffer_printf(out, "%.*s", choice == NULL ? 1 : (int)n, choice == NULL ? "?" : choice);
        break;
    case OPT_TEXTS:
    case OPT_PATHS:
        buffer_u8(out, '[');
        for (size_t i = 0; i < texts->used; i++) {
            buffer_printf(out, i == 0 ? "" : ", ");
            put_text(out, texts->item[i]);
        }
        buffer_u8(out, ']');
        break;
    case OPT_U64S:
        buffer_u8(out, '[');
        for (size_t i = 0; i < u64s->used; i++)
            buffer_printf(out, "%s%" PRIu64, i == 0 ? "" : ", ", u64s->item[i]);
        buffer_u8(out, ']');
        break;
    }
}

static void put_bound(const struct option *row, double v, struct buffer *out)
{
    switch (row->type) {
    case OPT_TIME: put_scaled(out, (uint64_t)v, time_shown); break;
    case OPT_BYTES: put_scaled(out, (uint64_t)v, bytes_shown); break;
    case OPT_U64:
    case OPT_U64S: put_scaled(out, (uint64_t)v, count_shown); break;
    default: put_f64(out, v); break;
    }
}

static bool bounded(const struct option *row)
{
    return row->min != 0 || row->max != 0;
}

void option_put_allowed(const struct option *row, struct buffer *out)
{
    size_t n;
    const char *choice;
    switch (row->type) {
    case OPT_BOOL: buffer_printf(out, "true or false"); return;
    case OPT_CHOICE:
        for (size_t i = 0; (choice = choice_at(row->choices, i, &n)) != NULL; i++)
            buffer_printf(out, "%s%.*s", i == 0 ? "" : ", ", (int)n, choice);
        return;
    case OPT_TEXT:
    case OPT_PATH:
    case OPT_TEXTS:
    case OPT_PATHS: buffer_printf(out, "any %s", option_type_name(row->type)); return;
    default: break;
    }
    if (!bounded(row)) {
        buffer_printf(out, row->type == OPT_F64 ? "any finite number" : "0 to 2^64-1");
        return;
    }
    put_bound(row, row->min, out);
    buffer_printf(out, " to ");
    put_bound(row, row->max, out);
}

/* -- reading -- */

/* `found` and, in brackets, what is allowed. found is cut, so that a line of junk stays a line. */
static enum status refuse(const struct option *row, const char *found, const char *why,
                          struct errbuf *err)
{
    struct buffer allowed = BUFFER_INIT;
    option_put_allowed(row, &allowed);
    enum status st = errbuf_set(err, ST_USAGE, "%.*s%s %s (allowed: %s)", SHOWN_MAX, found,
                                strlen(found) > SHOWN_MAX ? "..." : "", why, buffer_text(&allowed));
    buffer_release(&allowed);
    return st;
}

struct number {
    double real;      /* without the unit */
    bool digits_only; /* then `whole` is exact */
    uint64_t whole;
    const char *unit; /* what follows the number */
};

static size_t digits(const char *s)
{
    return strspn(s, "0123456789");
}

/* NULL if text begins with a number, else what is wrong with it. */
static const char *scan_number(const char *text, struct number *out)
{
    const char *at = text + (*text == '-' || *text == '+');
    size_t whole = digits(at), part = 0;
    at += whole;
    out->digits_only = at == text + whole;
    if (*at == '.') {
        part = digits(at + 1);
        at += 1 + part;
        out->digits_only = false;
    }
    if (whole + part == 0)
        return "is not a number";
    if ((*at == 'e' || *at == 'E') && digits(at + 1 + (at[1] == '-' || at[1] == '+')) > 0) {
        at += 1 + (at[1] == '-' || at[1] == '+');
        at += digits(at);
        out->digits_only = false;
    }
    size_t n = (size_t)(at - text);
    char copy[NUMBER_MAX];
    if (n >= sizeof copy)
        return "has too many digits";
    memcpy(copy, text, n);
    copy[n] = '\0';
    out->real = strtod(copy, NULL);
    if (!isfinite(out->real))
        return "is too large";
    if (out->real == 0 && strcspn(copy, "123456789") < strcspn(copy, "eE"))
        return "is too small";
    out->whole = 0;
    for (size_t i = 0; out->digits_only && i < whole; i++) {
        unsigned digit = (unsigned)(copy[i] - '0');
        if (out->whole > (UINT64_MAX - digit) / 10)
            return "is too large";
        out->whole = out->whole * 10 + digit;
    }
    out->unit = at;
    return NULL;
}

static const char *scale_of(const char *name, const struct unit *units, uint64_t *out)
{
    *out = 1;
    if (*name == '\0')
        return NULL;
    for (; units->name != NULL; units++) {
        if (strcmp(units->name, name) == 0) {
            *out = units->scale;
            return NULL;
        }
    }
    return "is not a number";
}

static const char *whole_of(const struct number *v, uint64_t scale, uint64_t *out)
{
    if (v->digits_only) {
        if (v->whole > UINT64_MAX / scale)
            return "is too large";
        *out = v->whole * scale;
        return NULL;
    }
    double product = v->real * (double)scale, whole = nearbyint(product);
    if (product < 0)
        return "is below 0";
    if (product >= 0x1p53)
        return "is too large";
    /* 0.3 has no exact double, 0.3s is whole microseconds all the same. */
    if (fabs(product - whole) > fmin(1e-9 * product, 1e-4))
        return "is not a whole number";
    *out = (uint64_t)whole;
    return NULL;
}

static const struct unit *units_of(enum option_type type)
{
    return type == OPT_BYTES ? bytes_units : type == OPT_TIME ? time_units : count_units;
}

static const char *scan_u64(const char *text, enum option_type type, uint64_t *out)
{
    struct number v;
    uint64_t scale;
    const char *wrong = scan_number(text, &v);
    if (wrong == NULL)
        wrong = scale_of(v.unit, units_of(type), &scale);
    if (wrong == NULL)
        wrong = whole_of(&v, scale, out);
    if (wrong == NULL && type == OPT_TIME && *v.unit == '\0' && *out != 0)
        wrong = "needs a unit: us, ms, s, m, h or d";
    return wrong;
}

static const char *scan_f64(const char *text, double *out)
{
    struct number v;
    uint64_t scale;
    const char *wrong = scan_number(text, &v);
    if (wrong == NULL)
        wrong = scale_of(v.unit, count_units, &scale);
    if (wrong != NULL)
        return wrong;
    *out = v.real * (double)scale;
    return isfinite(*out) ? NULL : "is too large";
}

static const char *out_of_bounds(const struct option *row, double v)
{
    static _Thread_local char why[64];
    if (!bounded(row) || (v >= row->min && v <= row->max))
        return NULL;
    struct buffer bound = BUFFER_INIT;
    put_bound(row, v < row->min ? row->min : row->max, &bound);
    snprintf(why, sizeof why, "is %s %s", v < row->min ? "below" : "above", buffer_text(&bound));
    buffer_release(&bound);
    return why;
}

static enum status load_u64(const struct option *row, const struct yaml_node *node, uint64_t *out,
                            struct errbuf *err)
{
    uint64_t v = 0;
    const char *wrong = node->quoted
                            ? "in quotes is a text, not a number"
                            : scan_u64(node->text, row->type == OPT_U64S ? OPT_U64 : row->type, &v);
    if (wrong == NULL)
        wrong = out_of_bounds(row, (double)v);
    if (wrong != NULL)
        return refuse(row, node->text, wrong, err);
    *out = v;
    return ST_OK;
}

static enum status load_f64(const struct option *row, const struct yaml_node *node, double *out,
                            struct errbuf *err)
{
    double v = 0;
    const char *wrong =
        node->quoted ? "in quotes is a text, not a number" : scan_f64(node->text, &v);
    if (wrong == NULL)
        wrong = out_of_bounds(row, v);
    if (wrong != NULL)
        return refuse(row, node->text, wrong, err);
    *out = v;
    return ST_OK;
}

static enum status load_bool(const struct option *row, const struct yaml_node *node, bool *out,
                             struct errbuf *err)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < 6 && !node->quoted; i++) {
        if (strcasecmp(words[i], node->text) == 0) {
            *out = i % 2 == 1;
            return ST_OK;
        }
    }
    return refuse(row, node->text, "is not true or false", err);
}

static enum status load_choice(const struct option *row, const struct yaml_node *node, int *out,
                               struct errbuf *err)
{
    size_t n;
    const char *choice;
    for (int i = 0; (choice = choice_at(row->choices, (size_t)i, &n)) != NULL; i++) {
        if (strlen(node->text) == n && memcmp(choice, node->text, n) == 0) {
            *out = i;
            return ST_OK;
        }
    }
    return refuse(row, node->text, "is not one of the choices", err);
}

static enum status load_texts(const struct yaml_node *node, bool paths, struct texts *out)
{
    const struct yaml_node *const *item = (const struct yaml_node *const *)node->items;
    size_t n = node->items_used;
    if (node->kind == YAML_SCALAR) {
        item = &node;
        n = paths && node->text[0] == '\0' ? 0 : 1;
    }
    struct texts made = {n > 0 ? mem_array(n, sizeof(char *)) : NULL, n};
    for (size_t i = 0; i < n; i++)
        made.item[i] = mem_strdup(item[i]->text);
    for (size_t i = 0; i < out->used; i++)
        free(out->item[i]);
    free(out->item);
    *out = made;
    return ST_OK;
}

static enum status load_u64s(const struct option *row, const struct yaml_node *node,
                             struct u64s *out, const struct yaml_node **out_at, struct errbuf *err)
{
    const struct yaml_node *const *item = (const struct yaml_node *const *)node->items;
    size_t n = node->items_used;
    if (node->kind == YAML_SCALAR) {
        item = &node;
        n = 1;
    }
    struct u64s made = {n > 0 ? mem_array(n, sizeof(uint64_t)) : NULL, n};
    for (size_t i = 0; i < n; i++) {
        *out_at = item[i];
        enum status st = load_u64(row, item[i], &made.item[i], err);
        if (st != ST_OK) {
            free(made.item);
            return st;
        }
    }
    free(out->item);
    *out = made;
    return ST_OK;
}

/* The shape: lists only where lists may be, scalars in them, and nothing left empty by an oversight. */
static enum status check_shape(const struct option *row, const struct yaml_node *node,
                               const struct yaml_node **out_at, struct errbuf *err)
{
    bool list = row->type == OPT_TEXTS || row->type == OPT_PATHS || row->type == OPT_U64S;
    if (node->kind == YAML_MAP || (node->kind == YAML_LIST && !list))
        return refuse(row, node->kind == YAML_MAP ? "a map" : "a list", "is not allowed here", err);
    if (node->kind == YAML_LIST && node->items_used > ITEMS_MAX)
        return refuse(row, "a list", "with too many items", err);
    size_t n = node->kind == YAML_LIST ? node->items_used : 1;
    for (size_t i = 0; i < n; i++) {
        const struct yaml_node *item = node->kind == YAML_LIST ? node->items[i] : node;
        *out_at = item;
        if (item->kind != YAML_SCALAR)
            return refuse(row, item->kind == YAML_MAP ? "a map" : "a list",
                          "is not allowed inside the list", err);
        if (item->text[0] == '\0' && !item->quoted)
            return refuse(row, "nothing", "stands here; an empty text is \"\"", err);
        if (!utf8_valid(item->text))
            return refuse(row, "a text", "that is not UTF-8", err);
    }
    *out_at = node;
    return ST_OK;
}

enum status option_load(const struct option *row, const struct yaml_node *node, void *slot,
                        const struct yaml_node **out_at, struct errbuf *err)
{
    *out_at = node;
    enum status st = check_shape(row, node, out_at, err);
    if (st != ST_OK)
        return st;
    switch (row->type) {
    case OPT_BOOL: return load_bool(row, node, slot, err);
    case OPT_U64:
    case OPT_BYTES:
    case OPT_TIME: return load_u64(row, node, slot, err);
    case OPT_F64: return load_f64(row, node, slot, err);
    case OPT_CHOICE: return load_choice(row, node, slot, err);
    case OPT_TEXT:
    case OPT_PATH:
        free(*(char **)slot);
        *(char **)slot = mem_strdup(node->text);
        return ST_OK;
    case OPT_TEXTS: return load_texts(node, false, slot);
    case OPT_PATHS: return load_texts(node, true, slot);
    case OPT_U64S: return load_u64s(row, node, slot, out_at, err);
    }
    return errbuf_set(err, ST_INTERNAL, "an option of no type");
}

void option_release(const struct option *row, void *slot)
{
    struct texts *texts = slot;
    struct u64s *u64s = slot;
    switch (row->type) {
    case OPT_BOOL: *(bool *)slot = false; break;
    case OPT_U64:
    case OPT_BYTES:
    case OPT_TIME: *(uint64_t *)slot = 0; break;
    case OPT_F64: *(double *)slot = 0; break;
    case OPT_CHOICE: *(int *)slot = 0; break;
    case OPT_TEXT:
    case OPT_PATH:
        free(*(char **)slot);
        *(char **)slot = NULL;
        break;
    case OPT_TEXTS:
    case OPT_PATHS:
        for (size_t i = 0; i < texts->used; i++)
            free(texts->item[i]);
        free(texts->item);
        *texts = (struct texts){NULL, 0};
        break;
    case OPT_U64S:
        free(u64s->item);
        *u64s = (struct u64s){NULL, 0};
        break;
    }
}

enum status option_parse_u64(const char *text, const char *what, uint64_t min, uint64_t max,
                             uint64_t *out, struct errbuf *err)
{
    uint64_t v = 0;
    const char *wrong = scan_u64(text, OPT_U64, &v);
    if (wrong == NULL && v < min)
        wrong = "is too small";
    if (wrong == NULL && v > max)
        wrong = "is too large";
    if (wrong != NULL && max == UINT64_MAX)
        return errbuf_set(err, ST_USAGE, "%s: %.*s %s (allowed: whole numbers from %" PRIu64 ")",
                          what, SHOWN_MAX, text, wrong, min);
    if (wrong != NULL)
        return errbuf_set(err, ST_USAGE, "%s: %.*s %s (allowed: %" PRIu64 " to %" PRIu64 ")", what,
                          SHOWN_MAX, text, wrong, min, max);
    *out = v;
    return ST_OK;
}
