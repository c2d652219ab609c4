/* wire_codec.c - every kind there and back; cut, flipped and bloated bytes. What each field may hold: wire_limits.c.
 *
 * `wire_codec --corpus DIR` writes the inputs of tests/fuzz/fuzz_wire_frames.c: a valid one of every kind, and
 * damaged ones. test_corpus holds what is checked in against the codec as it is.
 */
#include "tests/unit/wire_case.h"

#include <malloc.h>

#include "common/base/file.h"
#include "tests/support/wire_messages.h"

enum { SEEDS = 50 };

static const char CORPUS[] = "tests/fuzz/corpus/wire_frames";

/* ---- there and back ---- */

/* Bodies that were filled by wire_message, but for padding: ones in a, zeros in what was decoded. That no field
 * is taken for padding is for test_no_field_is_forgotten to see. */
static bool same_bytes(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i] && !(x[i] == 1 && y[i] == 0))
            return false;
    return true;
}

/* Copies of m's frames, as a socket would hand them over. */
static size_t copy_frames(const struct msg *m, bool misaligned, size_t *released, struct frame *out)
{
    for (uint32_t i = 0; i < m->frames; i++) {
        out[i] = wire_frame(m->frame[i].bytes, misaligned, released);
        if (m->frame[i].bytes > 0)
            memcpy(out[i].data, m->frame[i].data, m->frame[i].bytes);
    }
    return m->frames;
}

static void same_message(const struct msg *a, struct msg *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->job, b->job);
    assert_int_equal(a->e, b->e);
    assert_int_equal(a->boot, b->boot);
    assert_int_equal(a->role, b->role);
    assert_int_equal(a->sender, b->sender);
    assert_int_equal(a->frames, b->frames);
    for (uint32_t i = 0; i < a->frames; i++) {
        assert_int_equal(a->frame[i].bytes, b->frame[i].bytes);
        assert_int_equal((uintptr_t)b->frame[i].data % 8, 0);
        if (a->frame[i].bytes > 0)
            assert_memory_equal(a->frame[i].data, b->frame[i].data, a->frame[i].bytes);
    }
    struct msg_member *mine = NULL;
    if (a->kind == MSG_ORDER) { /* the members are behind a pointer */
        assert_int_equal(a->u.order.shards, b->u.order.shards);
        assert_true(same_bytes(a->u.order.member, b->u.order.member,
                               a->u.order.shards * sizeof *a->u.order.member));
        mine = b->u.order.member;
        b->u.order.member = a->u.order.member;
    }
    assert_true(same_bytes(&a->u, &b->u, wire_body_bytes(a->kind)));
    if (a->kind == MSG_ORDER)
        b->u.order.member = mine;
}

static void there_and_back(enum msg_kind kind, uint64_t seed, bool misaligned)
{
    struct msg *m = wire_message(kind, seed), *back = NULL;
    struct buffer env = BUFFER_INIT;
    struct frame frames[MSG_FRAMES_MAX];
    size_t released = 0, filled = 0;
    codec_encode(m, &env);
    size_t n = copy_frames(m, misaligned, &released, frames);
    for (size_t i = 0; i < n; i++)
        filled += frames[i].bytes > 0;
    enum status st = codec_decode(env.data, env.used, frames, n, &back, &err);
    if (st != ST_OK)
        fail_msg("%s: %s", msg_kind_name(kind), err.text);
    for (size_t i = 0; i < n; i++)
        assert_null(frames[i].data); /* moved */
    assert_int_equal(released, misaligned ? filled : 0);
    same_message(m, back);
    msg_free(m);
    msg_free(back);
    assert_int_equal(released, filled);
    buffer_release(&env);
}

static void test_every_kind(void **state)
{
    (void)state;
    for (int kind = MSG_ORDER; kind <= MSG_KIND_LAST; kind++)
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            there_and_back((enum msg_kind)kind, seed, false);
            there_and_back((enum msg_kind)kind, seed, true);
        }
}

