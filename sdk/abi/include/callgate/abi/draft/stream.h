/* SPDX-License-Identifier: Apache-2.0
 * Streams: many events in order, then exactly one end. Draft: may change until frozen.
 *
 * A stream has a producer (for a watch: the plugin) and a consumer (the host). The consumer chooses the handle
 * and hands over a sink with the call that opens the stream, which is an ordinary operation:
 *   - it completes with CG_OK: the stream is open and exactly one on_end follows, whatever happens;
 *   - it completes with CG_E_*, or is not accepted: there is no stream and the sink is never called.
 * No event comes before the completion, and none without credit: `initial_credits` of the sink, then `request`.
 * Calls of one sink never overlap, and happen-before order is kept between them. Nothing comes after on_end. */
#ifndef CALLGATE_ABI_DRAFT_STREAM_H
#define CALLGATE_ABI_DRAFT_STREAM_H

#include <callgate/abi/instance.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Handle of a stream, chosen by the consumer: never 0, used once in the life of an instance. Stays harmless
 * for ever: request and cancel of an ended or unknown stream do nothing. */
typedef uint64_t cg_stream;

#define CG_STREAM_TOKEN_MAX 1024u /* bytes of a resume token */

/* One event. Lifetime of everything in it: call. */
typedef struct cg_stream_event {
    uint32_t struct_size;
    uint32_t reserved;
    const void* payload; /* the struct that the opening function names */
    /* Opens a stream again right behind this event, in another process too. Opaque; at most
     * CG_STREAM_TOKEN_MAX bytes; empty = this stream cannot be resumed. */
    cg_bytes resume;
} cg_stream_event;

/* The end. Lifetime of everything in it: call. */
typedef struct cg_stream_end {
    uint32_t struct_size;
    cg_status status;      /* CG_OK: nothing more will ever come; CG_E_CANCELLED: as asked; CG_E_*: why */
    const cg_error* error; /* NULL with CG_OK and CG_E_CANCELLED */
    cg_bytes resume;       /* behind the last event that was delivered; empty = start anew */
} cg_stream_end;

/* The consumer's side. The producer copies the struct during the opening call; what `ctx` points to stays
 * valid until on_end, or until the opening operation completed with CG_E_*. */
typedef struct cg_stream_sink {
    uint32_t struct_size;
    uint32_t initial_credits; /* events that may come without a request() */
    cg_stream stream;
    void* ctx;
    /* [any] since 1.0 draft. Takes one credit. Must not block; may call request and cancel of this stream. */
    void (*on_event)(void* ctx, cg_stream stream, const cg_stream_event* event);
    /* [any] since 1.0 draft. Once. Takes no credit. */
    void (*on_end)(void* ctx, cg_stream stream, const cg_stream_end* end);
} cg_stream_sink;

/* The producer's side; part of the table of the kind or capability whose functions open streams. */
typedef struct cg_stream_control {
    uint32_t struct_size;
    uint32_t reserved;
    /* [any] since 1.0 draft. `n` more events may come. Credits add up to at most UINT32_MAX. */
    void (*request)(cg_instance* instance, cg_stream stream, uint32_t n);
    /* [any] since 1.0 draft. The end comes soon, with CG_E_CANCELLED unless it had another reason already;
     * events may come before it as far as there is credit. While the opening operation is pending this
     * completes it with CG_E_CANCELLED instead. `reason`: CG_CANCEL_*. */
    void (*cancel)(cg_instance* instance, cg_stream stream, int32_t reason);
} cg_stream_control;

#ifdef __cplusplus
}
#endif
#endif
