/* fuzz_http_rules.c - a request's target and its headers, as any client may send them.
 *
 * The first line is the target, the others are headers, "name:value". What is taken as a target must be UTF-8 without
 * control characters, and the same when it is written with all its bytes escaped and read again. A frame that is sound has
 * exactly one way to be read: at most one length, or chunks, never both.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/bytes.h"
#include "common/base/utf8.h"
#include "common/net/http_rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void escape(struct buffer *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        buffer_printf(out, "%%%02x", (unsigned)(unsigned char)*c);
    }
}

static void check_text(const char *text)
{
    assert(utf8_valid(text));
    for (const char *c = text; *c != '\0'; c++) {
        assert((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
}

static void run_target(const char *raw)
{
    struct http_target t, again;
    struct errbuf err = ERRBUF_INIT;
    struct buffer b = BUFFER_INIT;
    enum status st = http_target_parse(raw, &t, &err);
    assert(st == ST_OK || (st == ST_BAD_DATA && err.text[0] != '\0'));
    if (st != ST_OK) {
        return;
    }
    assert(t.segments >= 1 && t.segments <= HTTP_SEGMENTS_MAX && t.pairs <= HTTP_PAIRS_MAX);
    for (size_t i = 0; i < t.segments; i++) {
        check_text(t.segment[i]);
        buffer_u8(&b, '/');
        escape(&b, t.segment[i]);
    }
    for (size_t i = 0; i < t.pairs; i++) {
        check_text(t.pair[i].key);
        check_text(t.pair[i].value);
        assert(strcmp(http_target_get(&t, t.pair[i].key), t.pair[i].value) == 0);
        buffer_u8(&b, i == 0 ? '?' : '&');
        escape(&b, t.pair[i].key);
        buffer_u8(&b, '=');
        escape(&b, t.pair[i].value);
    }
    if (b.used <= HTTP_TARGET_MAX) {
        st = http_target_parse(buffer_text(&b), &again, &err);
        assert(st == ST_OK && again.segments == t.segments && again.pairs == t.pairs);
        for (size_t i = 0; i < t.segments; i++) {
            assert(strcmp(t.segment[i], again.segment[i]) == 0);
        }
        http_target_release(&again);
    }
    buffer_release(&b);
    http_target_release(&t);
}

static void run_frame(const char *lines, size_t n)
{
    struct http_frame f = {0};
    struct errbuf err = ERRBUF_INIT;
    for (const char *at = lines, *end = lines + n; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop != NULL ? stop : end;
        const char *colon = memchr(at, ':', (size_t)(stop - at));
        if (colon != NULL) {
            http_frame_header(&f, at, (size_t)(colon - at), colon + 1, (size_t)(stop - colon - 1));
        }
        at = stop + 1;
    }
    for (int modern = 0; modern < 2; modern++) {
        unsigned code = http_frame_judge(&f, modern != 0, &err);
        assert(code == 0 || code == 400 || code == 403 || code == 417);
        if (code == 0) {
            assert(f.lengths + f.encodings <= 1 && f.hosts <= 1 && f.tokens <= 1);
            assert(f.encodings == 0 || (f.chunked && modern != 0));
            assert(f.lengths == 1 || f.length == 0);
        }
    }
}

static void run_token(const char *text)
{
    assert(http_token_right(text, "sesame") ==
           (strlen(text) == 13 && strcmp(text + 7, "sesame") == 0 &&
            strncasecmp(text, "Bearer ", 7) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    char *line_end = memchr(text, '\n', size);
    if (line_end != NULL) {
        *line_end = '\0';
        run_frame(line_end + 1, size - (size_t)(line_end + 1 - text));
    }
    run_target(text);
    run_token(text);
    free(text);
    return 0;
}
