/* gradient.h - what a gradient must pass before it may touch a row. Pure; the same result on every CPU. */
#ifndef PENSTOCK_PS_OPTIM_GRADIENT_H
#define PENSTOCK_PS_OPTIM_GRADIENT_H

#include <stdbool.h>
#include <stddef.h>

/* Is every |g| <= limit, and so finite? limit: finite, >= 0. */
bool gradient_fits(const float *g, size_t n, float limit);
/* Sum of squares, in double; no gradient that fits overflows it. */
double gradient_norm2(const float *g, size_t n);
/* out = g * scale. out may be g. */
void gradient_scale(const float *g, size_t n, float scale, float *out);

#endif
