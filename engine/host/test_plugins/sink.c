/* SPDX-License-Identifier: Apache-2.0
 * Audit sink that keeps the lines it takes; a test steers it by the functions of its extension "test.sink". */
#include <callgate/abi/draft/audit_sink.h>
#include <callgate/abi/entry.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "sink.h"

CG_PLUGIN_NOTE("org.callgate.test.sink", 1u << CG_KIND_AUDIT_SINK, 0);

typedef struct sink {
    cg_instance base;
    const cg_host* host;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    test_sink seen;
    int mode;
    cg_op held;
    const cg_audit_batch* batch;
} sink;

static void complete(sink* s, cg_op op, cg_status status, const void* result, const char* text, uint32_t retry_ms) {
    cg_error e = {sizeof e, status, retry_ms, 0, {text, text == NULL ? 0 : strlen(text)}, {0}};
    cg_completion c = {sizeof c, status, result, text == NULL ? NULL : &e, NULL, NULL};
    s->host->core->complete(s->host, op, &c);
}
static void take(sink* s, cg_op op, const cg_audit_batch* b, size_t count) {
    cg_audit_taken t = {sizeof t, 0, count};
    size_t i;
    pthread_mutex_lock(&s->mutex);
    for (i = 0; i < count; ++i) {
        const cg_audit_event* e = (const cg_audit_event*)((const char*)b->events + i * b->stride);
        if (s->seen.size + e->line.size <= sizeof s->seen.text) {
            memcpy(s->seen.text + s->seen.size, e->line.data, e->line.size);
            s->seen.size += e->line.size;
        }
        s->seen.lost += e->lost;
        s->seen.kind = e->kind;
    }
    s->seen.events += count;
    pthread_mutex_unlock(&s->mutex);
    complete(s, op, CG_OK, &t, NULL, 0);
}
static cg_status write_events(cg_instance* i, cg_op op, const cg_audit_batch* b) {
    sink* s = (sink*)i;
    int mode;
    pthread_mutex_lock(&s->mutex);
    ++s->seen.writes;
    mode = s->mode;
    while (s->mode == TEST_SINK_BLOCK) pthread_cond_wait(&s->changed, &s->mutex);
    if (mode == TEST_SINK_HOLD) {
        s->held = op;
        s->batch = b;
    }
    pthread_mutex_unlock(&s->mutex);
    switch (mode) {
        case TEST_SINK_HOLD: break;
        case TEST_SINK_FAIL: complete(s, op, CG_E_UNAVAILABLE, NULL, "disk full", 1); break;
        case TEST_SINK_HALF: take(s, op, b, b->count / 2); break;
        case TEST_SINK_LIE: {
            cg_audit_taken t = {sizeof t, 0, b->count + 1};
            complete(s, op, CG_OK, &t, NULL, 0);
            break;
        }
        case TEST_SINK_REFUSE: return CG_E_BUSY;
        default: take(s, op, b, b->count);
    }
    return CG_OK;
}
static cg_status flush(cg_instance* i, cg_op op) {
    sink* s = (sink*)i;
    pthread_mutex_lock(&s->mutex);
    ++s->seen.flushes;
    pthread_mutex_unlock(&s->mutex);
    complete(s, op, CG_OK, NULL, NULL, 0);
    return CG_OK;
}
static cg_status reopen(cg_instance* i, cg_op op) {
    sink* s = (sink*)i;
    pthread_mutex_lock(&s->mutex);
    ++s->seen.reopens;
    pthread_mutex_unlock(&s->mutex);
    if (s->mode == TEST_SINK_NO_REOPEN) complete(s, op, CG_E_UNAVAILABLE, NULL, "the folder is gone", 0);
    else complete(s, op, CG_OK, NULL, NULL, 0);
    return CG_OK;
}
static void let_go(cg_instance* i, size_t count) {
    sink* s = (sink*)i;
    cg_op op;
    const cg_audit_batch* b;
    pthread_mutex_lock(&s->mutex);
    op = s->held;
    b = s->batch;
    s->held = 0;
    pthread_mutex_unlock(&s->mutex);
    if (op != 0) take(s, op, b, count < b->count ? count : b->count);
}
static void cancel(cg_instance* i, cg_op op, int32_t reason) {
    sink* s = (sink*)i;
    int ours;
    pthread_mutex_lock(&s->mutex);
    ++s->seen.cancels;
    s->seen.cancel_reason = reason;
    ours = s->held == op;
    pthread_mutex_unlock(&s->mutex);
    if (ours) let_go(i, 0);
}
static void set_mode(cg_instance* i, int mode) {
    sink* s = (sink*)i;
    pthread_mutex_lock(&s->mutex);
    s->mode = mode;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
}
static void look(cg_instance* i, test_sink* out) {
    sink* s = (sink*)i;
    pthread_mutex_lock(&s->mutex);
    *out = s->seen;
    pthread_mutex_unlock(&s->mutex);
}
static const test_sink_api steering = {set_mode, look, let_go};

static const void* query(cg_instance* i, cg_str id) {
    (void)i;
    return id.size == 9 && memcmp(id.data, "test.sink", 9) == 0 ? &steering : NULL;
}
static void destroy(cg_instance* i) {
    sink* s = (sink*)i;
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->changed);
    free(s);
}

static const cg_lifecycle lifecycle = {sizeof(cg_lifecycle), 0, NULL, NULL, NULL, NULL, NULL, destroy, NULL, cancel};
static const cg_audit_sink_api api = {sizeof(cg_audit_sink_api), 0, write_events, flush, reopen};

static cg_status create(const cg_factory* f, const cg_host* host, const cg_create_args* args, cg_instance** out, cg_errbuf* error) {
    sink* s = calloc(1, sizeof *s);
    (void)f, (void)args, (void)error;
    s->host = host;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->base.struct_size = sizeof s->base;
    s->base.kind = CG_KIND_AUDIT_SINK;
    s->base.life = &lifecycle;
    s->base.api = &api;
    s->base.query = query;
    *out = &s->base;
    return CG_OK;
}

static cg_factory factory;
static const cg_factory* const factories[] = {&factory};
static cg_manifest manifest;

__attribute__((visibility("default"))) cg_status cg_plugin_entry_v1(const cg_negotiation* host, const cg_manifest** out);
cg_status cg_plugin_entry_v1(const cg_negotiation* host, const cg_manifest** out) {
    static const char id[] = "org.callgate.test.sink", schema[] = "{\"type\":\"object\"}";
    (void)host;
    factory.struct_size = sizeof factory;
    factory.kind = CG_KIND_AUDIT_SINK;
    factory.thread_model = CG_THREADS_ANY;
    factory.type.data = "test";
    factory.type.size = 4;
    factory.config_schema.data = schema;
    factory.config_schema.size = sizeof schema - 1;
    factory.create = create;
    manifest.struct_size = sizeof manifest;
    manifest.abi_major = CG_ABI_MAJOR;
    manifest.abi_minor_built = CG_ABI_MINOR;
    manifest.plugin_id.data = id;
    manifest.plugin_id.size = sizeof id - 1;
    manifest.factory_count = 1;
    manifest.factories = factories;
    *out = &manifest;
    return CG_OK;
}
