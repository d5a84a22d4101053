/* SPDX-License-Identifier: Apache-2.0
 * callgate.rpc/1: what operators may ask of a plugin instance. An extension of the plugin's side: the host finds the table by
 * cg_instance.query(instance, CG_EXT_RPC); lifetime: instance. DRAFT: the id stays when it is promoted. */
#ifndef CALLGATE_ABI_DRAFT_RPC_H
#define CALLGATE_ABI_DRAFT_RPC_H

#include <callgate/abi/draft/caller.h>
#include <callgate/abi/draft/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CG_EXT_RPC "callgate.rpc/1"

#define CG_RPC_MAX_METHODS 256u
#define CG_RPC_MAX_NAME_BYTES 64u          /* [a-z][a-z0-9_]* and dots between: "account.add" */
#define CG_RPC_MAX_SCHEMA_BYTES (64u << 10)
#define CG_RPC_MAX_REQUEST_BYTES (1u << 20)
#define CG_RPC_MAX_CHUNK_BYTES (64u << 10) /* of one event; a larger one ends the call */

#define CG_RPC_READ_ONLY 1u /* changes nothing; also callers with CG_MAY_READ may call it */
#define CG_RPC_STREAMS 2u   /* each event is one JSON document; without it all events together are one, of at most 4 MiB */
#define CG_RPC_OFFLINE_TOO 4u /* works without the engine, see CG_NEGOTIATION_OFFLINE */

/* Element of an array with a stride. Lifetime: instance. since 1.0 (draft) */
typedef struct cg_rpc_method {
    cg_str name;
    cg_str summary;         /* one line */
    cg_str request_schema;  /* JSON Schema (draft 7) */
    cg_str response_schema; /* of the document, or of each */
    uint32_t flags;         /* CG_RPC_READ_ONLY, CG_RPC_STREAMS, CG_RPC_OFFLINE_TOO */
    uint32_t reserved;
} cg_rpc_method;

/* Lifetime: instance, never changes. since 1.0 (draft) */
typedef struct cg_rpc_methods {
    uint32_t struct_size;
    uint32_t stride;
    const cg_rpc_method* items;
    size_t count;
} cg_rpc_methods;

#define CG_RPC_OFFLINE 1u /* flag of a call: no engine runs in this process */

/* Lifetime of everything in it: operation, which is over when the call is answered; what the stream needs is copied. since 1.0 (draft) */
typedef struct cg_rpc_call {
    uint32_t struct_size;
    uint32_t flags; /* CG_RPC_OFFLINE; unknown ones are ignored */
    cg_str method;
    cg_bytes request; /* JSON, at most CG_RPC_MAX_REQUEST_BYTES; not checked against the schema; empty reads as {} */
    const cg_caller* caller; /* never NULL; whether it may call the method has been checked by the host */
} cg_rpc_call;

/* Payload of the stream's events. Lifetime: call. since 1.0 (draft) */
typedef struct cg_rpc_chunk {
    uint32_t struct_size;
    uint32_t reserved;
    cg_bytes bytes;
} cg_rpc_chunk;

/* The operation's deadline is for the answer that opens the stream; the whole call is bounded by the host, which cancels the
 * stream then, and when the caller goes away. */
typedef struct cg_rpc_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [any] since 1.0 (draft) */
    const cg_rpc_methods* (*methods)(cg_instance* instance);
    /* [control] since 1.0 (draft). Between start and drain. Completes without result: CG_OK opens the stream (CG_E_NOT_FOUND: no
     * such method; CG_E_INVALID: the text names the member at fault; CG_E_PERMISSION). The end of the stream is the call's one
     * final status. `sink` is copied. */
    cg_status (*call)(cg_instance* instance, cg_op op, const cg_rpc_call* request, const cg_stream_sink* sink);
    /* Of these streams. Lifetime: instance. since 1.0 (draft) */
    const cg_stream_control* streams;
} cg_rpc_api;

#ifdef __cplusplus
}
#endif
#endif
