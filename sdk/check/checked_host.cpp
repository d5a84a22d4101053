// SPDX-License-Identifier: Apache-2.0
#include "sdk/check/checked_host.hpp"

#include <time.h>

#include <callgate/sdk/value.hpp>

#include "sdk/check/control_loop.hpp"
#include "sdk/check/recorder.hpp"

namespace callgate::check {
namespace {

constexpr std::size_t scratch_budget = 65536;
constexpr std::size_t kept_logs = 12;
constexpr guard_rule instance_memory = {"the host's table", "library.older_host", "lifecycle.silent_after_stop"};
constexpr guard_rule scratch_memory = {"scratch memory of an operation", "operations.out_buffers", "operations.scratch_lifetime"};

// Handles of all instances of this process: one that is given back to the wrong host is told from one that never was.
std::mutex all_mutex;
std::map<cg_op, const checked_host*> all;
cg_op next_handle = 0x5ca1ab1e00000000;
bool built_newer = false;

std::string handle_text(cg_op op) {
    char text[24];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(op));
    return text;
}

cg_core core_table() {
    auto core = sdk::make<cg_core>();
    core.now_ns = [](const cg_host* h) noexcept -> std::int64_t {
        host_of(h).called("now_ns");
        return now_ns();
    };
    core.wall_unix_s = [](const cg_host* h) noexcept -> std::int64_t {
        host_of(h).called("wall_unix_s");
        return ::time(nullptr);
    };
    core.time_left_ns = [](const cg_host* h, cg_op op) noexcept { return host_of(h).time_left(op); };
    core.is_cancelled = [](const cg_host* h, cg_op op) noexcept -> std::int32_t { return host_of(h).is_cancelled(op) ? 1 : 0; };
    core.scratch = [](const cg_host* h, cg_op op, std::size_t n, std::size_t a) noexcept { return host_of(h).scratch(op, n, a); };
    core.complete = [](const cg_host* h, cg_op op, const cg_completion* c) noexcept { return host_of(h).complete(op, c); };
    core.log_enabled = [](const cg_host* h, std::int32_t) noexcept -> std::int32_t {
        host_of(h).called("log_enabled");
        return 1;
    };
    core.log = [](const cg_host* h, std::int32_t level, cg_str m, const cg_log_field* f, std::size_t n, std::size_t stride) noexcept {
        host_of(h).log(level, m, f, n, stride);
    };
    return core;
}

}  // namespace

checked_host& host_of(const cg_host* host) noexcept { return *static_cast<checked_host*>(host->impl); }

std::string status_text(cg_status status) {
    switch (status) {
        case CG_OK: return "CG_OK";
        case CG_E_INTERNAL: return "CG_E_INTERNAL";
        case CG_E_INVALID: return "CG_E_INVALID";
        case CG_E_UNSUPPORTED: return "CG_E_UNSUPPORTED";
        case CG_E_NOT_FOUND: return "CG_E_NOT_FOUND";
        case CG_E_NOSPC: return "CG_E_NOSPC";
        case CG_E_UNAVAILABLE: return "CG_E_UNAVAILABLE";
        case CG_E_DEADLINE: return "CG_E_DEADLINE";
        case CG_E_CANCELLED: return "CG_E_CANCELLED";
        case CG_E_BUSY: return "CG_E_BUSY";
        case CG_E_PERMISSION: return "CG_E_PERMISSION";
        case CG_E_ABANDONED: return "CG_E_ABANDONED";
        case CG_E_ABI: return "CG_E_ABI";
        case -13: return "CG_E_COMPACTED";
        case -14: return "CG_E_CONFLICT";
        default: return "status " + std::to_string(status);
    }
}

void plugin_is_newer(bool newer) { built_newer = newer; }

void judge_size(const char* name, std::uint32_t size, std::size_t expected) {
    if (size == expected) return;
    // A plugin of a newer minor may say more; what it says must still be a size that a struct can have.
    if (built_newer && size > expected && size <= expected + 4096 && size % 4 == 0) return;
    recorder::violated("library.struct_sizes", std::string(name) + " says struct_size " + std::to_string(size) + ", but it has " + std::to_string(expected) +
                                                   " bytes in the headers this plugin was built with: set it to sizeof(" + name + ") before handing it over");
}

checked_host::checked_host(std::string instance_name, std::uint32_t shards, host_shape shape) : name_(std::move(instance_name)), shape_(shape) {
    // No function of version 1.0 may lack, so the core is whole on an older host too.
    auto* core = place(core_table(), sizeof(cg_core), shape, instance_memory, core_block_);
    auto host = sdk::make<cg_host>();
    host.abi_major = CG_ABI_MAJOR;
    host.abi_minor = CG_ABI_MINOR;
    host.shard_count = shards;
    host.impl = this;
    host.core = core;
    host.query = [](const cg_host* h, cg_str id) noexcept { return host_of(h).query(id); };
    host.instance_name = sdk::to_c(name_);
    host_ = place(host, offsetof(cg_host, instance_name), shape, instance_memory, host_block_);
    offer_extensions(extensions_, tables_, shape);
}

