/* wire_case.h - for the tests of the codec: bytes decoded, and what must hold whether or not they are believed. */
#ifndef TESTS_UNIT_WIRE_CASE_H
#define TESTS_UNIT_WIRE_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/bytes.h"
#include "common/wire/codec.h"
#include "common/wire/limits.h"
#include "proto/envelope.pb-c.h"

static struct errbuf err;

/* Decode bytes with frames of these sizes; on failure the frames must be untouched and *out unchanged. No memory
 * stands behind them: the codec must not look into an array. */
static inline enum status decode(const void *env, size_t n, const uint64_t *bytes, size_t frames)
{
    struct frame f[MSG_FRAMES_MAX + 1] = {{0}};
    struct msg *const none = (struct msg *)(uintptr_t)8, *m = none;
    for (size_t i = 0; i < frames; i++)
        f[i] = (struct frame){.data = (void *)(uintptr_t)(4096 * (i + 1)), .bytes = bytes[i]};
    err.text[0] = '\0';
    enum status st = codec_decode(env, n, f, frames, &m, &err);
    if (st == ST_OK) {
        msg_free(m);
        return st;
    }
    assert_ptr_equal(m, none);
    for (size_t i = 0; i < frames; i++)
        assert_int_equal(f[i].bytes, bytes[i]);
    assert_int_not_equal(err.text[0], '\0');
    return st;
}

#endif
