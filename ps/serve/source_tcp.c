/* source_tcp.c - see source_tcp.h: a socket around fetcher.h. */
#include "ps/serve/source_tcp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/options.h"
#include "common/base/rng.h"
#include "common/net/endpoint.h"
#include "common/wire/limits.h"
#include "ps/serve/fetcher.h"

enum {
    POOL_BYTES = 16 << 20,
    SMALL_BYTES_MAX = 1 << 30, /* of a boot file or a manifest */
    HEADER_BYTES = 256 << 10,  /* asked for first; a header is rarely longer */
    KEEP_QUESTION_US = 1000000,
    TURN_US = 100000 /* how soon stop is seen */
};

struct source_tcp {
    struct endpoint_hub *hub;
    struct frame_pool *pool;
    struct endpoint *ep;
    struct endpoint_set *set;
    uint64_t boot;
    const atomic_bool *stop; /* borrowed */
    struct fetcher f;
    char dir[256];  /* the local copy of the run's small files */
    uint64_t after; /* of the watch that is under way */
    _Atomic uint64_t fetched, retried, heard_us;
};

static const char *const boot_files[] = {"job", "resolved.yaml", "plan.json", "cache/encoder.bin",
                                         "cache/catalog.bin"};

/* -- one turn of the socket -- */

static void send_all(struct source_tcp *s)
{
    struct fetcher_question q;
    while (fetcher_next(&s->f, clock_now_us(), &q)) {
        struct msg *m = msg_new(q.is_watch ? MSG_WATCH : MSG_FETCH);
        m->boot = s->boot;
        m->role = ROLE_FOLLOWER;
        if (q.is_watch) {
            m->u.watch = q.watch;
        } else {
            m->u.fetch = q.fetch;
        }
        (void)endpoint_send(s->ep, ENDPOINT_PEER, &m);
    }
}

static void receive_all(struct source_tcp *s)
{
    struct msg *m = NULL;
    uint64_t route;
    while (s->f.state == FETCHER_BUSY && endpoint_recv(s->ep, &m, &route) == ST_OK) {
        bool ours = false;
        if (m->kind == MSG_CUT) {
            ours = fetcher_take_cut(&s->f, &m->u.cut);
        } else if (m->kind == MSG_PIECE) {
            ours = fetcher_take_piece(&s->f, &m->u.piece, m->frame[0].data, m->frame[0].bytes);
        }
        if (ours) {
            atomic_store(&s->heard_us, clock_now_us());
        }
        msg_free(m);
    }
    atomic_store(&s->fetched, s->f.got_bytes);
    atomic_store(&s->retried, s->f.retried);
}

/* Until the task has ended, at most until until_us (monotonic; UINT64_MAX: as long as nobody says stop). */
static bool finish(struct source_tcp *s, uint64_t until_us)
{
    while (s->f.state == FETCHER_BUSY) {
        send_all(s);
        const uint64_t now = clock_now_us(), wake = fetcher_wake_us(&s->f);
        uint64_t wait = TURN_US;
        if (now >= until_us || (s->stop != NULL && atomic_load(s->stop))) {
            receive_all(s);
            return s->f.state != FETCHER_BUSY;
        }
        wait = until_us - now < wait ? until_us - now : wait;
        wait = wake <= now ? 0 : wake - now < wait ? wake - now : wait;
        endpoint_set_clear(s->set);
        (void)endpoint_set_add(s->set, s->ep);
        endpoint_set_wait(s->set, wait);
        receive_all(s);
    }
    return true;
}

static enum status outcome(struct source_tcp *s, const char *name, bool ended, struct errbuf *err)
{
    if (!ended) {
        return errbuf_set(err, ST_TIMEOUT, "%s: no answer yet", endpoint_address(s->ep));
    }
    return s->f.state == FETCHER_DONE ? ST_OK
                                      : errbuf_set(err, ST_NOT_FOUND, "%s: it has no %s (any more)",
                                                   endpoint_address(s->ep), name);
}