checked_host::~checked_host() {
    control_loop::get().drop(this);
    control_loop::get().drop(&releases_);
    const std::lock_guard lock(all_mutex);
    std::erase_if(all, [&](const auto& e) { return e.second == this; });
}

void checked_host::called(const char* function) const {
    {
        const std::lock_guard lock(mutex_);
        if (!stopped_) return;
    }
    recorder::violated("lifecycle.silent_after_stop", std::string("the plugin called ") + function + "() on " + current_thread_name() +
                                                          " after its stop was completed: join threads and cancel timers before completing stop");
}

cg_op checked_host::begin(const char* function, result_reader reader, std::int64_t left_ns, std::vector<std::shared_ptr<guarded_block>> memory) {
    cg_op op = 0;
    {
        const std::lock_guard lock(all_mutex);
        // Not consecutive: a handle that is off by a little must not be somebody else's.
        op = next_handle += 0x10001;
        all[op] = this;
    }
    const std::lock_guard lock(mutex_);
    auto& o = operations_[op];
    o.function = function;
    o.reader = std::move(reader);
    o.deadline = left_ns == no_deadline ? no_deadline : now_ns() + left_ns;
    o.late = left_ns <= 0;
    o.memory = std::move(memory);
    o.starter = std::this_thread::get_id();
    return op;
}

void checked_host::returned(cg_op op, cg_status status) {
    std::string function;
    bool already = false;
    {
        const std::lock_guard lock(mutex_);
        auto& o = operations_.at(op);
        function = o.function;
        already = o.claimed;
        o.is = status == CG_OK ? state::accepted : state::refused;
        if (o.is == state::refused)
            for (auto& m : o.memory) m->revoke();
    }
    if (status > 0)
        recorder::violated("operations.completes_once", function + "() returned " + std::to_string(status) + ", which is neither CG_OK nor a CG_E_* (those are negative)");
    if (already && status != CG_OK)
        recorder::violated("operations.refused_is_silent", function + "() completed its operation and then returned " + status_text(status) +
                                                               ": return CG_OK for every operation that gets a completion, CG_E_* only when none follows");
    control_loop::get().wake();
}

void checked_host::mark_cancelled(cg_op op) {
    const std::lock_guard lock(mutex_);
    operations_.at(op).cancelled = true;
}
bool checked_host::was_cancelled(cg_op op) const {
    const std::lock_guard lock(mutex_);
    return operations_.at(op).cancelled;
}
bool checked_host::began_late(cg_op op) const {
    const std::lock_guard lock(mutex_);
    return operations_.at(op).late;
}
bool checked_host::done(cg_op op) const {
    const std::lock_guard lock(mutex_);
    const auto& o = operations_.at(op);
    return o.done || o.is == state::refused;
}
bool checked_host::refused(cg_op op) const {
    const std::lock_guard lock(mutex_);
    return operations_.at(op).is == state::refused;
}
std::optional<answer> checked_host::take(cg_op op) const {
    const std::lock_guard lock(mutex_);
    const auto& o = operations_.at(op);
    if (!o.done) return std::nullopt;
    return o.result;
}
std::size_t checked_host::open() const {
    const std::lock_guard lock(mutex_);
    std::size_t n = 0;
    for (const auto& [id, o] : operations_) n += !o.done && o.is != state::refused ? 1 : 0;
    return n;
}
std::string checked_host::function_of(cg_op op) const {
    const std::lock_guard lock(mutex_);
    return operations_.at(op).function;
}
std::size_t checked_host::foreign_completions() const {
    const std::lock_guard lock(mutex_);
    return foreign_;
}

bool checked_host::released() const { return control_loop::get().armed(&releases_) == 0; }

void checked_host::stopped() {
    control_loop::get().drop(this);
    const std::lock_guard lock(mutex_);
    stopped_ = true;
}

std::string checked_host::last_logs() const {
    const std::lock_guard lock(mutex_);
    std::string out;
    for (const auto& l : logs_) out += "\n  log: " + l;
    return out;
}

std::int64_t checked_host::time_left(cg_op op) const {
    called("time_left_ns");
    const std::lock_guard lock(mutex_);
    const auto i = operations_.find(op);
    if (i == operations_.end() || i->second.done) return 0;
    return i->second.deadline == no_deadline ? no_deadline : i->second.deadline - now_ns();
}

bool checked_host::is_cancelled(cg_op op) const {
    called("is_cancelled");
    const std::lock_guard lock(mutex_);
    const auto i = operations_.find(op);
    return i == operations_.end() || i->second.done || i->second.cancelled || i->second.deadline < now_ns();
}

void* checked_host::scratch(cg_op op, std::size_t size, std::size_t align) {
    called("scratch");
    const std::lock_guard lock(mutex_);
    const auto i = operations_.find(op);
    if (align == 0 || align > 64 || (align & (align - 1)) != 0) return nullptr;
    if (i == operations_.end() || i->second.done || size > scratch_budget - i->second.scratch_used) return nullptr;
    i->second.scratch_used += size;
    auto block = std::make_shared<guarded_block>((size + align - 1) / align * align, scratch_memory);
    i->second.memory.push_back(block);
    return block->data();
}

