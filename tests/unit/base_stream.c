/* base_stream.c - plain, gzip and zstd read as streams: whole, in members, cut, damaged, too large. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#include "common/base/bytes.h"
#include "common/base/rng.h"
#include "common/base/stream.h"
#include "common/base/thread.h"

static char dir[] = "/tmp/base_stream.XXXXXX";
static char path[64];

static struct buffer text_of(size_t n)
{
    struct buffer b = BUFFER_INIT;
    struct rng r = {n, 0};
    while (b.used < n)
        buffer_printf(&b, "%d,item%d\n", (int)rng_below(&r, 2), (int)rng_below(&r, 1000000));
    return b;
}

static void add_gzip(struct buffer *out, const void *bytes, size_t n)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t bound = deflateBound(&z, n), at = out->used;
    z.next_in = (unsigned char *)(uintptr_t)bytes;
    z.avail_in = (unsigned)n;
    z.next_out = buffer_room(out, bound);
    z.avail_out = (unsigned)bound;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->used = at + z.total_out;
    deflateEnd(&z);
}

static void add_zstd(struct buffer *out, const void *bytes, size_t n)
{
    size_t bound = ZSTD_compressBound(n), at = out->used;
    size_t made = ZSTD_compress(buffer_room(out, bound), bound, bytes, n, 3);
    assert_false(ZSTD_isError(made));
    out->used = at + made;
}

static void store(const struct buffer *b)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b->data == NULL ? "" : (char *)b->data, 1, b->used, f), b->used);
    assert_int_equal(fclose(f), 0);
}

/* Read all of `path` in pieces of `each`; what came goes to out. */
static enum status read_all(uint64_t bytes_max, size_t each, struct buffer *out, struct errbuf *err)
{
    struct stream *s = NULL;
    enum status st = stream_open(path, bytes_max, &s, err);
    if (st != ST_OK)
        return st;
    size_t got = 1;
    buffer_reset(out);
    while (st == ST_OK && got > 0) {
        void *room = buffer_room(out, each);
        st = stream_read(s, room, each, &got, err);
        out->used -= st == ST_OK ? each - got : each;
    }
    if (st == ST_OK) {
        assert_int_equal(stream_in_bytes(s), stream_file_bytes(s));
        assert_int_equal(stream_read(s, (char[1]){0}, 1, &got, err), ST_OK); /* the end stays */
        assert_int_equal(got, 0);
    } else { /* an error stays as well */
        assert_int_not_equal(stream_read(s, (char[1]){0}, 1, &got, err), ST_OK);
    }
    stream_close(s);
    return st;
}

static void expect(const struct buffer *want)
{
    struct errbuf err = ERRBUF_INIT;
    struct buffer got = BUFFER_INIT;
    static const size_t each[] = {1 << 20, 65536, 777, 1};
    for (size_t i = 0; i < (want->used > 100000 ? 3 : 4); i++) {
        enum status st = read_all(UINT64_MAX, each[i], &got, &err);
        if (st != ST_OK)
            fail_msg("%s", err.text);
        assert_int_equal(got.used, want->used);
        assert_true(want->used == 0 || memcmp(got.data, want->data, want->used) == 0);
    }
    buffer_release(&got);
}

static void expect_bad(const char *why)
{
    struct errbuf err = ERRBUF_INIT;
    struct buffer got = BUFFER_INIT;
    enum status st = read_all(UINT64_MAX, 4096, &got, &err);
    if (st != ST_BAD_DATA)
        fail_msg("%s, not %s: %zu bytes came", status_name(st), why, got.used);
    buffer_release(&got);
    struct stream *s = NULL; /* the error again, as it was said first */
    size_t n = 1;
    char piece[4096];
    st = stream_open(path, UINT64_MAX, &s, &err);
    while (st == ST_OK && n > 0)
        st = stream_read(s, piece, sizeof piece, &n, &err);
    stream_close(s);
    assert_memory_equal(err.text, path, strlen(path));
    if (strstr(err.text, why) == NULL)
        fail_msg("%s lacks %s", err.text, why);
}

static void test_plain(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 3, 4, 5000, 700000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct buffer b = text_of(sizes[i]);
        b.used = sizes[i];
        store(&b);
        expect(&b);
        buffer_release(&b);
    }
}

static void both(void (*add)(struct buffer *, const void *, size_t))
{
    struct buffer whole = text_of(400000), packed = BUFFER_INIT;
    add(&packed, whole.data, whole.used);
    store(&packed);
    expect(&whole);
    buffer_reset(&packed);
    add(&packed, "", 0);
    size_t empty = packed.used;
    buffer_reset(&packed);
    for (size_t at = 0; at < whole.used;) { /* many members, an empty one among them */
        size_t n = at == 0 ? 1 : (whole.used - 1) / 5;
        n = whole.used - at < 2 * n ? whole.used - at : n; /* the last one is large */
        add(&packed, whole.data + at, n);
        add(&packed, whole.data, 0);
        at += n;
    }
    store(&packed);
    expect(&whole);
    for (size_t cut = 1; cut < 40; cut++) {
        struct buffer less = {packed.data, packed.used - cut, 0};
        store(&less);
        if (cut != empty) /* without the last member, an empty one, the file is whole */
            expect_bad("truncated");
    }
    buffer_reset(&packed);
    add(&packed, whole.data, whole.used);
    packed.data[packed.used / 2] ^= 0x10;
    store(&packed);
    expect_bad("damaged"); /* a bad code, or the checksum */
    buffer_release(&whole);
    buffer_release(&packed);
}

