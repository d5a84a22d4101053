// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

/// What belongs to the whole process and no plugin may change or use up.
namespace callgate::check {

/// Countable things, for growth.
struct resources {
    std::size_t threads = 0;
    std::size_t descriptors = 0;
    std::size_t children = 0;
    std::size_t mappings = 0;
    std::size_t heap_bytes = 0; ///< in use, of malloc; of the sanitizer's allocator where there is one
    [[nodiscard]] static resources now();
};

/// State that is compared before and after: check name -> canonical text.
using process_state = std::map<std::string, std::string>;
[[nodiscard]] process_state read_process_state();

/// Calls of process-wide functions that this executable stands in for (curl_global_*, fork).
struct process_calls {
    std::vector<std::string> curl;
    std::size_t forks = 0;
};
/// Counts forks from now on.
void watch_forks();
[[nodiscard]] process_calls& seen_calls();

}  // namespace callgate::check