/* A whole file of unknown size, small enough for memory; *out owned, with a 0 behind. */
static enum status fetch_small(struct source_tcp *s, const char *name, uint64_t until_us,
                               char **out, size_t *out_n, struct errbuf *err)
{
    /* One byte tells the size. */
    uint8_t first[1];
    struct fetcher_range range = {0, 1};
    fetcher_file(&s->f, name, first, &range, 1);
    enum status st = outcome(s, name, finish(s, until_us), err);
    if (st != ST_OK) {
        return st;
    }
    const uint64_t total = s->f.total;
    if (total > SMALL_BYTES_MAX) {
        return errbuf_set(err, ST_BAD_DATA, "%s: %" PRIu64 " bytes are too many", name, total);
    }
    char *text = mem_alloc(total + 1);
    range.bytes = total;
    fetcher_file(&s->f, name, (uint8_t *)text, &range, 1);
    st = outcome(s, name, finish(s, until_us), err);
    if (st == ST_OK && s->f.total != total) {
        st = errbuf_set(err, ST_AGAIN, "%s changed while it was fetched", name);
    }
    if (st != ST_OK) {
        free(text);
        return st;
    }
    text[total] = '\0';
    *out = text;
    *out_n = total;
    return ST_OK;
}

/* -- manifests -- */

static enum status fetch_manifest(struct source_tcp *s, uint64_t k, struct manifest *out,
                                  struct errbuf *err)
{
    char name[64], *text = NULL;
    size_t n = 0;
    snprintf(name, sizeof(name), "cuts/%" PRIu64 ".json", k);
    enum status st = fetch_small(s, name, UINT64_MAX, &text, &n, err);
    if (st == ST_OK) {
        st = manifest_parse(text, n, name, out, err);
        if (st == ST_OK && out->k != k) {
            manifest_release(out);
            st = errbuf_set(err, ST_BAD_DATA, "%s is the manifest of another cut", name);
        }
    }
    free(text);
    return st;
}

static enum status ask_watch(struct source_tcp *s, uint64_t after, uint64_t below, uint64_t wait_us,
                             struct manifest *out, struct errbuf *err)
{
    const bool same = s->f.state == FETCHER_BUSY && s->f.watching && s->f.watch.after == after &&
                      s->f.watch.below == below;
    if (!same) {
        fetcher_watch(&s->f, after, below, below != 0 ? 0 : KEEP_QUESTION_US);
    }
    if (!finish(s, below != 0 ? UINT64_MAX : clock_now_us() + wait_us)) {
        return errbuf_set(err, ST_TIMEOUT, "no cut above %" PRIu64, after);
    }
    if (s->f.cut.k == 0) {
        return errbuf_set(err, below != 0 ? ST_NOT_FOUND : ST_TIMEOUT, "no such cut");
    }
    return fetch_manifest(s, s->f.cut.k, out, err);
}

static enum status tcp_watch(void *ctx, uint64_t after, uint64_t wait_us, struct manifest *out,
                             struct errbuf *err)
{
    return ask_watch(ctx, after, 0, wait_us, out, err);
}

static enum status tcp_before(void *ctx, uint64_t k, struct manifest *out, struct errbuf *err)
{
    return ask_watch(ctx, 0, k, 0, out, err);
}

/* -- data files -- */

static bool ends_in(const char *name, const char *suffix, size_t *out_stem)
{
    const size_t n = strlen(name), m = strlen(suffix);
    *out_stem = n > m ? n - m : 0;
    return n > m && strcmp(name + n - m, suffix) == 0;
}

static bool has(const struct safetensors *f, const char *name, size_t stem, const char *suffix)
{
    char text[160];
    snprintf(text, sizeof(text), "%.*s%s", (int)stem, name, suffix);
    return safetensors_find(f, text) != NULL;
}

/* State and meta of rows or of a dense tensor: what a node has no use for. */
static bool needless(const struct safetensors *f, const struct tensor_info *t)
{
    size_t stem;
    return (ends_in(t->name, ".state", &stem) || ends_in(t->name, ".meta", &stem)) &&
           (has(f, t->name, stem, ".rows") || has(f, t->name, stem, ""));
}

