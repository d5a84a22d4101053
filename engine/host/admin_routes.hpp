// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/error.hpp"
#include "engine/host/instance.hpp"
#include "engine/host/module_services.hpp"

namespace callgate::host {

/// A request of the admin listener, past the checks of the transport.
struct admin_call {
    std::string method, path, query{};
    std::vector<std::pair<std::string, std::string>> headers{};  ///< names in lower case
    std::string body{};
    caller_identity caller{};
};

struct admin_answer {
    unsigned status = 200;
    std::string content_type = "text/plain; charset=utf-8";
    std::string body{};
    std::shared_ptr<byte_stream> stream{};  ///< then `body` is empty and the stream brings it
};

/// The routes of all modules of one configuration. Immutable; [control].
class admin_routes {
  public:
    /// Error invalid when two instances have the same route; it names both. They have started.
    static result<std::shared_ptr<const admin_routes>> of(const std::vector<std::shared_ptr<instance>>& modules);

    /// `then` once, on the control thread, perhaps inside. Who has no route: 404; another method: 405; not authorised: 403; a module
    /// that fails: 500; that cannot be asked or does not answer in time: 503.
    void serve(admin_call call, std::function<void(admin_answer)> then) const;

    static constexpr std::int64_t default_timeout_ns = 5'000'000'000;

  private:
    struct entry {
        std::shared_ptr<instance> owner;
        admin_route route;
    };
    std::vector<entry> entries_;
    std::string readable_;  // paths for the answer to who has none
};

}  // namespace callgate::host
