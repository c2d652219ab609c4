/* clock.h - time. The cores never call this: time comes to them inside events. */
#ifndef PENSTOCK_COMMON_BASE_CLOCK_H
#define PENSTOCK_COMMON_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_now_us(void);  /* monotonic */
uint64_t clock_wall_us(void); /* since 1970, UTC */
uint64_t clock_cpu_us(void);  /* CPU time of this thread */
/* Sleep; only for back-off in shells, never to synchronize. */
void clock_sleep_us(uint64_t us);

#endif
