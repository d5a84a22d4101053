// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/host.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "sdk/check/guarded.hpp"

/// The host side of one instance. It answers as the engine does and records what breaks the rules of sdk/docs/abi.md.
namespace callgate::check {

/// How large the structs are that this host hands out.
enum class host_shape : std::uint8_t {
    present,
    older, ///< end before their last fields, at a guard page
    newer, ///< have a tail of 0xee after what this version knows
};

/// A plugin's answer, deep-copied while it was valid.
struct read_result {
    std::shared_ptr<void> value;
    std::string text; ///< the same in one canonical text: for comparison and messages
};
using result_reader = std::function<read_result(const void* result)>;

struct answer {
    cg_status status = CG_E_INTERNAL;
    std::string error, where;
    read_result result;
    bool foreign = false;  ///< completed on a thread of the plugin
    bool in_call = false;  ///< before the function that started it returned
    std::int64_t at_ns = 0;

    template <class T>
    [[nodiscard]] const T& as() const { return *static_cast<const T*>(result.value.get()); }
};

inline constexpr std::int64_t no_deadline = std::numeric_limits<std::int64_t>::max();

class checked_host {
  public:
    checked_host(std::string instance_name, std::uint32_t shards, host_shape shape = host_shape::present);
    ~checked_host();
    checked_host(const checked_host&) = delete;
    checked_host& operator=(const checked_host&) = delete;

    [[nodiscard]] const cg_host* get() const noexcept { return host_; }
    [[nodiscard]] host_shape shape() const noexcept { return shape_; }

    // ---- operations [any]
    /// `function` names what the operation is for in messages; `memory` is revoked when it completes.
    cg_op begin(const char* function, result_reader reader, std::int64_t left_ns = no_deadline,
                std::vector<std::shared_ptr<guarded_block>> memory = {});
    /// What the function that received `op` returned.
    void returned(cg_op op, cg_status status);
    void mark_cancelled(cg_op op);
    [[nodiscard]] bool was_cancelled(cg_op op) const;
    /// Its deadline was past when it began.
    [[nodiscard]] bool began_late(cg_op op) const;
    [[nodiscard]] bool done(cg_op op) const;
    [[nodiscard]] bool refused(cg_op op) const;
    [[nodiscard]] std::optional<answer> take(cg_op op) const;
    /// Operations that were accepted and are not complete.
    [[nodiscard]] std::size_t open() const;
    [[nodiscard]] std::string function_of(cg_op op) const;

    /// From now on every call of the plugin breaks a rule.
    void stopped();
    /// Every result with a release function was given back.
    [[nodiscard]] bool released() const;
    [[nodiscard]] std::string last_logs() const;
    [[nodiscard]] std::size_t foreign_completions() const;

    // ---- the plugin's side; see cg_core and the extensions
    std::int64_t time_left(cg_op op) const;
    bool is_cancelled(cg_op op) const;
    void* scratch(cg_op op, std::size_t size, std::size_t align);
    cg_status complete(cg_op op, const cg_completion* completion);
    void log(std::int32_t level, cg_str message, const cg_log_field* fields, std::size_t count, std::size_t stride);
    const void* query(cg_str id);
    /// Records a call that comes after stop.
    void called(const char* function) const;

  private:
    enum class state : std::uint8_t { started, accepted, refused };
    struct operation {
        const char* function = "";
        result_reader reader;
        std::int64_t deadline = no_deadline;
        std::vector<std::shared_ptr<guarded_block>> memory;
        std::size_t scratch_used = 0;
        state is = state::started;
        bool cancelled = false;
        bool late = false;
        bool claimed = false; ///< a completion is being read
        bool done = false;    ///< and its answer is there
        answer result;
        std::thread::id starter;
    };
    cg_status reject(cg_op op);

    std::string name_;
    host_shape shape_;
    std::unique_ptr<guarded_block> host_block_, core_block_;
    std::vector<std::unique_ptr<guarded_block>> tables_;
    const cg_host* host_ = nullptr;
    std::map<std::string, const void*, std::less<>> extensions_;
    mutable std::mutex mutex_;
    std::map<cg_op, operation> operations_;
    std::deque<std::string> logs_;
    std::size_t foreign_ = 0;
    bool stopped_ = false;
    char releases_ = 0; ///< its address owns the timers that release results
};

/// Reads a struct of the plugin: min(theirs, mine) bytes. `name` stands in the message when its size is not honest.
template <class T>
T read_checked(const T* theirs, const char* name);
/// Of the plugin under test: built with headers of a newer minor, whose structs may be longer.
void plugin_is_newer(bool newer);
/// Records a struct_size that cannot be true for a plugin built with this version's headers.
void judge_size(const char* name, std::uint32_t size, std::size_t expected);
/// Capability tables of this host, filled into `out` by id; each in a block that ends where its size says.
void offer_extensions(std::map<std::string, const void*, std::less<>>& out, std::vector<std::unique_ptr<guarded_block>>& memory, host_shape shape);
[[nodiscard]] checked_host& host_of(const cg_host* host) noexcept;
[[nodiscard]] std::string status_text(cg_status status);

template <class T>
T read_checked(const T* theirs, const char* name) {
    T mine{};
    if (theirs == nullptr) return mine;
    std::uint32_t size = 0;
    std::memcpy(&size, theirs, sizeof size);
    judge_size(name, size, sizeof(T));
    std::memcpy(&mine, theirs, std::min<std::size_t>(size, sizeof(T)));
    mine.struct_size = static_cast<std::uint32_t>(std::min<std::size_t>(size, sizeof(T)));
    return mine;
}

/// Struct of this host in a block of its own, in the given shape; `older_size` is where an older host's ends.
template <class T>
T* place(const T& value, std::size_t older_size, host_shape shape, const guard_rule& rule, std::unique_ptr<guarded_block>& block) {
    constexpr std::size_t tail = 64;
    const std::size_t size = shape == host_shape::older ? older_size : shape == host_shape::newer ? sizeof(T) + tail : sizeof(T);
    block = std::make_unique<guarded_block>(size, rule);
    if (shape == host_shape::newer) std::memset(block->data(), 0xee, size);
    std::memcpy(block->data(), &value, std::min(size, sizeof(T)));
    const auto stated = static_cast<std::uint32_t>(size);
    std::memcpy(block->data(), &stated, sizeof stated);
    return reinterpret_cast<T*>(block->data());
}

}  // namespace callgate::check
