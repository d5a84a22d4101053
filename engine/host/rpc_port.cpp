// SPDX-License-Identifier: Apache-2.0
#include "engine/host/rpc_port.hpp"

#include <algorithm>
#include <utility>

#include "engine/host/abi_read.hpp"

namespace callgate::host {
namespace {

class call_body final : public operation_body {
  public:
    call_body(std::string method, std::string request, caller_identity caller, bool offline, std::shared_ptr<stream_hub> hub, std::shared_ptr<byte_stream> stream,
              rpc_port::answer then)
        : method_(std::move(method)), request_(std::move(request)), identity_(std::move(caller)), hub_(std::move(hub)), stream_(std::move(stream)), then_(std::move(then)) {
        caller_ = identity_.to_c();
        call_.struct_size = sizeof call_;
        call_.flags = offline ? CG_RPC_OFFLINE : 0;
        call_.method = to_c(method_);
        call_.request = {reinterpret_cast<const std::uint8_t*>(request_.data()), request_.size()};
        call_.caller = &caller_;
        sink_ = hub_->sink(*stream_);
    }
    [[nodiscard]] const cg_rpc_call* call() const noexcept { return &call_; }
    [[nodiscard]] const cg_stream_sink* sink() const noexcept { return &sink_; }

    taken take(const cg_completion& c) override {
        if (c.status == CG_OK) {
            hub_->opened(*stream_);
            opened_ = true;
            return taken::ok;
        }
        hub_->refused(*stream_);
        cg_error e{};
        failure_ = read_struct(c.error, e) ? make_error(to_errc(c.status), bounded(e.text, 2048), bounded(e.where, 1024))
                                           : make_error(to_errc(c.status), "failed with " + std::string(status_name(c.status)));
        return is_callers_fault(c.status) ? taken::ok : taken::failed;
    }
    void deliver() override {
        if (opened_) then_(std::move(stream_));
        else then_(std::move(failure_));
    }
    void fail(cg_status status) override {
        const bool late = status == CG_E_DEADLINE;
        // It may still open what nobody reads.
        if (late) stream_->cancel(CG_CANCEL_DEADLINE);
        else hub_->refused(*stream_);
        then_(make_error(to_errc(status), late ? "method \"" + method_ + "\" did not answer in time" : "method \"" + method_ + "\" was refused with " + std::string(status_name(status))));
    }

  private:
    const std::string method_, request_;
    const caller_identity identity_;
    const std::shared_ptr<stream_hub> hub_;
    std::shared_ptr<byte_stream> stream_;
    rpc_port::answer then_;
    cg_caller caller_{};
    cg_rpc_call call_{};
    cg_stream_sink sink_{};
    bool opened_ = false;
    error failure_;
};

// [a-z][a-z0-9_]* with dots between.
bool usable_name(std::string_view name) {
    if (name.empty() || name.size() > CG_RPC_MAX_NAME_BYTES || name.ends_with('.')) return false;
    for (std::size_t i = 0; i < name.size(); ++i) {
        const char c = name[i];
        const bool first = i == 0 || name[i - 1] == '.';
        if (!(c >= 'a' && c <= 'z') && (first || !((c >= '0' && c <= '9') || c == '_' || c == '.'))) return false;
    }
    return true;
}

}  // namespace

result<std::shared_ptr<rpc_port>> rpc_port::of(std::shared_ptr<instance> owner) {
    std::shared_ptr<rpc_port> out(new rpc_port(owner));
    const auto named = [&](errc code, const std::string& text) {
        return make_error(code, "plugin instance \"" + owner->name() + "\" (" + owner->library().plugin_id + "): " + text);
    };
    cg_instance head{};
    if (!read_struct(owner->plugin(), head) || head.query == nullptr) return named(errc::not_found, "it offers no methods (" CG_EXT_RPC ")");
    const auto* theirs = static_cast<const cg_rpc_api*>(head.query(owner->plugin(), to_c(std::string_view(CG_EXT_RPC))));
    if (theirs == nullptr) return named(errc::not_found, "it offers no methods (" CG_EXT_RPC ")");
    if (!read_struct(theirs, out->api_) || out->api_.methods == nullptr || out->api_.call == nullptr || !read_struct(out->api_.streams, out->control_))
        return named(errc::abi, "its table of " CG_EXT_RPC " lacks methods, call or streams");
    cg_rpc_methods list{};
    if (!read_struct(out->api_.methods(owner->plugin()), list) || list.count > CG_RPC_MAX_METHODS || (list.count != 0 && list.items == nullptr))
        return named(errc::abi, "its list of methods is missing or has more than 256");
    for (std::size_t i = 0; i < list.count; ++i) {
        const auto m = read_element(list.items, i, list.stride);
        if (!usable_name(view(m.name))) return named(errc::abi, "method " + std::to_string(i) + " has a name that is none");
        if (m.request_schema.size > CG_RPC_MAX_SCHEMA_BYTES || m.response_schema.size > CG_RPC_MAX_SCHEMA_BYTES)
            return named(errc::abi, "a schema of method \"" + std::string(view(m.name)) + "\" is larger than 64 KiB");
        if (std::ranges::any_of(out->methods_, [&](const auto& other) { return other.name == view(m.name); }))
            return named(errc::abi, "method \"" + std::string(view(m.name)) + "\" is there twice");
        out->methods_.push_back({std::string(view(m.name)), bounded(m.summary, 1024), std::string(view(m.request_schema)), std::string(view(m.response_schema)), m.flags});
    }
    return out;
}

void rpc_port::call(const std::string& method, std::string request, caller_identity caller, bool offline, std::int64_t timeout_ns, answer then) {
    const auto m = std::ranges::find(methods_, method, &rpc_method::name);
    if (m == methods_.end()) return then(make_error(errc::not_found, "\"" + owner_->name() + "\" has no method \"" + method + "\""));
    if ((m->flags & CG_RPC_READ_ONLY) == 0 && caller.may != CG_MAY_OPERATE) return then(make_error(errc::permission, "method \"" + method + "\" changes something; only operators may call it"));
    if (offline && (m->flags & CG_RPC_OFFLINE_TOO) == 0) return then(make_error(errc::unsupported, "method \"" + method + "\" needs the running daemon"));
    if (request.size() > CG_RPC_MAX_REQUEST_BYTES) return then(make_error(errc::invalid, "the request is larger than 1 MiB"));
    const auto hub = owner_->modules().streams();
    const auto stream = hub->make(control_, CG_RPC_MAX_CHUNK_BYTES);
    auto mine = std::make_unique<call_body>(method, std::move(request), std::move(caller), offline, hub, stream, then);
    const auto start = [call = api_.call, i = owner_.get(), c = mine->call(), sink = mine->sink()](cg_op op, void*) { return call(i->plugin(), op, c, sink); };
    std::unique_ptr<operation_body> body = std::move(mine);
    const auto& table = owner_->table();
    const auto why = owner_->begin(table.control_shard(), table.clock().mono_ns() + timeout_ns, body, start);
    if (why == refusal::none) return;
    hub->refused(*stream);
    then(make_error(to_errc(status_of(why)), "\"" + owner_->name() + "\" " + std::string(to_string(why))));
}

}  // namespace callgate::host
