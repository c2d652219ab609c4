/* tfevents.h - TensorBoard's event files, the little of them that scalars need. Pure: bytes into a buffer.
 *
 * A file is a row of records, each framed as TFRecord:
 *
 *   u64 n, little-endian | u32 masked crc32c of those 8 bytes | n bytes | u32 masked crc32c of them
 *
 * and each holds one protobuf message Event (tensorboard/compat/proto/event.proto), here with the fields
 *
 *   1 wall_time   double, seconds since 1970
 *   2 step        int64
 *   3 file_version  "brain.Event:2", the first record of a file
 *   5 summary     of values {1 tag, 2 simple_value float}
 *   7 session_log {1 status = START}: what an earlier file has at this step and behind it is void
 *
 * Written by hand: five fields are less than a schema and its generated code.
 */
#ifndef PENSTOCK_COMMON_WIRE_TFEVENTS_H
#define PENSTOCK_COMMON_WIRE_TFEVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

struct tfevents_scalar {
    const char *tag; /* "epoch/valid_auc"; borrowed for the call */
    double value;    /* written as float; what is not finite is left out */
};

/* Each appends one record. */
void tfevents_version(struct buffer *out, double wall_time);
void tfevents_start(struct buffer *out, double wall_time, uint64_t step);
void tfevents_scalars(struct buffer *out, double wall_time, uint64_t step,
                      const struct tfevents_scalar *scalars, size_t n);

#endif
