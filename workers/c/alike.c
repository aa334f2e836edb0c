/* Whether both sides say the same of a window's keys: then their replies are the same bytes, but for the time. */

#include "unparsed.h"

/* Take a reply that tells a value: a bulk string, or an array that is not empty, with all of its parts. `size` is that of
   a bulk string, else 0. */
static bool take_told(Bytes *left, int64_t *size) {
    int64_t parts;
    *size = 0;
    if (left->at < left->end && *left->at == '$') return take_bulk(left, size) == WHOLE && *size >= 0;
    if (left->at == left->end || *left->at != '*' || take_reply(left, &parts) != WHOLE || parts == 0) return false;
    for (int64_t due = parts; due > 0; due += parts - 1)
        if (take_reply(left, &parts) != WHOLE) return false;
    return true;
}

/* Take `count` replies that tell values: by themselves, or as the parts of so many arrays. `size` is that of all. */
static bool take_all_told(Bytes *left, Py_ssize_t count, Py_ssize_t arrays, int64_t *size) {
    Py_ssize_t at = 0;
    *size = 0;
    do {
        int64_t parts = count, number;
        if (arrays > 0 && (take_line(left, '*', &parts) != WHOLE || parts < 0 || parts > count - at)) return false;
        for (Py_ssize_t end = at + parts; at < end; at++, *size += number)
            if (!take_told(left, &number)) return false;
    } while (--arrays > 0);
    return at == count;
}

/* Take the bytes that lie between two places of the other side's replies, if these go on with the same. */
static bool take_same(Bytes *left, const char *begin, const char *end) {
    if (left->end - left->at < end - begin || memcmp(left->at, begin, end - begin) != 0) return false;
    left->at += end - begin;
    return true;
}

/* Whether both sides begin with the same bytes that tell `count` values, and then TIME and as many expiries; past these,
   and the size of the values. */
static bool begin_alike(Bytes *ours, Bytes *theirs, Py_ssize_t count, Py_ssize_t arrays, bool expiries, int64_t *size) {
    const char *begin = ours->at;
    int64_t number, time_ms;
    if (!take_all_told(ours, count, arrays, size) || !take_same(theirs, begin, ours->at)) return false;
    if (!expiries) return true;
    if (take_time(ours, &time_ms) != WHOLE || take_time(theirs, &time_ms) != WHOLE) return false;
    begin = ours->at;
    for (Py_ssize_t at = 0; at < count; at++)
        if (take_line(ours, ':', &number) != WHOLE) return false;
    return take_same(theirs, begin, ours->at);
}

PyObject *unparsed_alike(PyObject *module, PyObject *args) {
    Py_buffer ours, theirs;
    Py_ssize_t count, arrays;
    int expiries;
    int64_t size;
    if (!PyArg_ParseTuple(args, "y*y*nnp", &ours, &theirs, &count, &arrays, &expiries)) return NULL;
    const char *our_begin = ours.buf, *their_begin = theirs.buf;
    Bytes us = {our_begin, our_begin + ours.len}, them = {their_begin, their_begin + theirs.len};
    bool are_alike = begin_alike(&us, &them, count, arrays, expiries, &size);
    PyBuffer_Release(&ours);
    PyBuffer_Release(&theirs);
    if (!are_alike) return Py_NewRef(Py_None);
    return Py_BuildValue("Lnn", (long long)size, us.at - our_begin, them.at - their_begin);
}
