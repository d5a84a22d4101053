// SPDX-License-Identifier: Apache-2.0
#include "plugins/module_admin/module_admin.hpp"

CALLGATE_PLUGIN("org.callgate.module_admin", "0.1.0", "callgate", "Apache-2.0", callgate::module_admin::admin)
