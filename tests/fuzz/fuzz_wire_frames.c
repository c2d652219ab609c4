/* fuzz_wire_frames.c - a message of any bytes: the identity, the envelope, the sizes of the frames behind it.
 *
 * Input: u8 mode, u8 frames, u32 size of each, then the envelope. Mode bit 0: the sizes are taken from the envelope
 * instead, or few inputs would get beyond the comparison of the two; bit 1: the frames stand at odd addresses, as
 * ZeroMQ's small ones do. Behind large frames there is no memory: the codec must not look into an array.
 *
 * A message that is believed keeps every limit that the cores rely on, and encodes to bytes that decode to a message
 * that encodes to the same. Frames are moved or untouched, each released once. One decode takes no more memory than
 * the budget of limits.h, the members of an ORDER, and the copies of misaligned frames (counted under ASan).
 */
#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/net/routes.h"
#include "common/wire/codec.h"
#include "common/wire/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REAL_BYTES_MAX = 1 << 16, FRAMES = MSG_FRAMES_MAX + 2 };

/* Memory taken since it was last zeroed; only a sanitizer's runtime has the hook. */
static size_t taken_bytes;
int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void *, size_t),
                                              void (*)(const volatile void *))
    __attribute__((weak));

static void on_malloc(const volatile void *p, size_t n)
{
    (void)p;
    taken_bytes += n;
}

static void on_free(const volatile void *p)
{
    (void)p;
}

/* ---- frames ---- */

static size_t released;

static void give_back(void *data, void *hint)
{
    (void)data;
    released++;
    free(hint);
}

/* Memory of its own for a small one, an address that must not be read for a large one. */
static struct frame make_frame(uint64_t bytes, bool odd)
{
    struct frame f = {.bytes = (size_t)bytes, .release = give_back};
    if (bytes == 0)
        return (struct frame){0};
    if (bytes > REAL_BYTES_MAX) {
        f.data = (void *)(uintptr_t)4096;
        return f;
    }
    f.hint = calloc(1, (size_t)bytes + odd);
    assert(f.hint != NULL);
    f.data = (char *)f.hint + odd;
    return f;
}

static bool varint(struct reader *r, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t b = reader_u8(r);
        *out |= (uint64_t)(b & 127) << shift;
        if (b < 128)
            return !r->bad;
    }
    return false;
}

/* frame_bytes of an envelope: field 7, packed. Gives up at anything it doesn't know. */
static size_t told_sizes(const uint8_t *env, size_t n, uint64_t *out)
{
    struct reader r, in;
    size_t used = 0;
    uint64_t tag, v;
    reader_init(&r, env, n);
    while (reader_left(&r) > 0 && varint(&r, &tag)) {
        switch (tag & 7) {
        case 0: (void)varint(&r, &v); break;
        case 1: (void)reader_u64(&r); break;
        case 5: (void)reader_u32(&r); break;
        case 2: {
            const uint8_t *at = varint(&r, &v) ? reader_view(&r, (size_t)v) : NULL;
            if (at == NULL)
                return used;
            if (tag >> 3 != 7)
                break;
            reader_init(&in, at, (size_t)v);
            while (reader_left(&in) > 0 && used < FRAMES && varint(&in, &v))
                out[used++] = v;
            break;
        }
        default: return used;
        }
    }
    return used;
}

/* ---- what a believed message keeps ---- */

static void tame(const char *text, size_t cap)
{
    const char *end = memchr(text, '\0', cap);
    assert(end != NULL);
    for (const char *c = text; c < end; c++)
        assert((unsigned char)*c >= 0x20 && *c != 0x7f);
}

static void check_order(const struct msg_order *o)
{
    assert(o->mode >= MODE_RECOVER && o->mode <= MODE_STOP && o->shards <= SHARDS_MAX);
    assert(o->world_size <= WORKERS_MAX);
    assert(o->records <= WIRE_RECORDS_MAX && o->split_records <= WIRE_RECORDS_MAX);
    tame(o->why, sizeof o->why);
    for (uint32_t i = 0; i < o->shards; i++)
        tame(o->member[i].address, ADDRESS_MAX);
    for (uint32_t b = 0; b < BUCKETS && o->shards > 0; b++)
        assert(o->map[b] < o->shards);
    const struct schedule *s = &o->schedule;
    assert(s->changes <= SCHEDULE_CHANGES_MAX && isfinite(s->rate_min));
    for (uint32_t i = 0; i < s->changes; i++) {
        assert(isfinite(s->change[i].factor) && s->change[i].factor >= 0);
        assert(i == 0 || s->change[i].from_step > s->change[i - 1].from_step);
    }
    assert(isfinite(schedule_rate(s, 1, o->n)));
}

static void check_states(const struct msg *m)
{
    const struct msg_worker_state *w = &m->u.worker;
    const struct msg_shard_state *s = &m->u.shard;
    if (m->kind == MSG_WORKER_STATE) {
        assert(w->leases <= LEASES_MAX && w->room <= LEASES_MAX && w->rank < w->world_size);
        assert(w->world_size <= WORKERS_MAX);
        tame(w->fault, sizeof w->fault);
        for (uint32_t i = 0; i < w->leases; i++)
            assert(w->progress[i].upto <= WIRE_RECORDS_MAX);
        return;
    }
    assert(s->shard < SHARDS_MAX && s->tables <= PLAN_TABLES_MAX);
    tame(s->address, sizeof s->address);
    tame(s->why, sizeof s->why);
    tame(s->refused_where, sizeof s->refused_where);
    tame(s->file, sizeof s->file);
    assert(s->file[0] != '/' && strstr(s->file, "..") == NULL);
}

