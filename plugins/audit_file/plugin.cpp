// SPDX-License-Identifier: Apache-2.0
#include "plugins/audit_file/audit_file.hpp"

CALLGATE_PLUGIN("org.callgate.audit_file", "0.1.0", "callgate", "Apache-2.0", callgate::audit_file::sink)
