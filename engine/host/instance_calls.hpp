// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/instance.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/host/control_loop.hpp"

namespace callgate::host {

class instance;

/// "keys" or "store": how the configuration writes a kind in `uses`; empty for the others.
[[nodiscard]] std::string_view target_kind(std::uint32_t kind) noexcept;

/// Instances that are started and not on their way out, for calls between plugins. [control]
class instance_directory {
  public:
    void add(const std::shared_ptr<instance>& i);
    void remove(const instance& i);
    /// The one that started last under that name; null when there is none.
    [[nodiscard]] std::shared_ptr<instance> find(std::uint32_t kind, const std::string& name) const;

  private:
    std::multimap<std::pair<std::uint32_t, std::string>, std::weak_ptr<instance>> started_;
};

/// The answer of a call, on the control thread, never inside the call.
using call_answer = std::function<void(const cg_instance_answer&)>;

/// A call to a claim store whose request was copied and found well-formed.
class store_request {
  public:
    virtual ~store_request() = default;
    /// [control] `then` exactly once.
    virtual void run(const std::shared_ptr<instance>& store, std::int64_t timeout_ns, call_answer then) = 0;
};
/// null: too many or too large (CG_INSTANCE_MAX_*), or a list without memory.
[[nodiscard]] std::unique_ptr<store_request> copy_request(const cg_claim_get& r);
[[nodiscard]] std::unique_ptr<store_request> copy_request(const cg_claim_scan& r);
[[nodiscard]] std::unique_ptr<store_request> copy_request(const cg_claim_commit& r);

/// instance/1 of one instance. [any] unless tagged.
class instance_calls : public std::enable_shared_from_this<instance_calls> {
  public:
    static constexpr std::size_t max_targets = CG_INSTANCE_MAX_TARGETS, max_calls = CG_INSTANCE_MAX_CALLS;

    /// `uses`: "keys/NAME" and "store/NAME"; nothing else may be found.
    instance_calls(std::shared_ptr<control_loop> loop, std::shared_ptr<instance_directory> directory, std::vector<std::string> uses)
        : loop_(std::move(loop)), directory_(std::move(directory)), uses_(std::move(uses)) {}

    cg_status find(std::uint32_t kind, std::string_view name, cg_target& target);
    cg_status sign(const cg_instance_call& call, const cg_instance_sign& request);
    cg_status ask_store(const cg_instance_call& call, std::unique_ptr<store_request> request);
    /// [control] No `done` is called any more; returns how many calls were open.
    std::size_t close();

    static const cg_instance_api api;

  private:
    struct target {
        std::uint32_t kind;
        std::string name;
    };
    using work = std::function<void(std::shared_ptr<instance>, std::int64_t timeout_ns, call_answer)>;
    cg_status begin(const cg_instance_call& call, std::uint32_t kind, work w);
    void answer(void (*done)(void*, const cg_instance_answer*), void* ctx, const cg_instance_answer& a);

    const std::shared_ptr<control_loop> loop_;
    const std::shared_ptr<instance_directory> directory_;
    const std::vector<std::string> uses_;
    std::mutex mutex_;
    std::vector<target> targets_;
    std::size_t calls_ = 0;
    bool closed_ = false;
};

}  // namespace callgate::host
