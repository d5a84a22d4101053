// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_static/auth_static.hpp"

CALLGATE_PLUGIN("org.callgate.auth_static", "0.1.0", "callgate", "Apache-2.0", callgate::auth_static::backend)
