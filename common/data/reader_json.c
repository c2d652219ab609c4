/* reader_json.c - see reader_json.h.
 *
 * No tree is built: the parser walks a line once, keeps the dotted name of where it stands, and gives every
 * scalar to the columns by that name. Strict as RFC 8259 is, but for bytes above 0x7f, which are taken as they
 * are, as in the other formats. A NUL (as \u0000) is refused: no cell has one.
 */
#include "common/data/reader_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/data/lines.h"

struct reader_json {
    struct lines *lines;
    struct columns *columns; /* borrowed */
    const char *at, *end;    /* of the line */
    unsigned depth, arrays;
    char name[JSON_NAME_MAX];
    size_t name_n; /* above JSON_NAME_MAX: too long, nobody wants it */
    char *string;  /* unescaped; (string_cap), owned */
    size_t string_n, string_cap;
    char fault[96];
    const char *begin;
};

enum status reader_json_open(const char *path, uint64_t bytes_max, struct columns *columns,
                             struct reader_json **out, struct errbuf *err)
{
    struct lines *lines;
    enum status st = lines_open(path, bytes_max, &lines, err);
    if (st != ST_OK)
        return st;
    struct reader_json *r = mem_zalloc(sizeof *r);
    r->lines = lines;
    r->columns = columns;
    *out = r;
    return ST_OK;
}

void reader_json_close(struct reader_json *r)
{
    if (r == NULL)
        return;
    lines_close(r->lines);
    free(r->string);
    free(r);
}

uint64_t reader_json_in_bytes(const struct reader_json *r)
{
    return lines_in_bytes(r->lines);
}

/* ---- tokens ------------------------------------------------------------------------------------- */

static const char *wrong(struct reader_json *r, const char *what)
{
    snprintf(r->fault, sizeof r->fault, "JSON: %s at byte %zu of the line", what,
             (size_t)(r->at - r->begin));
    return r->fault;
}

static void skip_blanks(struct reader_json *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\r' || *r->at == '\n'))
        r->at++;
}

