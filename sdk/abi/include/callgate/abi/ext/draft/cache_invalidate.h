/* SPDX-License-Identifier: Apache-2.0
 * An auth backend says that what it once answered (`cache_ttl_s` of its replies) holds no longer: a user was removed, a key was
 * withdrawn. DRAFT: the id stays when it is promoted. */
#ifndef CALLGATE_ABI_EXT_DRAFT_CACHE_INVALIDATE_H
#define CALLGATE_ABI_EXT_DRAFT_CACHE_INVALIDATE_H
#include <callgate/abi/host.h>
#ifdef __cplusplus
extern "C" {
#endif
#define CG_EXT_CACHE_INVALIDATE "callgate.cache-invalidate/1"

#define CG_CACHE_ALL 1u        /* everything this instance answered */
#define CG_CACHE_SUBJECT 2u    /* verdicts with this issuer and subject; an empty issuer: of every issuer */
#define CG_CACHE_CREDENTIAL 3u /* verdicts with this credential_id */

/* Lifetime: call. since 1.0 (draft) */
typedef struct cg_cache_scope {
    uint32_t struct_size;
    uint32_t kind; /* CG_CACHE_* */
    cg_str issuer; /* at most 4 KiB each, as in cg_identity */
    cg_str subject;
    cg_str credential_id;
} cg_cache_scope;

typedef struct cg_cache_invalidate_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [any] since 1.0 (draft). Cached verdicts of this instance in that scope are void for every decision that begins after this
     * returned; those of other instances are not touched. The host remembers the last 1,024 of the process: what was cached
     * before the oldest of them counts as void, so that nothing is ever forgotten, only asked again. CG_E_INVALID: unknown kind,
     * or the text that the kind needs is missing or too long. */
    cg_status (*invalidate)(const cg_host* host, const cg_cache_scope* scope);
} cg_cache_invalidate_api;
#ifdef __cplusplus
}
#endif
#endif
