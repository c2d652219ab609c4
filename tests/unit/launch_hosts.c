/* launch_hosts.c - hostfiles, words for a shell, and how long before a limit Slurm speaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "launch/batch.h"
#include "launch/hosts.h"

static void hostfile(void **state)
{
    (void)state;
    struct hosts h = {.used = 0};
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(
        hosts_parse("# all of them\n\n a slots=4\r\nb\na max_slots=2\n\t10.0.0.1 # c\nd", "F", &h,
                    &err),
        ST_OK);
    assert_int_equal(h.used, 4);
    assert_string_equal(h.name[0], "a");
    assert_string_equal(h.name[1], "b");
    assert_string_equal(h.name[2], "10.0.0.1");
    assert_string_equal(h.name[3], "d");
    hosts_release(&h);
    static const char *const bad[] = {"", "# none\n", "a\nb;c\n", "-oProxyCommand=x\n",
                                      "a\n$(x)\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(hosts_parse(bad[i], "F", &h, &err), ST_USAGE);
        assert_non_null(strstr(err.text, "F:"));
    }
    assert_int_equal(hosts_parse("a\nb;c\n", "F", &h, &err), ST_USAGE);
    assert_non_null(strstr(err.text, "F:2:"));
}

static void here(void **state)
{
    (void)state;
    assert_true(hosts_is_here("localhost"));
    assert_true(hosts_is_here("127.0.0.1"));
    assert_false(hosts_is_here("240.1.2.3"));
    assert_false(hosts_is_here("no-such-host.invalid"));
}

static void words(void **state)
{
    (void)state;
    struct buffer b = BUFFER_INIT;
    hosts_quote(&b, "/plain/path-1.2");
    buffer_u8(&b, ' ');
    hosts_quote(&b, "");
    buffer_u8(&b, ' ');
    hosts_quote(&b, "a b");
    buffer_u8(&b, ' ');
    hosts_quote(&b, "it's $HOME");
    assert_string_equal(buffer_text(&b), "/plain/path-1.2 '' 'a b' 'it'\\''s $HOME'");
    buffer_release(&b);
}

static void notice(void **state)
{
    (void)state;
    assert_int_equal(batch_notice_seconds(NULL), 120);
    assert_int_equal(batch_notice_seconds("90"), 120);
    assert_int_equal(batch_notice_seconds("8:00:00"), 120);
    assert_int_equal(batch_notice_seconds("1-0"), 120);
    assert_int_equal(batch_notice_seconds("2"), 31);
    assert_int_equal(batch_notice_seconds("1:30"), 23);
    assert_int_equal(batch_notice_seconds("0:01:00"), 16);
    assert_int_equal(batch_notice_seconds("soon"), 120);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(hostfile), cmocka_unit_test(here),
                                       cmocka_unit_test(words), cmocka_unit_test(notice)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
