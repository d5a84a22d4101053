/* SPDX-License-Identifier: Apache-2.0
 * Kinds of instance beside those of instance.h. DRAFT: a number never changes its meaning, but the table behind
 * cg_instance.api may, until a second implementation of the kind stands and the constant moves to instance.h. */
#ifndef CALLGATE_ABI_DRAFT_KINDS_H
#define CALLGATE_ABI_DRAFT_KINDS_H

#include <callgate/abi/instance.h>

#define CG_KIND_CLAIM_STORE 3u /* since 1.0 (draft); api: cg_claim_store_api, draft/claim_store.h */
#define CG_KIND_MODULE 4u      /* since 1.0 (draft); api: cg_module_api, draft/module.h */
#define CG_KIND_AUDIT_SINK 5u  /* since 1.0 (draft); api: cg_audit_sink_api, draft/audit_sink.h */

#endif
