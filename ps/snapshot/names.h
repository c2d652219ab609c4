/* names.h - the names of files in a run's folder, made and taken apart in one place.
 *
 *   run/<e>/m                                          the manifest being written by incarnation e
 *   cuts/<k>.json                                      a complete cut; "<k>.json.bad": found damaged
 *   data/<k>.<e>.<shard>.<full|delta>.safetensors      one shard's file of cut k; with ".tmp": unfinished
 *
 * Numbers are plain decimal without leading zeros, so that a name and its numbers are one to one.
 */
#ifndef PENSTOCK_PS_SNAPSHOT_NAMES_H
#define PENSTOCK_PS_SNAPSHOT_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAMES_MAX 96u /* bytes of any such name, with its folder and the 0 behind */

struct names_file {
    uint64_t k, e;
    uint32_t shard;
    bool full;
    bool tmp;
};

/* Without the folder: "7.2.0.delta.safetensors". */
void names_data(char dst[NAMES_MAX], const struct names_file *f);
bool names_parse_data(const char *name, struct names_file *out);
void names_cut(char dst[NAMES_MAX], uint64_t k); /* "7.json" */
/* bad: "7.json.bad". */
bool names_parse_cut(const char *name, uint64_t *out_k, bool *out_bad);
/* A whole plain number and nothing else. */
bool names_parse_number(const char *text, uint64_t *out);

#endif
