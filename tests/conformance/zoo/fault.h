/* SPDX-License-Identifier: Apache-2.0
 * Which fault this build of a zoo member has: a compile-time constant, so that all of the code is always compiled. */
#pragma once
#include <callgate/abi/base.h>
#include <string.h>

#ifndef ZOO_FAULT
#define ZOO_FAULT "healthy"
#endif
#define FAULT(name) (__builtin_strcmp(ZOO_FAULT, name) == 0)

static inline cg_str text(const char* s) {
    cg_str out = {s, strlen(s)};
    return out;
}
static inline int contains(cg_str all, const char* part) {
    const size_t n = strlen(part);
    for (size_t i = 0; i + n <= all.size; ++i)
        if (memcmp(all.data + i, part, n) == 0) return 1;
    return 0;
}
static inline int equals(cg_str a, const char* b) { return a.size == strlen(b) && (a.size == 0 || memcmp(a.data, b, a.size) == 0); }
