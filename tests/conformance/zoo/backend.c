/* SPDX-License-Identifier: Apache-2.0
 * An auth backend that answers on a thread of its own: healthy, or with the one fault it is compiled for. */
#define _GNU_SOURCE
#include <callgate/abi/auth_backend.h>
#include <callgate/abi/entry.h>
#include <callgate/abi/ext/snapshot.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"
#include "process_faults.h"

#ifndef ZOO_NOTE_ID
#define ZOO_NOTE_ID "org.callgate.zoo.backend"
#endif
#ifndef ZOO_NO_NOTE
CG_PLUGIN_NOTE(ZOO_NOTE_ID, 1u << CG_KIND_AUTH_BACKEND, 0);
#endif
#ifdef ZOO_UNDEFINED
extern void zoo_function_that_nobody_has(void);
#endif
#ifdef ZOO_PROTOBUF
extern int zoo_fake_protobuf(void);
#endif
#ifdef ZOO_THROWS
extern void zoo_throw(void);
#endif
#ifdef ZOO_SECOND_EXPORT
__attribute__((visibility("default"))) int zoo_second(void);
int zoo_second(void) { return 2; }
#endif
#ifdef ZOO_UNIQUE
__asm__(".pushsection .data.zoo_unique,\"aw\"\n.globl zoo_unique\n.type zoo_unique, %gnu_unique_object\n.size zoo_unique, 4\nzoo_unique: .long 1\n.popsection\n");
#endif
#ifdef ZOO_TEXT_RELOCATION
__asm__(".pushsection .text.zoo_relocation,\"ax\"\n.balign 8\n.quad zoo_target\n.popsection\n.pushsection .data\nzoo_target: .long 1\n.popsection\n");
#endif

typedef struct job {
    struct job* next;
    cg_op op;
    uint32_t flags, shard, client_kind, tls;
    char user[64];
    char pass[64];
    int has_user;
} job;

typedef struct backend {
    cg_instance base;
    const cg_host* host;
    pthread_t worker;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    job* first;
    job* last;
    size_t queued;
    int started, ending, busy;
    cg_op draining;
    const char* config; /* what `keeps_config` keeps */
    atomic_int simulated_failures;
    pid_t shard_thread;
    const cg_snapshot_api* snapshots;
} backend;

static const cg_host* global_host;
static atomic_int inside;

static const cg_host* host_of(backend* b) { return FAULT("global_host") ? global_host : b->host; }

static void sleep_ms(int ms) {
    struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};
    nanosleep(&t, NULL);
}

static void complete(backend* b, cg_op op, const void* result) {
    cg_completion c = {sizeof c, CG_OK, result, NULL, NULL, NULL};
    host_of(b)->core->complete(host_of(b), op, &c);
}

/* Leaves it: the fault is in writing, and a freed block would turn it into another one. */
static void let_go(void* kept) { (void)kept; }

typedef struct kept_result {
    cg_auth_reply reply;
    cg_identity id;
    char user[64];
    char reason[8];
} kept_result;

