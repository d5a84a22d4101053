/* SPDX-License-Identifier: Apache-2.0
 * Auth backend whose behaviour the credential (`auth_token`) chooses; see authenticate(). Compiled several
 * times: OLDER writes shorter structs followed by garbage, as a plugin of an earlier minor would lie in memory;
 * NEWER writes longer ones with a tail this host does not know. */
#include <callgate/abi/auth_backend.h>
#include <callgate/abi/entry.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#ifndef PLUGIN_ID
#define PLUGIN_ID "org.callgate.test.backend"
#endif
#ifndef NOTE_MAJOR
#define NOTE_MAJOR CG_ABI_MAJOR
#endif
#ifndef NEEDED_MINOR
#define NEEDED_MINOR 0
#endif
#ifdef NEWER
#define BUILT_MINOR 9
#else
#define BUILT_MINOR CG_ABI_MINOR
#endif

#ifndef NO_NOTE
__attribute__((section(".note.callgate"), used, aligned(4))) static const cg_note note_ = {
    9u, (uint32_t)sizeof(cg_note_desc), CG_NOTE_TYPE, CG_NOTE_NAME,
    {NOTE_MAJOR, BUILT_MINOR, NEEDED_MINOR, 1u << CG_KIND_AUTH_BACKEND, PLUGIN_ID}};
#endif

#ifdef CRASH_IN_CONSTRUCTOR
static volatile int* volatile nowhere; /* a plain null pointer is optimised away together with the constructor */
__attribute__((constructor)) static void crash(void) { *nowhere = 1; }
#endif
#ifdef HANG_IN_CONSTRUCTOR
#include <unistd.h>
__attribute__((constructor)) static void hang(void) {
    for (;;) pause();
}
#endif
#ifdef EXIT_IN_CONSTRUCTOR
#include <unistd.h>
__attribute__((constructor)) static void leave(void) { _exit(7); }
#endif

static cg_str s(const char* text) {
    cg_str out = {text, strlen(text)};
    return out;
}
static int is(cg_str a, const char* b) { return a.size == strlen(b) && memcmp(a.data, b, a.size) == 0; }

#define QUEUE 32768 /* more than any test asks for: a full queue loses operations */
enum { ALLOW_LATER = 1, ALLOW_PARKED };
typedef struct job {
    cg_op op;
    int what;
} job;

typedef struct backend {
    cg_instance base;
    const cg_host* host;
    pthread_t worker;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    job queue[QUEUE];
    size_t head, tail;
    int running, ending;
    _Atomic int complete_on_cancel;
    cg_op stopping;
} backend;

typedef struct shard {
    uint32_t index;
    uint64_t calls;
} shard;

static void complete(backend* b, cg_op op, const void* result) {
    cg_completion c = {sizeof c, CG_OK, result, NULL, NULL, NULL};
    b->host->core->complete(b->host, op, &c);
}

static cg_str_list list(const cg_str* items, size_t n) {
    cg_str_list l = {items, n};
    return l;
}

static void allow(backend* b, cg_op op, const char* who) {
    struct {
        cg_identity v;
        uint64_t tail[4];
    } id;
    struct {
        cg_auth_reply v;
        uint64_t tail[4];
    } reply;
    cg_explain_step steps[2];
    cg_str handles[2];
    memset(&id, 0, sizeof id);
    memset(&reply, 0, sizeof reply);
    id.v.struct_size = sizeof id.v;
    id.v.issuer = s("test");
    id.v.subject = s(who);
    id.v.attributes_json = s("{\"team\":\"blue\"}");
    id.v.credential_exp_unix_s = 1900000000;
    handles[0] = s("h1");
    handles[1] = s("h2");
    id.v.revocation_handles = list(handles, 2);
    reply.v.struct_size = sizeof reply.v;
    reply.v.verdict = CG_VERDICT_ALLOW;
    reply.v.reason_id = s("ok");
    reply.v.identity = &id.v;
    reply.v.cache_ttl_s = 30;
    steps[0].what = s("lookup");
    steps[0].outcome = s("found");
    steps[1].what = s("check");
    steps[1].outcome = s("right");
    reply.v.explain = steps;
    reply.v.explain_count = 2;
    reply.v.explain_stride = sizeof(cg_explain_step);
#ifdef OLDER
    /* What this plugin never knew holds whatever was there before. */
    memset((char*)&id + offsetof(cg_identity, attributes_json), 0xee, sizeof id - offsetof(cg_identity, attributes_json));
    id.v.struct_size = offsetof(cg_identity, attributes_json);
    memset((char*)&reply + offsetof(cg_auth_reply, grant), 0xee, sizeof reply - offsetof(cg_auth_reply, grant));
    reply.v.struct_size = offsetof(cg_auth_reply, grant);
#endif
#ifdef NEWER
    memset(id.tail, 0xee, sizeof id.tail);
    id.v.struct_size = sizeof id;
    memset(reply.tail, 0xee, sizeof reply.tail);
    reply.v.struct_size = sizeof reply;
#endif
    complete(b, op, &reply.v);
}

