/* crc32c.h - the Castagnoli checksum, as foreign record files carry it (ours carry xxh3: hash.h). */
#ifndef PENSTOCK_COMMON_BASE_CRC32C_H
#define PENSTOCK_COMMON_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const void *bytes, size_t n); /* RFC 3720: of "123456789" it is e3069283 */
/* As TFRecord files store it: rotated and shifted, so that a checksum of checksums is none of itself. */
uint32_t crc32c_masked(const void *bytes, size_t n);

#endif
