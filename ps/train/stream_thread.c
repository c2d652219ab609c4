/* stream_thread.c - see stream_thread.h; what is answered is stream.h's to say.
 *
 * A request is answered at once from a file that is opened for it: no state between two requests, and the page cache holds
 * what followers read at the same time. cuts/ is listed every 20 ms while somebody waits for a cut.
 */
#include "ps/train/stream_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/thread.h"
#include "common/net/listen_address.h"
#include "common/wire/limits.h"
#include "ps/train/stream.h"

enum {
    LOOK_US = 20000,     /* between two listings of cuts/ while somebody waits */
    IDLE_US = 500000,    /* longest wait */
    RETRY_US = 1000000,  /* between two tries to bind */
    QUIET_US = 500000,   /* at the end: nobody asks any more */
    LINGER_US = 3000000, /* at the end, at most */
    MESSAGES_A_TURN = 64,
    ANSWERS_A_TURN = 64,
    FOLLOWERS_MAX = 4096,
    QUEUE_BYTES = 16 << 20 /* of one follower: its window of pieces and a little */
};

struct stream_thread {
    /* -- set once in start -- */
    struct ps_run *p; /* borrowed */
    struct thread thread;
    struct wake wake;
    char address[ADDRESS_MAX];
    struct endpoint_conf conf;
    /* -- stream thread only -- */
    struct endpoint *listen; /* NULL until bound */
    struct endpoint_set *set;
    struct stream *core;
    uint64_t look_us, bind_us, heard_us; /* heard: the last question that was answered */
    bool bind_told;
    uint64_t newest, oldest; /* of the listing that the core has */
    size_t listed;
    /* -- any thread -- */
    atomic_bool stop;
};

/* -- cuts -- */

static void read_cuts(struct stream_thread *t)
{
    struct manifest list[STREAM_CUTS];
    uint64_t *k = NULL;
    size_t n = 0, used = 0;
    struct errbuf err = ERRBUF_INIT;
    t->look_us = clock_now_us() + LOOK_US;
    if (manifest_list(t->p->dir.path, &k, &n, NULL, &err) != ST_OK) {
        log_warn("stream: %s", err.text);
        return;
    }
    if (n > 0 && (k[n - 1] != t->newest || k[0] != t->oldest || n != t->listed)) {
        t->newest = k[n - 1];
        t->oldest = k[0];
        t->listed = n;
        for (size_t i = n > STREAM_CUTS ? n - STREAM_CUTS : 0; i < n; i++) {
            if (manifest_read(t->p->dir.path, k[i], &list[used], &err) == ST_OK) {
                used++;
            } else {
                log_warn("stream: %s", err.text);
            }
        }
        stream_cuts(t->core, t->p->dir.path, list, used);
        for (size_t i = 0; i < used; i++) {
            manifest_release(&list[i]);
        }
    }
    free(k);
}

/* -- answers -- */

static struct msg *answer(struct stream_thread *t, enum msg_kind kind)
{
    struct msg *m = msg_new(kind);
    m->job = t->p->dir.job_id;
    m->boot = t->p->boot;
    m->role = ROLE_HEAD;
    return m;
}

/* Up to n bytes from offset on; false: the file can't be read. */
static bool read_piece(struct stream_thread *t, const char *path, const struct msg_fetch *f,
                       struct msg *m)
{
    struct stat s;
    bool whole = false;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return false;
    }
    if (fstat(fd, &s) == 0 && S_ISREG(s.st_mode)) {
        const uint64_t total = (uint64_t)s.st_size,
                       left = f->offset < total ? total - f->offset : 0;
        const size_t n = (size_t)(left < f->bytes ? left : f->bytes);
        m->u.piece.total = total;
        m->u.piece.offset = f->offset < total ? f->offset : total;
        m->frame[0] = n > 0 ? frame_pool_get(t->p->pool, n) : (struct frame){0};
        whole = n == 0 || pread(fd, m->frame[0].data, n, (off_t)f->offset) == (ssize_t)n;
        m->u.piece.xxh3 = hash_bytes(m->frame[0].data, n, 0);
    }
    close(fd);
    return whole;
}

static void serve_fetch(struct stream_thread *t, const struct msg_fetch *f, uint64_t route)
{
    const char *path = stream_path(t->core, f->name);
    struct msg *m = answer(t, MSG_PIECE);
    m->frames = 1;
    m->u.piece.request = f->request;
    if (path == NULL || !read_piece(t, path, f, m)) {
        frame_release(&m->frame[0]);
        m->u.piece = (struct msg_piece){.request = f->request, .gone = true};
    }
    (void)endpoint_send(t->listen, route, &m);
}

static void take_messages(struct stream_thread *t)
{
    for (unsigned i = 0; i < MESSAGES_A_TURN; i++) {
        struct msg *m = NULL;
        uint64_t route = 0;
        if (endpoint_recv(t->listen, &m, &route) != ST_OK) {
            return;
        }
        if (m->kind == MSG_WATCH) {
            read_cuts(t);
            stream_watch(t->core, route, &m->u.watch, clock_now_us());
        } else if (m->kind == MSG_FETCH) {
            t->heard_us = clock_now_us();
            serve_fetch(t, &m->u.fetch, route);
        }
        msg_free(m);
    }
}

