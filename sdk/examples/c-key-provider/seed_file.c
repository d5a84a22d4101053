/* SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "seed_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nkey.h"

#define MAX_FILE 4096

static cg_status fail(cg_status status, const char* text, const char** why) {
    *why = text;
    return status;
}

static cg_status seed_of(const char* text, size_t size, char* kind, uint8_t seed[32], const char** why) {
    static const char white[] = " \t\r\n";
    while (size != 0 && memchr(white, text[size - 1], 4) != NULL) --size;
    while (size != 0 && memchr(white, *text, 4) != NULL) ++text, --size;
    if (size == 0) return fail(CG_E_INVALID, "it is empty", why);
    if (nkey_read_seed(text, size, kind, seed) == 0) return CG_OK;
    return fail(CG_E_INVALID, "there is no seed of an operator (SO), an account (SA) or a user (SU) in it", why);
}

cg_status read_seed_file(const char* path, char* kind, uint8_t seed[32], const char** why) {
    /* O_NONBLOCK: opening a FIFO must not wait for a writer. */
    const int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        if (errno == ENOENT) return fail(CG_E_NOT_FOUND, "it does not exist", why);
        if (errno == ELOOP) return fail(CG_E_PERMISSION, "it is a symbolic link; name the file itself", why);
        return fail(CG_E_PERMISSION, "it cannot be opened", why);
    }
    struct stat st;
    char text[MAX_FILE + 1];
    size_t have = 0;
    cg_status status = CG_OK;
    /* On the open descriptor: the name may lead elsewhere a moment later. */
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) status = fail(CG_E_PERMISSION, "it is not a regular file", why);
    else if ((st.st_mode & 077) != 0) status = fail(CG_E_PERMISSION, "group or others have access to it; run chmod 600 and consider the key disclosed", why);
    while (status == CG_OK && have < sizeof text) {
        const ssize_t n = read(fd, text + have, sizeof text - have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) status = fail(CG_E_UNAVAILABLE, "it cannot be read", why);
        if (n <= 0) break;
        have += (size_t)n;
    }
    close(fd);
    if (status == CG_OK && have == sizeof text) status = fail(CG_E_INVALID, "it is larger than 4 KiB, so not a seed file", why);
    if (status == CG_OK) status = seed_of(text, have, kind, seed, why);
    sodium_memzero(text, sizeof text);
    return status;
}
