/* SPDX-License-Identifier: Apache-2.0
 * Key provider that "signs" on a thread of its own: a signature is the message's first byte, 64 times. */
#include <callgate/abi/key_provider.h>
#include <pthread.h>
#include <stdlib.h>

#include "test_plugin.h"

#ifndef FACTORY_FLAGS
#define FACTORY_FLAGS 0
#endif
#define QUEUE 64
typedef struct job {
    cg_op op;
    const cg_sign_batch* batch;
} job;
typedef struct provider {
    cg_instance base;
    const cg_host* host;
    cg_key_limits limits;
    char nkeys[3][57]; /* from the configuration: the test knows how to make them */
    int duplicate_label, silent_about_health;
    pthread_t worker;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    job queue[QUEUE];
    size_t head, tail;
    int ending;
} provider;

static void done(provider* p, cg_op op, const void* result) {
    cg_completion c = {sizeof c, CG_OK, result, NULL, NULL, NULL};
    p->host->core->complete(p->host, op, &c);
}

static void* work(void* arg) {
    provider* p = arg;
    pthread_mutex_lock(&p->mutex);
    for (;;) {
        job j;
        size_t i;
        while (p->head == p->tail && !p->ending) pthread_cond_wait(&p->changed, &p->mutex);
        if (p->head == p->tail) break;
        j = p->queue[p->tail++ % QUEUE];
        pthread_mutex_unlock(&p->mutex);
        for (i = 0; i < j.batch->count; ++i) {
            cg_sign_item* item = (cg_sign_item*)((char*)j.batch->items + i * j.batch->stride);
            if (item->key != 1 && item->key != 2) {
                item->status = CG_E_NOT_FOUND;
                continue;
            }
            memset(item->signature, item->message.size == 0 ? 0 : item->message.data[0], 64);
            item->status = CG_OK;
        }
        done(p, j.op, NULL);
        pthread_mutex_lock(&p->mutex);
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

static cg_status start(cg_instance* i, cg_op op) {
    provider* p = (provider*)i;
    pthread_create(&p->worker, NULL, work, p);
    done(p, op, NULL);
    return CG_OK;
}
static cg_status stop(cg_instance* i, cg_op op) {
    provider* p = (provider*)i;
    pthread_mutex_lock(&p->mutex);
    p->ending = 1;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->mutex);
    pthread_join(p->worker, NULL);
    done(p, op, NULL);
    return CG_OK;
}
static void destroy(cg_instance* i) {
    provider* p = (provider*)i;
    pthread_mutex_destroy(&p->mutex);
    pthread_cond_destroy(&p->changed);
    free(p);
}
static const cg_key_limits* limits(cg_instance* i) { return &((provider*)i)->limits; }

static cg_status health(cg_instance* i, cg_op op) {
    cg_health h = {sizeof h, CG_HEALTH_OK, {0}};
    if (!((provider*)i)->silent_about_health) done((provider*)i, op, &h);
    return CG_OK;
}

/* One key on each page. */
static cg_status list_keys(cg_instance* i, cg_op op, cg_bytes from) {
    provider* p = (provider*)i;
    static const char* const labels[3] = {"issuer", "app", "curve"};
    cg_key_info k = {0};
    cg_key_page page = {0};
    uint8_t next = 0;
    const size_t n = from.size == 1 ? from.data[0] : 0;
    k.struct_size = sizeof k;
    k.algorithm = n == 2 ? CG_KEY_X25519 : CG_KEY_ED25519;
    k.key = n + 1;
    k.nkey = str(p->nkeys[n]);
    k.label = str(p->duplicate_label ? "issuer" : labels[n]);
    k.max_message_bytes = n == 1 ? 16 : 0;
    page.struct_size = sizeof page;
    page.stride = sizeof k;
    page.keys = &k;
    page.count = 1;
    if (n < 2) {
        next = (uint8_t)(n + 1);
        page.next.data = &next;
        page.next.size = 1;
    }
    done(p, op, &page);
    return CG_OK;
}
static cg_status sign_batch(cg_instance* i, void* state, cg_op op, const cg_sign_batch* batch) {
    provider* p = (provider*)i;
    cg_status status = CG_E_BUSY;
    (void)state;
    pthread_mutex_lock(&p->mutex);
    if (p->head - p->tail < QUEUE) {
        p->queue[p->head % QUEUE].op = op;
        p->queue[p->head % QUEUE].batch = batch;
        p->head++;
        pthread_cond_signal(&p->changed);
        status = CG_OK;
    }
    pthread_mutex_unlock(&p->mutex);
    return status;
}
/* A peer of 0 bytes only is taken for one of low order. */
static cg_status export_shared(cg_instance* i, void* state, cg_op op, cg_key key, cg_bytes peer) {
    static const uint8_t zeros[32];
    cg_shared_key shared = {0};
    (void)state;
    if (key != 3 || peer.size != 32) return CG_E_NOT_FOUND;
    if (memcmp(peer.data, zeros, 32) == 0) {
        cg_completion c = {sizeof c, CG_E_INVALID, NULL, NULL, NULL, NULL};
        ((provider*)i)->host->core->complete(((provider*)i)->host, op, &c);
        return CG_OK;
    }
    shared.struct_size = sizeof shared;
    memcpy(shared.key, peer.data, 32);
    done((provider*)i, op, &shared);
    return CG_OK;
}

static const cg_lifecycle life = {sizeof life, 0, start, NULL, NULL, NULL, stop, destroy, health, NULL};
static const cg_key_provider_api api = {sizeof api, 0, limits, list_keys, sign_batch, export_shared};

/* config_json is "<56 chars><56 chars><56 chars>[!?]" inside quotes: three public keys; ! = duplicate labels,
 * ? = never answers health. */
static cg_status create(const cg_factory* f, const cg_host* host, const cg_create_args* args, cg_instance** out, cg_errbuf* error) {
    provider* p = calloc(1, sizeof *p);
    int i;
    (void)f;
    (void)error;
    for (i = 0; i < 3 && args->config_json.size >= 1 + 3 * 56; ++i) memcpy(p->nkeys[i], args->config_json.data + 1 + 56 * i, 56);
    p->duplicate_label = args->config_json.size > 1 + 3 * 56 && args->config_json.data[1 + 3 * 56] == '!';
    p->silent_about_health = args->config_json.size > 1 + 3 * 56 && args->config_json.data[1 + 3 * 56] == '?';
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->changed, NULL);
    p->host = host;
    p->limits.struct_size = sizeof p->limits;
    p->limits.max_batch = 4;
    p->limits.max_in_flight = 2;
    *out = test_instance(&p->base, CG_KIND_KEY_PROVIDER, &life, &api);
    return CG_OK;
}

TEST_PLUGIN("org.callgate.test.keys", CG_KIND_KEY_PROVIDER, CG_THREADS_PER_SHARD, FACTORY_FLAGS, "test_keys");
