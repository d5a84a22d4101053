/* SPDX-License-Identifier: Apache-2.0
 * Claim store: small documents by key, all-or-nothing commits, changes in order. Draft: may change until frozen.
 *
 * Revisions. Every commit that is done gets one u64 revision, larger than every one before it in this store,
 * also across restarts and restores. A key's revision is that of the commit that last put it; 0 = absent.
 * Keys: 1 to 512 bytes, each 0x21 to 0x7e; segments separated by '/', none of them empty, "." or "..".
 * They are ordered bytewise. A prefix is any string of those bytes up to 512 long, the empty one included: all keys.
 * Values: opaque, 0 bytes to limits.max_value_bytes (at most 1 MiB).
 * Durability: a commit that was answered with CG_OK survives kill -9 of the process; with the store's default
 * settings, loss of power too. One that was not answered happened whole or not at all; its idempotency token
 * tells which.
 * Reads see every commit answered before they began.
 *
 * Statuses of all functions besides the general ones: CG_E_INVALID (limits, key or token not well-formed; the
 * text says which), CG_E_BUSY (queue full, nothing was done), CG_E_UNAVAILABLE (locked by another process,
 * disk full, file damaged: the text says which and what to do), CG_E_COMPACTED (history is gone). */
#ifndef CALLGATE_ABI_DRAFT_CLAIM_STORE_H
#define CALLGATE_ABI_DRAFT_CLAIM_STORE_H

#include <callgate/abi/draft/kinds.h>
#include <callgate/abi/draft/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CG_CLAIM_MAX_KEY_BYTES 512u
#define CG_CLAIM_MAX_VALUE_BYTES (1u << 20)
#define CG_CLAIM_MAX_IDEMPOTENCY_BYTES 64u
#define CG_CLAIM_MAX_CURSOR_BYTES 1024u

/* What this store takes; each is at least the minimum in brackets. Lifetime: instance. since 1.0 draft */
typedef struct cg_claim_limits {
    uint32_t struct_size;
    uint32_t max_get_keys;      /* [64] keys of one get */
    uint32_t max_scan_entries;  /* [64] larger limits are read as this one */
    uint32_t max_commit_items;  /* [64] preconditions, puts and deletes of one commit, together */
    uint32_t max_watches;       /* [16] open at once */
    uint32_t reserved;
    uint64_t max_value_bytes;   /* [256 KiB] */
    uint64_t max_commit_bytes;  /* [512 KiB] keys and values of one commit, together */
    uint64_t max_page_bytes;    /* [1 MiB] a page ends early when its keys and values would exceed this */
} cg_claim_limits;

/* One key as it is stored. An element with a stride. since 1.0 draft */
typedef struct cg_claim_entry {
    cg_str key;
    cg_bytes value;
    uint64_t revision; /* 0 = absent, value is empty */
} cg_claim_entry;

/* ---- get ---------------------------------------------------------------------------------------- */
typedef struct cg_claim_get {
    uint32_t struct_size;
    uint32_t reserved;
    cg_str_list keys; /* 1 to limits.max_get_keys; may repeat */
} cg_claim_get; /* lifetime: operation */

/* Result of get: one entry for each key asked, in that order; all of one state of the store. */
typedef struct cg_claim_values {
    uint32_t struct_size;
    uint32_t stride; /* of entries */
    const cg_claim_entry* entries;
    size_t count;
    uint64_t revision; /* of the store when it was read */
} cg_claim_values;

/* ---- scan --------------------------------------------------------------------------------------- */
typedef struct cg_claim_scan {
    uint32_t struct_size;
    uint32_t limit; /* entries; 0 = the store's own choice */
    cg_str prefix;
    cg_bytes cursor; /* empty, or `next` of the page before */
    /* The state to read: 0 = the present one. Pages of one listing pass the `revision` of the first page and
     * are then one consistent picture; CG_E_COMPACTED when that state can no longer be told. */
    uint64_t at_revision;
} cg_claim_scan; /* lifetime: operation */

/* Result of scan: keys in order, none left out. A page may be empty and still not be the last. */
typedef struct cg_claim_page {
    uint32_t struct_size;
    uint32_t stride; /* of entries */
    const cg_claim_entry* entries;
    size_t count;
    cg_bytes next;     /* empty = last page; at most CG_CLAIM_MAX_CURSOR_BYTES */
    uint64_t revision; /* the state that was read */
} cg_claim_page;

/* ---- commit ------------------------------------------------------------------------------------- */
#define CG_CLAIM_KEY_AT 1u           /* `key` has exactly `revision` (not 0) */
#define CG_CLAIM_KEY_ABSENT 2u       /* `key` is absent */
#define CG_CLAIM_PREFIX_UNCHANGED 3u /* no commit after `revision` touched a key with prefix `key` */

/* An element with a stride. since 1.0 draft */
typedef struct cg_claim_precondition {
    uint32_t kind; /* CG_CLAIM_KEY_AT, ... */
    uint32_t reserved;
    cg_str key; /* or prefix */
    uint64_t revision;
} cg_claim_precondition;

/* An element with a stride. since 1.0 draft */
typedef struct cg_claim_put {
    cg_str key;
    cg_bytes value;
} cg_claim_put;

