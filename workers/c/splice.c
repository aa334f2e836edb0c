/* What the source says becomes what the target is told.

   A bulk string is the same bytes in a reply as in a command. So a window's write is its replies in another order, with
   the names of the keys in between:

       *2 $1 a $1 b  *2 … (TIME)  :-1 :1790000000000     →     *5 SET key2 b PXAT 1790000000000   *3 SET key1 a

   Only what is plain is done here: values and expiries as expected. All else is None, and Python looks at the replies
   one by one. Both ways write the same bytes: tests/test_unparsed.py. */

#include "unparsed.h"

/* ---- what a window's replies say of its keys --------------------------------------------------------------------- */

typedef struct {
    const char *bulk;     /* the value as the source has sent it, its head and line's end with it; NULL for nil */
    Py_ssize_t bulk_size;
    Py_ssize_t size;
    int64_t instant;      /* in ms and in the target's clock, NEVER or GONE; before that, as the source told it */
} Value;

#define NEVER INT64_MIN /* no instants */
#define GONE (INT64_MIN + 1)
#define FOREVER (-1) /* a reply: see expiry.py */

/* How the source was asked for expiries: not at all; by TIME, PEXPIRETIME …; by TIME, PTTL …, TIME. */
enum { UNASKED, ABSOLUTE, RELATIVE };

static bool take_values(Bytes *left, bool in_array, Value *values, Py_ssize_t count) {
    int64_t number;
    if (in_array && (take_line(left, '*', &number) != WHOLE || number != count)) return false;
    for (Value *value = values; value < values + count; value++) {
        const char *begin = left->at;
        if (take_bulk(left, &number) != WHOLE) return false;
        *value = (Value){number < 0 ? NULL : begin, left->at - begin, (Py_ssize_t)number, NEVER};
    }
    return true;
}

/* A time that is later by so many milliseconds, or the last that there is. `time_ms` is not below 0. */
static int64_t later(int64_t time_ms, int64_t by_ms) {
    return by_ms > 0 && time_ms > INT64_MAX - by_ms ? INT64_MAX : time_ms + by_ms;
}

