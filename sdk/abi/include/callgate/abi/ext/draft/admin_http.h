/* SPDX-License-Identifier: Apache-2.0
 * Routes on the daemon's admin listener (`admin.listen`), for modules only. The host keeps the transport, TLS, the check of
 * Host, authentication, authorisation and limits; it answers /livez itself, so that no plugin can make a process look dead.
 * DRAFT: the id stays when it is promoted. */
#ifndef CALLGATE_ABI_EXT_DRAFT_ADMIN_HTTP_H
#define CALLGATE_ABI_EXT_DRAFT_ADMIN_HTTP_H
#include <callgate/abi/draft/caller.h>
#include <callgate/abi/draft/stream.h>
#include <callgate/abi/host.h>
#ifdef __cplusplus
extern "C" {
#endif
#define CG_EXT_ADMIN_HTTP "callgate.admin-http/1"

#define CG_ADMIN_MAX_ROUTES 64u            /* of one instance */
#define CG_ADMIN_MAX_PATH_BYTES 256u
#define CG_ADMIN_MAX_REQUEST_BYTES (64u << 10)
#define CG_ADMIN_MAX_RESPONSE_BYTES (8u << 20) /* of cg_admin_response.body */
#define CG_ADMIN_MAX_CHUNK_BYTES (64u << 10)   /* of one event of a streamed body */

#define CG_ADMIN_PREFIX 1u /* route: `path` ends with '/' and stands for all that begins with it; an exact path wins, then the longest */

typedef struct cg_admin_header {
    cg_str name; /* lower case */
    cg_str value;
} cg_admin_header;

/* Lifetime: operation. since 1.0 (draft) */
typedef struct cg_admin_request {
    uint32_t struct_size;
    uint32_t headers_stride;
    cg_str method; /* HEAD comes as GET, the host leaves the body out */
    cg_str path;   /* as sent: nothing is decoded, no dot segment is taken out */
    cg_str query;  /* behind the '?'; may be empty */
    const cg_admin_header* headers; /* without Authorization, Cookie and what belongs to the connection */
    size_t header_count;
    cg_bytes body; /* at most CG_ADMIN_MAX_REQUEST_BYTES */
    const cg_caller* caller; /* `may` is what it was authorised as; never NULL */
} cg_admin_request;

#define CG_ADMIN_STREAMED 1u /* response: `body` is empty; the body comes over the stream of the request's sink */

/* Result of `handle`. since 1.0 (draft) */
typedef struct cg_admin_response {
    uint32_t struct_size;
    uint32_t http_status; /* 200..599, else it is a fault */
    uint32_t flags;       /* CG_ADMIN_STREAMED */
    uint32_t reserved;
    cg_str content_type;  /* printable ASCII, at most 128 bytes; empty = text/plain; charset=utf-8 */
    cg_bytes body;
} cg_admin_response;

/* Payload of the events of a streamed body; each is sent at once. Lifetime: call. since 1.0 (draft) */
typedef struct cg_admin_chunk {
    uint32_t struct_size;
    uint32_t reserved;
    cg_bytes bytes;
} cg_admin_chunk;

/* Lifetime: call, the host copies. since 1.0 (draft) */
typedef struct cg_admin_route {
    uint32_t struct_size;
    uint32_t flags; /* CG_ADMIN_PREFIX; unknown ones are refused */
    cg_str method;  /* GET, POST, PUT, PATCH or DELETE; GET takes HEAD too */
    cg_str path;    /* begins with '/'; [A-Za-z0-9_./-], no empty, "." or ".." segment. /livez is the host's */
    uint32_t needs; /* CG_MAY_*; others get 403 from the host. 0 = CG_MAY_OPERATE */
    uint32_t reserved;
    void* ctx;
    /* [control] since 1.0 (draft). Between the completion of start and stop. Result: cg_admin_response. At its deadline (5 s, or the
     * instance's `timeout`) the host answers 503; a failure is a 500 (CG_E_BUSY, CG_E_UNAVAILABLE, CG_E_DEADLINE: 503) without the
     * error's text, which goes to the log. After CG_ADMIN_STREAMED exactly one on_end follows. Must not block. */
    cg_status (*handle)(void* ctx, cg_op op, const cg_admin_request* request, const cg_stream_sink* sink);
    /* Of streamed bodies; NULL = this route has none. Lifetime: instance. `instance` of its functions is the module's. */
    const cg_stream_control* streams;
} cg_admin_route;

typedef struct cg_admin_http_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [control] since 1.0 (draft). In create or start; afterwards CG_E_PERMISSION, routes are fixed. CG_E_INVALID: the error says
     * which member; also a second route of this instance for the same method and path. CG_E_BUSY: CG_ADMIN_MAX_ROUTES. Two
     * instances with the same route end the daemon's start, or the reload, with both names. */
    cg_status (*add_route)(const cg_host* host, const cg_admin_route* route, cg_errbuf* error);
} cg_admin_http_api;
#ifdef __cplusplus
}
#endif
#endif
