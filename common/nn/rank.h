/* rank.h - the place of each record's target among the candidates, by the model's last state of the record.
 *
 * Logits of a block of records over all candidates stand in scratch (about 4 MB, more only if one record's logits
 * don't fit); what a record has seen is struck out there, and the rest is counted. The loss is over all of them.
 */
#ifndef PENSTOCK_COMMON_NN_RANK_H
#define PENSTOCK_COMMON_NN_RANK_H

#include <stddef.h>
#include <stdint.h>

#include "common/nn/families.h"
#include "common/nn/graph.h"

struct rank { /* owned; grows with the candidates */
    real *logits, *states, *items, *bias, *exps;
    size_t logits_cap, states_cap, items_cap, bias_cap, exps_cap;
    uint32_t *place; /* of a unique key among the candidates, or TOKEN_NONE */
    size_t place_cap;
};

void rank_release(struct rank *k);
/* Last states of records [from, from + many); zeros for one without a history. out: (many, d). */
void rank_states(const struct graph *g, const struct model_head *head, size_t from, size_t many,
                 real *out);
/* After a forward walk with run->train false (none if there is no token). out_rank: (n). out_loss: or NULL. */
void rank_all(struct rank *k, const struct graph *g, const struct model_head *head,
              const struct model_input *in, real *out_rank, struct model_loss *out_loss);

#endif
