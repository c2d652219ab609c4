/* serve_stream.c - a replica behind a bad network: a server in a thread answers by the shipped core (ps/train/stream.c), and
 * loses, doubles, delays and damages some of its answers, and is killed and comes back at its address. Every version
 * shown is, row by row, what the shards held. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/net/endpoint.h"
#include "ps/serve/replica.h"
#include "ps/train/stream.h"
#include "tests/support/serve_run.h"

enum { BAD = 20 /* of 1000, each kind */, LATE_MAX = 16, CUTS = 60 };

struct late {
    struct msg *m;
    uint64_t route;
};

struct server {
    char dir[256], address[ADDRESS_MAX];
    struct endpoint_hub *hub;
    struct frame_pool *pool;
    struct endpoint *ep;
    struct stream *core;
    struct rng rng;
    struct late late[LATE_MAX]; /* answers kept back, sent behind later ones */
    size_t lates;
    uint64_t list_us;
    atomic_bool stop, kill;
    _Atomic uint64_t harmed, killed;
};

static bool chance(struct server *s)
{
    return rng_below(&s->rng, 1000) < BAD;
}

static struct msg *copy_of(const struct msg *m)
{
    struct msg *c = msg_new(m->kind);
    c->job = m->job;
    c->boot = m->boot;
    c->role = m->role;
    c->u = m->u;
    c->frames = m->frames;
    for (uint32_t i = 0; i < m->frames && m->frame[i].bytes > 0; i++) {
        c->frame[i] =
            (struct frame){.data = mem_alloc(m->frame[i].bytes), .bytes = m->frame[i].bytes};
        memcpy(c->frame[i].data, m->frame[i].data, m->frame[i].bytes);
    }
    return c;
}

static void free_frame(void *data, void *hint)
{
    (void)hint;
    free(data);
}

static void send(struct server *s, struct msg *m, uint64_t route)
{
    for (uint32_t i = 0; i < m->frames; i++) {
        m->frame[i].release = m->frame[i].bytes > 0 ? free_frame : NULL;
    }
    (void)endpoint_send(s->ep, route, &m);
}

static void discard(struct msg *m)
{
    for (uint32_t i = 0; i < m->frames; i++) {
        m->frame[i].release = m->frame[i].bytes > 0 ? free_frame : NULL;
    }
    msg_free(m);
}

static void answer(struct server *s, struct msg *m, uint64_t route)
{
    const bool lost = chance(s), twice = chance(s), late = chance(s) && s->lates < LATE_MAX,
               damaged = chance(s);
    atomic_fetch_add(&s->harmed, lost || twice || late || damaged);
    if (damaged && m->frames > 0 && m->frame[0].bytes > 0) {
        ((uint8_t *)m->frame[0].data)[rng_below(&s->rng, m->frame[0].bytes)] ^= 1;
    } else if (damaged && m->kind == MSG_PIECE) {
        m->u.piece.offset ^= 1;
    }
    if (twice) {
        send(s, copy_of(m), route);
    }
    if (lost) {
        discard(m);
    } else if (late) {
        s->late[s->lates++] = (struct late){m, route};
    } else {
        send(s, m, route);
    }
    if (s->lates > 0 && rng_below(&s->rng, 8) == 0) {
        struct late *l = &s->late[--s->lates];
        send(s, l->m, l->route);
    }
}

static struct msg *new_answer(enum msg_kind kind)
{
    struct msg *m = msg_new(kind);
    m->job = 99;
    m->boot = 1;
    m->role = ROLE_HEAD;
    return m;
}

static struct msg *piece(struct server *s, const struct msg_fetch *f)
{
    const char *path = stream_path(s->core, f->name);
    struct file_map map = {0};
    struct msg *m = new_answer(MSG_PIECE);
    m->frames = 1;
    m->u.piece = (struct msg_piece){.request = f->request, .gone = true};
    if (path == NULL || file_map_open(path, &map, NULL) != ST_OK) {
        return m;
    }
    const uint64_t left = f->offset < map.n ? map.n - f->offset : 0;
    const size_t n = (size_t)(left < f->bytes ? left : f->bytes);
    if (n > 0) {
        m->frame[0] = (struct frame){.data = mem_alloc(n), .bytes = n};
        memcpy(m->frame[0].data, map.data + f->offset, n);
    }
    m->u.piece = (struct msg_piece){.request = f->request, .offset = f->offset, .total = map.n};
    m->u.piece.xxh3 = hash_bytes(m->frame[0].data, n, 0);
    file_map_close(&map);
    return m;
}

static void list_cuts(struct server *s)
{
    struct manifest list[STREAM_CUTS];
    uint64_t *k = NULL;
    size_t n = 0, used = 0;
    if (clock_now_us() < s->list_us || manifest_list(s->dir, &k, &n, NULL, NULL) != ST_OK) {
        return;
    }
    s->list_us = clock_now_us() + 2000;
    for (size_t i = n > STREAM_CUTS ? n - STREAM_CUTS : 0; i < n; i++) {
        used += manifest_read(s->dir, k[i], &list[used], NULL) == ST_OK;
    }
    stream_cuts(s->core, s->dir, list, used);
    for (size_t i = 0; i < used; i++) {
        manifest_release(&list[i]);
    }
    free(k);
}

static bool bind_there(struct server *s)
{
    const struct endpoint_conf conf = {
        .job = 99, .boot = 1, .role = ROLE_HEAD, .pool = s->pool, .any_job = true};
    return endpoint_bind(s->hub, &conf, s->address, &s->ep, NULL) == ST_OK;
}

