/* utf8.c - UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
 *
 * Job files and JSON are UTF-8 by definition; file names are any bytes. This is what stands between them.
 * A terminated text needs no length: its 0 is never a valid continuation byte, so no read passes it.
 */
#include "common/base/utf8.h"

size_t utf8_next(const char *s, uint32_t *out)
{
    const unsigned char *b = (const unsigned char *)s;
    uint32_t lead = b[0];
    size_t n = lead < 0x80   ? 1
               : lead < 0xC2 ? 0
               : lead < 0xE0 ? 2
               : lead < 0xF0 ? 3
               : lead < 0xF5 ? 4
                             : 0;
    static const uint32_t lead_mask[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t point = lead & lead_mask[n];
    for (size_t i = 1; i < n; i++) {
        if ((b[i] & 0xC0u) != 0x80)
            return 0;
        point = point << 6 | (b[i] & 0x3Fu);
    }
    if (n == 0 || point < least[n] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF))
        return 0;
    if (out != NULL)
        *out = point;
    return n;
}

bool utf8_valid(const char *s)
{
    while (*s != '\0') {
        size_t n = utf8_next(s, NULL);
        if (n == 0)
            return false;
        s += n;
    }
    return true;
}

/* U+0080 to U+009F are control characters, too: some terminals obey them. */
static bool is_control(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0);
}

void utf8_tame(char *s, char keep)
{
    while (*s != '\0') {
        uint32_t point = 0;
        size_t n = utf8_next(s, &point);
        if (n == 0 || (is_control(point) && point != (unsigned char)keep))
            *s = '?';
        if (n == 2 && is_control(point))
            s[1] = '?';
        s += n == 0 ? 1 : n;
    }
}
