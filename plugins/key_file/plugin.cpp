// SPDX-License-Identifier: Apache-2.0
#include "plugins/key_file/key_file.hpp"

CALLGATE_PLUGIN("org.callgate.key_file", "0.1.0", "callgate", "Apache-2.0", callgate::key_file::provider)
