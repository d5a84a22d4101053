// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/sdk/audit_sink.hpp>
#include <callgate/sdk/extensions_metrics.hpp>
#include <callgate/sdk/plugin.hpp>
#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "plugins/audit_file/line_file.hpp"

namespace callgate::audit_file {

enum class sync_mode : std::uint8_t { never, interval, always };

struct sink_options {
    std::string path;  ///< absolute, or "stdout"
    sync_mode sync = sync_mode::never;
    std::chrono::nanoseconds sync_interval = std::chrono::seconds(1);
};

/// Audit sink "file": JSON lines in one file. One thread writes; whoever calls never waits for the disk.
class sink final : public sdk::audit_sink {
  public:
    static constexpr std::string_view type = "file";
    static constexpr std::string_view summary = "appends audit records to a file, one JSON object a line";
    static constexpr std::string_view config_schema = R"({
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "additionalProperties": false,
  "required": ["path"],
  "properties": {
    "path": {"type": "string", "minLength": 1, "description": "file (created with mode 0600), FIFO, or stdout; relative paths start at the configuration file"},
    "fsync": {"enum": ["never", "interval", "always"], "default": "never", "description": "what survives loss of power; never: what the kernel has written by itself; always: every record that counts as written"},
    "fsync_interval": {"type": "string", "default": "1s", "description": "fsync: interval; 10ms to 1m"}
  }
})";

    static std::unique_ptr<sdk::audit_sink> create(sdk::host_ref host, const sdk::create_args& args);
    sink(sdk::host_ref host, sink_options options);
    ~sink() override;

    void start(sdk::op_handle&& op) override;
    void stop(sdk::op_handle&& op) override;
    [[nodiscard]] sdk::health current_health() override;
    void cancel(cg_op op, std::int32_t reason) override;
    void write(sdk::op_handle&& op, const sdk::audit_batch& batch) override;
    void flush(sdk::op_handle&& op) override;
    void reopen(sdk::op_handle&& op) override;

  private:
    enum class task : std::uint8_t { write, flush, reopen };
    struct job {
        task what;
        sdk::op_handle op;
        std::optional<sdk::audit_batch> batch{};
    };
    void hand_over(job&& j);
    void wake() const noexcept;
    void loop();
    void do_write(job& j);
    void do_flush(job& j);
    void do_reopen(job& j);
    void over();
    [[nodiscard]] bool wanted_back();
    int sync();
    void worked();
    void failed(const char* what, int error);
    [[nodiscard]] std::string fault_text(const char* what, int error) const;

    const sink_options options_;
    const sdk::metric_counter bytes_, errors_;
    int wake_ = -1;  // eventfd
    std::mutex mutex_;
    std::optional<job> job_;
    std::optional<sdk::op_handle> stop_;
    cg_op open_ = 0;  // the call that is open
    bool cancelled_ = false;
    std::string fault_;
    // The thread's own.
    line_file file_;
    bool dirty_ = false;
    std::chrono::steady_clock::time_point synced_{};
    std::thread thread_;
};

}  // namespace callgate::audit_file