static bool field_is_there(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    static const uint8_t zero[8] = {0};
    const char *at = (const char *)m + f->offset;
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)(const void *)((const char *)m + f->quantifier_offset) > 0;
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING: return **(char *const *)(const void *)at != '\0';
    case PROTOBUF_C_TYPE_MESSAGE: return *(void *const *)(const void *)at != NULL;
    case PROTOBUF_C_TYPE_BYTES: return ((const ProtobufCBinaryData *)(const void *)at)->len > 0;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_BOOL: return memcmp(at, zero, 4) != 0;
    default: return memcmp(at, zero, 8) != 0;
    }
}

/* Every field of every kind's body, as proto/ has them, is written and read: written, because none is zero in the
 * envelope of a message in which none is; read, because what was read is written alike. */
static void test_no_field_is_forgotten(void **state)
{
    (void)state;
    for (int kind = MSG_ORDER; kind <= MSG_KIND_LAST; kind++) {
        struct msg *m = wire_message((enum msg_kind)kind, 1), *back = NULL;
        struct buffer first = BUFFER_INIT, second = BUFFER_INIT;
        struct frame frames[MSG_FRAMES_MAX];
        codec_encode(m, &first);
        Penstock__Envelope *e = penstock__envelope__unpack(NULL, first.used, first.data);
        assert_non_null(e);
        const ProtobufCMessage *body = (const ProtobufCMessage *)e->order; /* of the union */
        for (unsigned i = 0; i < body->descriptor->n_fields; i++)
            if (!field_is_there(body, &body->descriptor->fields[i]))
                fail_msg("%s.%s is not written", body->descriptor->short_name,
                         body->descriptor->fields[i].name);
        penstock__envelope__free_unpacked(e, NULL);
        size_t n = copy_frames(m, false, NULL, frames);
        assert_int_equal(codec_decode(first.data, first.used, frames, n, &back, &err), ST_OK);
        codec_encode(back, &second);
        assert_int_equal(second.used, first.used);
        assert_memory_equal(second.data, first.data, first.used);
        msg_free(m);
        msg_free(back);
        buffer_release(&first);
        buffer_release(&second);
    }
}

/* ---- bytes ---- */

/* Control characters of a peer never reach a log or a terminal. */
static void test_texts_are_tame(void **state)
{
    (void)state;
    struct msg *m = wire_message(MSG_ORDER, 3), *back;
    struct buffer env = BUFFER_INIT;
    char text[16];
    strcpy(m->u.order.why, "a\x1b[2Jb\nc\x7f");
    codec_encode(m, &env);
    assert_int_equal(codec_decode(env.data, env.used, NULL, 0, &back, &err), ST_OK);
    assert_string_equal(back->u.order.why, "a?[2Jb?c?");
    msg_free(m);
    msg_free(back);
    m = msg_new(MSG_REFUSED);
    msg_set_text(m, "tab\there, and a long end");
    msg_text(m, text, sizeof text);
    assert_string_equal(text, "tab?here, and a");
    msg_free(m);
    buffer_release(&env);
}

/* A cut envelope may still be a whole one of fewer fields (protobuf has no end mark), but it is never read past its
 * end, and what comes out keeps all limits. With frames to tell of, most cuts are refused. */
static void test_truncated_at_every_byte(void **state)
{
    (void)state;
    for (int kind = MSG_ORDER; kind <= MSG_KIND_LAST; kind++) {
        struct msg *m = wire_message((enum msg_kind)kind, 5);
        struct buffer env = BUFFER_INIT;
        uint64_t bytes[MSG_FRAMES_MAX];
        codec_encode(m, &env);
        for (uint32_t i = 0; i < m->frames; i++)
            bytes[i] = m->frame[i].bytes;
        size_t refusals = 0;
        for (size_t n = 0; n < env.used; n++) {
            uint8_t *exact =
                malloc(n + 1); /* a read past the end is a read of another block: SAN=address */
            memcpy(exact, env.data, n);
            refusals += decode(exact, n, bytes, m->frames) != ST_OK;
            free(exact);
        }
        assert_int_equal(refusals,
                         env.used); /* the body comes last, and it is a length-delimited field */
        assert_int_equal(decode(env.data, env.used, bytes, m->frames), ST_OK);
        msg_free(m);
        buffer_release(&env);
    }
}

