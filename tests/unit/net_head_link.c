/* net_head_link.c - DIR/head: late, stale, damaged, of another job; and the run folder's other files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/net/head_link.h"

enum { JOB = 77, BEAT_US = 10000, DEADLINE_US = 20000000 };

struct world {
    char dir[64];
    struct endpoint_hub *hub;
    struct frame_pool *pool;
    struct endpoint *head;
    struct head_link link;
};

static struct endpoint_conf conf_of(struct world *w, enum role role)
{
    return (struct endpoint_conf){.job = JOB, .boot = 5, .role = role, .pool = w->pool};
}

static void bind_head(struct world *w)
{
    struct errbuf err = ERRBUF_INIT;
    struct endpoint_conf conf = conf_of(w, ROLE_HEAD);
    assert_int_equal(endpoint_bind(w->hub, &conf, "tcp://127.0.0.1:*", &w->head, &err), ST_OK);
    assert_int_equal(run_dir_head_write(w->dir, JOB, 5, endpoint_address(w->head), &err), ST_OK);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct errbuf err = ERRBUF_INIT;
    snprintf(w->dir, sizeof(w->dir), "%s", "/tmp/net_head_link.XXXXXX");
    log_set_level(LOG_ERROR);
    if (mkdtemp(w->dir) == NULL || endpoint_hub_new(&w->hub, &err) != ST_OK)
        return -1;
    w->pool = frame_pool_new(1 << 20);
    struct endpoint_conf conf = conf_of(w, ROLE_WORKER);
    head_link_init(&w->link, w->hub, w->dir, &conf, BEAT_US);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char path[128];
    head_link_release(&w->link);
    endpoint_close(w->head);
    endpoint_hub_free(w->hub);
    frame_pool_free(w->pool);
    snprintf(path, sizeof(path), "%s/head", w->dir);
    unlink(path);
    rmdir(w->dir);
    free(w);
    return 0;
}

/* The worker says STATE until the head hears it, and the head answers. */
static void expect_heard(struct world *w)
{
    uint64_t until = clock_now_us() + DEADLINE_US, route = 0;
    struct endpoint_set *set = endpoint_set_new();
    struct msg *m = NULL;
    while (m == NULL && clock_now_us() < until) {
        struct msg *state = msg_new(MSG_WORKER_STATE);
        state->job = JOB;
        state->boot = 5;
        state->role = ROLE_WORKER;
        state->u.worker.world = 1;
        state->u.worker.world_size = 1;
        head_link_tick(&w->link, clock_now_us());
        head_link_send(&w->link, &state);
        endpoint_set_clear(set);
        endpoint_set_add(set, w->head);
        if (w->link.ep != NULL)
            endpoint_set_add(set, w->link.ep);
        endpoint_set_wait(set, BEAT_US);
        if (endpoint_recv(w->head, &m, &route) != ST_OK)
            m = NULL;
    }
    assert_non_null(m);
    msg_free(m);
    m = msg_new(MSG_LEASE);
    m->job = JOB;
    m->boot = 5;
    m->role = ROLE_HEAD;
    m->u.lease.number = 1;
    m->u.lease.end = 1;
    assert_int_equal(endpoint_send(w->head, route, &m), ST_OK);
    while ((m = head_link_recv(&w->link, clock_now_us())) == NULL && clock_now_us() < until)
        endpoint_set_wait(set, BEAT_US);
    assert_non_null(m);
    msg_free(m);
    endpoint_set_free(set);
}

static void late_and_moved(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 5; i++) {
        head_link_tick(&w->link, clock_now_us() + (uint64_t)i * BEAT_US * 2);
        assert_null(w->link.ep);
    }
    bind_head(w);
    expect_heard(w);
    /* The head dies and lives elsewhere. */
    endpoint_close(w->head);
    bind_head(w);
    expect_heard(w);
}

static void write_head(struct world *w, const char *text)
{
    struct errbuf err = ERRBUF_INIT;
    char path[128];
    snprintf(path, sizeof(path), "%s/head", w->dir);
    assert_int_equal(file_write_atomic(path, text, strlen(text), &err), ST_OK);
}

static void foreign_and_damaged(void **state)
{
    struct world *w = *state;
    struct errbuf err = ERRBUF_INIT;
    char address[ADDRESS_MAX] = "unchanged";
    assert_int_equal(run_dir_head_read(w->dir, JOB, address, &err), ST_NOT_FOUND);
    assert_int_equal(run_dir_head_write(w->dir, JOB + 1, 5, "tcp://127.0.0.1:1", &err), ST_OK);
    assert_int_equal(run_dir_head_read(w->dir, JOB, address, &err), ST_FOREIGN);
    const char *bad[] = {"",
                         "\n",
                         "tcp://127.0.0.1:1",
                         "tcp://127.0.0.1:1 4d\n",
                         "tcp://127.0.0.1:1 4d 05",
                         "tcp://127.0.0.1:1 4d 05\nmore\n",
                         "\x01\x02\xff\xfe junk"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_head(w, bad[i]);
        assert_int_equal(run_dir_head_read(w->dir, JOB, address, &err), ST_BAD_DATA);
        assert_non_null(strstr(err.text, "head"));
    }
    assert_string_equal(address, "unchanged");
    head_link_tick(&w->link, clock_now_us());
    assert_null(w->link.ep);
    bind_head(w);
    assert_int_equal(run_dir_head_read(w->dir, JOB, address, &err), ST_OK);
    assert_string_equal(address, endpoint_address(w->head));
    expect_heard(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(late_and_moved, setup, teardown),
        cmocka_unit_test_setup_teardown(foreign_and_damaged, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
