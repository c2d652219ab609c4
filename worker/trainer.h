/* trainer.h - the arithmetic of a worker: the main thread's loop over ready works. */
#ifndef PENSTOCK_WORKER_TRAINER_H
#define PENSTOCK_WORKER_TRAINER_H

#include "common/nn/model.h"
#include "worker/feeder.h"
#include "worker/pipeline.h"

/* Until the pipeline has ended. model: borrowed. feeder: to say where a bad record came from. */
void trainer_run(struct pipeline *p, struct model *model, const struct feeder *feeder);

#endif
