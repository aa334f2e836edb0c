/* What a window's replies say of its keys, one by one, and which node of the target takes each. */

#ifndef KEYFERRY_VALUES_H
#define KEYFERRY_VALUES_H

#include "replies.h"

typedef struct {
    const char *bulk;     /* the value as the source has sent it, its head and line's end with it; NULL where it has none */
    Py_ssize_t bulk_size;
    Py_ssize_t size;
    int64_t instant;      /* in ms and in the first target node's clock, NEVER or GONE; before that, as the source told it */
    int slot;             /* 0 for all where slots do not matter */
    int node;             /* of the target, by its number among those that may take keys */
    bool odd;             /* what was asked for does not read it: gone or no string for MGET, no string for GET */
} Value;

#define NEVER INT64_MIN /* no instants */
#define GONE (INT64_MIN + 1)
#define FOREVER (-1) /* a reply: see expiry.py */

/* How the source was asked for values: by one MGET, by one for each slot, by a GET or a DUMP for each key. */
enum { MGET, MGETS, GET, DUMP };
/* How it was asked for expiries: not at all; by TIME, PEXPIRETIME …; by TIME, PTTL …, TIME. */
enum { UNASKED, ABSOLUTE, RELATIVE };

/* Of replies that are not as expected, these say false; so they do with an exception set. */
bool take_slots(PyObject *slots, Value *values, Py_ssize_t count);
bool take_values(Bytes *left, int asked, Value *values, Py_ssize_t count);
bool take_expiries(Bytes *left, int told, int64_t shift_ms, int64_t moment_ms, Value *values, Py_ssize_t count);
bool find_nodes(PyObject *owners, int nodes, Value *values, Py_ssize_t count);
bool shift_instants(PyObject *ahead_ms, Value *values, Py_ssize_t count);

static inline bool is_written(const Value *value, int node) {
    return value->bulk != NULL && value->instant != GONE && value->node == node;
}

static inline bool is_lasting(const Value *value, int node) { return is_written(value, node) && value->instant == NEVER; }

#endif
