/* SPDX-License-Identifier: Apache-2.0
 * The services every plugin instance gets from its host. One cg_host per instance; lifetime: instance. */
#ifndef CALLGATE_ABI_HOST_H
#define CALLGATE_ABI_HOST_H

#include <callgate/abi/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cg_host cg_host;

typedef struct cg_core {
    uint32_t struct_size;
    uint32_t reserved;

    /* [any] since 1.0. CLOCK_MONOTONIC in nanoseconds (a test host may hand out a manual clock). */
    int64_t (*now_ns)(const cg_host* host);
    /* [any] since 1.0. Wall clock, seconds since the epoch; only for claims such as exp and nbf. */
    int64_t (*wall_unix_s)(const cg_host* host);

    /* [any] since 1.0. Nanoseconds until the operation's deadline; negative when past; INT64_MAX when it has none,
     * 0 when the operation is finished or unknown. */
    int64_t (*time_left_ns)(const cg_host* host, cg_op op);
    /* [any] since 1.0. 1 when the operation was cancelled, is past its deadline, finished or unknown. */
    int32_t (*is_cancelled)(const cg_host* host, cg_op op);
    /* [any] since 1.0. Zeroed memory that lives until the operation's completion; NULL when the operation's budget
     * (64 KiB) is spent. `align` is a power of two up to 64. Calls for one op must not overlap. */
    void* (*scratch)(const cg_host* host, cg_op op, size_t size, size_t align);
    /* [any] since 1.0. The one completion. May be called before the function that received `op` returns.
     * CG_OK: taken. CG_E_NOT_FOUND: the operation is already complete (counted as a plugin fault). */
    cg_status (*complete)(const cg_host* host, cg_op op, const cg_completion* completion);

    /* [any] since 1.0 */
    int32_t (*log_enabled)(const cg_host* host, int32_t level);
    /* [any] since 1.0. Never pass a secret. `stride` = sizeof(cg_log_field) as the plugin was compiled. */
    void (*log)(const cg_host* host, int32_t level, cg_str message, const cg_log_field* fields, size_t count,
                size_t stride);
} cg_core;

struct cg_host {
    uint32_t struct_size;
    uint32_t abi_major;
    uint32_t abi_minor;   /* negotiated: min(host, plugin) */
    uint32_t shard_count; /* shards that will call shard_attach; 1..64 */
    void* impl;           /* the host's own */
    const cg_core* core;
    /* [any] since 1.0. Capability table by id, e.g. CG_EXT_TIMER; NULL when this host has none. */
    const void* (*query)(const cg_host* host, cg_str extension_id);
    cg_str instance_name; /* as in the configuration */
};

#ifdef __cplusplus
}
#endif
#endif