static void test_unknown_fields(void **state)
{
    (void)state;
    struct msg *m = wire_message(MSG_LEASE, 5), *back;
    struct buffer env = BUFFER_INIT;
    codec_encode(m, &env);
    /* field 99, a number; field 100, bytes: a younger peer of the same version may say more */
    buffer_put(&env, "\x98\x06\x01", 3);
    buffer_put(&env, "\xa2\x06\x02xx", 5);
    assert_int_equal(codec_decode(env.data, env.used, NULL, 0, &back, &err), ST_OK);
    assert_true(same_bytes(&m->u.lease, &back->u.lease, sizeof m->u.lease));
    msg_free(back);
    msg_free(m);
    buffer_release(&env);
}

/* Nothing a peer writes into a megabyte makes the codec take more than its budget. */
static void test_memory_is_bounded(void **state)
{
    (void)state;
    struct buffer env = BUFFER_INIT;
    struct mallinfo2 before = mallinfo2();
    uint8_t *big = calloc(1, WIRE_ENVELOPE_MAX + 1);
    assert_int_equal(decode(big, WIRE_ENVELOPE_MAX + 1, NULL, 0), ST_BAD_PEER);
    assert_non_null(strstr(err.text, "1048577 bytes, at most 1048576"));
    free(big);
    /* empty members, two bytes each on the wire and dozens in memory: 20 MB without a budget */
    enum { MEMBERS = 500000 };
    uint8_t length[10];
    size_t inner = 2 * MEMBERS, n = 0;
    for (size_t v = inner; v > 0 || n == 0; v >>= 7)
        length[n++] = (uint8_t)((v & 127) | (v > 127 ? 128 : 0));
    buffer_put(&env, "\x08\x01\x28\x01\x82\x01", 6); /* version 1, role head, order */
    buffer_put(&env, length, n);
    for (size_t i = 0; i < MEMBERS; i++)
        buffer_put(&env, "\x52\x00", 2);
    assert_true(env.used <= WIRE_ENVELOPE_MAX);
    assert_int_equal(decode(env.data, env.used, NULL, 0), ST_BAD_PEER);
    assert_non_null(strstr(err.text, "no envelope"));
    buffer_release(&env);
    struct mallinfo2 after = mallinfo2();
    assert_true(after.uordblks < before.uordblks + (64 << 10)); /* and all is given back */
}

