// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace callgate::test {

enum class server_version : std::uint8_t { v2_10, v2_15 };
[[nodiscard]] std::string_view to_string(server_version v);  ///< "2.10.27", "2.15.1"

/// Path of the real server: NATS_SERVER_2_10 or NATS_SERVER_2_15, else what tools/setup put into
/// build/deps of the source tree. Throws std::runtime_error that says what to do when there is none: a missing
/// server is a failed test, never a skipped one.
[[nodiscard]] std::string server_binary(server_version v);

/// A port of 127.0.0.1 that was free a moment ago.
[[nodiscard]] std::uint16_t free_port();

/// An empty directory, removed with all it holds when the object goes.
class temp_dir {
  public:
    temp_dir();
    ~temp_dir();
    temp_dir(const temp_dir&) = delete;
    temp_dir& operator=(const temp_dir&) = delete;
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }
    /// Writes and returns the path. Mode as given.
    std::string write(std::string_view name, std::string_view text, mode_t mode = 0600) const;

  private:
    std::string path_;
};

/// One nats-server process on 127.0.0.1. Ready when the constructor returns; killed when the object goes.
/// Start-up failures throw std::runtime_error with the server's log.
class nats_server {
  public:
    /// `config` is nats-server configuration without `listen`, `port` and `ports_file_dir`, which the wrapper
    /// adds. `{dir}` in it becomes the server's directory; `files` are written there first (name -> text).
    explicit nats_server(server_version version, std::string config = {}, const std::map<std::string, std::string>& files = {});
    ~nats_server();
    nats_server(const nats_server&) = delete;
    nats_server& operator=(const nats_server&) = delete;

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    [[nodiscard]] std::string url() const;  ///< nats://127.0.0.1:port
    /// First URL of another kind in the ports file: "websocket", "monitoring", ...; empty when there is none.
    [[nodiscard]] std::string url_of(std::string_view kind) const;
    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    [[nodiscard]] const std::string& dir() const noexcept { return dir_.path(); }
    [[nodiscard]] std::string log() const;

    void kill9();      ///< SIGKILL, waits until it is gone
    void terminate();  ///< SIGTERM, waits until it is gone
    void freeze();     ///< SIGSTOP
    void thaw();       ///< SIGCONT
    void reload(std::string config);  ///< new configuration, SIGHUP; returns when the log says so
    void start();      ///< again, on the same port; returns when it is ready
    [[nodiscard]] bool running() const noexcept { return pid_ > 0; }

  private:
    void write_config();
    void read_ports();
    void reap();

    const server_version version_;
    std::string config_;
    temp_dir dir_;
    std::uint16_t port_ = 0;
    pid_t pid_ = -1;
    std::map<std::string, std::string> urls_;
};

}  // namespace callgate::test
