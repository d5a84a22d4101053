/* SPDX-License-Identifier: Apache-2.0
 * Claim store that holds nothing and answers by what it is asked: see get, scan and commit. */
#include <callgate/abi/draft/claim_store.h>
#include <stdio.h>
#include <stdlib.h>

#include "test_plugin.h"

typedef struct store {
    cg_instance base;
    const cg_host* host;
} store;

static void complete(cg_instance* i, cg_op op, cg_status status, const void* result, const char* text) {
    store* st = (store*)i;
    cg_error e = {sizeof e, status, 0, 0, {text, text == NULL ? 0 : strlen(text)}, {0}};
    cg_completion c = {sizeof c, status, result, text == NULL ? NULL : &e, NULL, NULL};
    st->host->core->complete(st->host, op, &c);
}

/* Every key has its own name as value, and revision 7; "never" is not answered, "down" fails, "odd" is answered without a result. */
static cg_status get(cg_instance* i, void* shard, cg_op op, const cg_claim_get* r) {
    cg_claim_entry entries[64];
    cg_claim_values v = {sizeof v, sizeof entries[0], entries, r->keys.count, 99};
    size_t n;
    if (shard != NULL || r->keys.count == 0 || r->keys.count > 64) return CG_E_INVALID;
    if (is(r->keys.items[0], "never")) return CG_OK;
    if (is(r->keys.items[0], "down")) {
        complete(i, op, CG_E_UNAVAILABLE, NULL, "disk full");
        return CG_OK;
    }
    if (is(r->keys.items[0], "odd")) {
        complete(i, op, CG_OK, NULL, NULL);
        return CG_OK;
    }
    for (n = 0; n < r->keys.count; ++n) {
        entries[n].key = r->keys.items[n];
        entries[n].value.data = (const uint8_t*)r->keys.items[n].data;
        entries[n].value.size = r->keys.items[n].size;
        entries[n].revision = 7;
    }
    complete(i, op, CG_OK, &v, NULL);
    memset(entries, 0xee, sizeof entries); /* gone after complete() */
    return CG_OK;
}
/* One entry named as the prefix, the cursor back as `next`. */
static cg_status scan(cg_instance* i, void* shard, cg_op op, const cg_claim_scan* r) {
    cg_claim_entry e = {r->prefix, {NULL, 0}, r->limit};
    cg_claim_page p = {sizeof p, sizeof e, &e, 1, r->cursor, r->at_revision};
    (void)shard;
    complete(i, op, CG_OK, &p, NULL);
    return CG_OK;
}
/* Refused with the first precondition's key if there is one; else the revision is puts * 100 + deletes * 10 + token bytes. */
static cg_status commit(cg_instance* i, void* shard, cg_op op, const cg_claim_commit* r) {
    cg_claim_committed c = {sizeof c, CG_OK, 0, 0, 0, {0}, 0};
    (void)shard;
    c.revision = r->put_count * 100 + r->deletes.count * 10 + r->idempotency.size;
    if (r->precondition_count != 0) {
        c.outcome = CG_E_CONFLICT;
        c.conflict_key = r->preconditions[0].key;
        c.conflict_revision = r->preconditions[0].revision + 1;
    }
    complete(i, op, CG_OK, &c, NULL);
    return CG_OK;
}
static void cancel(cg_instance* i, cg_op op, int32_t reason) {
    (void)reason;
    complete(i, op, CG_E_CANCELLED, NULL, "cancelled");
}
static void destroy(cg_instance* i) { free(i); }

static const cg_lifecycle lifecycle = {sizeof(cg_lifecycle), 0, NULL, NULL, NULL, NULL, NULL, destroy, NULL, cancel};
static const cg_claim_store_api api = {sizeof(cg_claim_store_api), 0, NULL, get, scan, commit, NULL, NULL, NULL, NULL};

static cg_status create(const cg_factory* f, const cg_host* host, const cg_create_args* args, cg_instance** out, cg_errbuf* error) {
    store* st = calloc(1, sizeof *st);
    (void)f, (void)args, (void)error;
    st->host = host;
    *out = test_instance(&st->base, CG_KIND_CLAIM_STORE, &lifecycle, &api);
    return CG_OK;
}

TEST_PLUGIN("org.callgate.test.store", CG_KIND_CLAIM_STORE, CG_THREADS_ANY, 0, "test");
