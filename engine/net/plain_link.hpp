// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <utility>

#include "engine/net/link_core.hpp"
#include "engine/net/nats_link.hpp"

namespace callgate::net {

/// Plaintext: the core lives on the caller's own loop.
class plain_link final : public nats_link {
  public:
    plain_link(boost::asio::io_context& loop, link_options options, std::uint32_t index, link_handler& handler)
        : core_(std::make_shared<link_core>(loop, std::move(options), index, handler)) {}
    ~plain_link() override { core_->abandon(); }

    void start() override { core_->start(); }
    bool publish(std::string_view subject, std::span<const std::uint8_t> payload, std::string_view reply, std::string_view headers) override {
        return core_->publish(subject, payload, reply, headers);
    }
    void subscribe(std::uint64_t id, subscription_request wanted) override { core_->subscribe(id, std::move(wanted)); }
    void unsubscribe(std::uint64_t id) override { core_->unsubscribe(id); }
    void flush() override { core_->flush(); }
    void stop_receiving(std::int64_t limit_ns, std::function<void()> done) override {
        core_->stop_receiving(limit_ns, std::move(done));
    }
    void close(std::int64_t limit_ns, std::function<void()> done) override { core_->close(limit_ns, std::move(done)); }
    [[nodiscard]] const link_status& status() const override { return core_->status(); }
    [[nodiscard]] link_counters counters() const override { return core_->counters(); }

  private:
    std::shared_ptr<link_core> core_;
};

}  // namespace callgate::net
