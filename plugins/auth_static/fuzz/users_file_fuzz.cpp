// SPDX-License-Identifier: Apache-2.0
// Whatever stands in a users file: it is a table whose entries can all be found, or an error that names
// the file and does not repeat a password hash.
#include <cstdlib>

#include "plugins/auth_static/users_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace callgate;
    crypto::init();
    const std::string text(reinterpret_cast<const char*>(data), size);
    try {
        auto users = auth_static::parse_users(text, "users.yaml");
        const auto count = users.size();
        const auto names = users;
        const auth_static::user_table table(std::move(users));
        if (table.size() != count) std::abort();
        for (const auto& u : names) {
            const auto found = table.by_user(u.user);
            if (!found || found->attributes_json != u.attributes_json) std::abort();
            for (const auto& n : u.nkeys)
                if (table.by_nkey(n) != found) std::abort();
        }
    } catch (const sdk::status_error& e) {
        if (e.where().empty() || std::string(e.what()).find("$argon2id$v=19$m=8,") != std::string::npos) std::abort();
    }
    return 0;
}
