/* names.c - see names.h. What does not parse is somebody else's file: it is never touched. */
#include "ps/snapshot/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void names_data(char dst[NAMES_MAX], const struct names_file *f)
{
    snprintf(dst, NAMES_MAX, "%" PRIu64 ".%" PRIu64 ".%" PRIu32 ".%s.safetensors%s", f->k, f->e,
             f->shard, f->full ? "full" : "delta", f->tmp ? ".tmp" : "");
}

void names_cut(char dst[NAMES_MAX], uint64_t k)
{
    snprintf(dst, NAMES_MAX, "%" PRIu64 ".json", k);
}

/* Plain decimal at *at; moves behind it. */
static bool take_number(const char **at, uint64_t *out)
{
    const char *p = *at;
    uint64_t v = 0;
    if (*p < '0' || *p > '9' || (p[0] == '0' && p[1] >= '0' && p[1] <= '9'))
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *at = p;
    *out = v;
    return true;
}

static bool take_text(const char **at, const char *text)
{
    size_t n = strlen(text);
    if (strncmp(*at, text, n) != 0)
        return false;
    *at += n;
    return true;
}

bool names_parse_number(const char *text, uint64_t *out)
{
    uint64_t v;
    if (!take_number(&text, &v) || *text != '\0')
        return false;
    *out = v;
    return true;
}

bool names_parse_cut(const char *name, uint64_t *out_k, bool *out_bad)
{
    uint64_t k;
    if (!take_number(&name, &k) || !take_text(&name, ".json"))
        return false;
    bool bad = take_text(&name, ".bad");
    if (*name != '\0')
        return false;
    *out_k = k;
    *out_bad = bad;
    return true;
}

bool names_parse_data(const char *name, struct names_file *out)
{
    struct names_file f;
    uint64_t shard;
    if (!take_number(&name, &f.k) || !take_text(&name, ".") || !take_number(&name, &f.e) ||
        !take_text(&name, ".") || !take_number(&name, &shard) || shard > UINT32_MAX)
        return false;
    f.shard = (uint32_t)shard;
    f.full = take_text(&name, ".full.");
    if ((!f.full && !take_text(&name, ".delta.")) || !take_text(&name, "safetensors"))
        return false;
    f.tmp = take_text(&name, ".tmp");
    if (*name != '\0')
        return false;
    *out = f;
    return true;
}