static void answer(backend* b, const job* j) {
    cg_identity id = {0};
    cg_grant grant = {0};
    cg_auth_reply r = {0};
    static char huge[70000];
    const int nobody = strcmp(j->user, "nobody") == 0;
    const int right = strcmp(j->user, "alice") == 0 && strcmp(j->pass, "open sesame") == 0;
    id.struct_size = sizeof id;
    id.issuer = text("zoo");
    id.subject = text(j->user);
    id.attributes_json = text("{\"team\":\"blue\"}");
    grant.struct_size = sizeof grant;
    grant.account = text("APP");
    r.struct_size = FAULT("lies_about_reply_size") ? sizeof r - 16 : sizeof r;
    r.explain_stride = sizeof(cg_explain_step);
    r.verdict = !j->has_user ? CG_VERDICT_ABSTAIN : right && !FAULT("denies_everybody") ? CG_VERDICT_ALLOW : CG_VERDICT_DENY;
    r.reason_id = text(r.verdict == CG_VERDICT_ALLOW ? "password" : r.verdict == CG_VERDICT_DENY ? "bad_credentials" : "no_user");
    if (r.verdict == CG_VERDICT_ALLOW) {
        r.identity = &id;
        r.grant = &grant;
    }
    if (nobody) {
        const int allow = FAULT("allow_without_subject") || FAULT("attributes_are_a_list") || FAULT("grant_without_account") || FAULT("huge_attributes");
        if (FAULT("unknown_verdict")) r.verdict = 9;
        if (FAULT("sentence_as_reason_id")) r.reason_id = text("Wrong password for nobody!");
        if (allow) {
            r.verdict = CG_VERDICT_ALLOW;
            r.identity = &id;
        }
        if (FAULT("allow_without_subject")) id.subject.size = 0;
        if (FAULT("attributes_are_a_list")) id.attributes_json = text("[\"team\"]");
        if (FAULT("grant_without_account")) {
            grant.account.size = 0;
            r.grant = &grant;
        }
        if (FAULT("huge_attributes")) {
            memset(huge, ' ', sizeof huge);
            huge[0] = '{';
            huge[sizeof huge - 1] = '}';
            id.attributes_json.data = huge;
            id.attributes_json.size = sizeof huge;
        }
        if (FAULT("other_answer_on_other_shards") && j->shard != 0) r.verdict = CG_VERDICT_ABSTAIN;
        if (FAULT("counts_simulations")) {
            if ((j->flags & CG_REQUEST_SIMULATE) != 0) atomic_fetch_add(&b->simulated_failures, 1);
            if (atomic_load(&b->simulated_failures) > 10) r.verdict = CG_VERDICT_ABSTAIN;
        }
    }
    if (FAULT("scribbles_over_result")) {
        kept_result* kept = malloc(sizeof *kept);
        cg_completion c = {sizeof c, CG_OK, &kept->reply, NULL, let_go, kept};
        kept->reply = r;
        if (r.identity != NULL) {
            memcpy(kept->user, j->user, sizeof kept->user);
            kept->id = id;
            kept->id.subject = text(kept->user);
            kept->reply.identity = &kept->id;
        }
        kept->reply.grant = NULL;
        memcpy(kept->reason, "good", 5);
        kept->reply.reason = text(kept->reason);
        b->host->core->complete(b->host, j->op, &c);
        kept->reason[0] = 'f';
        return;
    }
    if (FAULT("off_by_one_handle")) complete(b, j->op + 1, &r);
    complete(b, j->op, &r);
    if (FAULT("completes_twice")) complete(b, j->op, &r);
}

/* Faults about what is in flight need something to be in flight for a while. */
static int is_slow(void) { return FAULT("drains_at_once") || FAULT("drops_queue_at_stop") || FAULT("drops_cancelled") || FAULT("small_table") || FAULT("cancel_knows_all"); }

static void* work(void* arg) {
    backend* b = arg;
    pthread_mutex_lock(&b->mutex);
    for (;;) {
        job* j;
        while (b->first == NULL && !b->ending) {
            if (b->draining != 0) {
                const cg_op op = b->draining;
                b->draining = 0;
                complete(b, op, NULL);
            }
            pthread_cond_wait(&b->changed, &b->mutex);
        }
        if (b->first == NULL) break;
        if (is_slow() && b->queued == 1) {
            pthread_mutex_unlock(&b->mutex);
            sleep_ms(8);
            pthread_mutex_lock(&b->mutex);
            if (b->first == NULL) continue;
        }
        j = b->first;
        if (FAULT("ignores_cancel")) {
            const int64_t left = b->host->core->time_left_ns(b->host, j->op);
            if (left > 60000000000 && left < 1000000000000000) {
                pthread_mutex_unlock(&b->mutex);
                sleep_ms(20000);
                pthread_mutex_lock(&b->mutex);
            }
        }
        b->first = j->next;
        if (b->first == NULL) b->last = NULL;
        b->queued--;
        pthread_mutex_unlock(&b->mutex);
        answer(b, j);
        free(j);
        pthread_mutex_lock(&b->mutex);
    }
    pthread_mutex_unlock(&b->mutex);
    return NULL;
}

