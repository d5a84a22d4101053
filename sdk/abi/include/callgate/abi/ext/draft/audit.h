/* SPDX-License-Identifier: Apache-2.0
 * A plugin instance puts a record of its own into the daemon's audit trail: who changed a claim, who asked for a reload. It
 * goes to every audit sink, marked by the host with the instance's kind and name, so that it cannot be taken for a decision
 * of the engine or for another instance's. Not offered to audit sinks. DRAFT: the id stays when it is promoted. */
#ifndef CALLGATE_ABI_EXT_DRAFT_AUDIT_H
#define CALLGATE_ABI_EXT_DRAFT_AUDIT_H
#include <callgate/abi/host.h>
#ifdef __cplusplus
extern "C" {
#endif
#define CG_EXT_AUDIT "callgate.audit/1"

#define CG_AUDIT_MAX_WORD_BYTES 64u    /* action, outcome, names of fields */
#define CG_AUDIT_MAX_TEXT_BYTES 1024u  /* identity, values of fields */
#define CG_AUDIT_MAX_FIELDS 16u
#define CG_AUDIT_NOTES_BURST 200u      /* of one instance, at once; then CG_AUDIT_NOTES_PER_SECOND */
#define CG_AUDIT_NOTES_PER_SECOND 50u

/* An element with a stride. since 1.0 (draft) */
typedef struct cg_audit_field {
    cg_str name;  /* [a-z][a-z0-9_]{0,63}, no name twice */
    cg_str value; /* at most CG_AUDIT_MAX_TEXT_BYTES, any bytes; never a secret */
} cg_audit_field;

/* Lifetime: call. since 1.0 (draft) */
typedef struct cg_audit_note {
    uint32_t struct_size;
    uint32_t fields_stride;
    cg_str action;   /* what was done: [a-z][a-z0-9_.]{0,63}, "reload", "account.add" */
    cg_str outcome;  /* as action, or empty: "ok", "refused" */
    cg_str identity; /* who did it, or whom it is about; at most CG_AUDIT_MAX_TEXT_BYTES, may be empty */
    const cg_audit_field* fields;
    size_t field_count; /* 0 to CG_AUDIT_MAX_FIELDS */
} cg_audit_note;

typedef struct cg_audit_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [any] since 1.0 (draft). From create to stop. CG_OK: every audit sink has it in its queue, or there is none.
     * CG_E_INVALID: a rule above is broken; CG_E_BUSY: too many at once, or a queue is full: it is lost there and counted;
     * CG_E_CANCELLED: after stop. */
    cg_status (*record)(const cg_host* host, const cg_audit_note* note);
} cg_audit_api;
#ifdef __cplusplus
}
#endif
#endif
