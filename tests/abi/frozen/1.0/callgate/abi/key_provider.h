/* SPDX-License-Identifier: Apache-2.0
 * Key provider: owns private keys and signs with them. A private key never crosses this boundary. */
#ifndef CALLGATE_ABI_KEY_PROVIDER_H
#define CALLGATE_ABI_KEY_PROVIDER_H

#include <callgate/abi/instance.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CG_KEY_ED25519 1u /* signs; nkey O, A, U, N or C */
#define CG_KEY_X25519 2u  /* xkey; nkey X */

#define CG_KEY_EXTRACTABLE 1u /* flag: the provider could export it */

typedef uint64_t cg_key; /* handle, unique within the instance; 0 = none */

typedef struct cg_key_info {
    uint32_t struct_size;
    uint32_t algorithm; /* CG_KEY_ED25519 or CG_KEY_X25519 */
    cg_key key;
    cg_str nkey;  /* public key text, 56 characters */
    cg_str label; /* name used by the configuration (`keys: file:issuer`) */
    uint32_t flags;
    uint32_t generation;
    uint64_t max_message_bytes; /* 0 = no limit */
    int64_t not_after_unix_s;   /* 0 = none */
} cg_key_info;

/* Result of list_keys. */
typedef struct cg_key_page {
    uint32_t struct_size;
    uint32_t stride; /* of keys */
    const cg_key_info* keys;
    size_t count;
    cg_bytes next; /* empty = last page */
} cg_key_page;

/* Purpose of a signature; a provider may refuse what it does not want to sign and audits it. */
#define CG_SIGN_USER_JWT 1u
#define CG_SIGN_AUTH_RESPONSE 2u
#define CG_SIGN_ACCOUNT_JWT 3u
#define CG_SIGN_ACTIVATION 4u
#define CG_SIGN_OPERATOR_JWT 5u
#define CG_SIGN_GENERIC 6u
#define CG_SIGN_NONCE 7u /* login of a link at nats-server */

typedef struct cg_sign_item {
    cg_key key;
    uint32_t purpose; /* CG_SIGN_* */
    cg_status status; /* out: CG_OK or CG_E_* of this item */
    cg_bytes message;
    uint8_t* signature; /* out: 64 bytes, host memory */
} cg_sign_item;

typedef struct cg_sign_batch {
    uint32_t struct_size;
    uint32_t stride; /* of items */
    cg_sign_item* items;
    size_t count;
} cg_sign_batch; /* lifetime: operation */

typedef struct cg_key_limits {
    uint32_t struct_size;
    uint32_t max_batch;     /* >= 1 */
    uint32_t max_in_flight; /* batches at once for each shard, >= 1 */
    uint32_t reserved;
} cg_key_limits;

/* Result of export_shared. */
typedef struct cg_shared_key {
    uint32_t struct_size;
    uint32_t reserved;
    uint8_t key[32]; /* crypto_box_beforenm(peer, own xkey); the host keeps it in guarded memory */
} cg_shared_key;

typedef struct cg_key_provider_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [any] since 1.0. Lifetime: instance. */
    const cg_key_limits* (*limits)(cg_instance* instance);
    /* [control] since 1.0. Result: cg_key_page. `from` is empty or the `next` of the page before. */
    cg_status (*list_keys)(cg_instance* instance, cg_op op, cg_bytes from);
    /* [shard] or [control] (then shard_state is NULL) since 1.0. Fills signature and status of every item, then
     * completes with CG_OK and no result; a completion with CG_E_* fails the whole batch. */
    cg_status (*sign_batch)(cg_instance* instance, void* shard_state, cg_op op, const cg_sign_batch* batch);
    /* [shard] or [control] since 1.0. Key agreement of an own xkey with a peer's 32-byte curve key; the result, a
     * cg_shared_key, LEAVES the provider: it opens and seals for that one peer only. NULL = no xkeys. */
    cg_status (*export_shared)(cg_instance* instance, void* shard_state, cg_op op, cg_key key, cg_bytes peer);
} cg_key_provider_api;

#ifdef __cplusplus
}
#endif
#endif