static void keep(char* to, size_t room, cg_str from) {
    const size_t n = from.size < room - 1 ? from.size : room - 1;
    if (n != 0) memcpy(to, from.data, n);
    to[n] = 0;
}

static void read_request(job* j, const cg_auth_request* theirs) {
    cg_auth_request r = {0};
    memcpy(&r, theirs, theirs->struct_size < sizeof r ? theirs->struct_size : sizeof r);
    j->flags = r.flags;
    j->shard = r.shard;
    j->client_kind = r.client_kind;
    j->tls = r.tls;
    j->has_user = r.user.size != 0;
    keep(j->user, sizeof j->user, r.user);
    keep(j->pass, sizeof j->pass, r.pass);
    if (FAULT("strlen_on_strings") && r.user.data != NULL && strlen(r.user.data) > 100000) abort();
    if (FAULT("empty_token_is_null") && r.credential_source == CG_CREDENTIAL_AUTH_TOKEN && *(const volatile char*)r.credential.data == '!') abort();
}

static void misbehave_in_call(backend* b, const job* j) {
    if (FAULT("aborts")) abort();
    if (FAULT("exits")) exit(0);
#ifdef ZOO_THROWS
    zoo_throw();
#endif
    if (FAULT("blocks_shard")) {
        static atomic_int once;
        if (atomic_fetch_add(&once, 1) == 0) sleep_ms(80);
    }
    if (FAULT("rare_combination") && (j->flags & CG_REQUEST_SHADOW) != 0 && j->client_kind == CG_CLIENT_LEAFNODE && j->tls == CG_TLS_UNVERIFIED) abort();
    if (FAULT("cancel_on_shard_only")) b->shard_thread = gettid();
}

static cg_status authenticate(cg_instance* i, void* state, cg_op op, const cg_auth_request* request) {
    backend* b = (backend*)i;
    const cg_core* core = b->host->core;
    job* j = calloc(1, sizeof *j);
    (void)state;
    j->op = op;
    read_request(j, request);
    misbehave_in_call(b, j);
    if (FAULT("never_completes")) {
        free(j);
        return CG_OK;
    }
    if (FAULT("drops_what_is_cancelled") && core->is_cancelled(b->host, op) && core->time_left_ns(b->host, op) > 0) {
        free(j);
        return CG_OK;
    }
    if (FAULT("deadline_must_be_ahead") && core->time_left_ns(b->host, op) < 0) {
        free(j);
        return CG_OK;
    }
    if (FAULT("refuses_and_completes")) {
        answer(b, j);
        free(j);
        return CG_E_BUSY;
    }
    if (FAULT("keeps_request")) {
        answer(b, j);
        free(j);
        return ((const volatile cg_auth_request*)request)->shard > 1000 ? CG_E_INTERNAL : CG_OK;
    }
    if (FAULT("keeps_scratch")) {
        volatile char* notes = core->scratch(b->host, op, 64, 8);
        answer(b, j);
        free(j);
        if (notes != NULL) notes[0] = 'x';
        return CG_OK;
    }
    if (FAULT("one_at_a_time")) {
        int company = atomic_fetch_add(&inside, 1) > 0;
        for (int n = 0; n < 10 && !company; ++n) {
            struct timespec t = {0, 100000};
            nanosleep(&t, NULL);
            company = atomic_load(&inside) > 1;
        }
        if (company) j->has_user = 0;
        atomic_fetch_sub(&inside, 1);
    }
    pthread_mutex_lock(&b->mutex);
    if (FAULT("small_table") && b->queued >= 64) {
        pthread_mutex_unlock(&b->mutex);
        free(j);
        return CG_OK;
    }
    if (b->last != NULL)
        b->last->next = j;
    else
        b->first = j;
    b->last = j;
    b->queued++;
    pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->mutex);
    return CG_OK;
}

