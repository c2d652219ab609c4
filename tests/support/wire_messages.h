/* wire_messages.h - one message of every kind, with something in every field, for tests of the codec. */
#ifndef TESTS_SUPPORT_WIRE_MESSAGES_H
#define TESTS_SUPPORT_WIRE_MESSAGES_H

#include "common/base/bytes.h"
#include "common/wire/msg.h"

/* No field of it is zero or empty; padding is ones, unused entries of lists and what stands behind texts are zeros.
 * Numbers differ, so that two exchanged fields show. The same for the same seed. Its frames are of malloc and hold
 * bytes of the seed. */
struct msg *wire_message(enum msg_kind kind, uint64_t seed);

/* The part of m->u that m's kind uses. */
size_t wire_body_bytes(enum msg_kind kind);

/* A frame of n bytes from malloc, misaligned if asked; *released counts what gives it back. */
struct frame wire_frame(size_t n, bool misaligned, size_t *released);

#endif