typedef struct cg_claim_commit {
    uint32_t struct_size;
    uint32_t precondition_stride;
    const cg_claim_precondition* preconditions;
    size_t precondition_count;
    const cg_claim_put* puts;
    size_t put_count;
    uint32_t put_stride;
    uint32_t reserved;
    cg_str_list deletes; /* of absent keys: allowed, no change is recorded for them */
    /* 1 to CG_CLAIM_MAX_IDEMPOTENCY_BYTES bytes the caller made for this commit, or empty. The same token with the
     * same content again is answered as the first time, without doing it twice, for as long as the store
     * remembers it (at least the last 1,000 tokens); with other content it is CG_E_INVALID. Only commits that
     * were done are remembered. */
    cg_bytes idempotency;
} cg_claim_commit; /* lifetime: operation. At least one put or delete; no key twice among them */

/* Result of commit. The completion's status is CG_OK for both outcomes: a conflict is an answer, not a failure.
 * A precondition that cannot be judged any more (PREFIX_UNCHANGED since a forgotten revision) is CG_E_COMPACTED. */
typedef struct cg_claim_committed {
    uint32_t struct_size;
    cg_status outcome;          /* CG_OK: done; CG_E_CONFLICT: nothing was done */
    uint64_t revision;          /* done: of this commit. Conflict: of the store */
    uint32_t replayed;          /* 1: done earlier under this idempotency token */
    uint32_t reserved;
    cg_str conflict_key;        /* conflict: first key that did not meet its precondition, in their order */
    uint64_t conflict_revision; /* what it has: 0 = absent, or deleted (under a prefix) */
} cg_claim_committed;

/* ---- watch -------------------------------------------------------------------------------------- */
typedef struct cg_claim_watch {
    uint32_t struct_size;
    uint32_t reserved;
    cg_str prefix;
    uint64_t from_revision; /* changes after this one; 0 = after the empty store */
    cg_bytes resume;        /* token of an earlier event or end; then from_revision is not looked at */
} cg_claim_watch; /* lifetime: operation */

#define CG_CLAIM_CHANGE_PUT 1u
#define CG_CLAIM_CHANGE_DELETE 2u

/* Payload of a watch's events: every change of every commit, by revision; those of one commit in order of their
 * keys. Changes are not merged: two puts of one key are two events. */
typedef struct cg_claim_change {
    uint32_t struct_size;
    uint32_t kind; /* CG_CLAIM_CHANGE_* */
    cg_str key;
    cg_bytes value;    /* empty with DELETE */
    uint64_t revision; /* of the commit */
} cg_claim_change;

/* Result of watch: the stream is open. */
typedef struct cg_claim_watching {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t revision; /* of the store when it opened: events up to here are history */
} cg_claim_watching;

/* ---- snapshot and restore ------------------------------------------------------------------------
 * Form of a snapshot, the same for every store so that they can be exchanged; integers little-endian:
 *   "callgate-claims-1\n" (18 bytes)  u64 revision
 *   entries in order of their keys:  u32 key size (not 0)  u32 value size  u64 revision  key  value
 *   u32 0   u64 number of entries   SHA-256 of everything before (32 bytes) */
#define CG_CLAIM_SNAPSHOT_MAGIC "callgate-claims-1\n"

#define CG_CLAIM_RESTORE_REPLACE 1u /* the store may hold keys; they are replaced. Otherwise CG_E_INVALID then */

/* Result of snapshot and restore. */
typedef struct cg_claim_transfer {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t revision; /* snapshot: the state it shows. restore: the store's new one */
    uint64_t entries;
    uint64_t bytes;
} cg_claim_transfer;

/* shard_state is NULL on [control]. No function blocks. */
typedef struct cg_claim_store_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [any] since 1.0 draft. Lifetime: instance. */
    const cg_claim_limits* (*limits)(cg_instance* instance);
    /* [shard] or [control] since 1.0 draft. Result: cg_claim_values. */
    cg_status (*get)(cg_instance* instance, void* shard_state, cg_op op, const cg_claim_get* request);
    /* [shard] or [control] since 1.0 draft. Result: cg_claim_page. */
    cg_status (*scan)(cg_instance* instance, void* shard_state, cg_op op, const cg_claim_scan* request);
    /* [shard] or [control] since 1.0 draft. Result: cg_claim_committed. After a failure other than CG_E_INVALID
     * and CG_E_BUSY, and after cancel, the commit may have happened: ask again with the same token. */
    cg_status (*commit)(cg_instance* instance, void* shard_state, cg_op op, const cg_claim_commit* request);
    /* [shard] or [control] since 1.0 draft. Result: cg_claim_watching; then events with cg_claim_change. The
     * stream ends with CG_E_COMPACTED when the consumer is so slow that what it would see next is gone, and when
     * the store is restored; with CG_E_CANCELLED when the instance stops. */
    cg_status (*watch)(cg_instance* instance, void* shard_state, cg_op op, const cg_claim_watch* request,
                       const cg_stream_sink* sink);
    /* Of watches. Lifetime: instance. since 1.0 draft */
    const cg_stream_control* streams;
    /* [control] since 1.0 draft. Writes one consistent state to `fd`, which stays the caller's and open until the
     * completion. Result: cg_claim_transfer. NULL = this store has no snapshots. */
    cg_status (*snapshot)(cg_instance* instance, cg_op op, int32_t fd);
    /* [control] since 1.0 draft. Reads a snapshot from `fd` to its end and puts it in place of what is stored, all or
     * nothing. Every key gets the new revision, which is larger than the snapshot's and the store's; watches end with
     * CG_E_COMPACTED; idempotency tokens are forgotten. Result: cg_claim_transfer. `flags`: CG_CLAIM_RESTORE_*. */
    cg_status (*restore)(cg_instance* instance, cg_op op, int32_t fd, uint32_t flags);
} cg_claim_store_api;

#ifdef __cplusplus
}
#endif
#endif
