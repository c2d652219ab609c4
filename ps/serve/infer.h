/* infer.h - a request of the Open Inference Protocol, read and answered: tensors to columns of texts, scores to tensors. Pure.
 *
 * http_infer.h says what is taken. A value must be what its tensor's datatype says, and in its range.
 */
#ifndef PENSTOCK_PS_SERVE_INFER_H
#define PENSTOCK_PS_SERVE_INFER_H

#include "common/base/json.h"
#include "ps/serve/service.h"

#define INFER_RECORDS_MAX ((size_t)1 << 20) /* the service has its own, smaller bound */
#define INFER_OUTPUTS_MAX 64u
#define INFER_ID_MAX      256u

struct infer {
    struct service_table table;
    const char **name;            /* (columns); borrowed from the body */
    struct service_cell *cell;    /* (columns, records); into the body or room */
    char (*room)[JSON_CELL_ROOM]; /* numbers as texts: (columns, records) */
    float *scores;                /* (records, outputs): where the service puts them */
    const char *const *output;    /* (outputs) names; borrowed */
    size_t outputs;
    bool want[INFER_OUTPUTS_MAX]; /* which of them were asked for */
    const char *id;               /* borrowed from the body; NULL: none */
};

/* body: an object, of a text of text_n bytes (which bounds how many values it can have); it lives as long as *out does.
 * inputs_max: fields of the model; output: (outputs) its names, outputs >= 1. ST_USAGE says what was expected where. */
MUST_CHECK enum status infer_parse(const struct json *body, size_t text_n, size_t inputs_max,
                                   const char *const *output, size_t outputs, struct infer **out,
                                   struct errbuf *err);
void infer_free(struct infer *f);
/* {"model_name", "model_version", "id", "parameters", "outputs"}; the caller's. incarnation 0: unknown. */
struct json *infer_answer(const struct infer *f, const char *model, uint64_t version,
                          uint64_t incarnation);

#endif
