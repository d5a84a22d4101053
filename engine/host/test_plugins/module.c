/* SPDX-License-Identifier: Apache-2.0
 * A module with routes that behave and misbehave as their paths say:
 *   GET /echo, GET /tree/...   method, path, query, body, headers and caller
 *   POST /operate              needs CG_MAY_OPERATE
 *   GET /hang                  answers when it is cancelled
 *   GET /fail, GET /odd        fails; answers with an HTTP status that is none
 *   GET /stream                20 chunks "0\n".."19\n" from a thread of its own, then the end; query "fail": ends with an error;
 *                              query "greedy": sends without credit
 * Methods: "count" (as /stream, request as its query; also offline), "change" (operators), "late" (opens its stream when it is cancelled)
 *   GET /engine                what the engine says of its readiness
 * Configuration: {"bad":true} one with a bad path in start. */
#define _DEFAULT_SOURCE
#include <callgate/abi/draft/module.h>
#include <callgate/abi/draft/rpc.h>
#include <callgate/abi/ext/draft/admin_http.h>
#include <callgate/abi/ext/draft/engine.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "test_plugin.h"

typedef struct module {
    cg_instance base;
    const cg_host* host;
    const cg_admin_http_api* http;
    int bad;
    _Atomic(cg_op) hanging, late;
    pthread_t thread;
    int has_thread;
    cg_stream_sink sink;
    int fail, greedy;
    cg_op asking;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint32_t credits; /* guarded by mutex */
    int cancelled;
} module;

