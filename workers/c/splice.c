/* What the source says becomes what the target is told.

   A bulk string is the same bytes in a reply as in a command. So a window's write is its replies in another order, with
   the names of the keys in between:

       *2 $1 a $1 b  *2 … (TIME)  :-1 :1790000000000     →     *5 SET key2 b PXAT 1790000000000   *3 SET key1 a

   In a cluster this is done for each node, and an MSET takes keys of one slot.

   Only what is plain is done here: values and expiries as expected. All else is None, and Python looks at the replies
   one by one. Both ways write the same bytes: tests/test_unparsed.py. */

#include "requests.h"
#include "unparsed.h"

/* The places of the keys that what was asked for does not read. NULL with an exception set. */
static PyObject *odd_places(const Value *values, Py_ssize_t count) {
    PyObject *odd = PyList_New(0);
    for (Py_ssize_t at = 0; odd != NULL && at < count; at++) {
        if (!values[at].odd) continue;
        PyObject *place = PyLong_FromSsize_t(at);
        if (place == NULL || PyList_Append(odd, place) < 0) Py_CLEAR(odd);
        Py_XDECREF(place);
    }
    return odd;
}

/* All that `values` hold for the target, and what there is to count. NULL with an exception set. */
static PyObject *spliced(PyObject *keys, bool dumped, bool may_share, int nodes, const Value *values, Py_ssize_t past) {
    Py_ssize_t count = PyList_GET_SIZE(keys), copied = 0, strings = 0, size = 0, largest = 0;
    for (const Value *value = values; value < values + count; value++) {
        if (!is_written(value, value->node)) continue;
        copied++;
        /* The first byte of a payload is its type; 0 is a string. */
        strings += !dumped || (value->size > 0 && value->bulk[value->bulk_size - value->size - 2] == 0);
        size += value->size;
        largest = value->size > largest ? value->size : largest;
    }
    PyObject *odd = odd_places(values, count), *requests = NULL, *found = NULL;
    if (odd != NULL && (requests = requests_of(keys, dumped, may_share, values, nodes)) != NULL)
        found = Py_BuildValue("OnnnnOn", requests, copied, strings, size, largest, odd, past);
    Py_XDECREF(requests);
    Py_XDECREF(odd);
    return found;
}

/* Whether keys are encoded arguments, each with a slot where there are slots. False with an exception set. */
static bool are_arguments(PyObject *keys, PyObject *slots, PyObject *owners) {
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(keys); at++)
        if (!PyBytes_Check(PyList_GET_ITEM(keys, at)) || PyBytes_GET_SIZE(PyList_GET_ITEM(keys, at)) < 2) {
            PyErr_SetString(PyExc_TypeError, "keys are encoded arguments");
            return false;
        }
    bool slotted = slots == Py_None || (PyList_Check(slots) && PyList_GET_SIZE(slots) == PyList_GET_SIZE(keys));
    if (slotted && (owners == Py_None || PyList_Check(owners))) return true;
    PyErr_SetString(PyExc_TypeError, "slots are a list of one for each key, and owners of one for each slot");
    return false;
}

PyObject *unparsed_splice(PyObject *module, PyObject *args) {
    Py_buffer replies;
    PyObject *keys, *slots, *owners, *ahead_ms, *found = NULL;
    int asked, told, may_share;
    long long shift_ms, moment_ms;
    if (!PyArg_ParseTuple(args, "y*O!iiLLpOOO!", &replies, &PyList_Type, &keys, &asked, &told, &shift_ms, &moment_ms,
                          &may_share, &slots, &owners, &PyTuple_Type, &ahead_ms))
        return NULL;
    Py_ssize_t count = PyList_GET_SIZE(keys);
    int nodes = (int)PyTuple_GET_SIZE(ahead_ms);
    Value *values = PyMem_New(Value, count + 1);
    if (values == NULL) PyErr_NoMemory();
    if (values != NULL && are_arguments(keys, slots, owners)) {
        Bytes left = {replies.buf, (const char *)replies.buf + replies.len};
        if (take_slots(slots, values, count)
            && take_values(&left, asked, values, count)
            && take_expiries(&left, told, shift_ms, moment_ms, values, count)
            && find_nodes(owners, nodes, values, count)
            && shift_instants(ahead_ms, values, count))
            found = spliced(keys, asked == DUMP, may_share, nodes, values, left.at - (const char *)replies.buf);
        else if (!PyErr_Occurred())
            found = Py_NewRef(Py_None);
    }
    PyMem_Free(values);
    PyBuffer_Release(&replies);
    return found;
}
