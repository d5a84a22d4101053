/* SPDX-License-Identifier: Apache-2.0
 * What plugins do to the process they are in: constructors and start(). */
#pragma once
/* When the library is loaded. */
void zoo_loaded(void);
/* In start(). */
void zoo_started(void);
/* In the entry; 0 = refuse. */
int zoo_entered(void);
