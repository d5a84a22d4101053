/* SPDX-License-Identifier: Apache-2.0
 * Auth backend that blocks, and says so: THREAD_MODEL and FLAGS of its factory are given at compile time. */
#include <callgate/abi/auth_backend.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "test_plugin.h"

typedef struct blocker {
    cg_instance base;
    const cg_host* host;
    pthread_t home; /* where create ran: control, and in tests every shard */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int inside, cancelled, attached, hang_in_stop;
} blocker;

static void answer(blocker* b, cg_op op, const char* reason_id) {
    cg_auth_reply r = {0};
    cg_completion c = {sizeof c, CG_OK, &r, NULL, NULL, NULL};
    r.struct_size = sizeof r;
    r.verdict = CG_VERDICT_DENY;
    r.reason_id = str(reason_id);
    b->host->core->complete(b->host, op, &c);
}

static cg_status authenticate(cg_instance* i, void* state, cg_op op, const cg_auth_request* r) {
    blocker* b = (blocker*)i;
    if (is(r->auth_token, "where")) {
        answer(b, op, pthread_equal(pthread_self(), b->home) ? "on_shard" : state != NULL || b->attached ? "with_state" : "on_worker");
    } else if (is(r->auth_token, "meet")) { /* two calls at once */
        pthread_mutex_lock(&b->mutex);
        ++b->inside;
        pthread_cond_broadcast(&b->changed);
        while (b->inside < 2 && !b->cancelled) pthread_cond_wait(&b->changed, &b->mutex);
        pthread_mutex_unlock(&b->mutex);
        answer(b, op, b->cancelled ? "lonely" : "met");
    } else if (is(r->auth_token, "alone")) {
        int overlap;
        pthread_mutex_lock(&b->mutex);
        overlap = b->inside++ != 0;
        pthread_mutex_unlock(&b->mutex);
        sched_yield();/* a chance for an overlap, not a synchronisation */
        pthread_mutex_lock(&b->mutex);
        --b->inside;
        pthread_mutex_unlock(&b->mutex);
        answer(b, op, overlap ? "overlapped" : "alone");
    } else if (is(r->auth_token, "block")) { /* until somebody cancels */
        pthread_mutex_lock(&b->mutex);
        while (!b->cancelled) pthread_cond_wait(&b->changed, &b->mutex);
        pthread_mutex_unlock(&b->mutex);
        answer(b, op, "unblocked");
    } else if (is(r->auth_token, "refuse")) {
        return CG_E_UNAVAILABLE;
    }
    return CG_OK;
}

static cg_status attach(cg_instance* i, uint32_t shard, void** state) {
    (void)shard;
    ((blocker*)i)->attached = 1;
    *state = i;
    return CG_OK;
}
static void cancel(cg_instance* i, cg_op op, int32_t reason) {
    blocker* b = (blocker*)i;
    (void)op, (void)reason;
    pthread_mutex_lock(&b->mutex);
    b->cancelled = 1;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->mutex);
}
static cg_status stop(cg_instance* i, cg_op op) {
    blocker* b = (blocker*)i;
    cg_completion c = {sizeof c, CG_OK, NULL, NULL, NULL, NULL};
    b->host->core->complete(b->host, op, &c);
    return CG_OK;
}
static void destroy(cg_instance* i) { free(i); }

static const cg_lifecycle lifecycle = {sizeof(cg_lifecycle), 0, NULL, attach, NULL, NULL, stop, destroy, NULL, cancel};
static const cg_auth_backend_api api = {sizeof(cg_auth_backend_api), 0, authenticate};

static cg_status create(const cg_factory* f, const cg_host* host, const cg_create_args* args, cg_instance** out, cg_errbuf* error) {
    blocker* b = calloc(1, sizeof *b);
    (void)f, (void)args, (void)error;
    pthread_mutex_init(&b->mutex, NULL);
    pthread_cond_init(&b->changed, NULL);
    b->home = pthread_self();
    b->host = host;
    *out = test_instance(&b->base, CG_KIND_AUTH_BACKEND, &lifecycle, &api);
    return CG_OK;
}

TEST_PLUGIN(PLUGIN_ID, CG_KIND_AUTH_BACKEND, THREAD_MODEL, FLAGS, "blocker");