/* Tensors stand in the order of their bytes; neighbours become one range. */
static struct fetcher_range *wanted(const struct safetensors *f, uint64_t data_at, uint64_t have,
                                    size_t *out_n)
{
    struct fetcher_range *range = mem_array(f->n + 1, sizeof(*range));
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++) {
        const struct tensor_info *t = &f->tensors[i];
        uint64_t begin = data_at + t->begin;
        const uint64_t end = data_at + t->end;
        begin = begin < have ? have : begin;
        if (begin >= end || needless(f, t)) {
            continue;
        }
        if (n > 0 && range[n - 1].offset + range[n - 1].bytes == begin) {
            range[n - 1].bytes = end - range[n - 1].offset;
        } else {
            range[n++] = (struct fetcher_range){begin, end - begin};
        }
    }
    *out_n = n;
    return range;
}

static enum status fetch_range(struct source_tcp *s, const struct manifest_file *f, uint8_t *to,
                               uint64_t from, uint64_t end, struct errbuf *err)
{
    const struct fetcher_range range = {from, end - from};
    fetcher_file(&s->f, f->name, to, &range, from < end ? 1 : 0);
    return outcome(s, f->name, finish(s, UINT64_MAX), err);
}

/* The header, and how many bytes of the file are there with it. */
static enum status fetch_header(struct source_tcp *s, const struct manifest_file *f, uint8_t *map,
                                uint64_t *out_have, uint64_t *out_data, struct errbuf *err)
{
    uint64_t have = f->bytes < HEADER_BYTES ? f->bytes : HEADER_BYTES, length = 0;
    enum status st = fetch_range(s, f, map, 0, have, err);
    if (st != ST_OK) {
        return st;
    }
    if (s->f.total != f->bytes || f->bytes < 8) {
        return errbuf_set(err, ST_BAD_DATA,
                          "%s: %" PRIu64 " bytes long, the manifest says %" PRIu64, f->name,
                          s->f.total, f->bytes);
    }
    memcpy(&length, map, 8);
    if (length > f->bytes - 8) {
        return errbuf_set(err, ST_BAD_DATA, "%s: damaged: its header is longer than the file",
                          f->name);
    }
    if (8 + length > have) {
        st = fetch_range(s, f, map, have, 8 + length, err);
        have = 8 + length;
    }
    *out_have = have;
    *out_data = 8 + length;
    return st;
}

static enum status fetch_weights(struct source_tcp *s, const struct manifest_file *f, uint8_t *map,
                                 struct errbuf *err)
{
    uint64_t have = 0, data_at = 0;
    struct safetensors tensors;
    enum status st = fetch_header(s, f, map, &have, &data_at, err);
    if (st == ST_OK) {
        st = safetensors_parse(map, f->bytes, f->name, &tensors, err);
    }
    if (st != ST_OK) {
        return st;
    }
    size_t n = 0;
    struct fetcher_range *range = wanted(&tensors, data_at, have, &n);
    safetensors_close(&tensors);
    fetcher_file(&s->f, f->name, map, range, n);
    free(range);
    return outcome(s, f->name, finish(s, UINT64_MAX), err);
}

static enum status tcp_part(void *ctx, const struct manifest *m, size_t file,
                            const struct plan *plan, struct part *out, struct errbuf *err)
{
    struct source_tcp *s = ctx;
    const struct manifest_file *f = &m->files[file];
    uint8_t *map = mmap(NULL, f->bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        return errbuf_errno(err, ST_NO_MEMORY, "%s: %" PRIu64 " bytes", f->name, f->bytes);
    }
    enum status st = fetch_weights(s, f, map, err);
    if (st == ST_OK) {
        st = part_parse(map, f->bytes, f->name, plan, out, err);
    }
    if (st != ST_OK) {
        munmap(map, f->bytes);
        return st; /* ST_NOT_FOUND: pruned meanwhile, so a newer manifest is there */
    }
    out->file.map = (struct file_map){map, f->bytes};
    out->k = f->k;
    snprintf(out->name, sizeof(out->name), "%s", f->name);
    return ST_OK;
}

