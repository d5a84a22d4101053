/* SPDX-License-Identifier: Apache-2.0
 * Who asks: an operator, never a client of NATS. Filled by the host from the transport, nothing of it is the caller's word.
 * DRAFT. */
#ifndef CALLGATE_ABI_DRAFT_CALLER_H
#define CALLGATE_ABI_DRAFT_CALLER_H

#include <callgate/abi/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CG_CALLER_LOOPBACK 1u  /* TCP from this machine, nothing proven */
#define CG_CALLER_UNIX_PEER 2u /* Unix socket: uid, gid, pid as the kernel says (pid may be gone or reused) */
#define CG_CALLER_BEARER 3u    /* knows the listener's token */
#define CG_CALLER_TLS 4u       /* client certificate, verified; `subject` */
#define CG_CALLER_LOCAL_CLI 5u /* the process itself: a command-line tool; uid, gid, pid */

/* What the host lets it do. Unknown values read as CG_MAY_READ. */
#define CG_MAY_READ 1u    /* look */
#define CG_MAY_OPERATE 2u /* change something: CG_CALLER_UNIX_PEER and CG_CALLER_LOCAL_CLI */

/* since 1.0 (draft) */
typedef struct cg_caller {
    uint32_t struct_size;
    uint32_t how; /* CG_CALLER_* */
    uint32_t may; /* CG_MAY_* */
    uint32_t uid; /* of CG_CALLER_UNIX_PEER and CG_CALLER_LOCAL_CLI; else UINT32_MAX */
    uint32_t gid;
    int32_t pid;     /* 0 = unknown */
    cg_str subject;  /* CG_CALLER_TLS: the certificate's subject (RFC 4514), at most 1,024 bytes; else empty */
    cg_str address;  /* peer, "127.0.0.1:40312"; empty without TCP */
} cg_caller;

#ifdef __cplusplus
}
#endif
#endif
