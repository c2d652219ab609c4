/* crowd_int.h - what crowd.c (who comes, and when) and crowd_visit.c (what a visit does next) share; no one else's. */
#ifndef PENSTOCK_LAUNCH_CROWD_INT_H
#define PENSTOCK_LAUNCH_CROWD_INT_H

#include "launch/crowd.h"
#include "launch/simulate.h"

enum step { IDLE, ITEM, USER, RANK, REPORT, PROBE };

struct slot {
    enum step step;
    bool in_flight;
    uint64_t due_us; /* when to send, unless in flight */
    unsigned tries;  /* of this step so far */
    size_t node, item;
    struct shop_visit visit; /* its candidates: owned */
    struct visit_answer answer;
    bool again; /* is to be followed by a probe */
    size_t events;
    uint64_t begun_us; /* REPORT, PROBE: when the events were handed in */
    struct buffer body;
};

struct crowd {
    const struct crowd_conf *conf;
    struct tally *tally;
    struct shop_people *people;
    struct simulate *http;
    struct slot *slot;
    struct shop_visit next; /* to come; its candidates: owned */
    bool have_next, ended;
    uint64_t began_us, late_us, progress_us; /* arrival i is due at began + late + its own time */
    uint64_t hold_us[CROWD_NODES_MAX];
    size_t items_begun, items_done; /* of the world, in its order (done: any order) */
    uint8_t *introduced;            /* (introduced_cap) users */
    size_t introduced_cap;
    uint64_t *item_acked_us; /* (acked_cap) newcomers; 0: not yet, UINT64_MAX: already shown */
    size_t acked_cap, clicked;
};

/* The slot's next step, not before due_us. */
void crowd_go(struct slot *s, enum step step, uint64_t due_us);
/* Send what the slot's step says; it is not in flight. */
void crowd_send(struct crowd *c, size_t slot);
/* An answer came: count it, and decide what the slot does next. */
void crowd_take(struct crowd *c, const struct simulate_answer *a);

#endif
