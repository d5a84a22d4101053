// SPDX-License-Identifier: Apache-2.0
#include "engine/host/fd_service.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "engine/host/services.hpp"

namespace callgate::host {

// A duplicate is watched: the plugin may close its own, and reuse the number, without the loop noticing; and one descriptor can be
// watched twice.
cg_status fd_service::watch(std::int32_t fd, std::uint32_t events, function fn, void* ctx, std::uint64_t& id) {
    if (closed_) return CG_E_CANCELLED;
    if (fn == nullptr || events == 0 || (events & ~(CG_FD_READ | CG_FD_WRITE)) != 0) return CG_E_INVALID;
    if (watches_.size() >= max_watches) return CG_E_BUSY;
    // Always ready in name, and epoll takes none of them; the loop would accept them and never report.
    struct stat st {};
    if (::fstat(fd, &st) != 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode)) return CG_E_INVALID;
    const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) return errno == EMFILE ? CG_E_BUSY : CG_E_INVALID;
    auto w = std::make_shared<watched>(watched{boost::asio::posix::stream_descriptor(io_), fd, fn, ctx});
    boost::system::error_code refused;
    w->copy.assign(copy, refused);
    if (refused) {
        (void)::close(copy);
        return CG_E_INVALID;
    }
    id = next_id_++;
    watches_.emplace(id, w);
    if ((events & CG_FD_READ) != 0) wait(w, CG_FD_READ);
    if ((events & CG_FD_WRITE) != 0) wait(w, CG_FD_WRITE);
    return CG_OK;
}

// Each wait registers anew, by which the edge-triggered loop reports what is ready already: level triggered for the plugin.
void fd_service::wait(const std::shared_ptr<watched>& w, std::uint32_t event) {
    const auto what = event == CG_FD_READ ? boost::asio::posix::stream_descriptor::wait_read : boost::asio::posix::stream_descriptor::wait_write;
    w->copy.async_wait(what, [weak = std::weak_ptr(w), event](const boost::system::error_code& ec) {
        const auto alive = weak.lock();
        // Gone from the map: unwatched after this was queued.
        if (ec || !alive || !alive->copy.is_open()) return;
        alive->fn(alive->ctx, alive->fd, event);
        if (alive->copy.is_open()) wait(alive, event);
    });
}

cg_status fd_service::unwatch(std::uint64_t id) {
    const auto it = watches_.find(id);
    if (it == watches_.end()) return CG_E_NOT_FOUND;
    boost::system::error_code ignored;
    it->second->copy.close(ignored);
    watches_.erase(it);
    return CG_OK;
}

std::size_t fd_service::close() {
    closed_ = true;
    const auto left = watches_.size();
    while (!watches_.empty()) (void)unwatch(watches_.begin()->first);
    return left;
}

const cg_fd_api fd_service::api = {
    sizeof(cg_fd_api), 0,
    [](const cg_host* host, std::int32_t fd, std::uint32_t events, fd_service::function fn, void* ctx, std::uint64_t* id) noexcept -> cg_status {
        return id == nullptr ? CG_E_INVALID : services::of(host).descriptors().watch(fd, events, fn, ctx, *id);
    },
    [](const cg_host* host, std::uint64_t id) noexcept -> cg_status { return services::of(host).descriptors().unwatch(id); }};

}  // namespace callgate::host
