/* SPDX-License-Identifier: Apache-2.0
 * Module: a plugin that owns no part of a login. It serves through the capabilities it queries (callgate.admin-http/1,
 * callgate.instance/1, callgate.engine/1, ...) and may offer callgate.rpc/1 (draft/rpc.h) by cg_instance.query.
 * DRAFT: may change until a second module stands. */
#ifndef CALLGATE_ABI_DRAFT_MODULE_H
#define CALLGATE_ABI_DRAFT_MODULE_H

#include <callgate/abi/draft/kinds.h>
#include <callgate/abi/entry.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Flag of cg_negotiation: the host is no daemon but a command-line tool that makes one instance, calls it and ends. There are
 * no shards that serve, no links, no callgate.engine/1 and no callgate.admin-http/1 (query gives NULL); what the module keeps
 * elsewhere may be in use by a running daemon at the same time. Calls say it too: CG_RPC_OFFLINE. since 1.0 (draft) */
#define CG_NEGOTIATION_OFFLINE 2u

/* Behind cg_instance.api; never NULL. The whole of a module is cg_lifecycle:
 *   start [control]         key providers, backends and stores of the same configuration have started before
 *   drain, stop [control]   come before those of everything else
 *   shard_attach, shard_detach are not called: a module is on no shard
 * With CG_FACTORY_MAY_BLOCK or CG_THREADS_SERIAL, [control] reads [worker] except for create and destroy. */
typedef struct cg_module_api {
    uint32_t struct_size;
    uint32_t flags; /* none yet: 0 */
} cg_module_api;

#ifdef __cplusplus
}
#endif
#endif
