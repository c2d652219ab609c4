/* reader_pairs.c - see reader_pairs.h. */
#include "common/data/reader_pairs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/data/lines.h"
#include "common/feature/number.h"

struct reader_pairs {
    struct lines *lines;
    enum pairs_kind kind;
    struct columns *columns; /* borrowed */
    size_t bare;             /* tokens without a slot so far */
    char fault[128];
};

enum status reader_pairs_open(const char *path, uint64_t bytes_max, enum pairs_kind kind,
                              struct columns *columns, struct reader_pairs **out,
                              struct errbuf *err)
{
    struct lines *lines;
    enum status st = lines_open(path, bytes_max, &lines, err);
    if (st != ST_OK)
        return st;
    struct reader_pairs *r = mem_zalloc(sizeof *r);
    r->lines = lines;
    r->kind = kind;
    r->columns = columns;
    *out = r;
    return ST_OK;
}

void reader_pairs_close(struct reader_pairs *r)
{
    if (r == NULL)
        return;
    lines_close(r->lines);
    free(r);
}

uint64_t reader_pairs_in_bytes(const struct reader_pairs *r)
{
    return lines_in_bytes(r->lines);
}

static const char *wrong(struct reader_pairs *r, const char *what, const char *token, size_t n)
{
    char shown[41];
    size_t used = n < sizeof shown - 1 ? n : sizeof shown - 1;
    for (size_t i = 0; i < used; i++)
        shown[i] = token[i] >= 0x20 && token[i] != 0x7f ? token[i] : '?';
    shown[used] = 0;
    snprintf(r->fault, sizeof r->fault, "%s: \"%s\"%s", what, shown, used < n ? "..." : "");
    return r->fault;
}

static const char *take_slot(struct reader_pairs *r, const char *token, size_t n)
{
    bool last = r->kind == PAIRS_SLOT_LAST;
    const char *colon = last ? memrchr(token, ':', n) : memchr(token, ':', n);
    char place[24];
    if (colon == NULL) {
        struct given bare = {.at = token, .n = n, .weight = 1};
        int place_n = snprintf(place, sizeof place, "@%zu", r->bare++);
        return columns_give(r->columns, place, (size_t)place_n, &bare);
    }
    size_t before = (size_t)(colon - token), behind = n - before - 1;
    const char *slot = last ? colon + 1 : token;
    size_t slot_n = last ? behind : before;
    struct given v = {
        .at = last ? token : colon + 1, .n = last ? before : behind, .weight = 1, .list = true};
    if (slot_n == 0 || v.n == 0)
        return wrong(r, slot_n == 0 ? "a pair without a slot" : "a pair without a value", token, n);
    return columns_give(r->columns, slot, slot_n, &v);
}

static const char *take_triple(struct reader_pairs *r, const char *token, size_t n)
{
    const char *end = token + n, *colon = memchr(token, ':', n);
    const char *second = colon != NULL ? memchr(colon + 1, ':', (size_t)(end - colon - 1)) : NULL;
    double value = 1;
    if (colon == NULL || colon == token)
        return wrong(r, "no field:feature:value", token, n);
    const char *feature = colon + 1, *behind = second != NULL ? second : end;
    struct given v = {.at = feature, .n = (size_t)(behind - feature), .list = true};
    if (v.n == 0)
        return wrong(r, "no field:feature:value", token, n);
    if (second != NULL && number_parse(second + 1, (size_t)(end - second - 1), &value) != NULL)
        return wrong(r, "a value that is not a finite number of magnitude up to 1e30", token, n);
    v.weight = (float)value;
    return columns_give(r->columns, token, (size_t)(colon - token), &v);
}

static bool between(const struct reader_pairs *r, char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f' ||
           (c == ',' && r->kind != PAIRS_LIBFFM);
}

static const char *take_line(struct reader_pairs *r, const char *at, size_t n)
{
    const char *end = at + n, *fault = NULL;
    bool first = r->kind == PAIRS_LIBFFM;
    r->bare = 0;
    while (fault == NULL) {
        while (at < end && between(r, *at))
            at++;
        const char *token = at;
        while (at < end && !between(r, *at))
            at++;
        if (at == token)
            return NULL;
        size_t token_n = (size_t)(at - token);
        if (first) {
            struct given label = {.at = token, .n = token_n, .weight = 1};
            fault = memchr(token, ':', token_n) != NULL
                        ? wrong(r, "a pair where the label should be", token, token_n)
                        : columns_give(r->columns, "label", 5, &label);
            first = false;
        } else {
            fault = r->kind == PAIRS_LIBFFM ? take_triple(r, token, token_n)
                                            : take_slot(r, token, token_n);
        }
    }
    return fault;
}

static bool blank(const struct reader_pairs *r, const struct line *line)
{
    for (size_t i = 0; i < line->n; i++)
        if (!between(r, line->text[i]))
            return false;
    return true;
}

enum status reader_pairs_next(struct reader_pairs *r, struct named_record *out, struct errbuf *err)
{
    struct line line;
    enum status st;
    do
        st = lines_next(r->lines, &line, err);
    while (st == ST_OK && line.fault == NULL && blank(r, &line));
    if (st != ST_OK)
        return st;
    columns_reset(r->columns);
    const char *fault = line.fault != NULL ? line.fault : take_line(r, line.text, line.n);
    if (fault != NULL)
        columns_reset(r->columns);
    columns_end(r->columns);
    *out = (struct named_record){r->columns, line.text, line.n, line.number, line.offset, fault};
    return ST_OK;
}