static void finish(module* m, cg_op op, cg_status status, uint32_t code, const char* body, uint32_t flags) {
    cg_admin_response r = {sizeof r, code, flags, 0, {NULL, 0}, {(const uint8_t*)body, strlen(body)}};
    cg_error e = {sizeof e, status, 0, 0, str("as the path says"), {NULL, 0}};
    cg_completion c = {sizeof c, status, status == CG_OK ? &r : NULL, status == CG_OK ? NULL : &e, NULL, NULL};
    m->host->core->complete(m->host, op, &c);
}
static void append(char* out, size_t cap, cg_str s) {
    const size_t used = strlen(out);
    if (s.size != 0) snprintf(out + used, cap - used, "%.*s", (int)s.size, s.data);
}
static void done(module* m, cg_op op, cg_status s) {
    cg_error e = {sizeof e, s, 0, 0, str("a route was refused"), {NULL, 0}};
    cg_completion c = {sizeof c, s, NULL, s == CG_OK ? NULL : &e, NULL, NULL};
    m->host->core->complete(m->host, op, &c);
}
static cg_status echo(void* ctx, cg_op op, const cg_admin_request* r, const cg_stream_sink* sink) {
    char out[1024] = "";
    cg_str body = {(const char*)r->body.data, r->body.size};
    (void)sink;
    append(out, sizeof out, r->method);
    strcat(out, " ");
    append(out, sizeof out, r->path);
    strcat(out, "?");
    append(out, sizeof out, r->query);
    strcat(out, " ");
    append(out, sizeof out, body);
    for (size_t i = 0; i < r->header_count; ++i) {
        const cg_admin_header* h = (const cg_admin_header*)(const void*)((const char*)r->headers + i * r->headers_stride);
        strcat(out, " ");
        append(out, sizeof out, h->name);
        strcat(out, "=");
        append(out, sizeof out, h->value);
    }
    snprintf(out + strlen(out), sizeof out - strlen(out), " how=%u may=%u uid=%u", (unsigned)r->caller->how, (unsigned)r->caller->may, (unsigned)r->caller->uid);
    finish(ctx, op, CG_OK, 200, out, 0);
    return CG_OK;
}
static cg_status hang(void* ctx, cg_op op, const cg_admin_request* r, const cg_stream_sink* sink) {
    (void)r, (void)sink;
    atomic_store(&((module*)ctx)->hanging, op);
    return CG_OK;
}
static cg_status fail(void* ctx, cg_op op, const cg_admin_request* r, const cg_stream_sink* sink) {
    (void)r, (void)sink;
    finish(ctx, op, CG_E_INTERNAL, 0, "", 0);
    return CG_OK;
}
static cg_status odd(void* ctx, cg_op op, const cg_admin_request* r, const cg_stream_sink* sink) {
    (void)r, (void)sink;
    finish(ctx, op, CG_OK, 99, "", 0);
    return CG_OK;
}
static void* produce(void* ctx) {
    module* m = ctx;
    cg_stream_end end = {sizeof end, CG_OK, NULL, {NULL, 0}};
    cg_error why = {sizeof why, CG_E_UNAVAILABLE, 0, 0, str("half way"), {NULL, 0}};
    for (int i = 0; i < 20; ++i) {
        char text[16];
        cg_admin_chunk chunk = {sizeof chunk, 0, {(const uint8_t*)text, 0}};
        cg_stream_event e = {sizeof e, 0, &chunk, {NULL, 0}};
        int stop;
        if (m->fail && i == 10) {
            end.status = CG_E_UNAVAILABLE;
            end.error = &why;
            break;
        }
        pthread_mutex_lock(&m->mutex);
        while (!m->greedy && m->credits == 0 && !m->cancelled) pthread_cond_wait(&m->changed, &m->mutex);
        stop = m->cancelled;
        if (m->credits != 0) --m->credits;
        pthread_mutex_unlock(&m->mutex);
        if (stop) {
            end.status = CG_E_CANCELLED;
            break;
        }
        chunk.bytes.size = (size_t)snprintf(text, sizeof text, "%d\n", i);
        m->sink.on_event(m->sink.ctx, m->sink.stream, &e);
    }
    m->sink.on_end(m->sink.ctx, m->sink.stream, &end);
    return NULL;
}
static void join(module* m) {
    if (m->has_thread) pthread_join(m->thread, NULL);
    m->has_thread = 0;
}
static cg_status stream(void* ctx, cg_op op, const cg_admin_request* r, const cg_stream_sink* sink) {
    module* m = ctx;
    if (m->has_thread) {
        join(m);
    }
    m->sink = *sink;
    m->credits = sink->initial_credits;
    m->cancelled = 0;
    m->fail = r->query.size == 4 && memcmp(r->query.data, "fail", 4) == 0;
    m->greedy = r->query.size == 6 && memcmp(r->query.data, "greedy", 6) == 0;
    finish(m, op, CG_OK, 200, "", CG_ADMIN_STREAMED);
    m->has_thread = pthread_create(&m->thread, NULL, produce, m) == 0;
    return CG_OK;
}
static void more(cg_instance* i, cg_stream s, uint32_t n) {
    module* m = (module*)i;
    (void)s;
    pthread_mutex_lock(&m->mutex);
    m->credits += n;
    pthread_cond_signal(&m->changed);
    pthread_mutex_unlock(&m->mutex);
}
static void cancel_stream(cg_instance* i, cg_stream s, int32_t reason) {
    module* m = (module*)i;
    (void)s, (void)reason;
    pthread_mutex_lock(&m->mutex);
    m->cancelled = 1;
    pthread_cond_signal(&m->changed);
    pthread_mutex_unlock(&m->mutex);
}
static const cg_stream_control streams = {sizeof(cg_stream_control), 0, more, cancel_stream};

static const cg_rpc_method method_list[] = {
    {{"count", 5}, {"counts to 19", 12}, {"{}", 2}, {"{\"type\":\"integer\"}", 18}, CG_RPC_READ_ONLY | CG_RPC_STREAMS | CG_RPC_OFFLINE_TOO, 0},
    {{"change", 6}, {"changes", 7}, {"{}", 2}, {"{}", 2}, 0, 0},
    {{"late", 4}, {"is late", 7}, {"{}", 2}, {"{}", 2}, CG_RPC_READ_ONLY, 0}};