static void test_gzip(void **state)
{
    (void)state;
    both(add_gzip);
}

static void add_zstd_checked(struct buffer *out, const void *bytes, size_t n)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    size_t bound = ZSTD_compressBound(n), at = out->used;
    size_t made = ZSTD_compress2(c, buffer_room(out, bound), bound, bytes, n);
    assert_false(ZSTD_isError(made));
    out->used = at + made;
    ZSTD_freeCCtx(c);
}

static void test_zstd(void **state)
{
    (void)state;
    both(add_zstd_checked);
    struct buffer text = text_of(1000), packed = BUFFER_INIT;
    buffer_u32(&packed, 0x184D2A50); /* a skippable frame first */
    buffer_u32(&packed, 3);
    buffer_put(&packed, "xyz", 3);
    add_zstd(&packed, text.data, text.used);
    store(&packed);
    expect(&text);
    buffer_release(&text);
    buffer_release(&packed);
}

static void test_behind_the_end(void **state)
{
    (void)state;
    struct buffer text = text_of(1000), packed = BUFFER_INIT;
    add_gzip(&packed, text.data, text.used);
    size_t member = packed.used;
    memset(buffer_room(&packed, 700), 0, 700); /* padding, as tapes and tar leave it */
    store(&packed);
    expect(&text);
    packed.used = member;
    buffer_put(&packed, "junk", 4);
    store(&packed);
    expect_bad("junk");
    buffer_reset(&packed);
    add_zstd(&packed, text.data, text.used);
    buffer_put(&packed, "junk", 4);
    store(&packed);
    expect_bad("damaged");
    buffer_release(&text);
    buffer_release(&packed);
}

static void test_bound(void **state)
{
    (void)state;
    struct buffer text = BUFFER_INIT, packed = BUFFER_INIT, got = BUFFER_INIT;
    struct errbuf err;
    memset(buffer_room(&text, 50u << 20), 'a', 50u << 20); /* 50 MB in 50 kB */
    void (*const add[])(struct buffer *, const void *, size_t) = {add_gzip, add_zstd};
    for (size_t i = 0; i < 2; i++) {
        buffer_reset(&packed);
        add[i](&packed, text.data, text.used);
        assert_true(packed.used < 100000);
        store(&packed);
        assert_int_equal(read_all(1 << 20, 4096, &got, &err), ST_BAD_DATA);
        assert_true(got.used <= 1 << 20);
        assert_int_equal(read_all((50u << 20) - 1, 1 << 20, &got, &err), ST_BAD_DATA);
        assert_int_equal(read_all(50u << 20, 1 << 20, &got, &err), ST_OK); /* exactly as allowed */
        assert_int_equal(got.used, text.used);
    }
    text.used = 5000;
    store(&text);
    assert_int_equal(read_all(4999, 100, &got, &err), ST_BAD_DATA);
    assert_int_equal(read_all(5000, 100, &got, &err), ST_OK);
    buffer_release(&text);
    buffer_release(&packed);
    buffer_release(&got);
}

static void test_open_errors(void **state)
{
    (void)state;
    struct stream *s = NULL;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(stream_open("/no/such", 1, &s, &err), ST_NOT_FOUND);
    assert_non_null(strstr(err.text, "/no/such"));
    assert_int_equal(stream_open(dir, 1, &s, &err), ST_IO);
    assert_non_null(strstr(err.text, "folder"));
    assert_null(s);
    stream_close(NULL);
}

static void *write_pipe(void *arg)
{
    const struct buffer *b = arg;
    int fd = open(path, O_WRONLY);
    for (size_t at = 0; at < b->used && fd >= 0;) { /* a byte, then pieces: short reads */
        ssize_t n = write(fd, b->data + at, at < 3 ? 1 : (b->used - at < 999 ? b->used - at : 999));
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    close(fd);
    return NULL;
}

static void test_pipe(void **state)
{
    (void)state;
    struct buffer text = text_of(100000), packed = BUFFER_INIT, got = BUFFER_INIT;
    struct errbuf err;
    struct thread t;
    add_gzip(&packed, text.data, text.used);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(thread_start(&t, "pipe", write_pipe, &packed, &err), ST_OK);
    struct stream *s = NULL;
    assert_int_equal(stream_open(path, UINT64_MAX, &s, &err), ST_OK);
    assert_int_equal(stream_file_bytes(s), 0);
    for (size_t n = 1; n > 0;) {
        void *room = buffer_room(&got, 4096);
        assert_int_equal(stream_read(s, room, 4096, &n, &err), ST_OK);
        got.used -= 4096 - n;
    }
    stream_close(s);
    thread_stop(&t);
    assert_int_equal(got.used, text.used);
    assert_memory_equal(got.data, text.data, text.used);
    unlink(path);
    buffer_release(&text);
    buffer_release(&packed);
    buffer_release(&got);
}

static int setup(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/log", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain), cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_zstd),  cmocka_unit_test(test_behind_the_end),
        cmocka_unit_test(test_bound), cmocka_unit_test(test_open_errors),
        cmocka_unit_test(test_pipe),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