static void verdict(backend* b, cg_op op, uint32_t v, const char* reason_id, const cg_grant* grant, const cg_identity* id) {
    cg_auth_reply r = {0};
    r.struct_size = sizeof r;
    r.verdict = v;
    r.reason_id = s(reason_id);
    r.reason = s("because the test says so");
    r.grant = grant;
    r.identity = id;
    complete(b, op, &r);
}

static void enqueue(backend* b, cg_op op, int what) {
    pthread_mutex_lock(&b->mutex);
    if (b->head - b->tail < QUEUE) {
        b->queue[b->head % QUEUE].op = op;
        b->queue[b->head % QUEUE].what = what;
        b->head++;
    }
    pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->mutex);
}

static void* work(void* arg) {
    backend* b = arg;
    pthread_mutex_lock(&b->mutex);
    for (;;) {
        job j;
        while (b->head == b->tail && !b->ending) pthread_cond_wait(&b->changed, &b->mutex);
        if (b->head == b->tail) break;
        j = b->queue[b->tail++ % QUEUE];
        pthread_mutex_unlock(&b->mutex);
        allow(b, j.op, "async");
        pthread_mutex_lock(&b->mutex);
    }
    pthread_mutex_unlock(&b->mutex);
    return NULL;
}

static void free_and_count(void* ctx) {
    uint64_t* calls = ctx;
    ++*calls;
}

static cg_status authenticate(cg_instance* i, void* state, cg_op op, const cg_auth_request* r) {
    backend* b = (backend*)i;
    shard* sh = state;
    if (sh != NULL) sh->calls++;
    if (is(r->auth_token, "sync")) {
        allow(b, op, "sync");
    } else if (is(r->auth_token, "async")) {
        enqueue(b, op, ALLOW_LATER);
    } else if (is(r->auth_token, "deny")) {
        verdict(b, op, CG_VERDICT_DENY, "wrong_password", NULL, NULL);
    } else if (is(r->auth_token, "twice")) {
        allow(b, op, "first");
        allow(b, op, "second");
    } else if (is(r->auth_token, "twice_async")) {
        enqueue(b, op, ALLOW_LATER);
        enqueue(b, op, ALLOW_LATER);
    } else if (is(r->auth_token, "never")) {
        return CG_OK;
    } else if (is(r->auth_token, "late")) {
        b->complete_on_cancel = 1;
    } else if (is(r->auth_token, "refuse")) {
        return CG_E_UNAVAILABLE;
    } else if (is(r->auth_token, "complete_and_refuse")) {
        allow(b, op, "first");
        return CG_E_INTERNAL;
    } else if (is(r->auth_token, "error")) {
        cg_error e = {sizeof e, CG_E_UNAVAILABLE, 0, 0, {0}, {0}};
        cg_completion c = {sizeof c, CG_E_UNAVAILABLE, NULL, &e, NULL, NULL};
        e.text = s("directory is down");
        b->host->core->complete(b->host, op, &c);
    } else if (is(r->auth_token, "no_identity")) {
        verdict(b, op, CG_VERDICT_ALLOW, "ok", NULL, NULL);
    } else if (is(r->auth_token, "bad_reason")) {
        verdict(b, op, CG_VERDICT_DENY, "Not A Reason", NULL, NULL);
    } else if (is(r->auth_token, "no_result")) {
        complete(b, op, NULL);
    } else if (is(r->auth_token, "huge")) {
        cg_identity id = {0};
        static char big[70000];
        memset(big, 'x', sizeof big);
        id.struct_size = sizeof id;
        id.subject = s("x");
        id.attributes_json.data = big;
        id.attributes_json.size = sizeof big;
        verdict(b, op, CG_VERDICT_ALLOW, "ok", NULL, &id);
    } else if (is(r->auth_token, "grant")) {
        cg_identity id = {0};
        cg_grant g = {0};
        cg_str pub[2];
        pub[0] = s("a.>");
        pub[1] = s("b");
        id.struct_size = sizeof id;
        id.subject = s("granted");
        g.struct_size = sizeof g;
        g.account = s("APP");
        g.pub_allow = list(pub, 2);
        g.has_resp = 1;
        g.resp_max = 3;
        verdict(b, op, CG_VERDICT_ALLOW, "ok", &g, &id);
    } else if (is(r->auth_token, "scratch")) {
        /* The reply lies in the operation's scratch memory; the budget ends at 64 KiB. */
        char* name = b->host->core->scratch(b->host, op, 16, 1);
        cg_identity* id = b->host->core->scratch(b->host, op, sizeof *id, 64);
        void* rest = b->host->core->scratch(b->host, op, 60000, 8);
        void* too_much = b->host->core->scratch(b->host, op, 8192, 8);
        if (name == NULL || id == NULL || rest == NULL || too_much != NULL || ((uintptr_t)id & 63) != 0 || name[15] != 0)
            return CG_E_INTERNAL;
        memcpy(name, "from scratch", 12);
        id->struct_size = sizeof *id;
        id->subject.data = name;
        id->subject.size = 12;
        verdict(b, op, CG_VERDICT_ALLOW, "ok", NULL, id);
    } else if (is(r->auth_token, "release")) {
        static uint64_t released;
        cg_auth_reply reply = {0};
        cg_completion c = {sizeof c, CG_OK, &reply, NULL, free_and_count, NULL};
        released = 0;
        c.release_ctx = &released;
        reply.struct_size = sizeof reply;
        reply.verdict = CG_VERDICT_DENY;
        reply.reason_id = s("released");
        b->host->core->complete(b->host, op, &c);
        if (released != 1) abort();
    } else if (is(r->auth_token, "time")) {
        const int64_t left = b->host->core->time_left_ns(b->host, op);
        verdict(b, op, CG_VERDICT_DENY, left > 0 && left <= 1000000000 && !b->host->core->is_cancelled(b->host, op) ? "in_time" : "no_time",
                NULL, NULL);
    } else {
        verdict(b, op, CG_VERDICT_ABSTAIN, "not_mine", NULL, NULL);
    }
    return CG_OK;
}

