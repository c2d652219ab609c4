/* source_dir.h - cuts from a run's folder, on this host or a shared file system. */
#ifndef PENSTOCK_PS_SERVE_SOURCE_DIR_H
#define PENSTOCK_PS_SERVE_SOURCE_DIR_H

#include "ps/serve/source.h"

struct source source_dir_open(const char *dir);

#endif