static const cg_rpc_methods methods = {sizeof methods, sizeof(cg_rpc_method), method_list, 3};
static const cg_rpc_methods* list(cg_instance* i) {
    (void)i;
    return &methods;
}
static int holds(cg_bytes b, const char* text) { return b.size == strlen(text) && memcmp(b.data, text, b.size) == 0; }
static cg_status call(cg_instance* i, cg_op op, const cg_rpc_call* c, const cg_stream_sink* sink) {
    module* m = (module*)i;
    cg_completion open = {sizeof open, CG_OK, NULL, NULL, NULL, NULL};
    if (c->method.size == 4) {
        m->sink = *sink;
        atomic_store(&m->late, op);
        return CG_OK;
    }
    if (holds(c->request, "refuse")) {
        done(m, op, CG_E_INVALID);
        return CG_OK;
    }
    join(m);
    m->sink = *sink;
    m->credits = sink->initial_credits;
    m->cancelled = 0;
    m->fail = holds(c->request, "fail");
    m->greedy = 0;
    m->host->core->complete(m->host, op, &open);
    m->has_thread = pthread_create(&m->thread, NULL, produce, m) == 0;
    return CG_OK;
}
static const cg_rpc_api rpc = {sizeof(cg_rpc_api), 0, list, call, &streams};
static const void* query(cg_instance* i, cg_str id) {
    (void)i;
    return is(id, CG_EXT_RPC) ? &rpc : NULL;
}

static void told(void* ctx, const cg_engine_report* report) {
    module* m = ctx;
    char out[256] = "";
    append(out, sizeof out, report->text);
    finish(m, m->asking, CG_OK, report->ready ? 200 : 503, out, 0);
}
static cg_status ask_engine(void* ctx, cg_op op, const cg_admin_request* r, const cg_stream_sink* sink) {
    module* m = ctx;
    const cg_engine_api* api = m->host->query(m->host, str(CG_EXT_ENGINE));
    (void)r, (void)sink;
    m->asking = op;
    return api->report(m->host, CG_ENGINE_READINESS, m, told);
}
static cg_status reload(void* ctx, cg_op op, const cg_admin_request* r, const cg_stream_sink* sink) {
    module* m = ctx;
    const cg_engine_api* api = m->host->query(m->host, str(CG_EXT_ENGINE));
    (void)sink;
    finish(m, op, CG_OK, api->reload(m->host, r->caller) == CG_OK ? 202 : 403, "", 0);
    return CG_OK;
}

