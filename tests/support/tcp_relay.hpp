// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <cstdint>
#include <thread>

namespace callgate::test {

/// Forwards one TCP connection at a time from a port of 127.0.0.1 to another, byte by byte where a test wants
/// it: for half a TLS record, a stalled peer, a cut connection.
class tcp_relay {
  public:
    explicit tcp_relay(std::uint16_t target);
    ~tcp_relay();
    tcp_relay(const tcp_relay&) = delete;
    tcp_relay& operator=(const tcp_relay&) = delete;

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    /// Of what the target sends next, passes on only the first half; then nothing until release().
    void hold_half() noexcept { mode_ = mode::cut_next; }
    /// Half of something has been passed on and the rest is being kept.
    [[nodiscard]] bool holding() const noexcept { return mode_ == mode::holding; }
    void release() noexcept { mode_ = mode::open; }

  private:
    enum class mode : std::uint8_t { open, cut_next, holding };
    void serve();
    void forward(int client, int server);

    const std::uint16_t target_;
    std::uint16_t port_ = 0;
    int listener_ = -1;
    std::atomic<mode> mode_{mode::open};
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

}  // namespace callgate::test
