/* net_http_rules.c - targets and frames of requests: what is taken, and that whatever can be read in two ways isn't. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/net/http_rules.h"

static void targets_that_are_taken(void **state)
{
    (void)state;
    static const struct {
        const char *raw;
        const char *parts; /* joined by '|', queries as key=value behind '?' */
    } cases[] = {
        {"/", ""},
        {"/v1/rank", "v1|rank"},
        {"/v1/users/a%2Fb", "v1|users|a/b"},
        {"/v1/users/", "v1|users|"},
        {"/v1/users/%C3%A4", "v1|users|\xc3\xa4"},
        {"/v1/items/7/similar?n=3&x=%26%3D", "v1|items|7|similar?n=3?x=&="},
        {"/a?b", "a?b="},
        {"/a?&&b=1&", "a?b=1"},
        {"/a?b=c=d", "a?b=c=d"},
        {"/a+b?c=d+e", "a+b?c=d+e"},
        {"http://host:80/v2?x=1", "v2?x=1"},
        {"//a", "|a"},
        {"/1/2/3/4/5/6/7/8", "1|2|3|4|5|6|7|8"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_target t;
        struct errbuf err = ERRBUF_INIT;
        char got[256] = "";
        if (http_target_parse(cases[i].raw, &t, &err) != ST_OK) {
            fail_msg("%s: %s", cases[i].raw, err.text);
        }
        for (size_t k = 0; k < t.segments; k++) {
            snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", k > 0 ? "|" : "",
                     t.segment[k]);
        }
        for (size_t k = 0; k < t.pairs; k++) {
            snprintf(got + strlen(got), sizeof(got) - strlen(got), "?%s=%s", t.pair[k].key,
                     t.pair[k].value);
            assert_string_equal(http_target_get(&t, t.pair[k].key), t.pair[k].value);
        }
        assert_null(http_target_get(&t, "absent"));
        assert_string_equal(got, cases[i].parts);
        http_target_release(&t);
    }
}

static void targets_that_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"",
                                        "*",
                                        "v1/rank",
                                        "http://host",
                                        "/a%",
                                        "/a%2",
                                        "/a%zz",
                                        "/a%00",
                                        "/a%0a",
                                        "/a%7f",
                                        "/a b",
                                        "/a\tb",
                                        "/\xc3\xa4",
                                        "/%ff",
                                        "/%c3",
                                        "/a#b",
                                        "/1/2/3/4/5/6/7/8/9",
                                        "/a?b=1&b=2",
                                        "/a?=1",
                                        "/a?b=%0",
                                        "/a?%00=1",
                                        "/a?1&2&3&4&5&6&7&8&9&10&11&12&13&14&15&16&17"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_target t = {.segments = 99};
        struct errbuf err = ERRBUF_INIT;
        if (http_target_parse(cases[i], &t, &err) != ST_BAD_DATA) {
            fail_msg("\"%s\" was taken", cases[i]);
        }
        assert_true(err.text[0] != '\0' && t.segments == 99);
    }
    char *large = calloc(1, HTTP_TARGET_MAX + 2);
    struct http_target t;
    memset(large, 'a', HTTP_TARGET_MAX + 1);
    large[0] = '/';
    assert_int_equal(http_target_parse(large, &t, NULL), ST_BAD_DATA);
    large[HTTP_TARGET_MAX] = '\0';
    assert_int_equal(http_target_parse(large, &t, NULL), ST_OK);
    http_target_release(&t);
    free(large);
}

/* headers: "Name: value|Name: value". */
static unsigned judge(const char *headers, bool modern, struct http_frame *out)
{
    struct errbuf err = ERRBUF_INIT;
    char text[512];
    snprintf(text, sizeof(text), "%s", headers);
    memset(out, 0, sizeof(*out));
    char *rest = text;
    for (char *one; (one = strsep(&rest, "|")) != NULL;) {
        char *colon = strstr(one, ": ");
        http_frame_header(out, one, (size_t)(colon - one), colon + 2, strlen(colon + 2));
    }
    unsigned code = http_frame_judge(out, modern, &err);
    assert_true((code == 0) == (err.text[0] == '\0'));
    return code;
}

