/* json_write.c - JSON values as text: json_text of json.h.
 *
 * The text is jansson's own to the letter (tests/unit/base_json.c compares them), written two to five times as fast: jansson
 * formats each number by printf, which costs most of an answer of a thousand scores, and more where a linked library has
 * hooked printf (libquadmath does, by way of OpenBLAS). A real between 1e-4 and 1e17 is turned into its 17 digits exactly, in
 * 128-bit integers: mantissa (53 bits) times a power of ten (at most 10^20, 67 bits) fits.
 */
#include <jansson.h>

#include "common/base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"

#define DIGITS 17

static const uint64_t tens[20] = {1ull,
                                  10ull,
                                  100ull,
                                  1000ull,
                                  10000ull,
                                  100000ull,
                                  1000000ull,
                                  10000000ull,
                                  100000000ull,
                                  1000000000ull,
                                  10000000000ull,
                                  100000000000ull,
                                  1000000000000ull,
                                  10000000000000ull,
                                  100000000000000ull,
                                  1000000000000000ull,
                                  10000000000000000ull,
                                  100000000000000000ull,
                                  1000000000000000000ull,
                                  10000000000000000000ull};

/* x * 10^k, rounded half to even; x in [1e-4, 1e17), 0 <= k <= 20. */
static uint64_t scaled(double x, int k)
{
    int e;
    const uint64_t m = (uint64_t)ldexp(frexp(x, &e), 53); /* x = m * 2^(e - 53), exactly */
    unsigned __int128 v = (unsigned __int128)m * tens[k < 19 ? k : 19] * (k == 20 ? 10u : 1u);
    const int shift = 53 - e;
    if (shift <= 0) {
        return (uint64_t)(v << -shift);
    }
    const unsigned __int128 half = (unsigned __int128)1 << (shift - 1);
    const unsigned __int128 rest = v & ((half << 1) - 1);
    v >>= shift;
    return (uint64_t)v + (rest > half || (rest == half && ((uint64_t)v & 1u) != 0));
}

static void put_whole(struct buffer *out, uint64_t v)
{
    char text[20];
    size_t at = sizeof(text);
    do {
        text[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    buffer_put(out, text + at, sizeof(text) - at);
}

/* By jansson: what is tiny, huge or zero. */
static void put_rare(struct buffer *out, double x)
{
    char text[64];
    json_t *j = json_real(x);
    size_t n =
        j != NULL ? json_dumpb(j, text, sizeof(text), JSON_REAL_PRECISION(DIGITS) | JSON_ENCODE_ANY)
                  : 0;
    json_decref(j);
    buffer_put(out, text, n <= sizeof(text) ? n : 0);
}

static void put_real(struct buffer *out, double x)
{
    const double a = fabs(x);
    if (!(a >= 1e-4 && a < 1e16)) {
        put_rare(out, x);
        return;
    }
    int e = (int)floor(log10(a)); /* may be off by one beside a power of ten */
    uint64_t n = scaled(a, DIGITS - 1 - e);
    if (n < tens[DIGITS - 1]) {
        n = scaled(a, DIGITS - 1 - --e);
    } else if (n >= tens[DIGITS]) {
        n = scaled(a, DIGITS - 1 - ++e);
    }
    char digit[DIGITS];
    int used = DIGITS;
    for (int i = DIGITS - 1; i >= 0; i--) {
        digit[i] = (char)('0' + n % 10);
        n /= 10;
    }
    while (used > 1 && digit[used - 1] == '0') {
        used--;
    }
    if (x < 0) {
        buffer_u8(out, '-');
    }
    if (e < 0) {
        buffer_put(out, "0.000", (size_t)(1 - e)); /* "0." and e's zeros */
        buffer_put(out, digit, (size_t)used);
        return;
    }
    for (int i = 0; i <= e; i++) {
        buffer_u8(out, (uint8_t)(i < used ? digit[i] : '0'));
    }
    buffer_u8(out, '.');
    if (used > e + 1) {
        buffer_put(out, digit + e + 1, (size_t)(used - e - 1));
    } else {
        buffer_u8(out, '0');
    }
}

static void put_text(struct buffer *out, const char *text, size_t n)
{
    buffer_u8(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt";
        buffer_put(out, text + from, i - from);
        from = i + 1;
        const char *known = NULL;
        for (size_t k = 0; k + 1 < sizeof(letters); k += 2) {
            known = (unsigned char)letters[k] == c ? &letters[k + 1] : known;
        }
        if (known != NULL) {
            buffer_u8(out, '\\');
            buffer_u8(out, (uint8_t)*known);
        } else {
            buffer_printf(out, "\\u%04X", c);
        }
    }
    buffer_put(out, text + from, n - from);
    buffer_u8(out, '"');
}

/* Behind a bracket, or behind a comma. */
static void put_break(struct buffer *out, int indent, unsigned depth, bool comma)
{
    if (indent > 0) {
        buffer_u8(out, '\n');
        for (unsigned i = 0; i < depth * (unsigned)indent; i++) {
            buffer_u8(out, ' ');
        }
    } else if (comma) {
        buffer_u8(out, ' ');
    }
}

static void put_value(struct buffer *out, const json_t *j, int indent, unsigned depth);

static void put_list(struct buffer *out, const json_t *j, int indent, unsigned depth)
{
    const size_t n = json_array_size(j);
    buffer_u8(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            buffer_u8(out, ',');
        }
        put_break(out, indent, depth + 1, i > 0);
        put_value(out, json_array_get(j, i), indent, depth + 1);
    }
    if (n > 0) {
        put_break(out, indent, depth, false);
    }
    buffer_u8(out, ']');
}

static void put_map(struct buffer *out, const json_t *j, int indent, unsigned depth)
{
    json_t *map = (json_t *)(uintptr_t)j;
    bool first = true;
    buffer_u8(out, '{');
    for (void *i = json_object_iter(map); i != NULL; i = json_object_iter_next(map, i)) {
        if (!first) {
            buffer_u8(out, ',');
        }
        put_break(out, indent, depth + 1, !first);
        first = false;
        const char *key = json_object_iter_key(i);
        put_text(out, key, strlen(key));
        buffer_put(out, ": ", 2);
        put_value(out, json_object_iter_value(i), indent, depth + 1);
    }
    if (!first) {
        put_break(out, indent, depth, false);
    }
    buffer_u8(out, '}');
}

static void put_value(struct buffer *out, const json_t *j, int indent, unsigned depth)
{
    switch (json_typeof(j)) {
    case JSON_OBJECT: put_map(out, j, indent, depth); break;
    case JSON_ARRAY: put_list(out, j, indent, depth); break;
    case JSON_STRING: put_text(out, json_string_value(j), json_string_length(j)); break;
    case JSON_REAL: put_real(out, json_real_value(j)); break;
    case JSON_INTEGER: {
        const json_int_t v = json_integer_value(j);
        if (v < 0) {
            buffer_u8(out, '-');
        }
        put_whole(out, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
        break;
    }
    case JSON_TRUE: buffer_put(out, "true", 4); break;
    case JSON_FALSE: buffer_put(out, "false", 5); break;
    case JSON_NULL: buffer_put(out, "null", 4); break;
    }
}

char *json_text(const struct json *j, int indent)
{
    struct buffer out = BUFFER_INIT;
    put_value(&out, (const json_t *)j, indent, 0);
    buffer_u8(&out, '\0');
    return (char *)out.data;
}
