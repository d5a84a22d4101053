/* SPDX-License-Identifier: Apache-2.0
 *
 * callgate plugin ABI, major version 1: value types, status codes, completion.
 *
 * Rules of this ABI (sdk/docs/abi.md has them at length):
 *  1. C11, <stdint.h> and <stddef.h> only; no enum, bit-field, union, bool or long in a struct.
 *  2. Every struct passed by pointer starts with `struct_size`, filled by whoever made it. Fields are
 *     only appended. The reader copies min(theirs, mine) into a zeroed local: an absent pointer is NULL,
 *     an absent number is 0, and both mean "default".
 *  3. Arrays of structs travel with a stride, so that the element may grow.
 *  4. Nobody frees what the other side allocated. Lifetimes: `call` (until the function returns),
 *     `operation` (until the one completion of that operation), `instance` (until destroy returns).
 *  5. Strings are {data,size}; bytes from the wire need not be UTF-8; never NUL-terminated.
 *  6. Exactly one completion per accepted operation, from any thread, also after cancel.
 *  7. No exception, longjmp, exit, signal handler, setlocale, chdir or fork crosses or happens.
 *  8. Thread tags on every function: [control] [shard] [worker] [any], and the minor that brought it.
 *  9. Times are CLOCK_MONOTONIC nanoseconds (int64_t, suffix _ns) or wall seconds (suffix _unix_s).
 * 10. The major version is in the entry symbol; minor versions are negotiated by minimum.
 */
#ifndef CALLGATE_ABI_BASE_H
#define CALLGATE_ABI_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CG_ABI_MAJOR 1u
#define CG_ABI_MINOR 0u

/* The three value types below are frozen for the life of major version 1. */
typedef struct cg_str {
    const char* data; /* may be NULL when size is 0 */
    size_t size;
} cg_str;

typedef struct cg_bytes {
    const uint8_t* data;
    size_t size;
} cg_bytes;

/* Memory of the reader, filled by the writer. When `cap` does not suffice the writer sets `size` to the
 * number of bytes needed, writes nothing beyond cap and returns CG_E_NOSPC. */
typedef struct cg_outbuf {
    uint8_t* data;
    size_t cap;
    size_t size;
} cg_outbuf;

/* A list of strings. */
typedef struct cg_str_list {
    const cg_str* items;
    size_t count;
} cg_str_list;

typedef int32_t cg_status; /* CG_OK or one of CG_E_*; unknown negative values read as CG_E_INTERNAL */
#define CG_OK 0
#define CG_E_INTERNAL (-1)     /* a defect; the text says what */
#define CG_E_INVALID (-2)      /* an argument or configuration value is wrong; the text names it */
#define CG_E_UNSUPPORTED (-3)  /* not in this version or build */
#define CG_E_NOT_FOUND (-4)
#define CG_E_NOSPC (-5)        /* cg_outbuf too small, see there */
#define CG_E_UNAVAILABLE (-6)  /* a thing we depend on does not answer; may be retried */
#define CG_E_DEADLINE (-7)     /* out of time */
#define CG_E_CANCELLED (-8)
#define CG_E_BUSY (-9)         /* bounded resource is full; nothing was started */
#define CG_E_PERMISSION (-10)  /* refused by file mode, ACL or policy */
#define CG_E_ABANDONED (-11)   /* operation handle was dropped without an answer */
#define CG_E_ABI (-12)         /* version or layout mismatch */
#define CG_E_COMPACTED (-13)   /* the history asked for is gone; read the present state and go on from there */
#define CG_E_CONFLICT (-14)    /* a precondition does not hold; nothing was done */

/* Handle of one asynchronous operation. Opaque; 0 is "none". Stays harmless for ever: completing or
 * asking about a finished operation is counted by the host and does nothing. */
typedef uint64_t cg_op;

typedef struct cg_error {
    uint32_t struct_size;
    cg_status code;
    uint32_t retry_after_ms; /* 0 = no advice */
    uint32_t reserved;
    cg_str text;  /* what was wrong and what to do; never a secret */
    cg_str where; /* file:line, key, URL; may be empty */
} cg_error;

/* Error text of a synchronous call: `text` is the caller's buffer and is truncated to it. */
typedef struct cg_errbuf {
    uint32_t struct_size;
    cg_status code;
    cg_outbuf text;
} cg_errbuf;

/* The one answer to an operation. `result` points to the struct the operation defines.
 * When `release` is NULL everything reachable from here lives for the call of complete(); otherwise the
 * host may read it until it calls release(release_ctx), once, on any thread. */
typedef struct cg_completion {
    uint32_t struct_size;
    cg_status status;
    const void* result;
    const cg_error* error; /* NULL when status is CG_OK */
    /* [any] since 1.0 */
    void (*release)(void* release_ctx);
    void* release_ctx;
} cg_completion;

#define CG_LOG_TRACE 0
#define CG_LOG_DEBUG 1
#define CG_LOG_INFO 2
#define CG_LOG_WARN 3
#define CG_LOG_ERROR 4

typedef struct cg_log_field {
    cg_str key;
    cg_str value;
} cg_log_field;

#ifdef __cplusplus
}
#endif
#endif
