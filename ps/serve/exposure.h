/* exposure.h - what was shown and waits for its outcome: rows of the interaction log whose label is not known yet.
 *
 * With one label an outcome within the window writes its row at once, positive; when the window closes the others are
 * written as negatives. With several, all rows are written when it closes, with what came of each by then. One thread (the writer).
 */
#ifndef PENSTOCK_PS_SERVE_EXPOSURE_H
#define PENSTOCK_PS_SERVE_EXPOSURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

#define EXPOSURE_REC       26u /* bytes of a recommendation id */
#define EXPOSURE_ITEMS_MAX 100u

struct exposure_row {
    const char *item; /* id; borrowed */
    size_t item_n;
    const char *text; /* a line without its labels: interaction.h; borrowed */
    uint32_t n;
};

struct exposure_put {
    char rec[EXPOSURE_REC];
    uint64_t time; /* us since 1970 */
    uint64_t user_hash, user_check;
    const struct exposure_row *row; /* (rows), at most EXPOSURE_ITEMS_MAX */
    size_t rows;
};

struct exposure {
    struct exposure_put put; /* borrowed pointers lead into this allocation */
    size_t bytes;
    uint8_t done[EXPOSURE_ITEMS_MAX]; /* bit t: an outcome of task t came */
    struct exposure *newer, *older;   /* by arrival */
    struct exposure *next;            /* of its slot */
};

struct exposures {
    struct exposure **slot; /* (slots) owned */
    size_t slots, used, bytes;
    struct exposure *newest, *oldest;
};

void exposures_init(struct exposures *x);
void exposures_release(struct exposures *x);
/* A copy; nothing when one of this id is there. */
void exposures_add(struct exposures *x, const struct exposure_put *p);
struct exposure *exposures_find(const struct exposures *x, const char rec[EXPOSURE_REC]);
/* The place of an item, or SIZE_MAX. */
size_t exposure_row_of(const struct exposure *e, const char *item, size_t n);
void exposures_remove(struct exposures *x, struct exposure *e);
void exposures_remove_user(struct exposures *x, uint64_t hash, uint64_t check);
/* Names what came of one item of one answer, for the set of seen ids: a second outcome of it is no second row. */
uint64_t exposure_outcome(const char rec[EXPOSURE_REC], const char *item, size_t n, size_t task);
/* In a frame: see state.h, op 8 without its kind. */
void exposure_write(const struct exposure_put *p, struct buffer *out);
/* Views into rows (EXPOSURE_ITEMS_MAX). */
bool exposure_read(struct reader *in, struct exposure_row *rows, struct exposure_put *out);

#endif
