// SPDX-License-Identifier: Apache-2.0
#include "engine/net/session.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "engine/base/clock.hpp"
#include "engine/base/log.hpp"
#include "engine/net/stuck_connect.hpp"

namespace callgate::net {
namespace {

namespace asio = boost::asio;

void set_option(int fd, int level, int name, int value) { ::setsockopt(fd, level, name, &value, sizeof value); }

// A dead peer must be noticed by the kernel: the ping timer of cnats is off, it may free the connection's
// SSL object under the loop's hands.
void set_liveness(int fd) {
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 4);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 2);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 2);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 6000);
    // cnats sets zero linger: closing would throw away replies the kernel has not sent yet.
    const linger off{0, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof off);
}

}  // namespace

session::session(asio::io_context& loop, std::uint32_t link, std::size_t max_payload_in)
    : loop_(loop), link_(link), max_payload_in_(max_payload_in), descriptor_(loop) {}

session::~session() {
    close();
    natsConnection_Destroy(nc_);  // not in close(): a worker may still be leaving round_trip()
}

result<void> session::connect(natsOptions* options) {
    natsOptions_SetEventLoop(options, this, hook_attach, hook_read, hook_write, hook_detach);
    natsConnection* nc = nullptr;
    const natsStatus s = natsConnection_Connect(&nc, options);
    if (s != NATS_OK) {
        natsStatus last = s;
        const char* text = nats_GetLastError(&last);
        std::string why = text && *text ? text : natsStatus_GetText(s);
        // cnats puts its own "(file.c:line): " in front.
        if (const auto end = why.find("): "); why.starts_with('(') && end != std::string::npos) why.erase(0, end + 3);
        release_descriptor();
        const bool auth = s == NATS_CONNECTION_AUTH_FAILED || why.find("uthorization") != std::string::npos;
        const bool gone = s == NATS_NO_SERVER || s == NATS_IO_ERROR || s == NATS_CONNECTION_CLOSED;
        return make_error(auth ? errc::permission : gone ? errc::unavailable : s == NATS_TIMEOUT ? errc::deadline : errc::invalid,
                          std::move(why));
    }
    nc_ = nc;
    return {};
}

natsStatus session::hook_attach(void** user, void* loop, natsConnection*, natsSock fd) {
    auto* self = static_cast<session*>(loop);
    set_liveness(fd);
    const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return NATS_SYS_ERROR;
    adopt_socket(copy);
    {
        const std::scoped_lock lock(self->fd_mutex_);
        self->fd_ = copy;
    }
    *user = self;
    return NATS_OK;
}

natsStatus session::hook_read(void*, bool) { return NATS_OK; }

natsStatus session::hook_write(void* user, bool add) {
    auto* self = static_cast<session*>(user);
    // On the loop's own thread whoever published also flushes; a thread that waits for a PONG does not.
    if (add && !self->loop_.get_executor().running_in_this_thread())
        asio::post(self->loop_, [weak = self->weak_from_this()] {
            if (const auto s = weak.lock()) s->write_out();
        });
    return NATS_OK;
}

natsStatus session::hook_detach(void* user) {
    static_cast<session*>(user)->detached_ = true;
    return NATS_OK;
}

result<void> session::start(session_owner& owner, std::span<const subscription_request> subscriptions) {
    owner_ = &owner;
    boost::system::error_code ec;
    descriptor_.assign(fd_, ec);
    if (ec) return make_error(errc::unavailable, "cannot watch the socket: " + ec.message());
    for (const auto& wanted : subscriptions)
        if (auto r = subscribe(0, wanted); !r) return r;
    write_out();
    arm_read();
    return {};
}

result<void> session::subscribe(std::uint64_t id, const subscription_request& wanted) {
    if (closed_ || detached_) return {};
    natsSubscription* sub = nullptr;
    const natsStatus s = wanted.queue.empty() ? natsConnection_SubscribeSync(&sub, nc_, wanted.subject.c_str())
                                              : natsConnection_QueueSubscribeSync(&sub, nc_, wanted.subject.c_str(), wanted.queue.c_str());
    if (s != NATS_OK) return make_error(errc::invalid, "cannot subscribe " + wanted.subject + ": " + natsStatus_GetText(s));
    // Every read round empties the lists, so nothing may be dropped by count.
    natsSubscription_SetPendingLimits(sub, -1, -1);
    subscriptions_.push_back({id, sub});
    return {};
}

