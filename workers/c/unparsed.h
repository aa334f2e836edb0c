/* The functions that Python is given: see unparsed.py. */

#ifndef KEYFERRY_UNPARSED_H
#define KEYFERRY_UNPARSED_H

#include "replies.h"

PyObject *unparsed_skip(PyObject *module, PyObject *args);
PyObject *unparsed_splice(PyObject *module, PyObject *args);
PyObject *unparsed_alike(PyObject *module, PyObject *args);

#endif
