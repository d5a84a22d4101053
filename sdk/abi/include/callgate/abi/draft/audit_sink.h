/* SPDX-License-Identifier: Apache-2.0
 * Audit sink: takes the records of what the daemon decided, and keeps or forwards them. DRAFT: may change until a second
 * sink stands.
 *
 * The host keeps a bounded queue for each sink. A sink that is slow, full or stuck costs records, which the host counts, and
 * never a login; only with `audit.on_full: fail_closed` is nobody let in while a required sink takes nothing.
 * Thread [audit]: one thread of the host for each sink. No two calls of write, flush and reopen of one instance are
 * open at once: the next comes when the one before has completed. With CG_FACTORY_MAY_BLOCK or CG_THREADS_SERIAL,
 * [audit] reads [worker]. A sink is on no shard: shard_attach and shard_detach are not called. */
#ifndef CALLGATE_ABI_DRAFT_AUDIT_SINK_H
#define CALLGATE_ABI_DRAFT_AUDIT_SINK_H

#include <callgate/abi/draft/kinds.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CG_AUDIT_MAX_BATCH_EVENTS 256u
#define CG_AUDIT_MAX_BATCH_BYTES (256u << 10) /* of lines, together; one event alone may be longer */

#define CG_AUDIT_DECISION 1u /* the engine decided a login */
#define CG_AUDIT_NOTE 2u     /* a plugin instance recorded it (callgate.audit/1); `source` names it */

/* One record. Element of an array with a stride; a field that does not apply is empty or 0. Texts from the wire need not be
 * UTF-8, `line` always is. No record holds a credential, a token or a seed. since 1.0 (draft) */
typedef struct cg_audit_event {
    uint32_t struct_size;
    uint32_t kind; /* CG_AUDIT_*; a later minor may bring more: such a record is written as its line */
    /* The whole record as one JSON object, with its line feed, which is its only one. A sink that looks at nothing else loses
     * nothing. */
    cg_str line;
    int64_t at_unix_ms;
    uint64_t lost; /* records that this sink did not get just before this one: its queue was full */
    /* CG_AUDIT_NOTE: "KIND/NAME" of the instance, put in by the host. Empty: the engine itself */
    cg_str source;
    cg_str action;  /* CG_AUDIT_NOTE: what was done, "reload" */
    cg_str verdict; /* CG_AUDIT_DECISION: "allow", "deny", "unavailable"; CG_AUDIT_NOTE: its outcome */
    cg_str reason_id;
    cg_str reason;
    cg_str identity; /* who */
    cg_str issuer;
    cg_str backend;
    cg_str route;
    cg_str rule;
    cg_str account;          /* allow: where to */
    cg_str permissions_hash; /* allow: equal for equal permissions */
    cg_str client_host;
    cg_str client_kind;
    cg_str server_id;
    cg_str server_name;
    cg_str user_nkey;
    cg_str correlation_id; /* of the request */
    uint64_t client_id;    /* at that server */
    int64_t exp_unix_s;    /* allow: end of the grant */
    int64_t latency_us;    /* arrival to decision */
} cg_audit_event;

/* Lifetime of all of it: operation. since 1.0 (draft) */
typedef struct cg_audit_batch {
    uint32_t struct_size;
    uint32_t stride; /* of events */
    const cg_audit_event* events;
    size_t count; /* 1 to CG_AUDIT_MAX_BATCH_EVENTS, in the order in which they happened */
} cg_audit_batch;

/* Result of write. since 1.0 (draft) */
typedef struct cg_audit_taken {
    uint32_t struct_size;
    uint32_t reserved;
    /* From the front of the batch: the sink answers for these now. The others are offered again, soon. An event that the sink
     * will never be able to take it takes and drops, and counts it itself: nothing behind it would get through otherwise. */
    uint64_t count;
} cg_audit_taken;

typedef struct cg_audit_sink_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [audit] since 1.0 (draft). Result: cg_audit_taken. Does not wait for the target: returns within 1 ms and completes when
     * the target has the events. No deadline; when it takes longer than 2 s, and when the daemon ends, the host calls cancel:
     * then complete soon, CG_OK with what was taken so far. A failure (CG_E_UNAVAILABLE: disk full, nobody there; the text
     * says what and where) means that none was taken; all are offered again after 1 s, or the error's retry_after_ms. */
    cg_status (*write)(cg_instance* instance, cg_op op, const cg_audit_batch* batch);
    /* [audit] since 1.0 (draft). Completes when everything taken before is as safe as this sink makes it (file: synced). Has a
     * deadline. Comes before drain. NULL: every record is safe when its write completes. */
    cg_status (*flush)(cg_instance* instance, cg_op op);
    /* [audit] since 1.0 (draft). The operator asked for a reload that keeps this instance: open anew what may have been moved
     * away (log rotation). When that fails the old target stays in use. NULL: nothing to open. */
    cg_status (*reopen)(cg_instance* instance, cg_op op);
} cg_audit_sink_api;

#ifdef __cplusplus
}
#endif
#endif
