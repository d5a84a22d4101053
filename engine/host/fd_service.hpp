// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/fd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <map>
#include <memory>

namespace callgate::host {

/// fd/1 of one instance. All of it [control].
class fd_service {
  public:
    static constexpr std::size_t max_watches = CG_FD_MAX_WATCHES;
    using function = void (*)(void*, std::int32_t, std::uint32_t);

    explicit fd_service(boost::asio::io_context& io) : io_(io) {}

    cg_status watch(std::int32_t fd, std::uint32_t events, function fn, void* ctx, std::uint64_t& id);
    cg_status unwatch(std::uint64_t id);
    /// Nothing is called any more; returns how many watches there were.
    std::size_t close();

    static const cg_fd_api api;

  private:
    struct watched {
        boost::asio::posix::stream_descriptor copy;
        std::int32_t fd;
        function fn;
        void* ctx;
    };
    static void wait(const std::shared_ptr<watched>& w, std::uint32_t event);

    boost::asio::io_context& io_;
    std::map<std::uint64_t, std::shared_ptr<watched>> watches_;
    std::uint64_t next_id_ = 1;
    bool closed_ = false;
};

}  // namespace callgate::host