void session::unsubscribe(std::uint64_t id) {
    if (closed_ || detached_) return;
    std::erase_if(subscriptions_, [id](const subscribed& s) {
        if (s.id != id) return false;
        natsSubscription_Unsubscribe(s.handle);
        natsSubscription_Destroy(s.handle);
        return true;
    });
}

bool session::publish(const char* subject, const char* reply, std::span<const std::uint8_t> payload, std::string_view headers) {
    if (closed_ || detached_) return false;
    const int size = static_cast<int>(payload.size());
    if (!headers.empty()) {
        natsMsg* m = nullptr;
        natsStatus s = natsMsg_Create(&m, subject, reply, reinterpret_cast<const char*>(payload.data()), size);
        for (auto at = headers.begin(); s == NATS_OK && at < headers.end();) {
            const char* name = &*at;
            const char* value = name + std::strlen(name) + 1;
            s = natsMsgHeader_Add(m, name, value);
            at += value + std::strlen(value) + 1 - name;
        }
        if (s == NATS_OK) s = natsConnection_PublishMsg(nc_, m);
        natsMsg_Destroy(m);
        if (s != NATS_OK) return false;
        pending_ += payload.size() + headers.size() + 128;
        return true;
    }
    const natsStatus s = reply ? natsConnection_PublishRequest(nc_, subject, reply, payload.data(), size)
                               : natsConnection_Publish(nc_, subject, payload.data(), size);
    if (s != NATS_OK) return false;
    pending_ += payload.size() + 128;  // made exact by the next write
    return true;
}

void session::write_out() {
    if (closed_ || write_armed_ || !nc_) return;
    if (natsConnection_Buffered(nc_) > 0) natsConnection_ProcessWriteEvent(nc_);
    if (detached_) {
        // Not from here: the caller may be in the middle of its own work on the owner.
        asio::post(loop_, [self = shared_from_this()] {
            if (!self->closed_) self->finish(self->last_error());
        });
        return;
    }
    const int left = natsConnection_Buffered(nc_);
    pending_ = left > 0 ? static_cast<std::size_t>(left) : 0;
    if (pending_ > 0) arm_write();
}

void session::arm_write() {
    write_armed_ = true;
    descriptor_.async_wait(asio::posix::descriptor_base::wait_write,
                           [self = shared_from_this()](const boost::system::error_code& ec) {
                               self->write_armed_ = false;
                               if (!ec && !self->closed_) self->write_out();
                           });
}

void session::arm_read() {
    if (read_armed_ || !reading_ || closed_ || !descriptor_.is_open()) return;
    read_armed_ = true;
    descriptor_.async_wait(asio::posix::descriptor_base::wait_read,
                           [self = shared_from_this()](const boost::system::error_code& ec) {
                               self->read_armed_ = false;
                               if (!ec && !self->closed_) self->read_round();
                           });
}

void session::set_reading(bool on) {
    reading_ = on;
    if (on) arm_read();
}

void session::read_round() {
    natsConnection_ProcessReadEvent(nc_);
    deliver();
    if (closed_) return;  // the owner may close while it handles messages
    report_server_error();
    if (closed_) return;
    if (detached_) return finish(last_error());
    write_out();  // PONGs, and what the handler published without a flush
    arm_read();
}

void session::deliver() {
    const auto now = system_clock_source().mono_ns();
    std::size_t refused = 0;
    for (const auto& [id, sub] : subscriptions_) {
        std::uint64_t queued = 0;
        if (natsSubscription_QueuedMsgs(sub, &queued) != NATS_OK) continue;
        for (; queued > 0; --queued) {
            natsMsg* raw = nullptr;
            const natsStatus s = natsSubscription_NextMsg(&raw, sub, 0);
            inbound_message m;
            if (s == NATS_NO_RESPONDERS && id != 0) {
                // cnats keeps the message to itself: only the subscription tells which request it was.
                m.arrival_ns = now;
                m.link = link_;
                m.subscription = id;
                batch_.push_back(std::move(m));
                continue;
            }
            if (s != NATS_OK || !raw) continue;
            m.owner.reset(raw);
            const auto size = static_cast<std::size_t>(natsMsg_GetDataLength(raw));
            if (size > max_payload_in_) {
                ++refused;
                continue;
            }
            m.subject = natsMsg_GetSubject(raw);
            if (const char* reply = natsMsg_GetReply(raw)) m.reply = reply;
            m.payload = {reinterpret_cast<const std::uint8_t*>(natsMsg_GetData(raw)), size};
            // Costs nothing on a message without headers: cnats parses them at the first question.
            const char* xkey = nullptr;
            if (natsMsgHeader_Get(raw, "Nats-Server-Xkey", &xkey) == NATS_OK && xkey) m.xkey_header = xkey;
            m.arrival_ns = now;
            m.link = link_;
            m.subscription = id;
            batch_.push_back(std::move(m));
        }
    }
    if (refused > 0) log::warn("dropped messages larger than max_payload_in", {{"link", link_}, {"count", refused}});
    if (batch_.empty()) return;
    auto batch = std::move(batch_);
    batch_.clear();
    if (owner_) owner_->on_batch(batch);
    batch.clear();
    if (batch_.empty()) batch_ = std::move(batch);  // keeps the capacity
}

