/* SPDX-License-Identifier: Apache-2.0
 * Readiness of a descriptor (socket, pipe, eventfd, inotify) on the control thread. DRAFT: the id stays when it is
 * promoted. */
#ifndef CALLGATE_ABI_EXT_DRAFT_FD_H
#define CALLGATE_ABI_EXT_DRAFT_FD_H
#include <callgate/abi/host.h>
#ifdef __cplusplus
extern "C" {
#endif
#define CG_EXT_FD "callgate.fd/1"

#define CG_FD_READ 1u  /* data, end of stream, or an error is there to be read */
#define CG_FD_WRITE 2u /* there is room, or an error to be seen */

#define CG_FD_MAX_WATCHES 64u /* of one instance; each costs the process one descriptor more */

/* Level triggered: fn comes again and again while the descriptor is ready for what is watched, once for each turn of the loop
 * and each event, never nested. So read until EAGAIN, and watch CG_FD_WRITE only while there is something to write: a watch
 * whose function does nothing keeps a core busy. watch makes the descriptor non-blocking; the host neither reads
 * nor closes it. Watches that are left after stop are dropped without a call and counted as faults. */
typedef struct cg_fd_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [control] since 1.0 (draft). Calls fn(ctx, fd, event) on [control], never inside this call, until unwatch; `event` is one of
     * CG_FD_*. `events`: CG_FD_READ, CG_FD_WRITE or both. CG_E_INVALID: not a descriptor that can be watched (a regular file),
     * or no such event; CG_E_BUSY: CG_FD_MAX_WATCHES, or no descriptor left; CG_E_CANCELLED: after stop. */
    cg_status (*watch)(const cg_host* host, int32_t fd, uint32_t events, void (*fn)(void* ctx, int32_t fd, uint32_t event), void* ctx,
                       uint64_t* id);
    /* [control] since 1.0 (draft). fn is never called again, also when called from fn itself; do it before closing `fd`, else the
     * watch goes on with what was open. CG_E_NOT_FOUND: there is no such watch. */
    cg_status (*unwatch)(const cg_host* host, uint64_t id);
} cg_fd_api;
#ifdef __cplusplus
}
#endif
#endif
