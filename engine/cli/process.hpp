// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace callgate::cli {

/// First thing in main: no core dumps, no ptrace or /proc/self/mem for other processes of this user, files
/// private unless said otherwise, libsodium ready. Ends the process with a message when refused.
void harden_process();

}  // namespace callgate::cli
