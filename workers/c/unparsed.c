/* Replies without an object of Python's for each value: passed over, made into writes, or compared. */

#include "unparsed.h"

PyObject *unparsed_skip(PyObject *module, PyObject *args) {
    Py_buffer replies;
    Py_ssize_t begin;
    long long due;
    if (!PyArg_ParseTuple(args, "y*nL", &replies, &begin, &due)) return NULL;
    const char *first = replies.buf;
    Bytes left = {first + (begin < 0 || begin > replies.len ? replies.len : begin), first + replies.len};
    State state = WHOLE;
    for (int64_t parts; due > 0 && (state = take_reply(&left, &parts)) == WHOLE;) due += parts - 1;
    begin = left.at - first;
    PyBuffer_Release(&replies);
    if (state != BAD) return Py_BuildValue("nL", begin, due);
    PyErr_Format(PyExc_ValueError, "no reply begins at byte %zd", begin);
    return NULL;
}

static PyMethodDef methods[] = {
    {"skip", unparsed_skip, METH_VARARGS, "skip(replies, begin, due) -> (begin, due)"},
    {"splice", unparsed_splice, METH_VARARGS,
     "splice(replies, keys, asked, told, shift_ms, moment_ms, may_share, slots, owners, ahead_ms) -> tuple or None"},
    {"alike", unparsed_alike, METH_VARARGS, "alike(ours, theirs, count, arrays, expiries) -> tuple or None"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_unparsed", .m_size = 0, .m_methods = methods,
};

PyMODINIT_FUNC PyInit__unparsed(void) { return PyModuleDef_Init(&definition); }
