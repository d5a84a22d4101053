/* SPDX-License-Identifier: Apache-2.0
 * What every test plugin with one factory needs: its instance's head, its note, manifest and entry. Include the header of the kind first. */
#pragma once
#include <callgate/abi/entry.h>
#include <string.h>

static inline cg_str str(const char* text) {
    cg_str out = {text, strlen(text)};
    return out;
}
static inline int is(cg_str a, const char* b) { return a.size == strlen(b) && memcmp(a.data, b, a.size) == 0; }

static inline cg_instance* test_instance(cg_instance* base, uint32_t kind, const cg_lifecycle* life, const void* api) {
    base->struct_size = sizeof *base;
    base->kind = kind;
    base->life = life;
    base->api = api;
    return base;
}

/* For the file's end: `create` is the plugin's own. */
#define TEST_PLUGIN(id, kind_, threads, flags_, type_)                                                                   \
    CG_PLUGIN_NOTE(id, 1u << (kind_), 0);                                                                                \
    __attribute__((visibility("default"))) cg_status cg_plugin_entry_v1(const cg_negotiation* host, const cg_manifest** out); \
    cg_status cg_plugin_entry_v1(const cg_negotiation* host, const cg_manifest** out) {                                  \
        static cg_factory factory;                                                                                       \
        static const cg_factory* const factories[] = {&factory};                                                         \
        static cg_manifest manifest;                                                                                     \
        (void)host;                                                                                                      \
        factory.struct_size = sizeof factory;                                                                            \
        factory.kind = (kind_);                                                                                          \
        factory.thread_model = (threads);                                                                                \
        factory.flags = (flags_);                                                                                        \
        factory.type = str(type_);                                                                                         \
        factory.config_schema = str("{}");                                                                                 \
        factory.create = create;                                                                                         \
        manifest.struct_size = sizeof manifest;                                                                          \
        manifest.abi_major = CG_ABI_MAJOR;                                                                               \
        manifest.plugin_id = str(id);                                                                                      \
        manifest.version = str("1.0.0");                                                                                   \
        manifest.factory_count = 1;                                                                                      \
        manifest.factories = factories;                                                                                  \
        *out = &manifest;                                                                                                \
        return CG_OK;                                                                                                    \
    }                                                                                                                    \
    typedef int test_plugin_ends_with_a_semicolon