static bool take(struct reader_json *r, char c)
{
    skip_blanks(r);
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static bool take_hex4(struct reader_json *r, uint32_t *out)
{
    uint32_t v = 0;
    if (r->end - r->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char c = r->at[i];
        uint32_t d = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                     : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                     : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                            : 16;
        if (d == 16)
            return false;
        v = v << 4 | d;
    }
    r->at += 4;
    *out = v;
    return true;
}

static void put_utf8(struct reader_json *r, uint32_t c)
{
    char *to = r->string + r->string_n;
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char LEAD[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        to[i] = (char)(0x80 | (c & 0x3f));
    to[0] = (char)(LEAD[n] | c);
    r->string_n += n;
}

/* Behind "\u". An escape is at least as long as what it stands for, so the string fits. */
static const char *take_unicode(struct reader_json *r)
{
    uint32_t c, low;
    if (!take_hex4(r, &c))
        return wrong(r, "\\u without four hex digits");
    if (c >= 0xdc00 && c < 0xe000)
        return wrong(r, "half of a surrogate pair");
    if (c >= 0xd800 && c < 0xdc00) {
        bool second = r->end - r->at >= 2 && r->at[0] == '\\' && r->at[1] == 'u';
        r->at += second ? 2 : 0;
        if (!second || !take_hex4(r, &low) || low < 0xdc00 || low >= 0xe000)
            return wrong(r, "half of a surrogate pair");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    if (c == 0)
        return wrong(r, "a NUL in a string");
    put_utf8(r, c);
    return NULL;
}

static const char *take_escape(struct reader_json *r)
{
    static const char FROM[] = "\"\\/bfnrt", TO[] = "\"\\/\b\f\n\r\t";
    if (r->at == r->end)
        return wrong(r, "a string that is not closed");
    char c = *r->at++;
    if (c == 'u')
        return take_unicode(r);
    const char *known = c != 0 ? strchr(FROM, c) : NULL;
    if (known == NULL)
        return wrong(r, "an escape that is none");
    r->string[r->string_n++] = TO[known - FROM];
    return NULL;
}

/* The opening quote is behind us. Without an escape the string stands in the line; with one, in r->string. */
static const char *take_string(struct reader_json *r, struct given *out)
{
    const char *from = r->at;
    while (r->at < r->end && *r->at != '"' && *r->at != '\\' && (unsigned char)*r->at >= 0x20)
        r->at++;
    *out = (struct given){.at = from, .n = (size_t)(r->at - from), .weight = 1};
    if (r->at < r->end && *r->at == '"') {
        r->at++;
        return NULL;
    }
    memcpy(r->string, from, out->n);
    r->string_n = out->n;
    while (r->at < r->end && *r->at != '"') {
        const char *fault = NULL;
        char c = *r->at++;
        if ((unsigned char)c < 0x20)
            return wrong(r, "a control character in a string");
        if (c == '\\')
            fault = take_escape(r);
        else
            r->string[r->string_n++] = c;
        if (fault != NULL)
            return fault;
    }
    if (r->at == r->end)
        return wrong(r, "a string that is not closed");
    r->at++;
    *out = (struct given){.at = r->string, .n = r->string_n, .weight = 1, .copy = true};
    return NULL;
}

static size_t digits(struct reader_json *r)
{
    const char *from = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    return (size_t)(r->at - from);
}

static const char *take_number(struct reader_json *r, struct given *out)
{
    const char *from = r->at;
    if (*r->at == '-')
        r->at++;
    const char *whole = r->at;
    size_t n = digits(r);
    bool good = n > 0 && (n == 1 || *whole != '0');
    if (good && r->at < r->end && *r->at == '.') {
        r->at++;
        good = digits(r) > 0;
    }
    if (good && r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        r->at++;
        if (r->at < r->end && (*r->at == '-' || *r->at == '+'))
            r->at++;
        good = digits(r) > 0;
    }
    *out = (struct given){.at = from, .n = (size_t)(r->at - from), .weight = 1};
    return good ? NULL : wrong(r, "no value");
}

static bool take_word(struct reader_json *r, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
        return false;
    r->at += n;
    return true;
}

/* ---- values ------------------------------------------------------------------------------------- */

static const char *give(struct reader_json *r, struct given *v)
{
    v->list = r->arrays > 0;
    if (r->name_n > JSON_NAME_MAX)
        return NULL;
    return columns_give(r->columns, r->name, r->name_n, v);
}

static const char *take_value(struct reader_json *r);

/* name.key while inside; the caller puts name_n back. */
static void enter(struct reader_json *r, const struct given *key)
{
    size_t dot = r->name_n > 0;
    if (r->name_n > JSON_NAME_MAX || key->n > JSON_NAME_MAX - r->name_n - dot ||
        r->name_n + dot > JSON_NAME_MAX) {
        r->name_n = JSON_NAME_MAX + 1;
        return;
    }
    if (dot)
        r->name[r->name_n] = '.';
    memcpy(r->name + r->name_n + dot, key->at, key->n);
    r->name_n += dot + key->n;
}

static const char *take_object(struct reader_json *r)
{
    size_t name_n = r->name_n;
    if (take(r, '}'))
        return NULL;
    do {
        struct given key;
        const char *fault;
        if (!take(r, '"'))
            return wrong(r, "no \"name\"");
        fault = take_string(r, &key);
        if (fault == NULL && !take(r, ':'))
            fault = wrong(r, "no : behind a name");
        if (fault != NULL)
            return fault;
        enter(r, &key);
        fault = take_value(r);
        r->name_n = name_n;
        if (fault != NULL)
            return fault;
    } while (take(r, ','));
    return take(r, '}') ? NULL : wrong(r, "an object that is not closed");
}

static const char *take_array(struct reader_json *r)
{
    const char *fault;
    if (r->name_n <= JSON_NAME_MAX)
        columns_give_list(r->columns, r->name, r->name_n);
    if (take(r, ']'))
        return NULL;
    do {
        r->arrays++;
        fault = take_value(r);
        r->arrays--;
        if (fault != NULL)
            return fault;
    } while (take(r, ','));
    return take(r, ']') ? NULL : wrong(r, "an array that is not closed");
}

static const char *take_nested(struct reader_json *r)
{
    bool object = *r->at++ == '{';
    if (r->depth >= JSON_DEPTH_MAX)
        return wrong(r, "more than 64 levels");
    r->depth++;
    const char *fault = object ? take_object(r) : take_array(r);
    r->depth--;
    return fault;
}

static const char *take_value(struct reader_json *r)
{
    struct given v = {.at = "", .weight = 1};
    const char *fault = NULL;
    skip_blanks(r);
    if (r->at == r->end)
        return wrong(r, "no value");
    char c = *r->at;
    if (c == '{' || c == '[')
        return take_nested(r);
    if (c == '"') {
        r->at++;
        fault = take_string(r, &v);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        fault = take_number(r, &v);
    } else if (take_word(r, "null")) {
        return NULL;
    } else if (take_word(r, "true")) {
        v = (struct given){.at = "1", .n = 1, .weight = 1};
    } else if (take_word(r, "false")) {
        v = (struct given){.at = "0", .n = 1, .weight = 1};
    } else {
        return wrong(r, "no value");
    }
    return fault != NULL ? fault : give(r, &v);
}

static const char *take_line(struct reader_json *r, const struct line *line)
{
    if (line->n > r->string_cap)
        mem_grow(&r->string, &r->string_cap, line->n, 1);
    r->begin = r->at = line->text;
    r->end = line->text + line->n;
    r->depth = r->arrays = 0;
    r->name_n = 0;
    skip_blanks(r);
    if (r->at == r->end || *r->at != '{')
        return "a line that is no JSON object: {\"name\": value, ...}";
    const char *fault = take_nested(r);
    skip_blanks(r);
    if (fault == NULL && r->at != r->end)
        fault = wrong(r, "text behind the object");
    return fault;
}

static bool blank(const struct line *line)
{
    for (size_t i = 0; i < line->n; i++)
        if (line->text[i] != ' ' && line->text[i] != '\t')
            return false;
    return true;
}

enum status reader_json_next(struct reader_json *r, struct named_record *out, struct errbuf *err)
{
    struct line line;
    enum status st;
    do
        st = lines_next(r->lines, &line, err);
    while (st == ST_OK && line.fault == NULL && blank(&line));
    if (st != ST_OK)
        return st;
    columns_reset(r->columns);
    const char *fault = line.fault != NULL ? line.fault : take_line(r, &line);
    if (fault != NULL)
        columns_reset(r->columns);
    columns_end(r->columns);
    *out = (struct named_record){r->columns, line.text, line.n, line.number, line.offset, fault};
    return ST_OK;
}
