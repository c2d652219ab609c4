/* tokens.h - the sequences of a batch, packed: which row of a TOKENS tensor is which place of which record.
 *
 * No padding: T rows for the T inputs of all records. Two orders, chosen by the family:
 *
 *     by record   one sequence behind the other; start[i] is where record i begins (attention, convolution)
 *     by step     all first items, all second items, ...; records stand longest first, so the records that reach
 *                 step s are the first step[s + 1] - step[s] of every step before, too (lstm, gru)
 *
 * In training a record of m items has m - 1 inputs, each with the next item as its target; else all m are inputs. A
 * click model's history (`whole`) predicts nothing by itself: all m are inputs in training, too.
 * Of more than `places_max` inputs the newest are taken.
 */
#ifndef PENSTOCK_COMMON_NN_TOKENS_H
#define PENSTOCK_COMMON_NN_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/nn/model.h"

#define TOKEN_NONE UINT32_MAX

struct tokens { /* arrays owned */
    size_t records_max, places_max;
    bool by_step;
    size_t field; /* the history is this bag of a record */
    bool whole;
    /* -- set by tokens_lay -- */
    size_t records, used, steps; /* T = used; steps: the longest record's inputs */
    uint32_t *record, *place;    /* (T) */
    uint32_t *at;                /* (T) in the batch's occurrences */
    uint32_t *item, *target;     /* (T) in the batch's unique keys; target in training only */
    uint32_t *start;             /* (records + 1) by record */
    uint32_t *step;              /* (steps + 1) by step */
    uint32_t *last;              /* (records) row of its last input, or TOKEN_NONE */
    uint32_t *order;             /* (records) records as they stand in a step */
};

struct tokens *tokens_new(size_t records_max, size_t places_max, bool by_step);
void tokens_free(struct tokens *t);
/* fields: F. */
void tokens_lay(struct tokens *t, const struct model_input *in, size_t fields, bool train);

#endif
