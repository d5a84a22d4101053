/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CALLGATE_ABI_EXT_DRAFT_HTTP_CLIENT_H
#define CALLGATE_ABI_EXT_DRAFT_HTTP_CLIENT_H
#include <callgate/abi/host.h>
#ifdef __cplusplus
extern "C" {
#endif
#define CG_EXT_HTTP_CLIENT "callgate.http-client/1"
/* HTTP/1.1 and /2 with pooled TLS on the host: certificates are verified, environment proxies ignored,
 * decompression off. */
#define CG_HTTP_FOLLOW_REDIRECTS 1u /* at most 3, same origin only; default: a 3xx is the answer */
#define CG_HTTP_ALLOW_PLAINTEXT 2u  /* http:// to any host; default: only to loopback */
#define CG_HTTP_ALLOW_PRIVATE 4u    /* link-local addresses too; default: refused after resolution */

typedef struct cg_http_header {
    cg_str name;
    cg_str value;
} cg_http_header;

typedef struct cg_http_response {
    uint32_t struct_size;
    int32_t http_status;    /* 0 when none arrived */
    cg_status status;       /* CG_OK: a response arrived whole, whatever its http_status */
    uint32_t headers_stride;
    cg_str error;           /* what failed, with host and address; empty when CG_OK */
    const cg_http_header* headers;
    size_t header_count;
    cg_bytes body;          /* empty when on_body took it */
    cg_bytes peer_cert_der; /* leaf certificate of a TLS peer, may be empty */
} cg_http_response;

typedef struct cg_http_request {
    uint32_t struct_size;
    uint32_t flags; /* CG_HTTP_* */
    cg_str method;  /* GET, POST, ... */
    cg_str url;     /* http or https */
    const cg_http_header* headers;
    size_t header_count;
    uint32_t headers_stride;
    uint32_t address_family; /* 0 any, 4, 6 */
    cg_bytes body;
    int64_t timeout_ns;      /* whole exchange; 0 = 10 s; at most 60 s */
    uint64_t max_body_bytes; /* 0 = 1 MiB; more ends the exchange with CG_E_NOSPC */
    cg_str ca_file;          /* PEM; empty = the system's */
    cg_str client_cert_file; /* PEM; may be empty */
    cg_str client_key_file;
    cg_str_list pin_cidrs;   /* resolved address must be inside one; empty = any */
    void* ctx;
    /* [control] Optional: takes the body in pieces; CG_OK to go on, CG_E_* ends the exchange. */
    cg_status (*on_body)(void* ctx, cg_bytes piece);
    /* [control] Exactly once for each accepted request, also after cancel. Call lifetime. */
    void (*on_done)(void* ctx, const cg_http_response* response);
} cg_http_request; /* call lifetime: the host copies */

typedef struct cg_http_client_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [any] CG_OK and *id; CG_E_INVALID, or CG_E_BUSY above 32 exchanges of this instance in flight:
     * then on_done is not called and `error` says why. */
    cg_status (*start)(const cg_host* host, const cg_http_request* request, uint64_t* id, cg_errbuf* error);
    /* [any] on_done still comes, with CG_E_CANCELLED unless the exchange was already over. */
    void (*cancel)(const cg_host* host, uint64_t id);
} cg_http_client_api;
#ifdef __cplusplus
}
#endif
#endif
