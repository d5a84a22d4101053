// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <callgate/sdk/claim_store.hpp>
#include <callgate/sdk/plugin.hpp>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <variant>
#include <vector>

#include "plugins/store_sqlite/claims.hpp"

namespace callgate::store_sqlite {

struct engine_options {
    store_options store;
    std::size_t readers = 2;
    std::size_t queue = 4096;  ///< reads, and writes, that wait
    std::chrono::nanoseconds poll_interval = std::chrono::milliseconds(100);  ///< how soon a watch sees another process
};

/// Claim store "sqlite": one file. Reads on threads of their own, each with a connection; one thread writes, and puts
/// what waits into one transaction; one thread serves the watches.
class store final : public sdk::claim_store {
  public:
    static constexpr std::string_view type = "sqlite";
    static constexpr std::string_view summary = "keeps claims in an SQLite file";
    static constexpr std::string_view config_schema = R"({
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "additionalProperties": false,
  "required": ["path"],
  "properties": {
    "path": {"type": "string", "minLength": 1, "description": "the database file, mode 0600; SQLite keeps -wal and -shm beside it. Relative paths start at the configuration file"},
    "create": {"type": "boolean", "default": true, "description": "make the file when it is not there"},
    "synchronous": {"enum": ["full", "normal"], "default": "full", "description": "full: an answered commit survives loss of power; normal: only the end of the process"},
    "busy_timeout": {"type": "string", "default": "1s", "description": "how long a write waits for another process, 0 to 30s"},
    "readers": {"type": "integer", "minimum": 1, "maximum": 16, "default": 2, "description": "threads that read"},
    "queue": {"type": "integer", "minimum": 16, "maximum": 65536, "default": 4096, "description": "reads, and writes, that may wait"},
    "history": {"type": "integer", "minimum": 100, "maximum": 10000000, "default": 10000, "description": "changes kept for watches"},
    "history_bytes": {"type": "integer", "minimum": 1048576, "maximum": 68719476736, "default": 67108864, "description": "bytes of earlier values kept for watches"},
    "tokens": {"type": "integer", "minimum": 1000, "maximum": 10000000, "default": 10000, "description": "idempotency tokens remembered"},
    "max_bytes": {"type": "integer", "minimum": 1048576, "maximum": 1099511627776, "default": 1073741824, "description": "largest size of the database file"},
    "poll_interval": {"type": "string", "default": "100ms", "description": "how soon a watch sees what another process committed, 10ms to 10s"}
  }
})";

    static std::unique_ptr<sdk::claim_store> create(sdk::host_ref host, const sdk::create_args& args);
    store(sdk::host_ref host, engine_options options);
    ~store() override;

    void start(sdk::op_handle&& op) override;
    void drain(sdk::op_handle&& op) override;
    void stop(sdk::op_handle&& op) override;
    [[nodiscard]] sdk::health current_health() override;
    void get(sdk::shard_state*, sdk::op_handle&& op, const sdk::claim_get_view& request) override;
    void scan(sdk::shard_state*, sdk::op_handle&& op, const sdk::claim_scan_view& request) override;
    void commit(sdk::shard_state*, sdk::op_handle&& op, const sdk::claim_commit_view& request) override;
    void watch(sdk::shard_state*, sdk::op_handle&& op, const sdk::claim_watch_view& request, std::shared_ptr<sdk::stream_source> stream) override;
    void stream_changed(cg_stream stream) override;
    void snapshot(sdk::op_handle&& op, int fd) override;
    void restore(sdk::op_handle&& op, int fd, bool replace) override;

  private:
    /// Work with the thread's own connection; answers `op`, or throws what the operation fails with.
    struct read_job {
        sdk::op_handle op;
        std::function<void(claims&, sdk::op_handle&)> work;
    };
    struct write_job {
        sdk::op_handle op;
        std::variant<sdk::claim_commit_view, std::function<void(claims&, sdk::op_handle&)>> work;
    };
    struct watcher {
        std::shared_ptr<sdk::stream_source> stream;
        sdk::op_handle opening;  ///< not answered yet
        std::string prefix;
        watch_position at;
        bool from_token = false;
    };

    template <class Job>
    void enqueue(std::deque<Job>& queue, std::condition_variable& wake, Job&& job);
    void read_loop();
    void write_loop();
    void watch_loop();
    /// True: all were answered. Otherwise the transaction failed and `why` holds for all that have no answer.
    bool write_together(claims& db, std::vector<write_job>& jobs);
    void write_alone(claims& db, write_job& job);
    void serve(claims& db, watcher& w);
    void failed(const sdk::status_error& why);
    void worked();
    void finished(std::size_t jobs);
    void join();

    const engine_options options_;
    std::mutex mutex_;
    std::condition_variable read_wake_, write_wake_, watch_wake_;
    std::deque<read_job> reads_;
    std::deque<write_job> writes_;
    std::list<watcher> opening_;    // handed to the watch thread
    std::size_t watches_ = 0;
    std::size_t pending_ = 0;       // reads and writes not answered
    std::vector<sdk::op_handle> drains_;
    bool stopping_ = false;
    bool look_ = false;             // something changed that watches want to know
    std::size_t uncompacted_ = 1u << 20;  // changes since the last look; the first commit looks
    std::mutex health_mutex_;
    std::string fault_;             // of the last operation; empty = it worked
    std::vector<std::thread> threads_;
};

}  // namespace callgate::store_sqlite
