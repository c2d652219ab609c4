/* metrics_case.h - what the tests of A/B statistics share. */
#ifndef PENSTOCK_TESTS_UNIT_METRICS_CASE_H
#define PENSTOCK_TESTS_UNIT_METRICS_CASE_H

#include <math.h>
#include <stdio.h>

/* To as many digits as the vector has: within half a unit of its last place, `place`. */
static inline int near(double got, double want, double place)
{
    const int ok = fabs(got - want) <= 0.5000001 * place;
    if (!ok)
        fprintf(stderr, "got %.12g, wanted %.12g\n", got, want);
    return ok;
}

static inline int close_to(double got, double want, double relative)
{
    const int ok = fabs(got - want) <= relative * fabs(want);
    if (!ok)
        fprintf(stderr, "got %.12g, wanted %.12g\n", got, want);
    return ok;
}

#endif