/* -- opening and closing -- */

static enum status copy_boot(struct source_tcp *s, uint64_t until_us, struct errbuf *err)
{
    char *cache = file_join(s->dir, "cache");
    enum status st = file_mkdirs(cache, err);
    free(cache);
    for (size_t i = 0; st == ST_OK && i < sizeof(boot_files) / sizeof(boot_files[0]); i++) {
        char *text = NULL, *path = file_join(s->dir, boot_files[i]);
        size_t n = 0;
        st = fetch_small(s, boot_files[i], until_us, &text, &n, err);
        if (st == ST_NOT_FOUND && strcmp(boot_files[i], "cache/catalog.bin") == 0) {
            st = ST_OK; /* not every job has one */
        } else if (st == ST_OK) {
            st = file_write_atomic(path, text, n, err);
        }
        free(text);
        free(path);
    }
    return st;
}

static void tcp_counts(void *ctx, struct source_counts *out)
{
    struct source_tcp *s = ctx;
    *out = (struct source_counts){atomic_load(&s->fetched), atomic_load(&s->retried),
                                  atomic_load(&s->heard_us)};
}

static void remove_copy(const struct source_tcp *s)
{
    if (s->dir[0] == '\0') {
        return;
    }
    for (size_t i = 0; i < sizeof(boot_files) / sizeof(boot_files[0]); i++) {
        char *path = file_join(s->dir, boot_files[i]);
        unlink(path);
        free(path);
    }
    char *cache = file_join(s->dir, "cache");
    rmdir(cache);
    free(cache);
    rmdir(s->dir);
}

static void tcp_close(void *ctx)
{
    struct source_tcp *s = ctx;
    endpoint_close(s->ep);
    endpoint_set_free(s->set);
    endpoint_hub_free(s->hub);
    frame_pool_free(s->pool);
    fetcher_release(&s->f);
    remove_copy(s);
    free(s);
}

static enum status dial(struct source_tcp *s, const char *address, struct errbuf *err)
{
    const struct endpoint_conf conf = {.boot = s->boot,
                                       .role = ROLE_FOLLOWER,
                                       .pool = s->pool,
                                       .frame_bytes_max = WIRE_ENVELOPE_MAX,
                                       .message_bytes_max = WIRE_ENVELOPE_MAX + WIRE_PIECE_MAX,
                                       .any_job = true};
    enum status st = endpoint_hub_new(&s->hub, err);
    if (st == ST_OK) {
        st = endpoint_dial(s->hub, &conf, address, &s->ep, err);
    }
    return st;
}

enum status source_tcp_open(const char *address, uint64_t wait_us, const atomic_bool *stop,
                            struct source *out, const char **out_dir, struct errbuf *err)
{
    const char *tmp = option_env("TMPDIR");
    struct source_tcp *s = mem_zalloc(sizeof(*s));
    s->boot = rng_os_u64();
    s->stop = stop;
    s->pool = frame_pool_new(POOL_BYTES);
    s->set = endpoint_set_new();
    fetcher_init(&s->f, rng_os_u64() >> 1, 0);
    enum status st = dial(s, address, err);
    if (st == ST_OK) {
        snprintf(s->dir, sizeof(s->dir), "%.200s/penstock-follow.XXXXXX",
                 tmp != NULL ? tmp : "/tmp");
        if (mkdtemp(s->dir) == NULL) {
            s->dir[0] = '\0';
            st = errbuf_errno(err, ST_IO, "can't make a folder in %s", tmp != NULL ? tmp : "/tmp");
        }
    }
    if (st == ST_OK) {
        st = copy_boot(s, clock_now_us() + wait_us, err);
    }
    if (st != ST_OK) {
        tcp_close(s);
        return st;
    }
    *out = (struct source){s, tcp_watch, tcp_before, tcp_part, tcp_counts, tcp_close};
    *out_dir = s->dir;
    return ST_OK;
}
