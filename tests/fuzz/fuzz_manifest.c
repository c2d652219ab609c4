/* fuzz_manifest.c - manifests: any bytes, and any bytes whose checksum is right.
 *
 * The second half is the deeper one: an input that begins like a manifest gets its checksum put right, or
 * nothing behind it would ever be reached. What is accepted must come back the same when it is written.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ps/snapshot/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const char *text, size_t n)
{
    struct manifest m, again;
    struct errbuf err = ERRBUF_INIT;
    enum status st = manifest_parse(text, n, "fuzz", &m, &err);
    if (st != ST_OK) {
        assert(st == ST_BAD_DATA && err.text[0] != '\0');
        return;
    }
    for (size_t i = 0; i < m.files_used; i++)
        assert(strstr(m.files[i].name, "..") == NULL && m.files[i].name[0] != '/');
    for (uint32_t b = 0; b < BUCKETS; b++)
        assert(m.map[b] < m.shards);
    char *first = manifest_text(&m);
    st = manifest_parse(first, strlen(first), "written", &again, &err);
    assert(st == ST_OK);
    char *second = manifest_text(&again);
    assert(strcmp(first, second) == 0);
    free(second);
    free(first);
    manifest_release(&again);
    manifest_release(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char begin[] = "{\n \"xxh3\": \"";
    const size_t at = sizeof begin - 1;
    run((const char *)data, size);
    if (size < at + 16 || memcmp(data, begin, at) != 0)
        return 0;
    char *text = malloc(size), digits[17];
    assert(text != NULL);
    memcpy(text, data, size);
    memset(text + at, '0', 16);
    snprintf(digits, sizeof digits, "%016" PRIx64, hash_bytes(text, size, 0));
    memcpy(text + at, digits, 16);
    run(text, size);
    free(text);
    return 0;
}