// Which rule a completion breaks that no open operation of this instance waits for.
cg_status checked_host::reject(cg_op op) {
    const checked_host* other = nullptr;
    {
        const std::lock_guard lock(all_mutex);
        if (const auto i = all.find(op); i != all.end()) other = i->second;
    }
    std::string function;
    bool was_refused = false;
    bool mine = false;
    {
        const std::lock_guard lock(mutex_);
        if (const auto i = operations_.find(op); i != operations_.end()) {
            mine = true;
            function = i->second.function;
            was_refused = i->second.is == state::refused;
        }
    }
    if (mine && was_refused)
        recorder::violated("operations.refused_is_silent", "an operation of " + function + "() was completed although the function had refused it with an error; "
                                                               "the host has forgotten it: complete only what was accepted with CG_OK");
    else if (mine)
        recorder::violated("operations.completes_once", "an operation of " + function + "() was completed a second time, on " + current_thread_name() +
                                                            ": complete each cg_op exactly once, and forget the handle when you do");
    else if (other != nullptr)
        recorder::violated("lifecycle.two_instances", "an operation of one instance was completed through the cg_host of another: keep the cg_host that create() was "
                                                      "given in the instance, not in a global");
    else
        recorder::violated("operations.known_handles", "complete() was called with the handle " + handle_text(op) +
                                                           ", which this host never gave out: keep the cg_op as it came, it is opaque");
    return CG_E_NOT_FOUND;
}

cg_status checked_host::complete(cg_op op, const cg_completion* completion) {
    called("complete");
    if (completion == nullptr) {
        recorder::violated("operations.completes_once", "complete() was called with a NULL completion");
        return CG_E_INVALID;
    }
    const auto c = read_checked(completion, "cg_completion");
    result_reader reader;
    const char* function = "";
    {
        const std::lock_guard lock(mutex_);
        const auto i = operations_.find(op);
        if (i == operations_.end() || i->second.claimed || i->second.is == state::refused) {
            function = nullptr;
        } else {
            // Claimed before it is read: a second completion may come meanwhile.
            i->second.claimed = true;
            reader = i->second.reader;
            function = i->second.function;
        }
    }
    if (function == nullptr) return reject(op);

    answer a;
    a.status = c.status;
    a.foreign = current_role() == role::foreign;
    a.at_ns = now_ns();
    if (c.status > 0)
        recorder::violated("operations.completes_once", std::string("an operation of ") + function + "() was completed with status " + std::to_string(c.status) +
                                                            ", which is neither CG_OK nor a CG_E_*");
    if (c.error != nullptr) {
        const auto e = read_checked(c.error, "cg_error");
        a.error = sdk::view(e.text);
        a.where = sdk::view(e.where);
    }
    if (c.status == CG_OK && reader) a.result = reader(c.result);
    std::vector<std::shared_ptr<guarded_block>> memory;
    {
        const std::lock_guard lock(mutex_);
        auto& o = operations_.at(op);
        a.in_call = o.is == state::started && o.starter == std::this_thread::get_id();
        if (a.foreign) ++foreign_;
        memory = std::move(o.memory);
        o.result = a;
        o.done = true;
        // It may own guarded memory.
        o.reader = nullptr;
    }
    if (c.release != nullptr) {
        // Read again just before it is released: until then it must not have changed.
        control_loop::get().arm(&releases_, 5'000'000, [c, reader, text = a.result.text, function = std::string(function)] {
            if (c.status == CG_OK && reader) {
                const progress::call scope("reading a result that has a release function");
                if (reader(c.result).text != text)
                    recorder::violated("operations.result_lifetime", "the result of " + function + "() changed between complete() and release(): with a release function "
                                                                     "the host reads it until it calls that function");
            }
            const progress::call scope("release");
            c.release(c.release_ctx);
        });
    }
    for (auto& m : memory) m->revoke();
    control_loop::get().wake();
    return CG_OK;
}

void checked_host::log(std::int32_t level, cg_str message, const cg_log_field* fields, std::size_t count, std::size_t stride) {
    called("log");
    std::string line(sdk::view(message));
    if (level < CG_LOG_TRACE || level > CG_LOG_ERROR) recorder::note("log() was called with level " + std::to_string(level) + ", which is none of CG_LOG_*");
    for (std::size_t i = 0; fields != nullptr && i < std::min<std::size_t>(count, 32); ++i) {
        cg_log_field f{};
        std::memcpy(&f, reinterpret_cast<const char*>(fields) + i * stride, std::min(stride, sizeof f));
        line += " " + std::string(sdk::view(f.key)) + "=" + std::string(sdk::view(f.value));
    }
    const std::lock_guard lock(mutex_);
    logs_.push_back(std::move(line));
    if (logs_.size() > kept_logs) logs_.pop_front();
}

const void* checked_host::query(cg_str id) {
    called("query");
    const auto i = extensions_.find(sdk::view(id));
    return i == extensions_.end() ? nullptr : i->second;
}

}  // namespace callgate::check
