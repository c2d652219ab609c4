/* safetensors.h - the file format of cuts, written and read by its plain rule.
 *
 * u64 little-endian header length, JSON header {"name":{"dtype","shape","data_offsets"}, "__metadata__"},
 * then the tensors. dtypes used: F32, U64, U32. The header is padded with spaces to 8 bytes. The reader is
 * bounded: header <= 64 MiB, at most SAFETENSORS_MAX tensors, sizes = shape x dtype; sorted by offset the
 * tensors must cover the data section without hole or overlap.
 */
#ifndef PENSTOCK_PS_SNAPSHOT_SAFETENSORS_H
#define PENSTOCK_PS_SNAPSHOT_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"
#include "common/base/file.h"

#define SAFETENSORS_MAX 32768u /* tensors in a file: 64 tables and 4096 dense tensors fit */

enum tensor_type { TENSOR_F32, TENSOR_U32, TENSOR_U64 };

struct tensor_info {
    char name[128];
    enum tensor_type type;
    uint32_t dims; /* 0..4 */
    uint64_t shape[4];
    uint64_t begin, end; /* bytes, relative to the data section */
};

/* Header bytes (length word included) for tensors laid out one after the other in this order; fills
 * begin/end. metadata: n pairs of strings. Names must differ (cut_begin checks). */
void safetensors_header(struct tensor_info *tensors, size_t n, const char *const *metadata,
                        size_t metadata_pairs, struct buffer *out);

struct safetensors {
    struct file_map map;         /* owned when opened from a path */
    const uint8_t *data;         /* start of the data section */
    struct tensor_info *tensors; /* owned; in the order of their bytes */
    size_t n;
    uint32_t *by_name; /* owned; indices sorted by name */
    char **meta;       /* owned: key, value, key, value ... */
    size_t meta_pairs;
};

MUST_CHECK enum status safetensors_open(const char *path, struct safetensors *out,
                                        struct errbuf *err);
MUST_CHECK enum status safetensors_parse(const uint8_t *bytes, size_t n, const char *name,
                                         struct safetensors *out, struct errbuf *err);
void safetensors_close(struct safetensors *s);
const struct tensor_info *safetensors_find(const struct safetensors *s, const char *name);
const char *safetensors_meta(const struct safetensors *s, const char *key); /* or NULL */

#endif
