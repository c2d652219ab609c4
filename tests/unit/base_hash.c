/* base_hash.c - xxh3 against published values, the mix of keys, the buckets. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/hash.h"

/* Values of the xxHash project (xxhsum -H3, and tests/sanity_test_vectors). They stand in our files. */
static void test_known_answers(void **state)
{
    (void)state;
    assert_true(hash_bytes("", 0, 0) == 0x2D06800538D394C2u);
    assert_true(hash_bytes(NULL, 0, 0) == 0x2D06800538D394C2u);
    assert_true(hash_bytes("abc", 3, 0) == 0x78AF5F94892F3950u);
    assert_true(hash_bytes("abc", 3, 1) != hash_bytes("abc", 3, 0));
}

static void test_stream_equals_whole(void **state)
{
    (void)state;
    enum { N = 3000 };
    uint8_t bytes[N];
    for (size_t i = 0; i < N; i++)
        bytes[i] = (uint8_t)(i * i + 3);
    struct hash_stream *h = hash_stream_new();
    assert_true(hash_stream_value(h) == hash_bytes(NULL, 0, 0));
    static const size_t steps[] = {1, 7, 64, 240, 241, 1024, N};
    for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
        hash_stream_reset(h);
        for (size_t at = 0; at < N; at += steps[s])
            hash_stream_add(h, bytes + at, N - at < steps[s] ? N - at : steps[s]);
        assert_true(hash_stream_value(h) == hash_bytes(bytes, N, 0));
    }
    hash_stream_add(h, NULL, 0);
    assert_true(hash_stream_value(h) == hash_bytes(bytes, N, 0));
    hash_stream_free(h);
    hash_stream_free(NULL);
}

/* The inverse, step by step: that it exists is what "no two keys have one hash" means. */
static uint64_t unhash(uint64_t x)
{
    x = x ^ (x >> 31) ^ (x >> 62);
    x *= 0x319642B2D24D8EC3u;
    x = x ^ (x >> 27) ^ (x >> 54);
    x *= 0x96DE1B173F119089u;
    x = x ^ (x >> 30) ^ (x >> 60);
    return x - 0x9E3779B97F4A7C15u;
}

static void test_mix_is_a_bijection(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 100000; i++) {
        uint64_t key = i < 50000 ? i : i * 0xD1342543DE82EF95u;
        assert_true(unhash(hash_u64(key)) == key);
    }
    assert_true(hash_u64(0) == 0xE220A8397B1DCDAFu); /* SplitMix64, first value of seed 0 */
}

static void test_mix_avalanches(void **state)
{
    (void)state;
    static unsigned flips[64][64];
    memset(flips, 0, sizeof flips);
    for (uint64_t key = 0; key < 1000; key++)
        for (unsigned in = 0; in < 64; in++) {
            uint64_t d = hash_u64(key) ^ hash_u64(key ^ ((uint64_t)1 << in));
            for (unsigned out = 0; out < 64; out++)
                flips[in][out] += (unsigned)(d >> out & 1);
        }
    for (unsigned in = 0; in < 64; in++)
        for (unsigned out = 0; out < 64; out++)
            assert_true(flips[in][out] > 400 && flips[in][out] < 600);
}

static void test_buckets(void **state)
{
    (void)state;
    static unsigned count[BUCKETS];
    memset(count, 0, sizeof count);
    for (uint64_t key = 0; key < 100 * BUCKETS; key++) {
        uint32_t bucket = hash_bucket(key);
        assert_true(bucket < BUCKETS);
        assert_int_equal(bucket, hash_u64(key) >> 52); /* the top bits, and no others */
        count[bucket]++;
    }
    double chi = 0;
    for (size_t b = 0; b < BUCKETS; b++)
        chi += pow((double)count[b] - 100, 2) / 100;
    assert_true(chi > BUCKETS - 600 && chi < BUCKETS + 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_stream_equals_whole),
        cmocka_unit_test(test_mix_is_a_bijection),
        cmocka_unit_test(test_mix_avalanches),
        cmocka_unit_test(test_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