std::string session::last_error() const {
    const char* text = nullptr;
    const natsStatus s = natsConnection_GetLastError(nc_, &text);
    if (text && *text) return text;
    return s == NATS_OK ? "connection closed" : natsStatus_GetText(s);
}

void session::report_server_error() {
    const char* text = nullptr;
    const natsStatus s = natsConnection_GetLastError(nc_, &text);
    if (s == NATS_OK || !text || detached_ || last_server_error_ == text) return;
    last_server_error_ = text;
    if (owner_) owner_->on_server_error(last_server_error_);
}

void session::unsubscribe_softly(std::int64_t limit_ms) {
    if (closed_ || detached_) return;
    for (const auto& s : subscriptions_) natsSubscription_DrainTimeout(s.handle, limit_ms);
    write_out();
}

bool session::round_trip(std::int64_t limit_ms) { return natsConnection_FlushTimeout(nc_, limit_ms) == NATS_OK; }

std::string session::server_id() const {
    char id[128] = {};
    return natsConnection_GetConnectedServerId(nc_, id, sizeof id) == NATS_OK ? id : std::string();
}

void session::interrupt() {
    const std::scoped_lock lock(fd_mutex_);
    if (fd_ >= 0) ::shutdown(fd_, SHUT_RDWR);
}

void session::release_descriptor() {
    const std::scoped_lock lock(fd_mutex_);
    if (fd_ < 0) return;
    forget_socket(fd_);
    if (descriptor_.is_open()) {
        boost::system::error_code ignored;
        descriptor_.close(ignored);
    } else {
        ::close(fd_);
    }
    fd_ = -1;
}

void session::finish(const std::string& reason) {
    auto* owner = owner_;
    close();
    if (owner) owner->on_closed(reason);
}

void session::close() {
    if (closed_) return;
    closed_ = true;
    owner_ = nullptr;
    if (nc_) {
        if (!detached_ && natsConnection_Buffered(nc_) > 0) {
            // Close() would wait for a PONG that only this thread can read; an end of stream does not.
            interrupt();
            for (int reads = 0; reads < 1024 && !detached_; ++reads) natsConnection_ProcessReadEvent(nc_);
        }
        natsConnection_Close(nc_);
    }
    release_descriptor();
    for (const auto& s : subscriptions_) natsSubscription_Destroy(s.handle);
    subscriptions_.clear();
}

std::vector<message_header> headers_of(const inbound_message& m) {
    std::vector<message_header> out;
    auto* raw = static_cast<natsMsg*>(m.owner.get());
    const char** names = nullptr;
    int count = 0;
    if (raw == nullptr || natsMsgHeader_Keys(raw, &names, &count) != NATS_OK) return out;
    for (int i = 0; i < count; ++i) {
        const char** values = nullptr;
        int n = 0;
        if (natsMsgHeader_Values(raw, names[i], &values, &n) != NATS_OK) continue;
        for (int k = 0; k < n; ++k) out.push_back({names[i], values[k]});
        std::free(static_cast<void*>(values));
    }
    std::free(static_cast<void*>(names));
    return out;
}

bool says_no_responders(const inbound_message& m) { return m.owner == nullptr && m.subscription != 0; }

std::string flat_headers(std::span<const message_header> headers) {
    std::string out;
    for (const auto& h : headers) {
        out += h.name;
        out += '\0';
        out += h.value;
        out += '\0';
    }
    return out;
}

void inbound_message::releaser::operator()(void* message) const noexcept {
    natsMsg_Destroy(static_cast<natsMsg*>(message));
}

}  // namespace callgate::net