static void cancel(cg_instance* i, cg_op op, int32_t reason) {
    backend* b = (backend*)i;
    job* previous = NULL;
    int found = 0;
    (void)reason;
    if (FAULT("cancel_on_shard_only") && b->shard_thread != 0 && b->shard_thread != gettid()) abort();
    if (!FAULT("drops_cancelled") && !FAULT("cancel_knows_all")) return; /* the answer comes soon anyway */
    pthread_mutex_lock(&b->mutex);
    for (job* j = b->first; j != NULL; previous = j, j = j->next) {
        if (j->op != op) continue;
        found = 1;
        if (!FAULT("drops_cancelled")) break;
        if (previous != NULL)
            previous->next = j->next;
        else
            b->first = j->next;
        if (b->last == j) b->last = previous;
        b->queued--;
        free(j);
        break;
    }
    pthread_mutex_unlock(&b->mutex);
    if (FAULT("cancel_knows_all") && !found) abort();
}

static cg_status start(cg_instance* i, cg_op op) {
    backend* b = (backend*)i;
    if (FAULT("refuses_good_config")) {
        cg_error e = {sizeof e, CG_E_UNAVAILABLE, 0, 0, text("the licence server does not answer"), {0}};
        cg_completion c = {sizeof c, CG_E_UNAVAILABLE, NULL, &e, NULL, NULL};
        b->host->core->complete(b->host, op, &c);
        return CG_OK;
    }
    if (FAULT("keeps_config") && ((const volatile char*)b->config)[0] != '{') abort();
    zoo_started();
    pthread_create(&b->worker, NULL, work, b);
    b->started = 1;
    complete(b, op, NULL);
    return CG_OK;
}

static cg_status drain(cg_instance* i, cg_op op) {
    backend* b = (backend*)i;
    if (FAULT("drains_at_once")) {
        complete(b, op, NULL);
        return CG_OK;
    }
    pthread_mutex_lock(&b->mutex);
    b->draining = op;
    pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->mutex);
    return CG_OK;
}

static void* speak_later(void* arg) {
    const cg_host* host = arg;
    sleep_ms(15);
    host->core->log(host, CG_LOG_INFO, text("I am still here"), NULL, 0, sizeof(cg_log_field));
    return NULL;
}

static cg_status stop(cg_instance* i, cg_op op) {
    backend* b = (backend*)i;
    pthread_mutex_lock(&b->mutex);
    b->ending = 1;
    if (FAULT("drops_queue_at_stop")) {
        while (b->first != NULL) {
            job* j = b->first;
            b->first = j->next;
            free(j);
        }
        b->last = NULL;
        b->queued = 0;
    }
    pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->mutex);
    if (b->started) pthread_join(b->worker, NULL);
    if (FAULT("speaks_after_stop")) {
        pthread_t t;
        if (pthread_create(&t, NULL, speak_later, (void*)b->host) == 0) pthread_detach(t);
    }
    complete(b, op, NULL);
    return CG_OK;
}

static void destroy_cell(void* object) { (void)object; }
static cg_status shard_attach(cg_instance* i, uint32_t shard, void** state) {
    backend* b = (backend*)i;
    (void)shard;
    *state = NULL;
    if (FAULT("snapshot_on_shard")) {
        b->snapshots = b->host->query(b->host, text(CG_EXT_SNAPSHOT));
        if (b->snapshots != NULL) b->snapshots->create(b->host, destroy_cell, (cg_snapshot_cell**)state);
    }
    return CG_OK;
}
static void shard_detach(cg_instance* i, uint32_t shard, void* state) {
    backend* b = (backend*)i;
    (void)shard;
    if (state != NULL) b->snapshots->destroy(state);
}

static cg_status health(cg_instance* i, cg_op op) {
    cg_health h = {sizeof h, FAULT("health_without_state") ? 0u : CG_HEALTH_OK, {0}};
    complete((backend*)i, op, &h);
    return CG_OK;
}

static void destroy(cg_instance* i) {
    backend* b = (backend*)i;
    pthread_mutex_destroy(&b->mutex);
    pthread_cond_destroy(&b->changed);
    free(b);
}

