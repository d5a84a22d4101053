/* SPDX-License-Identifier: Apache-2.0
 * Secrets of the configuration without a copy in the configuration. A property that the factory's config_schema marks with
 * "x-callgate-secret": true (its type is string) must be written as "${NAME}" or "file:PATH"; config_json then holds a handle in
 * its place, and the host keeps the bytes in guarded memory. DRAFT: the id stays when it is promoted. */
#ifndef CALLGATE_ABI_EXT_DRAFT_SECRETS_H
#define CALLGATE_ABI_EXT_DRAFT_SECRETS_H
#include <callgate/abi/host.h>
#ifdef __cplusplus
extern "C" {
#endif
#define CG_EXT_SECRETS "callgate.secrets/1"

#define CG_SECRET_MAX_BYTES 65536u /* of one secret; a line end after it in a file is not part of it */
#define CG_SECRETS_MAX 256u        /* of one instance */

typedef struct cg_secrets_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [any] since 1.0 (draft). The present bytes of that secret. `handle`: the string that stands in config_json. CG_E_NOSPC: see
     * cg_outbuf; CG_E_NOT_FOUND: not a handle of this instance. The caller wipes what it copied when it is done with it. */
    cg_status (*read)(const cg_host* host, cg_str handle, cg_outbuf* out);
    /* [control] since 1.0 (draft). From now on changed(ctx, handle) is called on [control] for each secret whose file has other
     * bytes than before: files are read again with each reload of the configuration. A file that cannot be read then keeps its
     * old bytes and is logged. One function for each instance, the last one stands; NULL ends it. Not called after stop.
     * `handle`: call lifetime. */
    cg_status (*on_change)(const cg_host* host, void (*changed)(void* ctx, cg_str handle), void* ctx);
} cg_secrets_api;
#ifdef __cplusplus
}
#endif
#endif
