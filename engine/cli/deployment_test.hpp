// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <gtest/gtest.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/cli/init_plan.hpp"
#include "tests/support/nats_server.hpp"

/// What the tests of init share: a deployment in a folder of its own, and a real server that runs it.
namespace callgate::cli::test {

struct shape {
    deployment_mode mode;
    callgate::test::server_version server;
    [[nodiscard]] std::string name() const;  ///< "operator_2_10"
};
[[nodiscard]] const std::vector<shape>& all_shapes();

[[nodiscard]] init_request request_for(const shape& s, std::uint16_t port);

/// Names below `dir` with their contents, folders left out.
[[nodiscard]] std::map<std::string, std::string> snapshot(const std::string& dir);
[[nodiscard]] std::string slurp(const std::string& path);
void spit(const std::string& path, const std::string& text, mode_t mode);

/// nats-server on a deployment's own nats-server.conf, unchanged. Ready when constructed, killed when gone.
class deployed_server {
  public:
    deployed_server(callgate::test::server_version version, const std::string& config, std::uint16_t port);
    ~deployed_server();
    deployed_server(const deployed_server&) = delete;
    deployed_server& operator=(const deployed_server&) = delete;
    [[nodiscard]] std::string log() const { return slurp(log_.file("log")); }

  private:
    callgate::test::temp_dir log_;
    pid_t pid_ = -1;
};

struct command_result {
    int status = -1;  ///< exit status, 128 + signal when killed
    std::string out, err;
};
/// Runs a program with `input` as its standard input.
[[nodiscard]] command_result run_command(const std::vector<std::string>& command, const std::string& input = {});

}  // namespace callgate::cli::test
