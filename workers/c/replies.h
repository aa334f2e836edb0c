/* Reading replies, out of bytes that may be cut short or be none. Nothing here is changed by what is not whole. */

#ifndef KEYFERRY_REPLIES_H
#define KEYFERRY_REPLIES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const char *at, *end; /* what is left to be read */
} Bytes;

typedef enum { WHOLE, CUT, BAD } State; /* what was looked for is there; its end is not; it is something else */

/* Take a number of 64 bits and the end of its line. As in hiredis, one has no zero before its other digits. */
static inline State take_digits(Bytes *left, int64_t *number) {
    const char *at = left->at;
    bool negative = at < left->end && *at == '-';
    const char *first = at += negative;
    uint64_t found = 0, most = (uint64_t)INT64_MAX + negative;
    for (; at < left->end && *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = *at - '0';
        if (found > (most - digit) / 10 || (at > first && found == 0)) return BAD;
        found = found * 10 + digit;
    }
    if (at == left->end) return CUT;
    if (at == first || *at != '\r' || (negative && found == 0)) return BAD;
    if (++at == left->end) return CUT;
    if (*at != '\n') return BAD;
    left->at = at + 1;
    *number = negative ? -(int64_t)(found - 1) - 1 : (int64_t)found;
    return WHOLE;
}

/* Take a line of this type that holds a number. */
static inline State take_line(Bytes *left, char type, int64_t *number) {
    if (left->at == left->end) return CUT;
    if (*left->at != type) return BAD;
    Bytes rest = {left->at + 1, left->end};
    State state = take_digits(&rest, number);
    if (state == WHOLE) *left = rest;
    return state;
}

/* Take a bulk string; `size` is that of its bytes, -1 for nil. */
static inline State take_bulk(Bytes *left, int64_t *size) {
    Bytes rest = *left;
    State state = take_line(&rest, '$', size);
    if (state != WHOLE) return state;
    if (*size < -1) return BAD;
    if (*size >= 0) {
        if (rest.end - rest.at - 2 < *size) return CUT;
        rest.at += *size;
        if (memcmp(rest.at, "\r\n", 2) != 0) return BAD;
        rest.at += 2;
    }
    *left = rest;
    return WHOLE;
}

#define MOST_PARTS UINT32_MAX /* of an array: hiredis takes no more */

/* Take a reply, or of an array only its head: then `parts` replies follow that belong to it. */
static inline State take_reply(Bytes *left, int64_t *parts) {
    int64_t number;
    *parts = 0;
    if (left->at == left->end) return CUT;
    switch (*left->at) {
    case '$': return take_bulk(left, &number);
    case ':': return take_line(left, ':', &number);
    case '*': {
        Bytes rest = *left;
        State state = take_line(&rest, '*', &number);
        if (state != WHOLE) return state;
        if (number < -1 || number > MOST_PARTS) return BAD;
        *parts = number > 0 ? number : 0;
        *left = rest;
        return WHOLE;
    }
    case '+':
    case '-': {
        const char *line_end = memchr(left->at, '\n', left->end - left->at);
        if (line_end == NULL) return CUT;
        left->at = line_end + 1;
        return WHOLE;
    }
    default: return BAD;
    }
}

#define MOST_SECONDS (INT64_MAX / 4000) /* so that two times can be added in milliseconds; no clock tells as many */

/* Take a reply to TIME, in milliseconds. */
static inline State take_time(Bytes *left, int64_t *time_ms) {
    int64_t words, size, seconds, microseconds;
    State state = take_line(left, '*', &words);
    if (state != WHOLE || words != 2) return BAD;
    if (take_line(left, '$', &size) != WHOLE || take_digits(left, &seconds) != WHOLE) return BAD;
    if (take_line(left, '$', &size) != WHOLE || take_digits(left, &microseconds) != WHOLE) return BAD;
    if (seconds < 0 || seconds > MOST_SECONDS || microseconds < 0 || microseconds > 999999) return BAD;
    *time_ms = seconds * 1000 + microseconds / 1000;
    return WHOLE;
}

#endif
