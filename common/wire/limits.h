/* limits.h - how large anything that comes over the network may be. The codec holds all against these.
 *
 * Generous for what we send, and small enough that no peer can make us take much memory by a few bytes:
 * an envelope's own limit caps what protobuf-c may allocate for it (WIRE_UNPACK_MAX).
 */
#ifndef PENSTOCK_COMMON_WIRE_LIMITS_H
#define PENSTOCK_COMMON_WIRE_LIMITS_H

#define WIRE_VERSION      1u
#define WIRE_ENVELOPE_MAX ((size_t)1 << 20) /* an ORDER that names 4096 shards fits */
#define WIRE_UNPACK_MAX   ((size_t)4 << 20) /* memory protobuf-c may take to unpack one */
#define WIRE_FRAME_MAX    ((uint64_t)1 << 30)
#define WIRE_MESSAGE_MAX  ((uint64_t)2 << 30) /* all frames of a message together */
#define WIRE_KEYS_MAX     ((uint32_t)1 << 24)
#define WIRE_TEXT_MAX     ((uint64_t)16 << 20) /* a REPORT */
#define WIRE_PIECE_MAX    ((uint64_t)1 << 20)  /* bytes of a file in one answer */
#define WIRE_REFUSED_MAX  ((uint64_t)4096)
#define WIRE_RECORDS_MAX  ((uint64_t)1 << 56) /* offsets in a log: sums of two don't wrap */

/* One run of the bucket map as it travels: length and shard, u16 each. */
#define WIRE_RUN_BYTES 4u

#endif
