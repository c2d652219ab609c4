/* encode.h - cells to keys and floats: the same object code trains and serves, so they can't differ.
 *
 * An encoder is a schema plus the state fitted on the training part (which ids are frequent enough, mean and
 * deviation of floats). It is first made from a job (encoder_new), fitted over blocks of train rows
 * (fit.h), saved as <cache>/encoder.bin, and from then on loaded by whoever encodes: it needs no job.
 *
 * Encoding has two steps, so that text is parsed once although fitting needs all of train first:
 * raw (cell -> raw key, raw float, NaN = missing) and fitted (raw -> what the model sees). encoder_cell_*
 * do both at once, for serving.
 *
 *   id     key = xxh3-64(trimmed cell, vocab seed);  vocab seed = xxh3-64(vocab name)
 *   libsvm key = mix(id ^ vocab seed): a bijection of the 64-bit id
 *   hash N key = mix(vocab seed + (h mod N)), where h is the key above
 *   rare   not seen min_count times in train: the one oov key of the vocab
 *   absent id: the one "missing" key of the vocab; ids: an empty bag; float: 0 after normalization
 *   float  none x | log sign(x) log1p(|x|) | standard (x - mean)/std | minmax (x - min)/(max - min) in [0, 1]
 */
#ifndef PENSTOCK_COMMON_FEATURE_ENCODE_H
#define PENSTOCK_COMMON_FEATURE_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/feature/keyset.h"
#include "common/feature/schema.h"

struct encoder_vocab {
    uint64_t seed, oov, missing;
    uint64_t hash;      /* 0: keys as they are */
    uint64_t min_count; /* 0: every id has a key of its own */
    struct keyset kept; /* ids seen often enough; empty unless min_count > 0 */
};

struct encoder_float {
    int norm;    /* enum field_norm */
    double a, b; /* standard: mean, std; minmax: min, max; else 0, 1 */
};

struct encoder {
    struct schema schema;
    struct encoder_vocab *vocab; /* (schema.vocabs_used); owned */
    struct encoder_float *num;   /* (D); owned */
    bool fitted;   /* false only between encoder_new and fit_end of one that needs it */
    uint64_t hash; /* xxh3 of the file form: equal hashes encode alike; 0 before save */
};

/* A block of records, record-major. Borrowed. */
struct encoder_rows {
    size_t n;
    const uint32_t *offsets; /* (n * F + 1) in keys, or NULL: exactly one key a field */
    uint64_t *keys;
    float *floats; /* (n, D) */
};

/* An encoder that needs no fitting (no min_count, standard, minmax) is fitted at once. */
MUST_CHECK enum status encoder_new(const struct job *job, struct encoder **out, struct errbuf *err);
/* Of lines, when records are sequences of lines: for raw keys of their items, the same as a record's. */
MUST_CHECK enum status encoder_new_events(const struct job *job, struct encoder **out,
                                          struct errbuf *err);
void encoder_free(struct encoder *e);

/* ASCII blanks off both ends. */
void encoder_trim(const char **cell, size_t *n);
/* Raw key of a trimmed cell that is not missing; id_slot < F. */
uint64_t encoder_key(const struct encoder *e, size_t id_slot, const char *cell, size_t n);
uint64_t encoder_key_u64(const struct encoder *e, size_t id_slot, uint64_t id); /* libsvm */
uint64_t encoder_key_missing(const struct encoder *e, size_t id_slot);
/* Raw -> fitted, in place. e must be fitted. */
uint64_t encoder_key_fitted(const struct encoder *e, size_t id_slot, uint64_t raw);
float encoder_float_fitted(const struct encoder *e, size_t float_slot, float raw);
void encoder_apply(const struct encoder *e, const struct encoder_rows *rows);

/* One cell to what the model sees, for serving. Bags: the keys, at most keys_max of them; single ids:
 * one. Returns the number of keys. */
size_t encoder_cell_keys(const struct encoder *e, size_t id_slot, const char *cell, size_t n,
                         uint64_t *keys, size_t keys_max);
/* NULL, or what is wrong with the cell. */
const char *encoder_cell_float(const struct encoder *e, size_t float_slot, const char *cell,
                               size_t n, float *out);

/* The file form; byte table: README.md. Both set e->hash. e must be fitted. */
MUST_CHECK enum status encoder_write(struct encoder *e, struct buffer *out, struct errbuf *err);
MUST_CHECK enum status encoder_save(struct encoder *e, const char *path, struct errbuf *err);
/* ST_BAD_DATA names the path. */
MUST_CHECK enum status encoder_load(const char *path, struct encoder **out, struct errbuf *err);
MUST_CHECK enum status encoder_parse(const void *bytes, size_t n, const char *name,
                                     struct encoder **out, struct errbuf *err);

#endif
