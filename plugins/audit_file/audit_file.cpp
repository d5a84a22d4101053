// SPDX-License-Identifier: Apache-2.0
#include "plugins/audit_file/audit_file.hpp"

#include <callgate/sdk/config.hpp>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace callgate::audit_file {
namespace {

constexpr std::size_t block_bytes = 64 * 1024;
constexpr int look_again_ms = 1000;
using clock = std::chrono::steady_clock;

}  // namespace

std::unique_ptr<sdk::audit_sink> sink::create(sdk::host_ref host, const sdk::create_args& args) {
    const auto config = sdk::config_view::parse(args.config_json);
    config.only({"path", "fsync", "fsync_interval"});
    sink_options o;
    const auto path = config.at("path").string();
    o.path = path == "stdout" ? path : args.resolve(path);
    const auto mode = config.string_or("fsync", "never");
    if (mode == "interval") o.sync = sync_mode::interval;
    else if (mode == "always") o.sync = sync_mode::always;
    else if (mode != "never") throw sdk::status_error(CG_E_INVALID, "must be never, interval or always, not \"" + mode + "\"", "fsync");
    o.sync_interval = config.duration_or("fsync_interval", std::chrono::seconds(1), std::chrono::milliseconds(10), std::chrono::minutes(1));
    return std::make_unique<sink>(host, std::move(o));
}

sink::sink(sdk::host_ref host, sink_options options)
    : audit_sink(host), options_(std::move(options)), bytes_(host, "audit_file_bytes_total", "Bytes of audit records handed to the kernel."),
      errors_(host, "audit_file_errors_total", "Writes and syncs of the audit file that failed.") {}

sink::~sink() {
    if (thread_.joinable()) {
        {
            const std::lock_guard lock(mutex_);
            if (!stop_) stop_.emplace();
        }
        wake();
        thread_.join();
    }
    if (wake_ >= 0) ::close(wake_);
}

void sink::start(sdk::op_handle&& op) {
    file_ = line_file::open(options_.path);
    wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_ < 0) throw sdk::status_error(CG_E_UNAVAILABLE, std::string("eventfd: ") + std::strerror(errno));
    thread_ = std::thread([this] {
        ::pthread_setname_np(::pthread_self(), "audit_file");
        loop();
    });
    op.succeed();
}

// Answered by the thread: a disk that hangs must not hang the control thread.
void sink::stop(sdk::op_handle&& op) {
    if (!thread_.joinable()) return op.succeed();
    {
        const std::lock_guard lock(mutex_);
        stop_ = std::move(op);
    }
    wake();
}

sdk::health sink::current_health() {
    const std::lock_guard lock(mutex_);
    if (fault_.empty()) return {};
    return {CG_HEALTH_DEGRADED, fault_};
}

void sink::cancel(cg_op op, std::int32_t) {
    {
        const std::lock_guard lock(mutex_);
        if (op != open_) return;
        cancelled_ = true;
    }
    wake();
}

void sink::write(sdk::op_handle&& op, const sdk::audit_batch& batch) { hand_over({task::write, std::move(op), batch}); }
void sink::flush(sdk::op_handle&& op) { hand_over({task::flush, std::move(op)}); }
void sink::reopen(sdk::op_handle&& op) { hand_over({task::reopen, std::move(op)}); }

void sink::hand_over(job&& j) {
    {
        const std::lock_guard lock(mutex_);
        if (job_ || open_ != 0) return j.op.fail(CG_E_BUSY, "one call at a time: the one before has not completed");
        open_ = j.op.id();
        cancelled_ = false;
        job_ = std::move(j);
    }
    wake();
}

void sink::wake() const noexcept {
    const std::uint64_t one = 1;
    (void)!::write(wake_, &one, sizeof one);
}