static void answer_watches(struct stream_thread *t)
{
    struct stream_answer due[ANSWERS_A_TURN];
    if (t->core->waits == 0) {
        return;
    }
    if (clock_now_us() >= t->look_us) {
        read_cuts(t);
    }
    const size_t n = stream_due(t->core, clock_now_us(), due, ANSWERS_A_TURN);
    for (size_t i = 0; i < n; i++) {
        struct msg *m = answer(t, MSG_CUT);
        m->u.cut = (struct msg_cut){.request = due[i].request, .k = due[i].k};
        (void)endpoint_send(t->listen, due[i].route, &m);
        t->heard_us = due[i].k != 0 ? clock_now_us() : t->heard_us;
    }
}

/* -- the loop -- */

static void try_bind(struct stream_thread *t)
{
    struct errbuf err = ERRBUF_INIT;
    t->bind_us = clock_now_us() + RETRY_US;
    if (endpoint_bind(t->p->hub, &t->conf, t->address, &t->listen, &err) != ST_OK) {
        if (!t->bind_told) {
            log_warn("stream: %s: %s; tried again each second", t->address, err.text);
        }
        t->bind_told = true;
        return;
    }
    char text[ADDRESS_MAX + 2], *path = file_join(t->p->dir.path, "stream");
    const int n = snprintf(text, sizeof(text), "%s\n", endpoint_address(t->listen));
    if (file_write_atomic(path, text, (size_t)n, &err) != ST_OK) {
        log_warn("stream: %s", err.text);
    }
    free(path);
    log_info("stream: cuts are served at %s", endpoint_address(t->listen));
}

static void wait(struct stream_thread *t)
{
    size_t at = SIZE_MAX;
    endpoint_set_clear(t->set);
    if (t->listen != NULL) {
        (void)endpoint_set_add(t->set, t->listen);
    }
    at = endpoint_set_add_fd(t->set, t->wake.fd);
    endpoint_set_wait(t->set, t->core->waits > 0 ? LOOK_US : IDLE_US);
    if (endpoint_set_ready(t->set, at)) {
        wake_clear(&t->wake);
    }
}

static void turn(struct stream_thread *t)
{
    wait(t);
    if (t->listen != NULL) {
        take_messages(t);
        answer_watches(t);
    }
}

/* The run has ended with a cut that followers have not got yet: they may still get it. Bounded, and only while they ask. */
static void linger(struct stream_thread *t)
{
    const uint64_t began = clock_now_us();
    t->look_us = 0;
    t->heard_us = t->core->waits > 0 || began - t->heard_us < QUIET_US ? began : 0;
    while (clock_now_us() - began < LINGER_US && clock_now_us() - t->heard_us < QUIET_US) {
        turn(t);
    }
}

static void *run(void *arg)
{
    struct stream_thread *t = arg;
    while (!atomic_load(&t->stop)) {
        if (t->listen == NULL && clock_now_us() >= t->bind_us) {
            try_bind(t);
        }
        turn(t);
    }
    if (t->listen != NULL) {
        linger(t);
    }
    return NULL;
}

/* -- start and stop -- */

static void fix_names(struct stream_thread *t)
{
    static const char *const of_dir[] = {"job", "resolved.yaml", "plan.json"};
    static const char *const of_cache[] = {"encoder.bin", "catalog.bin"};
    for (size_t i = 0; i < sizeof(of_dir) / sizeof(of_dir[0]); i++) {
        char *path = file_join(t->p->dir.path, of_dir[i]);
        stream_fix(t->core, of_dir[i], path);
        free(path);
    }
    for (size_t i = 0; i < sizeof(of_cache) / sizeof(of_cache[0]); i++) {
        char name[64], *path = file_join(t->p->dir.cache, of_cache[i]);
        snprintf(name, sizeof(name), "cache/%s", of_cache[i]);
        stream_fix(t->core, name, path);
        free(path);
    }
}

enum status stream_thread_start(struct ps_run *p, struct stream_thread **out, struct errbuf *err)
{
    char address[ADDRESS_MAX];
    *out = NULL;
    if (p->dir.job.cluster.stream[0] == '\0') {
        return ST_OK;
    }
    enum status st = listen_address_port(p->dir.job.cluster.stream, "cluster.stream", address, err);
    if (st != ST_OK) {
        return st;
    }
    struct stream_thread *t = mem_zalloc(sizeof(*t));
    t->p = p;
    memcpy(t->address, address, sizeof(address));
    t->conf = (struct endpoint_conf){.job = p->dir.job_id,
                                     .boot = p->boot,
                                     .role = ROLE_HEAD,
                                     .pool = p->pool,
                                     .frame_bytes_max = WIRE_ENVELOPE_MAX,
                                     .message_bytes_max = WIRE_ENVELOPE_MAX,
                                     .queue_bytes_max = QUEUE_BYTES,
                                     .routes_max = FOLLOWERS_MAX,
                                     .any_job = true};
    t->set = endpoint_set_new();
    t->core = stream_new();
    fix_names(t);
    st = wake_init(&t->wake, err);
    if (st == ST_OK) {
        st = thread_start(&t->thread, "stream", run, t, err);
    }
    if (st != ST_OK) {
        stream_thread_stop(t);
        return st;
    }
    *out = t;
    return ST_OK;
}

void stream_thread_stop(struct stream_thread *t)
{
    if (t == NULL) {
        return;
    }
    atomic_store(&t->stop, true);
    wake_signal(&t->wake);
    thread_stop(&t->thread);
    endpoint_close(t->listen);
    endpoint_set_free(t->set);
    stream_free(t->core);
    wake_release(&t->wake);
    free(t);
}
