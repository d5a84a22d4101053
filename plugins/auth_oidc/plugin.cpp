// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_oidc/auth_oidc.hpp"

CALLGATE_PLUGIN("org.callgate.auth_oidc", "0.1.0", "callgate", "Apache-2.0", callgate::auth_oidc::backend)