static cg_status start(cg_instance* i, cg_op op) {
    backend* b = (backend*)i;
    b->running = 1;
    pthread_create(&b->worker, NULL, work, b);
    complete(b, op, NULL);
    return CG_OK;
}
static cg_status shard_attach(cg_instance* i, uint32_t index, void** state) {
    shard* sh = calloc(1, sizeof *sh);
    (void)i;
    sh->index = index;
    *state = sh;
    return CG_OK;
}
static cg_status refuse_shard(cg_instance* i, uint32_t index, void** state) {
    (void)i;
    (void)index;
    (void)state;
    return CG_E_UNAVAILABLE;
}
static void shard_detach(cg_instance* i, uint32_t index, void* state) {
    (void)i;
    if (((shard*)state)->index != index) abort();
    free(state);
}
static cg_status stop(cg_instance* i, cg_op op) {
    backend* b = (backend*)i;
    if (b->running) {
        pthread_mutex_lock(&b->mutex);
        b->ending = 1;
        pthread_cond_signal(&b->changed);
        pthread_mutex_unlock(&b->mutex);
        pthread_join(b->worker, NULL);
        b->running = 0;
    }
    complete(b, op, NULL);
    return CG_OK;
}
static void destroy(cg_instance* i) {
    backend* b = (backend*)i;
    pthread_mutex_destroy(&b->mutex);
    pthread_cond_destroy(&b->changed);
    free(b);
}
static cg_status health(cg_instance* i, cg_op op) {
    cg_health h = {sizeof h, CG_HEALTH_DEGRADED, {0}};
    h.text = s("stale since yesterday");
    complete((backend*)i, op, &h);
    return CG_OK;
}
static void cancel(cg_instance* i, cg_op op, int32_t reason) {
    backend* b = (backend*)i;
    (void)reason;
    if (b->complete_on_cancel) enqueue(b, op, ALLOW_PARKED);
}

static cg_status never_completes(cg_instance* i, cg_op op) {
    (void)i;
    (void)op;
    return CG_OK;
}
static cg_status fails(cg_instance* i, cg_op op) {
    backend* b = (backend*)i;
    cg_error e = {sizeof e, CG_E_NOT_FOUND, 0, 0, {0}, {0}};
    cg_completion c = {sizeof c, CG_E_NOT_FOUND, NULL, &e, NULL, NULL};
    e.text = s("the user file is missing");
    e.where = s("/etc/users");
    b->host->core->complete(b->host, op, &c);
    return CG_OK;
}

