/* source_tcp.h - cuts from a running training's stream: tcp://HOST:PORT (cluster.stream of its job).
 *
 * Of a data file only what a node needs is fetched: header, ids, tombs, weights, dense tensors; optimizer state and meta
 * stay at home, their place in the file's image is untouched memory.
 */
#ifndef PENSTOCK_PS_SERVE_SOURCE_TCP_H
#define PENSTOCK_PS_SERVE_SOURCE_TCP_H

#include <stdatomic.h>

#include "ps/serve/source.h"

/* Fetches the run's small files into a folder of its own (below TMPDIR or /tmp; removed at close): job, resolved.yaml,
 * plan.json, cache/. *out_dir: that folder, borrowed from the source. ST_TIMEOUT: nobody answered within wait_us; ST_USAGE:
 * no such address. stop: borrowed; set by another thread, it ends every wait soon with ST_TIMEOUT. */
MUST_CHECK enum status source_tcp_open(const char *address, uint64_t wait_us,
                                       const atomic_bool *stop, struct source *out,
                                       const char **out_dir, struct errbuf *err);

#endif
