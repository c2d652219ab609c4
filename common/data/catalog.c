/* catalog.c - see catalog.h. */
#include "common/data/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/mem.h"

#define VERSION        2u
#define HEADER_BYTES   80u /* before the checksum */
#define FILE_BYTES_MAX ((size_t)64 << 30)

static const char MAGIC[8] = "PNSTKCAT";

static uint64_t sum_of(const uint8_t *bytes, size_t n)
{
    uint64_t header = hash_bytes(bytes, HEADER_BYTES, 0);
    return hash_bytes(bytes + HEADER_BYTES + 8, n - HEADER_BYTES - 8, header);
}

void catalog_write(const struct catalog *c, struct buffer *out)
{
    struct buffer body = BUFFER_INIT;
    buffer_put(&body, MAGIC, sizeof MAGIC);
    buffer_u32(&body, VERSION);
    buffer_u32(&body, 0);
    buffer_u64(&body, c->stamp);
    buffer_u64(&body, c->counts.users);
    buffer_u64(&body, c->counts.events);
    buffer_u64(&body, c->counts.positions);
    buffer_u64(&body, c->counts.users_short);
    buffer_u64(&body, c->counts.events_short);
    buffer_u64(&body, c->counts.no_history);
    buffer_u64(&body, c->n);
    buffer_u64(&body, 0);
    for (size_t i = 0; i < c->n; i++)
        buffer_u64(&body, c->key[i]);
    for (size_t i = 0; i < c->n; i++)
        buffer_u64(&body, c->count[i]);
    for (size_t i = 0; i < c->n; i++)
        buffer_u64(&body, c->recent[i]);
    buffer_put(out, body.data, HEADER_BYTES);
    buffer_u64(out, sum_of(body.data, body.used));
    buffer_put(out, body.data + HEADER_BYTES + 8, body.used - HEADER_BYTES - 8);
    buffer_release(&body);
}

enum status catalog_save(const struct catalog *c, const char *cache_dir, struct errbuf *err)
{
    struct buffer b = BUFFER_INIT;
    char *path = file_join(cache_dir, "catalog.bin");
    catalog_write(c, &b);
    enum status st = file_write_atomic(path, b.data, b.used, err);
    free(path);
    buffer_release(&b);
    return st;
}

static enum status damaged(const char *name, const char *what, struct errbuf *err)
{
    return errbuf_set(err, ST_BAD_DATA, "%s: %s; delete it to convert again", name, what);
}

enum status catalog_parse(const void *bytes, size_t n, const char *name, struct catalog *out,
                          struct errbuf *err)
{
    struct catalog c = {0};
    struct reader in;
    reader_init(&in, bytes, n);
    const uint8_t *magic = reader_view(&in, sizeof MAGIC);
    if (magic == NULL || memcmp(magic, MAGIC, sizeof MAGIC) != 0)
        return damaged(name, "not a catalog of items", err);
    uint32_t version = reader_u32(&in), zero = reader_u32(&in);
    if (!in.bad && version != VERSION)
        return errbuf_set(err, ST_BAD_DATA, "%s: version %u, this program reads %u", name, version,
                          VERSION);
    c.stamp = reader_u64(&in);
    c.counts.users = reader_u64(&in);
    c.counts.events = reader_u64(&in);
    c.counts.positions = reader_u64(&in);
    c.counts.users_short = reader_u64(&in);
    c.counts.events_short = reader_u64(&in);
    c.counts.no_history = reader_u64(&in);
    uint64_t items = reader_u64(&in), sum = reader_u64(&in), left = reader_left(&in);
    if (in.bad || zero != 0 || left % 24 != 0 || items != left / 24 || sum != sum_of(bytes, n))
        return damaged(name, "damaged (checksum or length)", err);
    c.n = (size_t)items;
    c.key = mem_array(c.n + 1, sizeof *c.key);
    c.count = mem_array(c.n + 1, sizeof *c.count);
    c.recent = mem_array(c.n + 1, sizeof *c.recent);
    bool sorted = true;
    for (size_t i = 0; i < c.n; i++) {
        c.key[i] = reader_u64(&in);
        sorted = sorted && (i == 0 || c.key[i] > c.key[i - 1]);
    }
    for (size_t i = 0; i < c.n; i++)
        c.count[i] = reader_u64(&in);
    for (size_t i = 0; i < c.n; i++)
        c.recent[i] = reader_u64(&in);
    if (!sorted || c.n == 0) {
        catalog_release(&c);
        return damaged(name, "damaged (its items are not in order)", err);
    }
    *out = c;
    return ST_OK;
}

enum status catalog_load(const char *cache_dir, struct catalog *out, struct errbuf *err)
{
    char *path = file_join(cache_dir, "catalog.bin"), *bytes = NULL;
    size_t n;
    enum status st = file_read(path, FILE_BYTES_MAX, &bytes, &n, err);
    if (st == ST_OK)
        st = catalog_parse(bytes, n, path, out, err);
    free(bytes);
    free(path);
    return st;
}

void catalog_release(struct catalog *c)
{
    free(c->key);
    free(c->count);
    free(c->recent);
    memset(c, 0, sizeof *c);
}

size_t catalog_find(const struct catalog *c, uint64_t key)
{
    size_t low = 0, high = c->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (c->key[mid] < key)
            low = mid + 1;
        else
            high = mid;
    }
    return low < c->n && c->key[low] == key ? low : CATALOG_NONE;
}
