/* real.h - the number type of nn. It is math's, since nn may include math and not the other way round. */
#ifndef PENSTOCK_COMMON_NN_REAL_H
#define PENSTOCK_COMMON_NN_REAL_H

#include "common/math/real.h"

#endif
