/* Reading a window's replies: see values.h. */

#include "values.h"

/* Where the MGET ends that has read the key at `first`. */
static const Value *end_of_array(int asked, const Value *first, const Value *end) {
    const Value *value = first + 1;
    while (value < end && (asked == MGET || value->slot == first->slot)) value++;
    return value;
}

/* What GET says of a key that is no string; any other error is Python's to judge. */
static bool take_wrong_type(Bytes *left) {
    static const char head[] = "-WRONGTYPE ";
    int64_t parts;
    if (left->end - left->at < (Py_ssize_t)sizeof(head) || memcmp(left->at, head, sizeof(head) - 1) != 0) return false;
    return take_reply(left, &parts) == WHOLE;
}

static bool take_value(Bytes *left, int asked, Value *value) {
    const char *begin = left->at;
    int64_t size;
    value->odd = asked == GET && take_wrong_type(left);
    if (value->odd) return true;
    if (take_bulk(left, &size) != WHOLE) return false;
    value->odd = size < 0 && asked != GET;
    value->bulk = size < 0 ? NULL : begin;
    value->bulk_size = left->at - begin;
    value->size = (Py_ssize_t)size;
    return true;
}

bool take_values(Bytes *left, int asked, Value *values, Py_ssize_t count) {
    const Value *end = values + count, *next_array = values;
    int64_t parts;
    if (asked == MGET && count == 0) return take_line(left, '*', &parts) == WHOLE && parts == 0;
    for (Value *value = values; value < end; value++) {
        if (asked <= MGETS && value == next_array) {
            next_array = end_of_array(asked, value, end);
            if (take_line(left, '*', &parts) != WHOLE || parts != next_array - value) return false;
        }
        if (!take_value(left, asked, value)) return false;
    }
    return true;
}

/* A time that is later by so many milliseconds, or the last that there is. `time_ms` is not below 0. */
static int64_t later(int64_t time_ms, int64_t by_ms) {
    return by_ms > 0 && time_ms > INT64_MAX - by_ms ? INT64_MAX : time_ms + by_ms;
}

bool take_expiries(Bytes *left, int told, int64_t shift_ms, int64_t moment_ms, Value *values, Py_ssize_t count) {
    int64_t before_ms, after_ms, floor, add;
    if (told == UNASKED) return true;
    if (take_time(left, &before_ms) != WHOLE) return false;
    for (Value *value = values; value < values + count; value++)
        if (take_line(left, ':', &value->instant) != WHOLE) return false;
    if (told == ABSOLUTE) {
        floor = before_ms, add = shift_ms;
    } else {
        if (take_time(left, &after_ms) != WHOLE || after_ms - before_ms > moment_ms) return false;
        floor = 0, add = later((before_ms + after_ms) / 2, shift_ms);
    }
    for (Value *value = values; value < values + count; value++) {
        int64_t reply = value->instant;
        value->instant = reply == FOREVER ? NEVER : reply > floor ? later(reply, add) : GONE;
    }
    return true;
}

/* ---- where keys go ------------------------------------------------------------------------------------------------- */

/* False with an exception set, or where one is none. */
bool take_slots(PyObject *slots, Value *values, Py_ssize_t count) {
    for (Py_ssize_t at = 0; at < count; at++) {
        long slot = slots == Py_None ? 0 : PyLong_AsLong(PyList_GET_ITEM(slots, at));
        if (slot < 0 || slot > INT_MAX) return false;
        values[at] = (Value){.instant = NEVER, .slot = (int)slot};
    }
    return true;
}

/* By the owner of each slot; where there are none, one node takes all. False with an exception set, or where a slot has
   no owner. */
bool find_nodes(PyObject *owners, int nodes, Value *values, Py_ssize_t count) {
    for (Value *value = values; value < values + count; value++) {
        if (owners == Py_None) {
            value->slot = 0;
            continue;
        }
        long node = value->slot < PyList_GET_SIZE(owners) ? PyLong_AsLong(PyList_GET_ITEM(owners, value->slot)) : -1;
        if (node < 0 || node >= nodes) return false;
        value->node = (int)node;
    }
    return true;
}

/* Into the clock of the node that takes each key: `ahead_ms` says how far it is ahead of the first one's. False with an
   exception set. */
bool shift_instants(PyObject *ahead_ms, Value *values, Py_ssize_t count) {
    for (int node = 0; node < PyTuple_GET_SIZE(ahead_ms); node++) {
        long long by_ms = PyLong_AsLongLong(PyTuple_GET_ITEM(ahead_ms, node));
        if (by_ms == -1 && PyErr_Occurred()) return false;
        for (Value *value = values; by_ms != 0 && value < values + count; value++)
            if (is_written(value, node) && value->instant != NEVER) value->instant = later(value->instant, by_ms);
    }
    return true;
}
