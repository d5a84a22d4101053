// SPDX-License-Identifier: Apache-2.0
// Auth backend on the C++ SDK: throws for the token "throw", also later on a thread of its own for "throw_later"; allows all others.
#include <callgate/sdk/auth_backend.hpp>
#include <callgate/sdk/config.hpp>
#include <callgate/sdk/plugin.hpp>

#include <stdexcept>
#include <thread>

namespace {

using namespace callgate::sdk;

class throws final : public auth_backend {
  public:
    static constexpr std::string_view type = "throws", summary = "throws when told to", config_schema = R"({"type":"object"})";
    static std::unique_ptr<auth_backend> create(host_ref host, const create_args& args) {
        if (config_view::parse(args.config_json).has("throw")) throw std::runtime_error("told to by config.throw");
        return std::make_unique<throws>(host);
    }
    explicit throws(host_ref host) : auth_backend(host) {}
    void authenticate(shard_state*, op_handle&& op, const request_view& request) override {
        if (request.auth_token() == "throw") throw std::runtime_error("the directory answered nonsense");
        if (request.auth_token() == "throw_int") throw 4711;
        if (request.auth_token() == "throw_later") {
            join();
            // The handle's destructor answers while the exception is on its way.
            worker_ = std::thread([op = std::move(op)]() mutable {
                try {
                    const auto mine = std::move(op);
                    throw std::runtime_error("nobody hears this");
                } catch (const std::runtime_error&) {
                }
            });
            return;
        }
        reply_builder{}.allow(request.auth_token()).send(op);
    }
    void stop(op_handle&& op) override {
        join();
        op.succeed();
    }

  private:
    void join() {
        if (worker_.joinable()) worker_.join();
    }
    std::thread worker_;
};

}  // namespace

CALLGATE_PLUGIN("org.callgate.test.throws", "1.0.0", "callgate", "Apache-2.0", throws)
