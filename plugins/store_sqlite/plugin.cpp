// SPDX-License-Identifier: Apache-2.0
#include "plugins/store_sqlite/store_sqlite.hpp"

CALLGATE_PLUGIN("org.callgate.store_sqlite", "0.1.0", "callgate", "Apache-2.0", callgate::store_sqlite::store)
