/* cells.h - what is known of a user, an item or a request: cells by the name of a field, as texts of a log.
 *
 * Names that some stream's job has are numbers (struct fields: made when a node starts, then only read), so that a cell
 * is found without comparing texts; other names of a profile are kept and never looked at. A cell is the text that
 * would stand in the log, or NULL: missing.
 */
#ifndef PENSTOCK_PS_SERVE_CELLS_H
#define PENSTOCK_PS_SERVE_CELLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"
#include "common/base/json.h"

#define FIELD_UNKNOWN   UINT32_MAX
#define CELLS_MAX       256u        /* of one profile or context */
#define CELLS_BYTES_MAX (64u << 10) /* names and texts of one */
#define ID_MAX          512u        /* bytes of a user's, item's or event's id */

struct field { /* owned texts */
    char *name;
    char *sep;     /* type ids: between the ids of a list; NULL: no lists */
    bool is_float; /* numbers must be parsable */
};

struct fields {
    struct field *item; /* owned */
    size_t used, cap;
    uint32_t *slot; /* (slots) open addressing, number + 1; owned */
    size_t slots;
};

/* sep: of type ids, else NULL. The number of a name that is there already; its sep stays. */
uint32_t fields_add(struct fields *f, const char *name, const char *sep, bool is_float);
uint32_t fields_find(const struct fields *f, const char *name, size_t n);
void fields_release(struct fields *f);

struct cell {
    uint32_t field;     /* or FIELD_UNKNOWN */
    uint32_t name_n, n; /* bytes */
    bool missing;
    const char *name, *text; /* borrowed: inside the cells, or the JSON they were read from */
    size_t at; /* text NULL, not missing: where it is in the buffer, until cells_settle */
};

struct cells {
    const struct cell *item; /* borrowed */
    size_t used;
};

/* Views of a JSON object {field: cell} into out (CELLS_MAX); none of NULL. where: "context", for errors. except: NULL:
 * any name may stand there; else that key is left out, and a name that no job has is an error. Numbers and lists are
 * written into `text`, which may move; when it will grow no more, cells_settle. ST_USAGE says which key and why. */
MUST_CHECK enum status cells_of_json(const struct fields *f, const struct json *object,
                                     const char *where, const char *except, struct buffer *text,
                                     struct cell *out, size_t *out_used, struct errbuf *err);
void cells_settle(struct cell *cell, size_t n, const struct buffer *text);
/* NULL: not there. */
const struct cell *cells_find(const struct cells *c, uint32_t field);

/* A copy in one piece: bytes needed, and put at `to` (8-aligned). */
size_t cells_bytes(const struct cells *c);
struct cells cells_copy(const struct cells *c, void *to);

/* In a journal: u16 n; of each u16 name bytes, name, u32 text bytes + 1 (0: missing), text. */
void cells_write(const struct cells *c, struct buffer *out);
/* Views of the reader's bytes into out (CELLS_MAX); false: they are no cells. */
bool cells_read(const struct fields *f, struct reader *in, struct cell *out,
                struct cells *out_cells);
/* {name: text or null} */
struct json *cells_json(const struct cells *c);

/* An id of a request: a text or a whole number, 1 .. ID_MAX bytes, UTF-8 without control bytes. `room` as json_cell.
 * ST_USAGE. */
MUST_CHECK enum status id_of_json(const struct json *j, const char *where,
                                  char room[JSON_CELL_ROOM], const char **out, size_t *out_n,
                                  struct errbuf *err);
MUST_CHECK enum status id_check(const char *id, size_t n, const char *where, struct errbuf *err);

#endif
