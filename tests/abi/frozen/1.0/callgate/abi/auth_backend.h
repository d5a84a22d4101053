/* SPDX-License-Identifier: Apache-2.0
 * Auth backend: decides who a connecting client is, or what it may do. */
#ifndef CALLGATE_ABI_AUTH_BACKEND_H
#define CALLGATE_ABI_AUTH_BACKEND_H

#include <callgate/abi/instance.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- request ------------------------------------------------------------------------------------ */
#define CG_TRUST_UNVERIFIED 0u  /* never handed to a backend that has side effects */
#define CG_TRUST_VERIFIED 1u    /* signature by the server key it names was checked */
#define CG_TRUST_PROVEN_XKEY 2u /* bound to a verified server by its xkey */

#define CG_REQUEST_SIMULATE 1u /* `policy test`, explain: no side effect, no lockout counting */
#define CG_REQUEST_SHADOW 2u   /* answer is compared, never used */
#define CG_REQUEST_SERVER_PINNED 4u /* server id is on the configured or discovered list */

/* Where the credential of this route was found; the order of search is the route's `credential` list. */
#define CG_CREDENTIAL_NONE 0u
#define CG_CREDENTIAL_AUTH_TOKEN 1u
#define CG_CREDENTIAL_PASS 2u
#define CG_CREDENTIAL_JWT 3u
#define CG_CREDENTIAL_USER 4u
#define CG_CREDENTIAL_NKEY 5u

/* kind of connection; protocol.md 3.5 */
#define CG_CLIENT_NATS 1u
#define CG_CLIENT_WEBSOCKET 2u
#define CG_CLIENT_MQTT 3u
#define CG_CLIENT_LEAFNODE 4u
#define CG_CLIENT_OTHER 5u

#define CG_TLS_NONE 0u       /* connection without TLS */
#define CG_TLS_NO_CERT 1u    /* TLS, client sent no certificate */
#define CG_TLS_UNVERIFIED 2u /* certificates present, not verified by nats-server */
#define CG_TLS_VERIFIED 3u   /* chain verified by nats-server at handshake time */

typedef struct cg_identity {
    uint32_t struct_size;
    uint32_t reserved;
    cg_str issuer;          /* who vouches: token issuer, or the backend's instance name */
    cg_str subject;         /* who; never empty with ALLOW */
    cg_str attributes_json; /* JSON object of claims, at most 64 KiB; empty = {} */
    int64_t credential_exp_unix_s; /* 0 = does not expire */
    int64_t credential_iat_unix_s; /* 0 = unknown */
    cg_str credential_id;          /* jti or fingerprint under a deployment key; never the credential */
    cg_str_list revocation_handles;
} cg_identity;

typedef struct cg_auth_request {
    uint32_t struct_size;
    uint32_t flags; /* CG_REQUEST_* */
    uint32_t trust; /* CG_TRUST_* */
    uint32_t shard;
    cg_str correlation_id;
    int64_t arrival_ns;
    int64_t deadline_ns;
    int64_t now_unix_s;
    /* nats-server that asks */
    cg_str server_id; /* N key */
    cg_str server_name;
    cg_str server_host;
    cg_str server_version;
    cg_str server_cluster;
    cg_str_list server_tags;
    /* connecting client */
    uint64_t client_id; /* cid on that server */
    uint32_t client_kind; /* CG_CLIENT_* */
    uint32_t tls;         /* CG_TLS_* */
    cg_str client_host;
    cg_str client_user;
    cg_str client_name;
    cg_str client_mqtt_id;
    cg_str client_nonce;
    cg_str_list client_tags;
    cg_str user_nkey; /* the server's one-time user key */
    /* CONNECT options */
    cg_str jwt;
    cg_str nkey;
    cg_str sig;
    cg_str auth_token;
    cg_str user;
    cg_str pass;
    cg_str name;
    cg_str lang;
    cg_str version;
    /* TLS */
    cg_str tls_version;
    cg_str tls_cipher;
    cg_str_list tls_chain_pem; /* leaf first */
    /* chosen by the route */
    uint32_t credential_source; /* CG_CREDENTIAL_* */
    uint32_t earlier_stride;
    cg_str credential;
    /* found by earlier backends of the chain */
    const cg_identity* earlier;
    size_t earlier_count;
    cg_str claims_json; /* whole request claim as it arrived, for fields newer than this header */
} cg_auth_request; /* lifetime: operation */

/* ---- reply -------------------------------------------------------------------------------------- */
#define CG_VERDICT_ALLOW 1u
#define CG_VERDICT_DENY 2u        /* definitive */
#define CG_VERDICT_ABSTAIN 3u     /* not mine; the next backend of the chain decides */
#define CG_VERDICT_UNAVAILABLE 4u /* cannot tell now; shed, never answered as a denial, never cached */

/* "What": a complete grant. Backends that only know who leave it NULL and the policy maps the identity. */
typedef struct cg_grant {
    uint32_t struct_size;
    uint32_t has_resp;
    cg_str account;
    cg_str role; /* scoped signing key of the account; then all permissions must be empty */
    cg_str_list pub_allow;
    cg_str_list pub_deny;
    cg_str_list sub_allow;
    cg_str_list sub_deny;
    int64_t resp_max;
    int64_t resp_ttl_ns;
    int64_t exp_unix_s; /* 0 = the policy's maximum */
    cg_str_list tags;
} cg_grant;

typedef struct cg_explain_step {
    cg_str what;    /* short, stable: "kid lookup" */
    cg_str outcome; /* without secrets */
} cg_explain_step;

typedef struct cg_auth_reply {
    uint32_t struct_size;
    uint32_t verdict;  /* CG_VERDICT_*; 0 or unknown reads as UNAVAILABLE */
    cg_str reason_id;  /* stable, [a-z0-9_]{1,40}: "token_expired"; goes to audit and metrics */
    cg_str reason;     /* for the operator; never sent to the client */
    const cg_identity* identity; /* required with ALLOW */
    const cg_grant* grant;       /* NULL = policy decides */
    uint32_t cache_ttl_s;        /* 0 = do not cache */
    uint32_t explain_stride;
    const cg_explain_step* explain;
    size_t explain_count;
} cg_auth_reply;

typedef struct cg_auth_backend_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [shard] since 1.0. Must not block. CG_OK: exactly one completion whose result is a cg_auth_reply (or a status
     * CG_E_*, which reads as UNAVAILABLE). CG_E_*: not accepted, reads as UNAVAILABLE. */
    cg_status (*authenticate)(cg_instance* instance, void* shard_state, cg_op op, const cg_auth_request* request);
} cg_auth_backend_api;

#ifdef __cplusplus
}
#endif
#endif
