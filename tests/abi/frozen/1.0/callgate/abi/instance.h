/* SPDX-License-Identifier: Apache-2.0
 * What a plugin instance offers whatever its kind: life cycle and the table of its kind. */
#ifndef CALLGATE_ABI_INSTANCE_H
#define CALLGATE_ABI_INSTANCE_H

#include <callgate/abi/host.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CG_KIND_AUTH_BACKEND 1u /* api: cg_auth_backend_api, auth_backend.h */
#define CG_KIND_KEY_PROVIDER 2u /* api: cg_key_provider_api, key_provider.h */

#define CG_CANCEL_DEADLINE 1   /* nobody waits for the answer any more */
#define CG_CANCEL_SHUTDOWN 2
#define CG_CANCEL_REQUESTER 3  /* the client is gone */

#define CG_HEALTH_OK 1       /* serves */
#define CG_HEALTH_DEGRADED 2 /* serves from stale data; the text says which and since when */
#define CG_HEALTH_DOWN 3     /* cannot serve */

typedef struct cg_instance cg_instance;

typedef struct cg_health {
    uint32_t struct_size;
    uint32_t state; /* CG_HEALTH_* */
    cg_str text;
} cg_health;

/* Every function with an `op` returns CG_OK = accepted (exactly one completion follows, or has already
 * happened) or CG_E_* = not accepted (no completion follows; `health` and `start` may explain by log).
 * Deadline and cancel apply to all of them. A NULL function means "nothing to do" and counts as done. */
typedef struct cg_lifecycle {
    uint32_t struct_size;
    uint32_t reserved;
    /* [control] since 1.0. Get ready to serve: read files, fetch keys. Completion status CG_OK without result.
     * A failure stops the host's start, or the reload that made this instance. */
    cg_status (*start)(cg_instance* instance, cg_op op);
    /* [shard] since 1.0. Once for each shard after start; `*shard_state` comes back in every call on that shard. */
    cg_status (*shard_attach)(cg_instance* instance, uint32_t shard, void** shard_state);
    /* [shard] since 1.0 */
    void (*shard_detach)(cg_instance* instance, uint32_t shard, void* shard_state);
    /* [control] since 1.0. No new operations will come; complete when those in flight have completed. */
    cg_status (*drain)(cg_instance* instance, cg_op op);
    /* [control] since 1.0. After drain: end threads, timers and requests. No host call after this completed. */
    cg_status (*stop)(cg_instance* instance, cg_op op);
    /* [control] since 1.0. Last call; frees the instance. The library stays mapped. */
    void (*destroy)(cg_instance* instance);
    /* [control] since 1.0. Result: cg_health. */
    cg_status (*health)(cg_instance* instance, cg_op op);
    /* [any] since 1.0. Advice that nobody needs the answer; the operation still completes exactly once. */
    void (*cancel)(cg_instance* instance, cg_op op, int32_t reason);
} cg_lifecycle;

/* Made by the plugin, first member of its own object as a rule. Reload creates a new instance beside
 * the old one and drains the old one when every new instance has started. */
struct cg_instance {
    uint32_t struct_size;
    uint32_t kind; /* CG_KIND_* */
    const cg_lifecycle* life;
    const void* api; /* table of that kind */
    /* [any] since 1.0. Plugin-side extensions by id; may be NULL. */
    const void* (*query)(cg_instance* instance, cg_str extension_id);
};

#ifdef __cplusplus
}
#endif
#endif