static const cg_lifecycle lifecycle = {sizeof(cg_lifecycle), 0, start, shard_attach, shard_detach, drain, stop, destroy, health, cancel};
static const cg_auth_backend_api api = {sizeof(cg_auth_backend_api), 0, authenticate};

static cg_status refuse(cg_errbuf* error, const char* why) {
    size_t n = strlen(why);
    error->code = CG_E_INVALID;
    if (FAULT("refuses_without_text")) n = 0;
    if (n > error->text.cap) n = error->text.cap;
    if (n != 0) memcpy(error->text.data, why, n);
    if (FAULT("terminates_error_text") && error->text.data != NULL) error->text.data[n] = 0;
    error->text.size = n;
    return CG_E_INVALID;
}

static cg_status create(const cg_factory* f, const cg_host* host, const cg_create_args* args, cg_instance** out, cg_errbuf* error) {
    backend* b;
    (void)f;
    if (FAULT("fixed_config_buffer") && args->config_json.size > 500000) abort();
    if (args->config_json.size == 0 || args->config_json.data[0] != '{') return refuse(error, "config: is not an object");
    if (!FAULT("accepts_bad_config") && (contains(args->config_json, "unknown") || contains(args->config_json, "misspelt")))
        return refuse(error, "config: unknown key (callgate_misspelt_key or such)");
    if (FAULT("reads_past_old_host") && ((const volatile cg_host*)host)->instance_name.size > 1000) abort();
    b = calloc(1, sizeof *b);
    pthread_mutex_init(&b->mutex, NULL);
    pthread_cond_init(&b->changed, NULL);
    b->host = global_host = host;
    b->config = args->config_json.data;
    b->base.struct_size = sizeof b->base;
    b->base.kind = CG_KIND_AUTH_BACKEND;
    b->base.life = &lifecycle;
    b->base.api = &api;
    if (FAULT("leaks_memory")) {
        void* volatile lost = malloc(64);
        (void)lost;
    }
    if (FAULT("leaks_descriptor") && open("/dev/null", O_RDONLY | O_CLOEXEC) < 0) abort();
    *out = &b->base;
    return CG_OK;
}

static cg_factory factory;
static const cg_factory* const factories[] = {&factory};
static cg_manifest manifest;

__attribute__((visibility("default"))) cg_status cg_plugin_entry_v1(const cg_negotiation* host, const cg_manifest** out);
cg_status cg_plugin_entry_v1(const cg_negotiation* host, const cg_manifest** out) {
#ifdef ZOO_UNDEFINED
    zoo_function_that_nobody_has();
#endif
#ifdef ZOO_PROTOBUF
    if (zoo_fake_protobuf() != 1) return CG_E_INTERNAL;
#endif
    if (host->abi_major != CG_ABI_MAJOR && !FAULT("any_major")) return CG_E_ABI;
    if (FAULT("exact_negotiation") && host->struct_size > sizeof *host) return CG_E_ABI;
    if (!zoo_entered()) return CG_E_UNAVAILABLE;
    factory.struct_size = sizeof factory;
    factory.kind = CG_KIND_AUTH_BACKEND;
    factory.thread_model = FAULT("unknown_thread_model") ? 7 : CG_THREADS_PER_SHARD;
    factory.type = text("zoo");
    factory.summary = text("knows alice");
    factory.config_schema = text(FAULT("schema_is_not_json")   ? "{\"type\": object}"
                                 : FAULT("accepts_bad_config") ? "{\"type\":\"object\"}"
                                                               : "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"greeting\":{\"type\":\"string\"}}}");
    factory.create = create;
    manifest.struct_size = sizeof manifest + (FAULT("lies_about_manifest_size") ? 8 : 0);
    manifest.abi_major = CG_ABI_MAJOR;
    manifest.abi_minor_built = CG_ABI_MINOR;
    manifest.plugin_id = text("org.callgate.zoo.backend");
    manifest.version = text("1.0.0");
    manifest.vendor = text("callgate");
    manifest.license = text("Apache-2.0");
    manifest.factory_count = 1;
    manifest.factories = factories;
    *out = &manifest;
    return CG_OK;
}
