/* SPDX-License-Identifier: Apache-2.0
 * A bounded pool of the host for what blocks: file I/O, a library that knows no callbacks, expensive hashing.
 * DRAFT: the id stays when it is promoted. */
#ifndef CALLGATE_ABI_EXT_DRAFT_WORKER_H
#define CALLGATE_ABI_EXT_DRAFT_WORKER_H
#include <callgate/abi/host.h>
#ifdef __cplusplus
extern "C" {
#endif
#define CG_EXT_WORKER "callgate.worker/1"

#define CG_WORKER_MAX_JOBS 256u /* of one instance, from run until fn, and done if there is one, have returned */

/* Jobs of one instance begin in the order they were given. At most 8 of them run at once (1 with CG_THREADS_SERIAL, then never
 * together with a call of the host), the others wait: an instance whose jobs hang does not keep the others' from running.
 * `stop` completes only after every job has ended. One whose fn still runs some time after that makes the stop a failure:
 * the instance is then never destroyed. One that has not begun, and a `done` that is still to come, are dropped and counted as
 * faults. */
typedef struct cg_worker_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [any] since 1.0 (draft). CG_OK: fn(ctx) runs once on [worker]; then, unless it is NULL, done(ctx) once on [control], where
     * `ctx` may be freed. CG_E_BUSY: CG_WORKER_MAX_JOBS are there, nothing will be called. CG_E_CANCELLED: after stop;
     * CG_E_PERMISSION: before start.
     * fn may complete operations and call whatever is [any]. `ctx` is not read by the host. */
    cg_status (*run)(const cg_host* host, void (*fn)(void* ctx), void (*done)(void* ctx), void* ctx);
} cg_worker_api;
#ifdef __cplusplus
}
#endif
#endif
