/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CALLGATE_ABI_EXT_TIMER_H
#define CALLGATE_ABI_EXT_TIMER_H
#include <callgate/abi/host.h>
#ifdef __cplusplus
extern "C" {
#endif
#define CG_EXT_TIMER "callgate.timer/1"
/* One-shot timers of the control thread. */
typedef struct cg_timer_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [any] since 1.0. Calls fn(ctx) once on [control] after `after_ns` (>= 0). *id identifies it until it fired.
     * CG_E_BUSY: more than 256 timers of this instance are armed. */
    cg_status (*start)(const cg_host* host, int64_t after_ns, void (*fn)(void* ctx), void* ctx, uint64_t* id);
    /* [any] since 1.0. CG_OK: fn will not be called. CG_E_NOT_FOUND: it fired, is running now, or never existed.
     * Called on [control], fn is never running. */
    cg_status (*cancel)(const cg_host* host, uint64_t id);
} cg_timer_api;
#ifdef __cplusplus
}
#endif
#endif
