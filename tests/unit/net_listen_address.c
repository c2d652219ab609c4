/* net_listen_address.c - what cluster.bind may say, and what a host makes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/net/listen_address.h"

static void forms(void **state)
{
    static const char *const good[] = {"127.0.0.1", "10.77.0.0/24", "eth0", "bond0.12",
                                       "10.0.0.1/32"};
    static const char *const bad[] = {"",
                                      "0.0.0.0",
                                      "*",
                                      "0.0.0.0/0",
                                      "10.0.0.0/0",
                                      "10.0.0.0/33",
                                      "10.0.0.0/",
                                      "10.0.0.0/8x",
                                      "10.0.0",
                                      "host.name.that.is.long",
                                      "tcp://10.0.0.1",
                                      "::1",
                                      "10.0.0.1:4711"};
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(listen_address_check(good[i], &err), ST_OK);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(listen_address_check(bad[i], &err), ST_USAGE);
        assert_non_null(strstr(err.text, "cluster.bind"));
    }
    static const char *const one_host[] = {"127.0.0.1", "127.3.0.0/16", "lo", "10.77.0.1"};
    for (size_t i = 0; i < sizeof(one_host) / sizeof(one_host[0]); i++) {
        assert_int_equal(listen_address_check_hosts(one_host[i], &err), ST_USAGE);
    }
    assert_int_equal(listen_address_check_hosts("10.77.0.0/24", &err), ST_OK);
    assert_int_equal(listen_address_check_hosts("eth0", &err), ST_OK);
}

static void ports(void **state)
{
    static const char *const bad[] = {"",        "x",       "70000", "host:80", ":x", "1.2.3.4.5:1",
                                      "1.2.3:4", "[::1]:4", "4 "};
    struct errbuf err = ERRBUF_INIT;
    char out[ADDRESS_MAX];
    (void)state;
    assert_int_equal(listen_address_port("4700", "cluster.stream", out, &err), ST_OK);
    assert_string_equal(out, "tcp://127.0.0.1:4700");
    assert_int_equal(listen_address_port("localhost:0", "cluster.stream", out, &err), ST_OK);
    assert_string_equal(out, "tcp://127.0.0.1:*");
    assert_int_equal(listen_address_port("10.1.2.3:65535", "cluster.stream", out, &err), ST_OK);
    assert_string_equal(out, "tcp://10.1.2.3:65535");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(listen_address_port(bad[i], "cluster.stream", out, &err), ST_USAGE);
        assert_non_null(strstr(err.text, "cluster.stream"));
    }
}

static void of_this_host(void **state)
{
    char out[ADDRESS_MAX];
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    assert_int_equal(listen_address("127.0.0.1", out, &err), ST_OK);
    assert_string_equal(out, "tcp://127.0.0.1:*");
    assert_int_equal(listen_address("127.9.8.7", out, &err), ST_OK);
    assert_string_equal(out, "tcp://127.9.8.7:*");
    assert_int_equal(listen_address("127.0.0.0/8", out, &err), ST_OK);
    assert_string_equal(out, "tcp://127.0.0.1:*");
    assert_int_equal(listen_address("lo", out, &err), ST_OK);
    assert_string_equal(out, "tcp://127.0.0.1:*");
    /* A reserved network and a name that no host has: the text lists what there is. */
    assert_int_equal(listen_address("240.1.2.0/24", out, &err), ST_USAGE);
    assert_non_null(strstr(err.text, "lo 127.0.0.1"));
    assert_int_equal(listen_address("nosuchcard0", out, &err), ST_USAGE);
    assert_non_null(strstr(err.text, "nosuchcard0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(forms), cmocka_unit_test(ports),
                                       cmocka_unit_test(of_this_host)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