/* Any flipped bit: refused, or a message within its limits. What it is then is for SAN=address to judge. */
static void test_flipped_bits(void **state)
{
    (void)state;
    size_t taken = 0, tried = 0;
    for (int kind = MSG_ORDER; kind <= MSG_KIND_LAST; kind++) {
        struct msg *m = wire_message((enum msg_kind)kind, 9);
        struct buffer env = BUFFER_INIT;
        uint64_t bytes[MSG_FRAMES_MAX];
        codec_encode(m, &env);
        for (uint32_t i = 0; i < m->frames; i++)
            bytes[i] = m->frame[i].bytes;
        for (size_t bit = 0; bit < 8 * env.used && bit < 8 * 3000; bit++, tried++) {
            env.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            taken += decode(env.data, env.used, bytes, m->frames) == ST_OK;
            env.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        msg_free(m);
        buffer_release(&env);
    }
    assert_in_range(taken, tried / 4,
                    tried - tried / 20); /* an envelope has no checksum: TCP has, and frames too */
}

/* ---- the corpus of the fuzzer: u8 mode, u8 frames, u32 sizes, envelope (tests/fuzz/fuzz_wire_frames.c) ---- */

static void write_input(const char *dir, const char *name, uint8_t mode, const uint64_t *bytes,
                        size_t frames, const struct buffer *env)
{
    struct buffer file = BUFFER_INIT;
    char path[1024];
    buffer_u8(&file, mode);
    buffer_u8(&file, (uint8_t)frames);
    for (size_t i = 0; i < frames; i++)
        buffer_u32(&file, (uint32_t)bytes[i]);
    buffer_put(&file, env->data, env->used);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (file_write_atomic(path, file.data, file.used, &err) != ST_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    buffer_release(&file);
}

static void write_kind(const char *dir, enum msg_kind kind)
{
    struct msg *m = wire_message(kind, 1);
    struct buffer env = BUFFER_INIT;
    uint64_t bytes[MSG_FRAMES_MAX];
    char name[40];
    for (uint32_t i = 0; i < m->frames; i++)
        bytes[i] = m->frame[i].bytes;
    codec_encode(m, &env);
    snprintf(name, sizeof name, "valid_%s", msg_kind_name(kind));
    write_input(dir, name, 0, bytes, m->frames, &env);
    snprintf(name, sizeof name, "misaligned_%s", msg_kind_name(kind));
    if (m->frames > 0)
        write_input(dir, name, 2, bytes, m->frames, &env);
    snprintf(name, sizeof name, "cut_%s", msg_kind_name(kind));
    env.used -= env.used / 3;
    write_input(dir, name, 1, bytes, m->frames, &env);
    msg_free(m);
    buffer_release(&env);
}

static int write_corpus(const char *dir)
{
    struct msg *m = wire_message(MSG_PULL, 2);
    struct buffer env = BUFFER_INIT;
    for (int kind = MSG_ORDER; kind <= MSG_KIND_LAST; kind++)
        write_kind(dir, (enum msg_kind)kind);
    codec_encode(m, &env);
    uint64_t bytes[2] = {m->frame[0].bytes, 8};
    write_input(dir, "bad_frame_missing", 0, bytes, 0, &env);
    write_input(dir, "bad_frame_too_many", 0, bytes, 2, &env);
    bytes[0]--;
    write_input(dir, "bad_frame_size", 0, bytes, 1, &env);
    bytes[0]++;
    env.data[1] = 9;
    write_input(dir, "bad_version", 0, bytes, 1, &env);
    env.data[1] = WIRE_VERSION;
    codec_encode(m, &env); /* two envelopes in one: the fields of the second win, lists grow */
    write_input(dir, "bad_twice", 1, bytes, 1, &env);
    env.used = 0;
    write_input(dir, "bad_empty", 0, NULL, 0, &env);
    buffer_put(&env, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11);
    write_input(dir, "bad_endless_number", 0, NULL, 0, &env);
    msg_free(m);
    buffer_release(&env);
    return 0;
}

/* Each valid_<KIND> that is checked in is one, as the codec is today; no kind is missing. */
static void test_corpus(void **state)
{
    (void)state;
    for (int kind = MSG_ORDER; kind <= MSG_KIND_LAST; kind++) {
        char path[200], *text = NULL;
        size_t n = 0;
        uint64_t bytes[MSG_FRAMES_MAX];
        struct reader r;
        snprintf(path, sizeof path, "%s/valid_%s", CORPUS, msg_kind_name((enum msg_kind)kind));
        if (file_read(path, 1 << 20, &text, &n, &err) != ST_OK)
            fail_msg("%s: make it with: wire_codec --corpus %s", err.text, CORPUS);
        reader_init(&r, text, n);
        (void)reader_u8(&r);
        size_t frames = reader_u8(&r);
        assert_true(frames <= MSG_FRAMES_MAX);
        for (size_t i = 0; i < frames; i++)
            bytes[i] = reader_u32(&r);
        size_t left = reader_left(&r);
        assert_int_equal(decode(reader_view(&r, left), left, bytes, frames), ST_OK);
        free(text);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--corpus") == 0)
        return write_corpus(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind),     cmocka_unit_test(test_no_field_is_forgotten),
        cmocka_unit_test(test_texts_are_tame), cmocka_unit_test(test_truncated_at_every_byte),
        cmocka_unit_test(test_unknown_fields), cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_flipped_bits),   cmocka_unit_test(test_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