static bool take_expiries(Bytes *left, int told, int64_t shift_ms, int64_t moment_ms, Value *values, Py_ssize_t count) {
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

/* ---- commands ---------------------------------------------------------------------------------------------------- */

/* What a command takes at most besides a key as an encoded argument and a value as it was sent. */
#define COMMAND_BYTES 96
/* More than a number of 64 bits has. */
#define NUMBER_BYTES 32

#define PUT(out, text) ((out) = put((out), (text), sizeof(text) - 1))

static char *put(char *out, const char *bytes, Py_ssize_t size) {
    memcpy(out, bytes, size);
    return out + size;
}

static char *put_number(char *out, int64_t number) {
    char digits[NUMBER_BYTES], *at = digits + NUMBER_BYTES;
    uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;
    do *--at = '0' + left % 10;
    while (left /= 10);
    if (number < 0) *--at = '-';
    return put(out, at, digits + NUMBER_BYTES - at);
}

static char *put_instant(char *out, int64_t instant) {
    char digits[NUMBER_BYTES];
    Py_ssize_t size = put_number(digits, instant) - digits;
    PUT(out, "$");
    out = put_number(out, size);
    PUT(out, "\r\n");
    out = put(out, digits, size);
    return PUT(out, "\r\n");
}

/* An encoded argument begins with a line's end; here each word ends with one. */
static char *put_key(char *out, PyObject *encoded) {
    out = put(out, PyBytes_AS_STRING(encoded) + 2, PyBytes_GET_SIZE(encoded) - 2);
    return PUT(out, "\r\n");
}

static char *put_set(char *out, PyObject *key, const Value *value) {
    if (value->instant == NEVER) PUT(out, "*3\r\n$3\r\nSET\r\n");
    else PUT(out, "*5\r\n$3\r\nSET\r\n");
    out = put(put_key(out, key), value->bulk, value->bulk_size);
    if (value->instant == NEVER) return out;
    PUT(out, "$4\r\nPXAT\r\n");
    return put_instant(out, value->instant);
}

static char *put_restore(char *out, PyObject *key, const Value *value) {
    if (value->instant == NEVER) {
        PUT(out, "*5\r\n$7\r\nRESTORE\r\n");
        out = put_key(out, key);
        PUT(out, "$1\r\n0\r\n");
    } else {
        PUT(out, "*6\r\n$7\r\nRESTORE\r\n");
        out = put_instant(put_key(out, key), value->instant);
    }
    out = put(out, value->bulk, value->bulk_size);
    PUT(out, "$7\r\nREPLACE\r\n");
    return value->instant == NEVER ? out : PUT(out, "$6\r\nABSTTL\r\n");
}

/* ---- for Python ---------------------------------------------------------------------------------------------------- */

/* All that `values` hold for the target, and what there is to count. NULL with an exception set. */
static PyObject *spliced(PyObject *keys, bool dumped, const Value *values, Py_ssize_t past) {
    Py_ssize_t count = PyList_GET_SIZE(keys), copied = 0, lasting = 0, strings = 0, size = 0, largest = 0, room = 0;
    PyObject *odd = PyList_New(0), *request = NULL, *found = NULL;
    if (odd == NULL) return NULL;
    for (Py_ssize_t at = 0; at < count; at++) {
        const Value *value = &values[at];
        if (value->bulk == NULL) {
            PyObject *place = PyLong_FromSsize_t(at);
            if (place == NULL || PyList_Append(odd, place) < 0) {
                Py_XDECREF(place);
                goto done;
            }
            Py_DECREF(place);
        } else if (value->instant != GONE) {
            copied++;
            lasting += value->instant == NEVER;
            /* The first byte of a payload is its type; 0 is a string. */
            strings += !dumped || (value->size > 0 && value->bulk[value->bulk_size - value->size - 2] == 0);
            size += value->size;
            largest = value->size > largest ? value->size : largest;
            room += PyBytes_GET_SIZE(PyList_GET_ITEM(keys, at)) + value->bulk_size + COMMAND_BYTES;
        }
    }
    if ((request = PyBytes_FromStringAndSize(NULL, room + COMMAND_BYTES)) == NULL) goto done;
    bool together = !dumped && lasting > 1;
    char *out = PyBytes_AS_STRING(request);
    for (int expiring = 1; expiring >= 0; expiring--) {
        if (!expiring && together) {
            PUT(out, "*");
            out = put_number(out, 2 * lasting + 1);
            PUT(out, "\r\n$4\r\nMSET\r\n");
        }
        for (Py_ssize_t at = 0; at < count; at++) {
            const Value *value = &values[at];
            if (value->bulk == NULL || value->instant == GONE || (value->instant != NEVER) != expiring) continue;
            PyObject *key = PyList_GET_ITEM(keys, at);
            if (dumped) out = put_restore(out, key, value);
            else if (expiring || !together) out = put_set(out, key, value);
            else out = put(put_key(out, key), value->bulk, value->bulk_size);
        }
    }
    Py_ssize_t commands = together ? copied - lasting + 1 : copied;
    if (_PyBytes_Resize(&request, out - PyBytes_AS_STRING(request)) < 0) goto done;
    found = Py_BuildValue("OnnnnnOn", request, commands, copied, strings, size, largest, odd, past);
done:
    Py_XDECREF(request);
    Py_DECREF(odd);
    return found;
}

PyObject *unparsed_splice(PyObject *module, PyObject *args) {
    Py_buffer replies;
    PyObject *keys, *found = NULL;
    int dumped, told;
    long long shift_ms, moment_ms;
    if (!PyArg_ParseTuple(args, "y*O!piLL", &replies, &PyList_Type, &keys, &dumped, &told, &shift_ms, &moment_ms))
        return NULL;
    Py_ssize_t count = PyList_GET_SIZE(keys);
    Value *values = PyMem_New(Value, count + 1);
    if (values == NULL) PyErr_NoMemory();
    for (Py_ssize_t at = 0; at < count && !PyErr_Occurred(); at++)
        if (!PyBytes_Check(PyList_GET_ITEM(keys, at)) || PyBytes_GET_SIZE(PyList_GET_ITEM(keys, at)) < 2)
            PyErr_SetString(PyExc_TypeError, "keys are encoded arguments");
    if (!PyErr_Occurred()) {
        Bytes left = {replies.buf, (const char *)replies.buf + replies.len};
        if (take_values(&left, !dumped, values, count)
            && take_expiries(&left, told, shift_ms, moment_ms, values, count))
            found = spliced(keys, dumped, values, left.at - (const char *)replies.buf);
        else
            found = Py_NewRef(Py_None);
    }
    PyMem_Free(values);
    PyBuffer_Release(&replies);
    return found;
}
