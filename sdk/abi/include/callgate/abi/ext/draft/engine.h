/* SPDX-License-Identifier: Apache-2.0
 * What a module may learn from the engine, and the one thing it may ask for. For modules only; there is none in a host that is
 * OFFLINE (draft/module.h). DRAFT: the id stays when it is promoted. */
#ifndef CALLGATE_ABI_EXT_DRAFT_ENGINE_H
#define CALLGATE_ABI_EXT_DRAFT_ENGINE_H
#include <callgate/abi/draft/caller.h>
#include <callgate/abi/host.h>
#ifdef __cplusplus
extern "C" {
#endif
#define CG_EXT_ENGINE "callgate.engine/1"

#define CG_ENGINE_READINESS 1u /* text: "ok", or the reason that it is not ready, one line */
#define CG_ENGINE_HEALTH 2u    /* text: JSON object, `ready`, `why`, `version`, `config`, `clusters`, `links`, `instances`, `audit` */
#define CG_ENGINE_METRICS 3u   /* text: Prometheus exposition 0.0.4 */

#define CG_ENGINE_MAX_REPORTS 64u /* of one instance, in flight */

/* Lifetime: call. since 1.0 (draft) */
typedef struct cg_engine_report {
    uint32_t struct_size;
    int32_t ready; /* 1: logins are being answered. Meaningful with every kind */
    cg_str text;
} cg_engine_report;

typedef struct cg_engine_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [any] since 1.0 (draft). `kind`: CG_ENGINE_*. CG_OK: `done` comes once, on [control], within 1 s, never inside this call;
     * unless the instance stopped before: it completes `stop` after the last report, what is left is dropped and counted as a
     * fault. CG_E_INVALID: unknown kind or no done; CG_E_BUSY: CG_ENGINE_MAX_REPORTS; CG_E_CANCELLED: after stop. */
    cg_status (*report)(const cg_host* host, uint32_t kind, void* ctx, void (*done)(void* ctx, const cg_engine_report* report));
    /* [any] since 1.0 (draft). As SIGHUP: begins soon, its outcome is in CG_ENGINE_HEALTH and the log. `caller` (lifetime: call) is
     * who asked for it; without CG_MAY_OPERATE it is CG_E_PERMISSION. Requests during a reload are joined into one more. */
    cg_status (*reload)(const cg_host* host, const cg_caller* caller);
} cg_engine_api;
#ifdef __cplusplus
}
#endif
#endif
