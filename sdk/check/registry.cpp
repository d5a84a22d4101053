// SPDX-License-Identifier: Apache-2.0
#include "sdk/check/registry.hpp"

namespace callgate::check {

const std::vector<check_entry>& all_checks() {
    static const auto checks = [] {
        std::vector<check_entry> out;
        add_library_checks(out);
        add_lifecycle_checks(out);
        add_process_checks(out);
        add_operation_checks(out);
        add_thread_checks(out);
        add_auth_checks(out);
        add_key_checks(out);
        add_claim_checks(out);
        add_sink_checks(out);
        add_fuzz_checks(out);
        return out;
    }();
    return checks;
}

}  // namespace callgate::check
