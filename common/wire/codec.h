/* codec.h - struct msg <-> envelope bytes; the only door to protobuf-c.
 *
 * decode trusts nothing: envelope bytes, counts, names and frame sizes are held against limits.h and
 * against each other; memory is capped by a budgeted allocator. ST_BAD_PEER with a text otherwise.
 */
#ifndef PENSTOCK_COMMON_WIRE_CODEC_H
#define PENSTOCK_COMMON_WIRE_CODEC_H

#include "common/base/bytes.h"
#include "common/base/errbuf.h"
#include "common/wire/msg.h"

/* Envelope of m appended to out; the frames are m's own and travel as they are. */
void codec_encode(const struct msg *m, struct buffer *out);
/* env: frame 0. frames: the others; on ST_OK they are moved into *out (and emptied here), else kept. */
MUST_CHECK enum status codec_decode(const void *env, size_t env_bytes, struct frame *frames,
                                    size_t frames_used, struct msg **out, struct errbuf *err);

#endif
