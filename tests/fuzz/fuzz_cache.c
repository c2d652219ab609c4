/* fuzz_cache.c - a cache file of any bytes, and the encoder file and the catalog beside it.
 *
 * Random bytes die at the first checksum, so with the first byte odd the harness signs what it got: tail, blocks
 * and header get the checksums they would have had. Then only the checks of sizes stand between the bytes and
 * the batch, as if an enemy had written the file.
 *
 * Input: u8 mode (bit 0: sign; 1: encoder file; 2: bags, else libsvm; 3: catalog), then the file.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/job.h"
#include "common/data/cache.h"
#include "common/data/catalog.h"
#include "common/data/dataset.h"
#include "common/feature/encode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char BAGS[] = "data:\n  train: x\n  fields:\n    - {name: y, type: label}\n"
                           "    - {name: a, type: id}\n    - {name: b, type: ids}\n"
                           "    - {name: c, type: float}\nmodel: {family: lr}\n";
static const char SVM[] = "data:\n  train: x\n  format: libsvm\nmodel: {family: lr}\n";

static struct job jobs[2];
static uint64_t schemas[2];
static char dir[64], path[80];

static void prepare(void)
{
    const char *text[2] = {SVM, BAGS};
    strcpy(dir, "/tmp/fuzz_cache.XXXXXX");
    if (mkdtemp(dir) == NULL)
        abort();
    snprintf(path, sizeof path, "%s/train.cache", dir);
    for (int i = 0; i < 2; i++) {
        struct schema s;
        if (job_parse(text[i], strlen(text[i]), "job", "/tmp", NULL, 0, &jobs[i], NULL) != ST_OK ||
            schema_init(&s, &jobs[i], NULL) != ST_OK)
            abort();
        schemas[i] = schema_hash(&s, &jobs[i]);
        schema_release(&s);
    }
}

static void clean(void)
{
    unlink(path);
    rmdir(dir);
}

static void put_u64(uint8_t *at, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v |= (uint64_t)at[i] << 8 * i;
    return v;
}

/* The places of these fields: common/data/README.md. */
static void sign(uint8_t *file, size_t n, uint64_t schema)
{
    if (n < CACHE_HEADER_BYTES)
        return;
    memcpy(file, "PNSTKDAT\1\0\0\0", 12);
    put_u64(file + 32, schema);
    uint64_t blocks = get_u64(file + 72), tail = get_u64(file + 96);
    if (tail >= CACHE_HEADER_BYTES && tail <= n) {
        put_u64(file + 104, n - tail);
        for (uint64_t b = 0; b < blocks && (b + 1) * CACHE_BLOCK_ENTRY_BYTES <= n - tail; b++) {
            uint8_t *entry = file + tail + b * CACHE_BLOCK_ENTRY_BYTES;
            uint64_t at = get_u64(entry), bytes = get_u64(entry + 8);
            if (at <= n && bytes <= n - at)
                put_u64(entry + 32, hash_bytes(file + at, bytes, 0));
        }
        put_u64(file + 112, hash_bytes(file + tail, n - tail, 0));
    }
    put_u64(file + CACHE_HEADER_BYTES - 8, hash_bytes(file, CACHE_HEADER_BYTES - 8, 0));
}

static void open_and_read(const struct job *job)
{
    struct dataset *d;
    struct batch b;
    uint64_t rows[64];
    if (dataset_open(job, dir, PART_TRAIN, &d, NULL) != ST_OK)
        return;
    batch_init(&b, d, 64);
    for (size_t i = 0; i < 64; i++)
        rows[i] = i * 37 % (dataset_rows(d) + 1);
    for (size_t n = 1; n <= 64; n *= 4)
        if (dataset_batch(d, rows, n, &b, NULL) == ST_OK)
            for (size_t k = 0; k < b.offsets[b.n * b.fields]; k++)
                if (b.index[k] >= b.unique)
                    abort();
    for (uint64_t r = 0; r < 100; r++) {
        const char *from;
        uint64_t offset;
        dataset_source(d, r, &from, &offset);
        if (strlen(from) > 1 << 20)
            abort();
    }
    batch_release(&b);
    dataset_close(d);
}

static void open_encoder(uint8_t *file, size_t n, int sign_it)
{
    struct encoder *e;
    uint64_t keys[8];
    float x;
    if (sign_it && n >= 32) {
        memcpy(file, "PNSTKENC\1\0\0\0\0\0\0\0", 16);
        put_u64(file + 16, n - 32);
        put_u64(file + 24, hash_bytes(file + 32, n - 32, 0));
    }
    if (encoder_parse(file, n, "enc", &e, NULL) != ST_OK)
        return;
    for (size_t i = 0; i < e->schema.ids_used; i++)
        (void)encoder_cell_keys(e, i, "a|b^c", 5, keys, 8);
    for (size_t i = 0; i < e->schema.floats_used; i++)
        (void)encoder_cell_float(e, i, "1.5", 3, &x);
    encoder_free(e);
}

static void open_catalog(uint8_t *file, size_t n, int sign_it)
{
    struct catalog c;
    if (sign_it && n >= 88) {
        memcpy(file, "PNSTKCAT\1\0\0\0\0\0\0\0", 16);
        put_u64(file + 72, (n - 88) / 16);
        put_u64(file + 80, hash_bytes(file + 88, n - 88, hash_bytes(file, 80, 0)));
    }
    if (catalog_parse(file, n, "catalog", &c, NULL) != ST_OK)
        return;
    for (size_t i = 0; i < c.n; i++)
        if (catalog_find(&c, c.key[i]) != i)
            abort();
    (void)catalog_find(&c, 12345);
    catalog_release(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (dir[0] == 0) {
        prepare();
        atexit(clean);
    }
    size_t n = size - 1;
    int bags = data[0] >> 2 & 1;
    uint8_t *file = malloc(n + 1);
    memcpy(file, data + 1, n);
    if (data[0] & 8) {
        open_catalog(file, n, data[0] & 1);
    } else if (data[0] & 2) {
        open_encoder(file, n, data[0] & 1);
    } else {
        if (data[0] & 1)
            sign(file, n, schemas[bags]);
        FILE *f = fopen(path, "wb");
        if (f == NULL || fwrite(file, 1, n, f) != n || fclose(f) != 0)
            abort();
        open_and_read(&jobs[bags]);
    }
    free(file);
    return 0;
}
