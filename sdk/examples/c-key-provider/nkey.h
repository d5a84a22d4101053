/* SPDX-License-Identifier: Apache-2.0
 * Text form of NATS keys: base32 (RFC 4648, no padding) of prefix, 32 key bytes and a CRC-16/XMODEM, low byte first.
 * Pure functions, any thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define NKEY_TEXT 56 /* characters of a public key */
#define SEED_TEXT 58 /* characters of a seed */

/* Kinds of key, as their first character says. */
#define NKEY_OPERATOR 'O'
#define NKEY_ACCOUNT 'A'
#define NKEY_USER 'U'

/* Reads a seed of SEED_TEXT characters. 0 and *kind and 32 bytes of seed, or -1: not a seed, damaged, or of another kind than
 * those above. */
int nkey_read_seed(const char* text, size_t size, char* kind, uint8_t seed[32]);

/* Writes NKEY_TEXT characters, without a NUL. `kind` is one of those above. */
void nkey_write_public(char kind, const uint8_t key[32], char text[NKEY_TEXT]);