/* Dead for a while, with all that was to be sent; then there again. */
static void die(struct server *s)
{
    endpoint_close(s->ep);
    s->ep = NULL;
    while (s->lates > 0) {
        discard(s->late[--s->lates].m);
    }
    s->core->waits = 0;
    clock_sleep_us(200000);
    while (!bind_there(s) && !atomic_load(&s->stop)) {
        clock_sleep_us(10000);
    }
    atomic_fetch_add(&s->killed, 1);
}

static void turn(struct server *s, struct endpoint_set *set)
{
    struct msg *m = NULL;
    uint64_t route = 0;
    struct stream_answer due[8];
    endpoint_set_clear(set);
    (void)endpoint_set_add(set, s->ep);
    endpoint_set_wait(set, 2000);
    list_cuts(s);
    while (endpoint_recv(s->ep, &m, &route) == ST_OK) {
        if (m->kind == MSG_WATCH) {
            stream_watch(s->core, route, &m->u.watch, clock_now_us());
        } else if (m->kind == MSG_FETCH && atomic_exchange(&s->kill, false)) {
            msg_free(m);
            die(s); /* in the middle of a transfer */
            return;
        } else if (m->kind == MSG_FETCH) {
            answer(s, piece(s, &m->u.fetch), route);
        }
        msg_free(m);
    }
    const size_t n = stream_due(s->core, clock_now_us(), due, 8);
    for (size_t i = 0; i < n; i++) {
        m = new_answer(MSG_CUT);
        m->u.cut = (struct msg_cut){due[i].request, due[i].k};
        answer(s, m, due[i].route);
    }
}

static void *serve(void *arg)
{
    struct server *s = arg;
    struct endpoint_set *set = endpoint_set_new();
    while (!atomic_load(&s->stop)) {
        turn(s, set);
    }
    while (s->lates > 0) {
        discard(s->late[--s->lates].m);
    }
    endpoint_set_free(set);
    endpoint_close(s->ep);
    return NULL;
}

static void fix(struct server *s, const char *name)
{
    char *path = file_join(s->dir, name);
    stream_fix(s->core, name, path);
    free(path);
}

static struct server *server_new(const struct world *w)
{
    struct server *s = mem_zalloc(sizeof(*s));
    struct errbuf err = ERRBUF_INIT;
    snprintf(s->dir, sizeof(s->dir), "%s", w->dir);
    snprintf(s->address, sizeof(s->address), "tcp://127.0.0.1:*");
    s->rng.key = 11;
    s->pool = frame_pool_new(16 << 20);
    s->core = stream_new();
    static const char *const boot[] = {"job", "resolved.yaml", "plan.json", "cache/encoder.bin"};
    for (size_t i = 0; i < 4; i++) {
        fix(s, boot[i]);
    }
    assert_int_equal(endpoint_hub_new(&s->hub, &err), ST_OK);
    assert_true(bind_there(s));
    snprintf(s->address, sizeof(s->address), "%s", endpoint_address(s->ep));
    return s;
}

static void server_free(struct server *s)
{
    endpoint_hub_free(s->hub);
    frame_pool_free(s->pool);
    stream_free(s->core);
    free(s);
}

static void wait_shown(struct replica *r, uint64_t k)
{
    struct replica_stats st;
    const uint64_t until = clock_now_us() + 60000000;
    for (replica_stats(r, &st); st.shown_k != k; replica_stats(r, &st)) {
        if (clock_now_us() > until) {
            fail_msg("cut %" PRIu64 " is shown, not %" PRIu64 ": %s", st.shown_k, k, st.why);
        }
        clock_sleep_us(500);
    }
}

static void every_version_is_whole(void **state)
{
    (void)state;
    struct world *w = serve_run_new(3, 21);
    struct server *s = server_new(w);
    struct errbuf err = ERRBUF_INIT;
    struct replica *r = NULL;
    pthread_t thread;
    world_push(w, 3000, 20000);
    serve_run_cut(w, 1, true);
    assert_int_equal(pthread_create(&thread, NULL, serve, s), 0);
    struct replica_conf conf = {.follow = s->address, .quiet = true, .wait_us = 60000000};
    atomic_store(&s->kill, true); /* while the node boots */
    if (replica_open(&conf, &r, &err) != ST_OK) {
        fail_msg("%s", err.text);
    }
    struct replica_reader *rd = replica_join(r);
    for (uint64_t k = 1; k <= CUTS; k++) {
        if (k == 30) {
            w = serve_run_reshard(w, 5);
        }
        if (k > 1) {
            world_push(w, 500, 20000);
            serve_run_cut(w, k, k % 10 == 0);
        }
        atomic_store(&s->kill, k % 12 == 5);
        wait_shown(r, k);
        const struct version *v = replica_enter(rd, 0);
        assert_int_equal(version_cut(v), k);
        serve_run_equal(w, v);
        replica_leave(rd);
    }
    struct replica_stats st;
    replica_stats(r, &st);
    print_message("%d answers harmed, %d deaths, asked again %d times\n",
                  (int)atomic_load(&s->harmed), (int)atomic_load(&s->killed),
                  (int)st.retried_total);
    assert_int_equal(st.mismatch_total + st.damaged_total + st.refused_total, 0);
    assert_true(atomic_load(&s->harmed) > 10 && atomic_load(&s->killed) >= 5 &&
                st.retried_total > 10);
    replica_part(rd);
    replica_close(r);
    atomic_store(&s->stop, true);
    pthread_join(thread, NULL);
    server_free(s);
    serve_run_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_version_is_whole)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
