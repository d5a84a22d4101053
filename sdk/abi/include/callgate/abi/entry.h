/* SPDX-License-Identifier: Apache-2.0
 * The only symbol a plugin exports, and the note that is read before anything of the plugin runs. */
#ifndef CALLGATE_ABI_ENTRY_H
#define CALLGATE_ABI_ENTRY_H

#include <callgate/abi/instance.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CG_ENTRY_SYMBOL "cg_plugin_entry_v1"

#define CG_NEGOTIATION_CHECKED 1u /* host checks contracts at some cost */

typedef struct cg_negotiation {
    uint32_t struct_size;
    uint32_t abi_major;
    uint32_t abi_minor;
    uint32_t flags;
    cg_str host_name;
    cg_str host_version;
} cg_negotiation;

#define CG_THREADS_PER_SHARD 1u /* calls with one shard_state never overlap; shards run at once */
#define CG_THREADS_ANY 2u       /* any call may overlap any other */
/* Calls of the host never overlap, except `cancel`, `query` and what is tagged [any]: they come one after the other on
 * [worker], as with CG_FACTORY_MAY_BLOCK. since 1.0 */
#define CG_THREADS_SERIAL 3u

/* Flag of a factory, for auth backends and key providers: calls may block. They come on [worker] instead of [shard], up to 8
 * at once whatever the thread model, with a NULL shard_state; shard_attach and shard_detach are not called. start, drain, stop,
 * health and list_keys come on [worker] too; create and destroy stay on [control]. An operation whose deadline passed while it
 * waited for a thread is never handed over. since 1.0 */
#define CG_FACTORY_MAY_BLOCK 1u

typedef struct cg_create_args {
    uint32_t struct_size;
    uint32_t reserved;
    cg_str name;        /* instance name of the configuration */
    cg_str config_json; /* checked against config_schema already */
    cg_str base_dir;    /* relative paths of the configuration start here */
} cg_create_args;

typedef struct cg_factory {
    uint32_t struct_size;
    uint32_t kind;        /* CG_KIND_* */
    uint32_t thread_model; /* CG_THREADS_* */
    uint32_t flags;        /* CG_FACTORY_*; bits a host does not know are refused */
    cg_str type;          /* short name, e.g. "static" */
    cg_str summary;       /* one line for `callgate plugin list` */
    cg_str config_schema; /* JSON Schema (draft 7) of config_json; "additionalProperties": false expected */
    /* [control] since 1.0. Checks the configuration and makes an instance; no I/O beyond what checking needs.
     * On failure `error->text` names the key at fault. */
    cg_status (*create)(const struct cg_factory* factory, const cg_host* host, const cg_create_args* args,
                        cg_instance** instance, cg_errbuf* error);
} cg_factory;

typedef struct cg_manifest {
    uint32_t struct_size;
    uint32_t abi_major;
    uint32_t abi_minor_built;  /* CG_ABI_MINOR of the headers it was compiled with */
    uint32_t abi_minor_needed; /* refuses hosts below */
    cg_str plugin_id;          /* reverse domain name, "org.callgate.auth_static" */
    cg_str version;
    cg_str vendor;
    cg_str license; /* SPDX expression */
    cg_str build_id;
    size_t factory_count;
    const cg_factory* const* factories;
} cg_manifest;

/* [control] since 1.0. Must not allocate anything that outlives the process, start threads or do I/O.
 * CG_OK and *manifest (lifetime: process), or CG_E_ABI when the host's version does not suffice. */
typedef cg_status (*cg_plugin_entry_fn)(const cg_negotiation* host, const cg_manifest** manifest);

/* ELF note, section ".note.callgate": owner "callgate\0\0\0\0" (namesz 9), type 1, descriptor below.
 * Use CG_PLUGIN_NOTE once in exactly one source file of the plugin. */
#define CG_NOTE_NAME "callgate"
#define CG_NOTE_TYPE 1u

typedef struct cg_note_desc {
    uint32_t abi_major;
    uint32_t abi_minor_built;
    uint32_t abi_minor_needed;
    uint32_t kinds; /* bit (1 << kind) for each kind inside */
    char plugin_id[64];
} cg_note_desc;

typedef struct cg_note {
    uint32_t namesz;
    uint32_t descsz;
    uint32_t type;
    char name[12];
    cg_note_desc desc;
} cg_note;

#define CG_PLUGIN_NOTE(id, kinds, minor_needed)                                                               \
    __attribute__((section(".note.callgate"), used, aligned(4))) static const cg_note cg_plugin_note_ = {     \
        9u, (uint32_t)sizeof(cg_note_desc), CG_NOTE_TYPE, CG_NOTE_NAME,                                        \
        {CG_ABI_MAJOR, CG_ABI_MINOR, (minor_needed), (kinds), id}}

#ifdef __cplusplus
}
#endif
#endif
