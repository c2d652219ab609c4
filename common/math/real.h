/* real.h - the number type of math and nn: float in the product, double when the gradient checks build
 * both rooms with -DPENSTOCK_REAL_DOUBLE, so that central differences mean something.
 */
#ifndef PENSTOCK_COMMON_MATH_REAL_H
#define PENSTOCK_COMMON_MATH_REAL_H

#ifdef PENSTOCK_REAL_DOUBLE
typedef double real;
#else
typedef float real;
#endif

#endif
