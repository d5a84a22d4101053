/* SPDX-License-Identifier: Apache-2.0
 * An audit sink that writes lines to a file or FIFO without ever waiting: healthy, or with one fault. What a FIFO does not take
 * waits in the open operation, until it is cancelled or the instance ends. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <callgate/abi/draft/audit_sink.h>
#include <callgate/abi/entry.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"

CG_PLUGIN_NOTE("org.callgate.zoo.sink", 1u << CG_KIND_AUDIT_SINK, 0);

typedef struct sink {
    cg_instance base;
    const cg_host* host;
    char path[512];
    int fd, reopened;
    pthread_mutex_t mutex;
    cg_op open;
    uint64_t taken;
    const cg_audit_event* late;
} sink;

static void complete(sink* s, cg_op op, cg_status status, const void* result, const char* why) {
    cg_error e = {sizeof e, status, 0, 0, text(why), {0}};
    cg_completion c = {sizeof c, status, result, status == CG_OK ? NULL : &e, NULL, NULL};
    s->host->core->complete(s->host, op, &c);
}
static void took(sink* s, cg_op op, uint64_t count) {
    cg_audit_taken t = {sizeof t, 0, count};
    complete(s, op, CG_OK, &t, "");
}
static int open_target(const char* path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, 0600);
    return fd < 0 && errno == ENXIO ? open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW) : fd;
}
static cg_status write_events(cg_instance* i, cg_op op, const cg_audit_batch* b) {
    sink* s = (sink*)i;
    uint64_t taken = 0;
    int stalled = 0;
    if (s->fd < 0 || FAULT("takes_nothing")) {
        took(s, op, 0);
        return CG_OK;
    }
    for (; taken < b->count; ++taken) {
        const cg_audit_event* e = (const cg_audit_event*)((const char*)b->events + taken * b->stride);
        ssize_t n = write(s->fd, e->line.data, e->line.size);
        if (n < 0) {
            stalled = 1;
            break;
        }
    }
    if (!stalled) {
        if (FAULT("takes_more")) ++taken;
        s->late = b->events;
        took(s, op, taken);
        return CG_OK;
    }
    if (FAULT("waits_for_its_target")) {
        const struct timespec t = {0, 20000000};
        nanosleep(&t, NULL);
    }
    pthread_mutex_lock(&s->mutex);
    s->open = op;
    s->taken = taken;
    pthread_mutex_unlock(&s->mutex);
    return CG_OK;
}
static void give_back(sink* s, cg_op which) {
    cg_op op;
    pthread_mutex_lock(&s->mutex);
    op = which == 0 || s->open == which ? s->open : 0;
    if (op != 0) s->open = 0;
    pthread_mutex_unlock(&s->mutex);
    if (op != 0) took(s, op, s->taken);
}
static cg_status flush(cg_instance* i, cg_op op) {
    sink* s = (sink*)i;
    if (FAULT("reads_late") && s->late != NULL) s->reopened += s->late->kind == 7;
    complete(s, op, FAULT("cannot_flush") ? CG_E_INTERNAL : CG_OK, NULL, "no");
    return CG_OK;
}
static cg_status reopen(cg_instance* i, cg_op op) {
    sink* s = (sink*)i;
    close(s->fd);
    s->fd = FAULT("loses_its_target") ? -1 : open_target(s->path);
    complete(s, op, CG_OK, NULL, "");
    return CG_OK;
}
static void cancel(cg_instance* i, cg_op op, int32_t reason) {
    if (FAULT("ignores_cancel_of_write") && reason == CG_CANCEL_DEADLINE) return;
    give_back((sink*)i, op);
}
static cg_status start(cg_instance* i, cg_op op) {
    sink* s = (sink*)i;
    s->fd = open_target(s->path);
    complete(s, op, s->fd < 0 ? CG_E_UNAVAILABLE : CG_OK, NULL, "cannot open `path`; give one that may be written");
    return CG_OK;
}
static cg_status drain(cg_instance* i, cg_op op) {
    give_back((sink*)i, 0);
    complete((sink*)i, op, CG_OK, NULL, "");
    return CG_OK;
}
static cg_status stop(cg_instance* i, cg_op op) {
    give_back((sink*)i, 0);
    complete((sink*)i, op, CG_OK, NULL, "");
    return CG_OK;
}
static void destroy(cg_instance* i) {
    sink* s = (sink*)i;
    if (s->fd >= 0) close(s->fd);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

static const cg_lifecycle lifecycle = {sizeof(cg_lifecycle), 0, start, NULL, NULL, drain, stop, destroy, NULL, cancel};
static const cg_audit_sink_api api = {sizeof(cg_audit_sink_api), 0, write_events, flush, reopen};

static cg_status create(const cg_factory* f, const cg_host* host, const cg_create_args* theirs, cg_instance** out, cg_errbuf* error) {
    static const char key[] = "\"path\":\"";
    const char *at, *end;
    cg_create_args mine = {0};
    const cg_create_args* args = &mine;
    sink* s;
    (void)f;
    memcpy(&mine, theirs, theirs->struct_size < sizeof mine ? theirs->struct_size : sizeof mine);
    at = args->config_json.size == 0 ? NULL : memmem(args->config_json.data, args->config_json.size, key, sizeof key - 1);
    end = at == NULL ? NULL : memchr(at + sizeof key - 1, '"', (size_t)(args->config_json.data + args->config_json.size - at) - (sizeof key - 1));
    if (end == NULL || end - at > 200 || args->base_dir.size > 250) {
        static const char why[] = "path is missing or too long";
        size_t n = error->text.cap < sizeof why - 1 ? error->text.cap : sizeof why - 1;
        if (n != 0) memcpy(error->text.data, why, n);
        error->text.size = n;
        error->code = CG_E_INVALID;
        return CG_E_INVALID;
    }
    s = calloc(1, sizeof *s);
    s->host = host;
    s->fd = -1;
    at += sizeof key - 1;
    snprintf(s->path, sizeof s->path, "%.*s/%.*s", (int)args->base_dir.size, args->base_dir.size == 0 ? "." : args->base_dir.data, (int)(end - at), at);
    pthread_mutex_init(&s->mutex, NULL);
    s->base.struct_size = sizeof s->base;
    s->base.kind = CG_KIND_AUDIT_SINK;
    s->base.life = &lifecycle;
    s->base.api = &api;
    *out = &s->base;
    return CG_OK;
}

static const char schema[] = "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"path\"],\"properties\":{\"path\":{\"type\":\"string\"}}}";
static const cg_factory factory = {sizeof factory, CG_KIND_AUDIT_SINK, CG_THREADS_ANY, 0, {"zoo", 3}, {"a sink of the zoo", 17}, {schema, sizeof schema - 1}, create};
static const cg_factory* const factories[] = {&factory};
static const cg_manifest manifest = {sizeof manifest, CG_ABI_MAJOR, CG_ABI_MINOR, 0, {"org.callgate.zoo.sink", 21}, {"1.0.0", 5}, {"callgate", 8}, {"Apache-2.0", 10}, {NULL, 0}, 1, factories};

__attribute__((visibility("default"))) cg_status cg_plugin_entry_v1(const cg_negotiation* host, const cg_manifest** out);
cg_status cg_plugin_entry_v1(const cg_negotiation* host, const cg_manifest** out) {
    if (host->abi_major != CG_ABI_MAJOR) return CG_E_ABI;
    *out = &manifest;
    return CG_OK;
}