void sink::loop() {
    for (;;) {
        std::optional<job> next;
        std::optional<sdk::op_handle> stop;
        {
            const std::lock_guard lock(mutex_);
            next = std::exchange(job_, std::nullopt);
            if (!next && stop_) stop = std::exchange(stop_, std::nullopt);
        }
        if (next) {
            switch (next->what) {
                case task::write: do_write(*next); break;
                case task::flush: do_flush(*next); break;
                case task::reopen: do_reopen(*next); break;
            }
            continue;
        }
        if (stop) {
            if (dirty_ && options_.sync != sync_mode::never) (void)sync();
            if (*stop) stop->succeed();
            return;
        }
        int timeout = -1;
        if (dirty_ && options_.sync == sync_mode::interval) {
            const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(synced_ + options_.sync_interval - clock::now()).count();
            if (left <= 0) {
                (void)sync();
                continue;
            }
            timeout = static_cast<int>(left) + 1;
        }
        pollfd p{wake_, POLLIN, 0};
        (void)::poll(&p, 1, timeout);
        std::uint64_t ignored = 0;
        (void)!::read(wake_, &ignored, sizeof ignored);
    }
}

// Before the answer: the host may send the next call from inside it.
void sink::over() {
    const std::lock_guard lock(mutex_);
    open_ = 0;
}

bool sink::wanted_back() {
    const std::lock_guard lock(mutex_);
    return cancelled_ || stop_.has_value();
}

void sink::do_write(job& j) {
    const auto& batch = *j.batch;
    std::size_t taken = 0;
    int error = 0;
    while (taken < batch.size()) {
        for (auto i = taken; i < batch.size() && (file_.pending() == 0 || file_.pending() + batch.line(i).size() <= block_bytes); ++i) file_.add(batch.line(i));
        const auto r = file_.write();
        taken += r.lines;
        bytes_.add(CG_METRIC_NO_SHARD, r.bytes);
        dirty_ = dirty_ || r.bytes != 0;
        error = r.error;
        if (error != 0 || (r.full && wanted_back())) break;
        if (!r.full) continue;
        file_.await(wake_, look_again_ms);
        std::uint64_t ignored = 0;
        (void)!::read(wake_, &ignored, sizeof ignored);
    }
    if (error != 0) failed("write", error);
    else if (taken != 0 && (options_.sync != sync_mode::always || sync() == 0)) worked();
    over();
    // What is in the file must not come twice; the next write tells of the error.
    if (error != 0 && taken == 0) j.op.fail(CG_E_UNAVAILABLE, fault_text("write", error), "path");
    else took(std::move(j.op), taken);
}

void sink::do_flush(job& j) {
    const int error = options_.sync == sync_mode::never ? 0 : sync();
    over();
    if (error != 0) j.op.fail(CG_E_UNAVAILABLE, fault_text("sync", error), "path");
    else j.op.succeed();
}

void sink::do_reopen(job& j) {
    try {
        if (options_.path != "stdout") {
            auto next = line_file::open(options_.path);
            if (file_.torn() != 0) (void)file_.write();
            if (dirty_ && options_.sync != sync_mode::never) (void)sync();
            file_ = std::move(next);
            dirty_ = false;
        }
        over();
        j.op.succeed();
    } catch (const sdk::status_error& e) {
        over();
        j.op.fail(e.code(), e.what(), e.where());
    }
}

int sink::sync() {
    const int error = file_.sync();
    synced_ = clock::now();
    dirty_ = false;
    if (error != 0) failed("sync", error);
    return error;
}

void sink::failed(const char* what, int error) {
    errors_.add();
    auto text = fault_text(what, error);
    const std::lock_guard lock(mutex_);
    fault_ = std::move(text);
}

void sink::worked() {
    const std::lock_guard lock(mutex_);
    fault_.clear();
}

std::string sink::fault_text(const char* what, int error) const {
    return std::string("cannot ") + what + " " + options_.path + ": " + std::strerror(error) + (error == ENOSPC || error == EDQUOT ? "; make room, nothing has to be restarted" : "");
}

}  // namespace callgate::audit_file