static void check_train(const struct msg *m)
{
    const struct msg_push *p = &m->u.push;
    if (m->kind == MSG_PULL) {
        assert(m->frames == 1 && m->frame[0].bytes == 8ull * m->u.pull.n);
        assert(m->u.pull.n <= WIRE_KEYS_MAX);
    } else if (m->kind == MSG_PUSH) {
        assert(m->frames >= 3 && p->n <= WIRE_KEYS_MAX && p->rank < WORKERS_MAX);
        assert(m->frame[0].bytes == (p->handle != 0 ? 0 : 8ull * p->n));
        assert(p->begin <= p->end && p->end <= WIRE_RECORDS_MAX);
    } else if (m->kind == MSG_LEASE) {
        assert(m->u.lease.begin <= m->u.lease.end && m->u.lease.end <= WIRE_RECORDS_MAX);
    }
    for (uint32_t i = m->kind == MSG_PUSH; i < m->frames; i++)
        assert(m->kind == MSG_REPORT || m->kind == MSG_REFUSED || m->kind == MSG_PIECE ||
               m->frame[i].bytes % 4 == 0);
}

static void check_message(const struct msg *m)
{
    uint64_t sum = 0;
    char text[64];
    assert(m->kind >= MSG_ORDER && m->kind <= MSG_KIND_LAST && m->frames <= MSG_FRAMES_MAX);
    assert(m->role >= ROLE_HEAD && m->role <= ROLE_FOLLOWER && m->sender < WORKERS_MAX);
    for (uint32_t i = 0; i < m->frames; i++) {
        assert((uintptr_t)m->frame[i].data % 8 == 0);
        assert(m->frame[i].bytes <= WIRE_FRAME_MAX);
        sum += m->frame[i].bytes;
    }
    assert(sum <= WIRE_MESSAGE_MAX);
    if (m->kind == MSG_ORDER)
        check_order(&m->u.order);
    else if (m->kind == MSG_WORKER_STATE || m->kind == MSG_SHARD_STATE)
        check_states(m);
    else
        check_train(m);
    if ((m->kind == MSG_REPORT || m->kind == MSG_REFUSED) && sum <= REAL_BYTES_MAX) {
        msg_text(m, text, sizeof text);
        tame(text, sizeof text);
    }
}

/* ---- one message ---- */

static enum status decode(const void *env, size_t n, const uint64_t *bytes, size_t frames, bool odd,
                          struct msg **out)
{
    struct frame f[FRAMES];
    struct errbuf err = ERRBUF_INIT;
    size_t filled = 0, most = WIRE_UNPACK_MAX + SHARDS_MAX * sizeof(struct msg_member) + (1 << 18);
    for (size_t i = 0; i < frames; i++) {
        f[i] = make_frame(bytes[i], odd && bytes[i] <= REAL_BYTES_MAX);
        filled += f[i].bytes > 0;
        most += odd ? 2 * f[i].bytes + 192 : 0;
    }
    taken_bytes = 0;
    released = 0;
    enum status st = codec_decode(env, n, f, frames, out, &err);
    assert(taken_bytes <= most);
    assert(st == ST_OK || (st == ST_BAD_PEER && err.text[0] != '\0' && released == 0));
    for (size_t i = 0; i < frames; i++) {
        assert(f[i].bytes == (st == ST_OK ? 0 : bytes[i]));
        frame_release(&f[i]);
    }
    if (st != ST_OK)
        assert(released == filled);
    return st;
}

static void free_counted(struct msg *m, const uint64_t *bytes)
{
    size_t filled = 0;
    for (uint32_t i = 0; i < m->frames; i++)
        filled += bytes[i] > 0;
    msg_free(m);
    assert(released == filled);
}

static void run(const uint8_t *env, size_t n, const uint64_t *bytes, size_t frames, bool odd)
{
    struct buffer first = BUFFER_INIT, second = BUFFER_INIT;
    struct msg *m, *again;
    if (decode(env, n, bytes, frames, odd, &m) != ST_OK)
        return;
    check_message(m);
    codec_encode(m, &first);
    free_counted(m, bytes);
    enum status st = decode(first.data, first.used, bytes, frames, false, &again);
    assert(st == ST_OK);
    codec_encode(again, &second);
    free_counted(again, bytes);
    assert(first.used == second.used && memcmp(first.data, second.data, first.used) == 0);
    buffer_release(&first);
    buffer_release(&second);
}

static void run_identity(const uint8_t *data, size_t n)
{
    struct route_name name;
    uint8_t again[ROUTE_IDENTITY_BYTES];
    if (!route_name_decode(data, n, &name))
        return;
    assert(n == ROUTE_IDENTITY_BYTES && name.role >= ROLE_HEAD && name.role <= ROLE_FRONT);
    route_name_encode(&name, again);
    assert(memcmp(again, data, n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool hooked;
    uint64_t bytes[FRAMES];
    struct reader r;
    if (!hooked && __sanitizer_install_malloc_and_free_hooks != NULL)
        __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
    hooked = true;
    reader_init(&r, data, size);
    uint8_t mode = reader_u8(&r);
    size_t frames = reader_u8(&r) % (FRAMES + 1);
    for (size_t i = 0; i < frames; i++)
        bytes[i] = reader_u32(&r);
    if (r.bad)
        return 0;
    size_t n = reader_left(&r);
    const uint8_t *env = reader_view(&r, n);
    if (mode & 1)
        frames = told_sizes(env, n, bytes);
    run(env, n, bytes, frames, mode >> 1 & 1);
    run_identity(env, n);
    return 0;
}
