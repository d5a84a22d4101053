/* SPDX-License-Identifier: Apache-2.0
 * From plugin to plugin, through the host: a backend that keeps its users in a claim store, a store that has its documents
 * signed. What an instance may use stands in the configuration beside its `plugin`:
 *   uses: [store/main, keys/local]
 * DRAFT: the id stays when it is promoted. */
#ifndef CALLGATE_ABI_EXT_DRAFT_INSTANCE_H
#define CALLGATE_ABI_EXT_DRAFT_INSTANCE_H
#include <callgate/abi/draft/claim_store.h>
#include <callgate/abi/key_provider.h>
#ifdef __cplusplus
extern "C" {
#endif
#define CG_EXT_INSTANCE "callgate.instance/1"

#define CG_INSTANCE_MAX_TARGETS 64u       /* found by one instance */
#define CG_INSTANCE_MAX_CALLS 64u         /* of one instance, in flight */
#define CG_INSTANCE_MAX_BYTES (1u << 20)  /* of keys, values and messages of one call, together */
#define CG_INSTANCE_MAX_ITEMS 4096u       /* of keys, puts, deletes and preconditions of one call, together */

typedef uint32_t cg_target; /* handle, unique within the calling instance; 0 = none */

/* Lifetime: call. since 1.0 (draft) */
typedef struct cg_instance_answer {
    uint32_t struct_size;
    cg_status status;   /* of the other plugin, or CG_E_DEADLINE, CG_E_UNAVAILABLE (not there, stopped, or given a pause), CG_E_BUSY */
    const void* result; /* CG_OK: the struct that the call names */
    cg_str error;       /* otherwise: what went wrong; may be empty */
} cg_instance_answer;

/* The part that all calls have. Lifetime: call, the host copies. since 1.0 (draft) */
typedef struct cg_instance_call {
    uint32_t struct_size;
    cg_target target;
    int64_t timeout_ns; /* 0 = 5 s; at most 60 s. At its end the answer is CG_E_DEADLINE and the other plugin is told */
    void* ctx;
    /* [control] Once for each call that was accepted, never inside it. */
    void (*done)(void* ctx, const cg_instance_answer* answer);
} cg_instance_call;

/* Lifetime: call, the host copies. since 1.0 (draft) */
typedef struct cg_instance_sign {
    uint32_t struct_size;
    uint32_t purpose; /* CG_SIGN_*; the provider may refuse it */
    cg_str label;     /* name of the key at its provider; looked up when the call is made, so it outlives a reload */
    cg_bytes message;
} cg_instance_sign;

/* Result of sign. Lifetime: call. since 1.0 (draft) */
typedef struct cg_instance_signature {
    uint32_t struct_size;
    uint32_t reserved;
    cg_str nkey; /* public key it verifies with */
    uint8_t signature[64];
} cg_instance_signature;

/* CG_OK = accepted, `done` follows. Else it does not: CG_E_INVALID (unknown target, one of another kind, sizes, times),
 * CG_E_BUSY (CG_INSTANCE_MAX_CALLS), CG_E_CANCELLED (after stop). Calls run on [control] of the host one after the other, so
 * they are for what is cold: not once for each login. `stop` completes after every call was answered; what is left is dropped
 * without a call and counted as a fault. */
typedef struct cg_instance_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [control] since 1.0 (draft). `kind`: CG_KIND_KEY_PROVIDER or CG_KIND_CLAIM_STORE. CG_E_PERMISSION: not under `uses`;
     * CG_E_UNSUPPORTED: another kind; CG_E_BUSY: CG_INSTANCE_MAX_TARGETS. Whether it is there shows with each call: a reload may
     * replace it, and at start it may come later. *target is valid for the instance's life. */
    cg_status (*find)(const cg_host* host, uint32_t kind, cg_str name, cg_target* target);
    /* [any] since 1.0 (draft). Result: cg_instance_signature. */
    cg_status (*sign)(const cg_host* host, const cg_instance_call* call, const cg_instance_sign* request);
    /* [any] since 1.0 (draft). Result: cg_claim_values. */
    cg_status (*get)(const cg_host* host, const cg_instance_call* call, const cg_claim_get* request);
    /* [any] since 1.0 (draft). Result: cg_claim_page. */
    cg_status (*scan)(const cg_host* host, const cg_instance_call* call, const cg_claim_scan* request);
    /* [any] since 1.0 (draft). Result: cg_claim_committed. */
    cg_status (*commit)(const cg_host* host, const cg_instance_call* call, const cg_claim_commit* request);
} cg_instance_api;
#ifdef __cplusplus
}
#endif
#endif