static void frames(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        bool modern;
        unsigned code;
    } cases[] = {
        {"Host: a", true, 0},
        {"Host: a|Content-Length: 12", true, 0},
        {"host: a|content-length: 0", true, 0},
        {"Host: a|Transfer-Encoding: chunked", true, 0},
        {"Host: a|transfer-encoding: CHUNKED", true, 0},
        {"Host: a|Expect: 100-continue", true, 0},
        {"X-Any: a", false, 0},
        {"X-Any: a", true, 400},
        {"Host: a|Host: a", true, 400},
        {"Host: a|Content-Length: 5|Content-Length: 5", true, 400},
        {"Host: a|Content-Length: 5|content-length: 6", true, 400},
        {"Host: a|Content-Length: 5, 5", true, 400},
        {"Host: a|Content-Length: +5", true, 400},
        {"Host: a|Content-Length: -5", true, 400},
        {"Host: a|Content-Length: 0x5", true, 400},
        {"Host: a|Content-Length: ", true, 400},
        {"Host: a|Content-Length: 5 ", true, 400},
        {"Host: a|Content-Length: 9999999999999999999", true, 400},
        {"Host: a|Content-Length: 5|Transfer-Encoding: chunked", true, 400},
        {"Host: a|Transfer-Encoding: chunked|Content-Length: 5", true, 400},
        {"Host: a|Transfer-Encoding: xchunked", true, 400},
        {"Host: a|Transfer-Encoding: gzip, chunked", true, 400},
        {"Host: a|Transfer-Encoding: chunked, identity", true, 400},
        {"Host: a|Transfer-Encoding: identity", true, 400},
        {"Host: a|Transfer-Encoding: chunked|Transfer-Encoding: chunked", true, 400},
        {"Host: a|Transfer-Encoding: gzip|Transfer-Encoding: chunked", true, 400},
        {"Transfer-Encoding: chunked", false, 400},
        {"Host: a|Content-Length : 5", true, 400},
        {"Host: a|X Y: 5", true, 400},
        {"Host: a|X: a\x01", true, 400},
        {"Host: a|Authorization: Bearer x|Authorization: Bearer y", true, 400},
        {"Host: a|Expect: 200-ok", true, 417},
        {"Host: a|Sec-Fetch-Site: cross-site", true, 403},
        {"Host: a|Sec-Fetch-Site: same-origin", true, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_frame f;
        unsigned code = judge(cases[i].headers, cases[i].modern, &f);
        if (code != cases[i].code) {
            fail_msg("%s: %u, not %u", cases[i].headers, code, cases[i].code);
        }
    }
    struct http_frame f;
    assert_int_equal(judge("Host: a|Content-Length: 123456789012345678", true, &f), 0);
    assert_true(f.length == 123456789012345678ull);
}

static void tokens(void **state)
{
    (void)state;
    assert_true(http_token_right("Bearer secret", "secret"));
    assert_true(http_token_right("bearer secret", "secret"));
    static const char *const wrong[] = {"",
                                        "secret",
                                        "Basic secret",
                                        "Bearer ",
                                        "Bearer secre",
                                        "Bearer secrets",
                                        "Bearer secretsecret",
                                        "Bearer Secret",
                                        "Bearer  secret",
                                        "Bearer secret "};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(http_token_right(wrong[i], "secret"));
    }
    assert_false(http_token_right(NULL, "secret"));
    assert_false(http_token_right("Bearer ", ""));
    assert_false(http_token_right("Bearer x", ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_that_are_taken),
        cmocka_unit_test(targets_that_are_refused),
        cmocka_unit_test(frames),
        cmocka_unit_test(tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
