/* ops.h - the kinds of op in a frame of the node's journal; what is in each: state.h. */
#ifndef PENSTOCK_PS_SERVE_OPS_H
#define PENSTOCK_PS_SERVE_OPS_H

enum op_kind_state {
    OP_USER = 1,
    OP_USER_GONE = 2,
    OP_ITEM = 3,
    OP_EVENTS = 4,
    OP_EXPOSURE = 6,
    OP_OUTCOME = 7,
    OP_CLOSED = 8,
    OP_LINES = 9,
    OP_SERVED = 10,
    OP_JOINED = 11,
    OP_FULL_USER = 12,
    OP_FULL_USER_GONE = 13,
    OP_FULL_ITEM = 14,
    OP_SEEN = 15,
    OP_LOG = 16,
    OP_WINDOW = 17,
    OP_FIGURES = 18,
    OP_RECORD = 19,
    OP_LSN = 20
};

enum { FLAG_IN_STOCK = 1, FLAG_KNOWN = 2, FLAG_FROM_FILES = 4 };

#endif
