/* SPDX-License-Identifier: Apache-2.0
 * Messages of a NATS cluster of the configuration: publish, subscribe, request. Each instance that opens a cluster gets a
 * connection of its own, as the user of that cluster's `plugin_link`; never one of those that carry logins, never that of the system
 * account. The host keeps it: it connects in the background, again and again for ever, reads credentials anew each time, subscribes
 * anew. What an instance may open stands beside its `plugin`: uses: [nats/CLUSTER]
 * DRAFT: the id stays when it is promoted. */
#ifndef CALLGATE_ABI_EXT_DRAFT_NATS_H
#define CALLGATE_ABI_EXT_DRAFT_NATS_H
#include <callgate/abi/host.h>
#ifdef __cplusplus
extern "C" {
#endif
#define CG_EXT_NATS "callgate.nats/1"

#define CG_NATS_MAX_CLUSTERS 8u              /* opened by one instance; the same one twice is one */
#define CG_NATS_MAX_SUBSCRIPTIONS 64u        /* of one connection */
#define CG_NATS_MAX_REQUESTS 256u            /* of one connection, without an answer yet */
#define CG_NATS_MAX_SUBJECT_BYTES 512u       /* queue groups too */
#define CG_NATS_MAX_HEADERS 32u
#define CG_NATS_MAX_HEADER_BYTES (8u << 10)  /* names and values of one message together */
#define CG_NATS_MAX_PAYLOAD_BYTES (1u << 20) /* and never more than the server's max_payload */
#define CG_NATS_MAX_QUEUED 1024u             /* messages of one connection that wait for the plugin, answers not counted */
#define CG_NATS_MAX_QUEUED_BYTES (8u << 20)  /* of those; and, apart from them, of what waits for the socket */

typedef uint32_t cg_nats; /* a connection, unique within the instance; 0 = none */

/* An element with a stride. since 1.0 (draft) */
typedef struct cg_nats_header {
    cg_str name;  /* printable ASCII without ':' and space, 1 to 256 bytes */
    cg_str value; /* no CR, LF or NUL */
} cg_nats_header;

/* Outgoing: lifetime call, the host copies. Incoming: lifetime call. since 1.0 (draft) */
typedef struct cg_nats_message {
    uint32_t struct_size;
    uint32_t headers_stride;
    cg_str subject; /* outgoing: whole, without wildcards, and not below "$SYS" */
    cg_str reply;   /* may be empty; outgoing: as subject */
    const cg_nats_header* headers;
    size_t header_count;
    cg_bytes payload;
    uint64_t lost; /* incoming: messages of this subscription that were dropped just before this one, since too many waited */
} cg_nats_message;

#define CG_NATS_ON_WORKER 1u /* subscription, request: the function runs on [worker], not on [control]; see there */

/* Lifetime: call, the host copies. since 1.0 (draft) */
typedef struct cg_nats_subscription {
    uint32_t struct_size;
    uint32_t flags; /* CG_NATS_ON_WORKER; unknown ones are refused */
    cg_str subject; /* wildcards may stand behind the first token; that one is a plain word and not "$SYS" */
    cg_str queue;   /* queue group; empty = none */
    void* ctx;
    /* [control] or [worker], see flags. Messages of one subscription come in their order, one at a time, never inside a call of
     * the plugin. A slow function loses messages: see CG_NATS_MAX_QUEUED and `lost`. */
    void (*on_message)(void* ctx, const cg_nats_message* message);
} cg_nats_subscription;

/* Lifetime: call. since 1.0 (draft) */
typedef struct cg_nats_answer {
    uint32_t struct_size;
    cg_status status; /* CG_E_NOT_FOUND: nobody listens there; CG_E_DEADLINE; CG_E_CANCELLED; CG_E_UNAVAILABLE: the connection was lost */
    const cg_nats_message* message; /* CG_OK: the first answer; else NULL */
} cg_nats_answer;

/* Lifetime: call, the host copies. since 1.0 (draft) */
typedef struct cg_nats_request {
    uint32_t struct_size;
    uint32_t flags;                 /* CG_NATS_ON_WORKER; unknown ones are refused */
    const cg_nats_message* message; /* `reply` is left empty: the host's own */
    int64_t timeout_ns;             /* 0 = 5 s; at most 60 s */
    cg_op op;                       /* not 0: an operation of this instance, whose deadline and cancellation end the request as well */
    void* ctx;
    /* [control] or [worker], see flags. Once for each request that was accepted, also after cancel; never inside a call of the plugin. */
    void (*done)(void* ctx, const cg_nats_answer* answer);
} cg_nats_request;

/* Result of `status`. since 1.0 (draft) */
typedef struct cg_nats_status {
    uint32_t struct_size;
    int32_t connected;     /* 1 or 0 */
    uint64_t reconnects;
    uint64_t max_payload;  /* bytes, of the present server; 0 = not connected */
    uint64_t lost_in;      /* messages dropped since the instance was slow */
    uint64_t lost_out;     /* messages accepted by publish that the connection did not take */
} cg_nats_status;

/* Statuses of all functions: CG_E_INVALID (a rule above is broken, or the handle), CG_E_CANCELLED (after stop). `stop` completes after the last
 * `done`; requests and queued messages that are left are dropped without a call, requests counted as faults. A function
 * with CG_NATS_ON_WORKER is a job of the instance, like those of callgate.worker/1 (one at a time with CG_THREADS_SERIAL). */
typedef struct cg_nats_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [control] since 1.0 (draft). In create or start, or later. Returns at once: the connection comes up when it can, `status` tells. CG_E_PERMISSION:
     * not under `uses`; CG_E_UNSUPPORTED: this host keeps no connections (a command-line tool); CG_E_BUSY:
     * CG_NATS_MAX_CLUSTERS. `error` says more. *nats is valid for the instance's life. */
    cg_status (*open)(const cg_host* host, cg_str cluster, cg_nats* nats, cg_errbuf* error);
    /* [any] since 1.0 (draft). Fills what both sides know of *status. */
    cg_status (*status)(const cg_host* host, cg_nats nats, cg_nats_status* status);
    /* [any] since 1.0 (draft). CG_OK: on its way, at most once: what a broken connection swallows is counted, not sent again.
     * CG_E_UNAVAILABLE: not connected; CG_E_BUSY: CG_NATS_MAX_QUEUED_BYTES; CG_E_NOSPC: more than the server takes. */
    cg_status (*publish)(const cg_host* host, cg_nats nats, const cg_nats_message* message);
    /* [control] since 1.0 (draft). CG_OK whether connected or not. What the user may not subscribe the server refuses: it shows in
     * the log only. CG_E_BUSY: CG_NATS_MAX_SUBSCRIPTIONS. */
    cg_status (*subscribe)(const cg_host* host, cg_nats nats, const cg_nats_subscription* subscription, uint64_t* id);
    /* [control] since 1.0 (draft). on_message is not called again, also when called from there; one that runs on [worker] just now goes on.
     * CG_E_NOT_FOUND: there is none. */
    cg_status (*unsubscribe)(const cg_host* host, cg_nats nats, uint64_t id);
    /* [any] since 1.0 (draft). As publish; CG_OK: `done` follows. CG_E_BUSY: CG_NATS_MAX_REQUESTS too. *id is set before `done`
     * can run; `id` may be NULL. */
    cg_status (*request)(const cg_host* host, cg_nats nats, const cg_nats_request* request, uint64_t* id);
    /* [any] since 1.0 (draft). `done` still comes, with CG_E_CANCELLED unless the request was already over. */
    void (*cancel)(const cg_host* host, cg_nats nats, uint64_t id);
} cg_nats_api;
#ifdef __cplusplus
}
#endif
#endif
