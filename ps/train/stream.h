/* stream.h - what the head's process tells followers: which cut is newest, and which files they may ask for. Pure.
 *
 * It keeps nothing of a follower but a question that waits for the next cut, and of those at most STREAM_WAITING: beyond,
 * the oldest is answered "none" and asks again. Files are named by the newest manifests; a name is looked up here and the
 * path beside it is opened, never the name as it came.
 */
#ifndef PENSTOCK_PS_TRAIN_STREAM_H
#define PENSTOCK_PS_TRAIN_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "common/wire/msg.h"
#include "ps/snapshot/manifest.h"

#define STREAM_WAITING 1024u
#define STREAM_CUTS    8u

struct stream_wait {
    uint64_t route, request, after, below, until_us;
};

struct stream_name {
    char name[FILE_NAME_MAX]; /* as it is asked for */
    char *path;               /* owned: what is opened */
};

struct stream {
    uint64_t cut[STREAM_CUTS]; /* rising */
    size_t cuts;
    struct stream_name *name; /* owned; sorted */
    size_t names, fixed, cap; /* fixed: of them, those that stay; they are first until sorted */
    struct stream_wait wait[STREAM_WAITING]; /* oldest first */
    size_t waits;
};

struct stream *stream_new(void);
void stream_free(struct stream *s);
/* A file that may always be asked for. */
void stream_fix(struct stream *s, const char *name, const char *path);
/* The whole manifests there are now, rising, at most STREAM_CUTS: their files, and their own. dir: of the run. */
void stream_cuts(struct stream *s, const char *dir, const struct manifest *list, size_t n);
/* The path of a file that may be asked for, or NULL. */
const char *stream_path(const struct stream *s, const char *name);
uint64_t stream_newest(const struct stream *s, uint64_t after, uint64_t below); /* 0: none */
/* A question; it is answered by stream_due, maybe at once. A second one of the same route and request replaces the first. */
void stream_watch(struct stream *s, uint64_t route, const struct msg_watch *w, uint64_t now_us);
struct stream_answer {
    uint64_t route, request, k;
};
/* Takes out up to max questions that are to be answered now. */
size_t stream_due(struct stream *s, uint64_t now_us, struct stream_answer *out, size_t max);

#endif