static const cg_lifecycle lifecycle = {sizeof(cg_lifecycle), 0, start, shard_attach, shard_detach, NULL, stop, destroy, health, cancel};
static const cg_lifecycle lifecycle_that_hangs = {sizeof(cg_lifecycle), 0, start, shard_attach, shard_detach,
                                                  never_completes, never_completes, destroy, health, cancel};
static const cg_lifecycle lifecycle_that_fails = {sizeof(cg_lifecycle), 0, fails, shard_attach, shard_detach, NULL, stop, destroy, health, cancel};
static const cg_lifecycle lifecycle_without_shards = {sizeof(cg_lifecycle), 0, start, refuse_shard, shard_detach, NULL, stop, destroy, health, cancel};
/* health and cancel came in a later minor, say. */
static const struct {
    cg_lifecycle v;
} lifecycle_of_old = {{offsetof(cg_lifecycle, health), 0, start, shard_attach, shard_detach, NULL, stop, destroy,
                       (cg_status(*)(cg_instance*, cg_op))0x1, (void (*)(cg_instance*, cg_op, int32_t))0x1}};
static const cg_auth_backend_api api = {sizeof(cg_auth_backend_api), 0, authenticate};

static int contains(cg_str text, const char* word) {
    size_t i, n = strlen(word);
    for (i = 0; i + n <= text.size; ++i)
        if (memcmp(text.data + i, word, n) == 0) return 1;
    return 0;
}

static cg_status create(const cg_factory* f, const cg_host* host, const cg_create_args* args, cg_instance** out, cg_errbuf* error) {
    backend* b;
    (void)f;
    if (contains(args->config_json, "\"wrong\"")) {
        const char* text = "config.wrong: is not known";
        size_t n = strlen(text);
        error->code = CG_E_INVALID;
        if (n > error->text.cap) n = error->text.cap;
        memcpy(error->text.data, text, n);
        error->text.size = n;
        return CG_E_INVALID;
    }
    b = calloc(1, sizeof *b);
    pthread_mutex_init(&b->mutex, NULL);
    pthread_cond_init(&b->changed, NULL);
    b->host = host;
    b->base.struct_size = sizeof b->base;
    b->base.kind = CG_KIND_AUTH_BACKEND;
    b->base.life = contains(args->config_json, "\"hang\"") ? &lifecycle_that_hangs
                   : contains(args->config_json, "\"fail\"") ? &lifecycle_that_fails
                   : contains(args->config_json, "\"refuse_shard\"") ? &lifecycle_without_shards
                                                                     : &lifecycle;
#ifdef OLDER
    b->base.life = &lifecycle_of_old.v;
#else
    (void)lifecycle_of_old;
#endif
    b->base.api = &api;
    *out = &b->base;
    return CG_OK;
}

static cg_factory factory;
static const cg_factory* const factories[] = {&factory};
static struct {
    cg_manifest v;
    uint64_t tail[4];
} manifest;

static cg_status entry(const cg_negotiation* host, const cg_manifest** out) {
#ifdef CRASH_IN_ENTRY
    abort();
#endif
#ifdef REFUSE_IN_ENTRY
    return CG_E_ABI;
#endif
    if (host->abi_major != CG_ABI_MAJOR) return CG_E_ABI;
    factory.struct_size = sizeof factory;
    factory.kind = CG_KIND_AUTH_BACKEND;
    factory.thread_model = CG_THREADS_PER_SHARD;
    factory.type = s("test");
    factory.summary = s("does what the token says");
    factory.config_schema = s("{\"type\":\"object\"}");
    factory.create = create;
    manifest.v.struct_size = sizeof manifest.v;
    manifest.v.abi_major = CG_ABI_MAJOR;
    manifest.v.abi_minor_built = BUILT_MINOR;
    manifest.v.abi_minor_needed = NEEDED_MINOR;
    manifest.v.plugin_id = s(PLUGIN_ID);
    manifest.v.version = s("1.2.3");
    manifest.v.vendor = s("callgate");
    manifest.v.license = s("Apache-2.0");
    manifest.v.build_id = s("test");
    manifest.v.factory_count = 1;
    manifest.v.factories = factories;
#ifdef NEWER
    memset(manifest.tail, 0xee, sizeof manifest.tail);
    manifest.v.struct_size = sizeof manifest;
#endif
    *out = &manifest.v;
    return CG_OK;
}

#ifndef NO_ENTRY
__attribute__((visibility("default"))) cg_status cg_plugin_entry_v1(const cg_negotiation* host, const cg_manifest** out);
cg_status cg_plugin_entry_v1(const cg_negotiation* host, const cg_manifest** out) { return entry(host, out); }
#else
cg_status (*const keep_entry)(const cg_negotiation*, const cg_manifest**) = entry;
#endif
