/* Making requests out of values. */

#ifndef KEYFERRY_REQUESTS_H
#define KEYFERRY_REQUESTS_H

#include "values.h"

PyObject *requests_of(PyObject *keys, bool dumped, bool may_share, const Value *values, int nodes);

#endif