static int add(module* m, const char* method, const char* path, uint32_t flags, uint32_t needs,
               cg_status (*f)(void*, cg_op, const cg_admin_request*, const cg_stream_sink*)) {
    char text[256];
    cg_errbuf why = {sizeof why, CG_OK, {(uint8_t*)text, sizeof text, 0}};
    cg_admin_route r = {sizeof r, flags, str(method), str(path), needs, 0, m, f, &streams};
    const cg_status s = m->http->add_route(m->host, &r, &why);
    if (s != CG_OK) {
        cg_str message = {text, why.text.size};
        m->host->core->log(m->host, CG_LOG_ERROR, message, NULL, 0, 0);
    }
    return s;
}
static cg_status start(cg_instance* i, cg_op op) {
    module* m = (module*)i;
    cg_status s = CG_OK;
    m->http = m->host->query(m->host, str(CG_EXT_ADMIN_HTTP));
    if (m->http == NULL) {
        done(m, op, CG_OK);
        return CG_OK;
    }
    s |= add(m, "GET", "/echo", 0, CG_MAY_READ, echo);
    s |= add(m, "GET", "/tree/", CG_ADMIN_PREFIX, CG_MAY_READ, echo);
    s |= add(m, "POST", "/tree/leaf", 0, CG_MAY_READ, echo);
    s |= add(m, "POST", "/operate", 0, 0, reload);
    s |= add(m, "GET", "/hang", 0, CG_MAY_READ, hang);
    s |= add(m, "GET", "/fail", 0, CG_MAY_READ, fail);
    s |= add(m, "GET", "/odd", 0, CG_MAY_READ, odd);
    s |= add(m, "GET", "/stream", 0, CG_MAY_READ, stream);
    s |= add(m, "GET", "/engine", 0, CG_MAY_READ, ask_engine);
    /* Each of these is refused, or the start fails. */
    if (add(m, "GET", "/echo", 0, CG_MAY_READ, echo) == CG_OK || add(m, "GET", "/livez", 0, CG_MAY_READ, echo) == CG_OK ||
        add(m, "HEAD", "/x", 0, CG_MAY_READ, echo) == CG_OK || add(m, "GET", "x", 0, CG_MAY_READ, echo) == CG_OK ||
        add(m, "GET", "/a/../b", 0, CG_MAY_READ, echo) == CG_OK || add(m, "GET", "/a//b", 0, CG_MAY_READ, echo) == CG_OK ||
        add(m, "GET", "/a%2fb", 0, CG_MAY_READ, echo) == CG_OK || add(m, "GET", "/a", CG_ADMIN_PREFIX, CG_MAY_READ, echo) == CG_OK ||
        add(m, "GET", "/a", 4, CG_MAY_READ, echo) == CG_OK || add(m, "GET", "/a", 0, 3, echo) == CG_OK || add(m, "GET", "/a", 0, CG_MAY_READ, NULL) == CG_OK)
        s = CG_E_INTERNAL;
    if (m->bad) s |= add(m, "GET", "/livez", 0, CG_MAY_READ, echo);
    done(m, op, s == CG_OK ? CG_OK : CG_E_INVALID);
    return CG_OK;
}
static cg_status drain(cg_instance* i, cg_op op) {
    module* m = (module*)i;
    /* Too late for routes. */
    done(m, op, m->http == NULL || add(m, "GET", "/late", 0, CG_MAY_READ, echo) == CG_E_PERMISSION ? CG_OK : CG_E_INTERNAL);
    return CG_OK;
}
static cg_status stop(cg_instance* i, cg_op op) {
    cancel_stream(i, 0, 0);
    join((module*)i);
    done((module*)i, op, CG_OK);
    return CG_OK;
}
static void destroy(cg_instance* i) { free(i); }
static void cancel(cg_instance* i, cg_op op, int32_t reason) {
    module* m = (module*)i;
    cg_op expected = op;
    (void)reason;
    if (atomic_compare_exchange_strong(&m->hanging, &expected, 0)) finish(m, op, CG_E_CANCELLED, 0, "", 0);
    expected = op;
    if (atomic_compare_exchange_strong(&m->late, &expected, 0)) {
        /* Opens what nobody waits for: an event and the end, which must do no harm. */
        cg_completion open = {sizeof open, CG_OK, NULL, NULL, NULL, NULL};
        m->host->core->complete(m->host, op, &open);
        m->credits = m->sink.initial_credits;
        m->has_thread = pthread_create(&m->thread, NULL, produce, m) == 0;
    }
}
static const cg_lifecycle lifecycle = {sizeof(cg_lifecycle), 0, start, NULL, NULL, drain, stop, destroy, NULL, cancel};
static const cg_module_api api = {sizeof(cg_module_api), 0};

static cg_status create(const cg_factory* f, const cg_host* host, const cg_create_args* args, cg_instance** out, cg_errbuf* error) {
    module* m = calloc(1, sizeof *m);
    (void)f, (void)error;
    m->host = host;
    m->bad = args->config_json.size > 2 && strstr(args->config_json.data, "bad") != NULL;
    pthread_mutex_init(&m->mutex, NULL);
    pthread_cond_init(&m->changed, NULL);
    m->base.query = query;
    *out = test_instance(&m->base, CG_KIND_MODULE, &lifecycle, &api);
    return CG_OK;
}

TEST_PLUGIN("org.callgate.test.module", CG_KIND_MODULE, CG_THREADS_ANY, 0, "test");
