/* SPDX-License-Identifier: Apache-2.0
 * What happens in the daemon around an instance. DRAFT: the id stays when it is promoted. */
#ifndef CALLGATE_ABI_EXT_DRAFT_EVENTS_H
#define CALLGATE_ABI_EXT_DRAFT_EVENTS_H
#include <callgate/abi/host.h>
#ifdef __cplusplus
extern "C" {
#endif
#define CG_EXT_EVENTS "callgate.events/1"

/* Kinds; a later minor may bring more, which only those get who asked for them. */
#define CG_EVENT_CONFIG_RELOADED 1u   /* subject: empty; number: generation of the configuration */
#define CG_EVENT_KEY_ROTATED 2u       /* subject: "PROVIDER/LABEL"; text: the new public nkey; number: generation of the configuration */
#define CG_EVENT_BACKEND_DEGRADED 3u  /* subject: name of an instance whose health got worse; text: its own words; number: CG_HEALTH_* */
#define CG_EVENT_BACKEND_RECOVERED 4u /* subject: name of an instance whose health is CG_HEALTH_OK again */
#define CG_EVENT_SHUTTING_DOWN 5u     /* the daemon drains; drain and stop follow */
#define CG_EVENTS_BIT(kind) (1u << (kind))

#define CG_EVENTS_MAX_QUEUED 64u       /* of one instance */
#define CG_EVENTS_MAX_SUBSCRIPTIONS 8u /* of one instance */

/* Lifetime: call. since 1.0 (draft) */
typedef struct cg_event {
    uint32_t struct_size;
    uint32_t kind; /* CG_EVENT_* */
    cg_str subject;
    cg_str text;
    uint64_t number;
    int64_t at_unix_s;
    uint64_t lost; /* events of this instance that were dropped just before this one, since too many waited */
} cg_event;

typedef struct cg_events_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [control] since 1.0 (draft). From now on fn(ctx, event) is called on [control] for the kinds in `mask` (CG_EVENTS_BIT), in
     * their order, never inside a call of the plugin. At most CG_EVENTS_MAX_QUEUED wait; further ones are dropped, counted by the
     * host and told as `lost`. CG_E_BUSY: CG_EVENTS_MAX_SUBSCRIPTIONS; CG_E_CANCELLED: after stop. Subscriptions end with stop. */
    cg_status (*subscribe)(const cg_host* host, uint32_t mask, void (*fn)(void* ctx, const cg_event* event), void* ctx, uint64_t* id);
    /* [control] since 1.0 (draft). fn is never called again, also when called from fn itself. CG_E_NOT_FOUND: there is none. */
    cg_status (*unsubscribe)(const cg_host* host, uint64_t id);
} cg_events_api;
#ifdef __cplusplus
}
#endif
#endif
