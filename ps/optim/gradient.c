/* gradient.c - what a gradient must pass before it may touch a row.
 *
 * Floats without their sign order as their bits do, with infinity and every NaN above all numbers: so "finite
 * and not too large" is one integer comparison an element, four at a time on any x86-64.
 */
#include "ps/optim/gradient.h"

#include <stdint.h>
#include <string.h>

#define SIGNLESS 0x7fffffff
#define WIDE     4u

typedef int32_t four __attribute__((vector_size(16)));

bool gradient_fits(const float *g, size_t n, float limit)
{
    int32_t most, one;
    memcpy(&most, &limit, sizeof most);
    const four mask = {SIGNLESS, SIGNLESS, SIGNLESS, SIGNLESS};
    const four mosts = {most, most, most, most};
    four bad = {0, 0, 0, 0};
    size_t i = 0;
    for (; i + WIDE <= n; i += WIDE) {
        four bits;
        memcpy(&bits, g + i, sizeof bits);
        bad |= (bits & mask) > mosts;
    }
    int32_t any = bad[0] | bad[1] | bad[2] | bad[3];
    for (; i < n; i++) {
        memcpy(&one, g + i, sizeof one);
        any |= (one & SIGNLESS) > most;
    }
    return any == 0;
}

double gradient_norm2(const float *g, size_t n)
{
    double part[WIDE] = {0};
    size_t i = 0;
    for (; i + WIDE <= n; i += WIDE)
        for (size_t l = 0; l < WIDE; l++)
            part[l] += (double)g[i + l] * (double)g[i + l];
    for (; i < n; i++)
        part[0] += (double)g[i] * (double)g[i];
    return (part[0] + part[1]) + (part[2] + part[3]);
}

void gradient_scale(const float *g, size_t n, float scale, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = g[i] * scale;
}
