/* What the target is told: a request for each of its nodes. The same bytes as from write.py. */

#include "requests.h"

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

/* ---- requests ---------------------------------------------------------------------------------------------------- */

/* With fewer keys a slot than this, a SET for each is as good as an MSET for each slot: see slots.py. */
#define RUN_KEYS 2

/* What one node is told of a window's keys. */
typedef struct {
    int node;
    Py_ssize_t copied, lasting; /* keys, and those of them that never expire */
    Py_ssize_t runs;            /* stretches of the latter that lie in one slot */
    Py_ssize_t room;            /* bytes */
} Part;

static Part part_of(PyObject *keys, const Value *values, int node) {
    Part part = {.node = node};
    int slot = -1;
    for (Py_ssize_t at = 0, count = PyList_GET_SIZE(keys); at < count; at++) {
        const Value *value = &values[at];
        if (!is_written(value, node)) continue;
        part.copied++;
        part.room += PyBytes_GET_SIZE(PyList_GET_ITEM(keys, at)) + value->bulk_size + COMMAND_BYTES;
        if (value->instant != NEVER) continue;
        part.lasting++;
        part.runs += value->slot != slot;
        slot = value->slot;
    }
    return part;
}

static char *put_single(char *out, bool dumped, PyObject *key, const Value *value) {
    return dumped ? put_restore(out, key, value) : put_set(out, key, value);
}

/* The head of the MSET that begins with the key at `at`. */
static char *put_mset_head(char *out, PyObject *keys, const Value *values, int node, Py_ssize_t at) {
    Py_ssize_t together = 0;
    for (int slot = values[at].slot; at < PyList_GET_SIZE(keys); at++) {
        if (!is_lasting(&values[at], node)) continue;
        if (values[at].slot != slot) break;
        together++;
    }
    PUT(out, "*");
    out = put_number(out, 2 * together + 1);
    return PUT(out, "\r\n$4\r\nMSET\r\n");
}

static char *put_lasting(char *out, bool dumped, bool together, PyObject *keys, const Value *values, int node) {
    int slot = -1;
    for (Py_ssize_t at = 0, count = PyList_GET_SIZE(keys); at < count; at++) {
        const Value *value = &values[at];
        PyObject *key = PyList_GET_ITEM(keys, at);
        if (!is_lasting(value, node)) continue;
        if (!together) {
            out = put_single(out, dumped, key, value);
            continue;
        }
        if (value->slot != slot) out = put_mset_head(out, keys, values, node, at);
        slot = value->slot;
        out = put(put_key(out, key), value->bulk, value->bulk_size);
    }
    return out;
}

/* (node, request, commands). NULL with an exception set. */
static PyObject *request_of(const Part *part, bool dumped, bool may_share, PyObject *keys, const Value *values) {
    PyObject *request = PyBytes_FromStringAndSize(NULL, part->room);
    if (request == NULL) return NULL;
    bool together = !dumped && may_share && part->runs * RUN_KEYS <= part->lasting;
    char *out = PyBytes_AS_STRING(request);
    for (Py_ssize_t at = 0, count = PyList_GET_SIZE(keys); at < count; at++)
        if (is_written(&values[at], part->node) && values[at].instant != NEVER)
            out = put_single(out, dumped, PyList_GET_ITEM(keys, at), &values[at]);
    out = put_lasting(out, dumped, together, keys, values, part->node);
    Py_ssize_t commands = part->copied - part->lasting + (together ? part->runs : part->lasting);
    if (_PyBytes_Resize(&request, out - PyBytes_AS_STRING(request)) < 0) return NULL;
    return Py_BuildValue("iNn", part->node, request, commands);
}

/* A request for each node that takes any key. NULL with an exception set. */
PyObject *requests_of(PyObject *keys, bool dumped, bool may_share, const Value *values, int nodes) {
    bool *takes = PyMem_Calloc(nodes + 1, sizeof(bool));
    if (takes == NULL) return PyErr_NoMemory();
    for (const Value *value = values; value < values + PyList_GET_SIZE(keys); value++)
        takes[value->node] |= is_written(value, value->node);
    PyObject *requests = PyList_New(0);
    for (int node = 0; requests != NULL && node < nodes; node++) {
        if (!takes[node]) continue;
        Part part = part_of(keys, values, node);
        PyObject *request = request_of(&part, dumped, may_share, keys, values);
        if (request == NULL || PyList_Append(requests, request) < 0) Py_CLEAR(requests);
        Py_XDECREF(request);
    }
    PyMem_Free(takes);
    return requests;
}
