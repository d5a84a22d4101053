/* SPDX-License-Identifier: Apache-2.0
 * Reading the one seed of a file. [control] */
#pragma once
#include <callgate/abi/base.h>

/* The file holds one nkey seed and white space, at most 4 KiB. It must be a regular file, reached without a symbolic link as
 * its last component, that gives group and others no access. CG_OK, *kind ('O', 'A' or 'U') and the seed; or CG_E_* and in *why
 * what is wrong, without a byte of the file. */
cg_status read_seed_file(const char* path, char* kind, uint8_t seed[32], const char** why);
