// SPDX-License-Identifier: Apache-2.0
#include "my_auth.hpp"

// The id is a domain name of yours, reversed; it stays the same for ever.
CALLGATE_PLUGIN("org.example.my_auth", "0.1.0", "Example", "Apache-2.0", my_auth_backend)
