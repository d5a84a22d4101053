// SPDX-License-Identifier: Apache-2.0
#include "engine/host/admin_routes.hpp"

#include <algorithm>
#include <utility>

#include "engine/base/log.hpp"
#include "engine/host/abi_read.hpp"

namespace callgate::host {
namespace {

constexpr std::string_view plain_text = "text/plain; charset=utf-8";

admin_answer text_answer(unsigned status, std::string text) { return {status, std::string(plain_text), std::move(text) + "\n", nullptr}; }

bool usable_content_type(std::string_view t) {
    return t.size() <= 128 && std::ranges::all_of(t, [](char c) { return c >= 0x20 && c <= 0x7e; });
}

class admin_body final : public operation_body {
  public:
    admin_body(admin_call call, std::string module, std::shared_ptr<stream_hub> hub, std::shared_ptr<byte_stream> stream, std::function<void(admin_answer)> then)
        : call_(std::move(call)), module_(std::move(module)), hub_(std::move(hub)), stream_(std::move(stream)), then_(std::move(then)) {
        for (const auto& [name, value] : call_.headers) headers_.push_back({to_c(name), to_c(value)});
        caller_ = call_.caller.to_c();
        request_.struct_size = sizeof request_;
        request_.headers_stride = sizeof(cg_admin_header);
        request_.method = to_c(call_.method);
        request_.path = to_c(call_.path);
        request_.query = to_c(call_.query);
        request_.headers = headers_.data();
        request_.header_count = headers_.size();
        request_.body = {reinterpret_cast<const std::uint8_t*>(call_.body.data()), call_.body.size()};
        request_.caller = &caller_;
        if (stream_) sink_ = hub_->sink(*stream_);
    }
    [[nodiscard]] const cg_admin_request* request() const noexcept { return &request_; }
    [[nodiscard]] const cg_stream_sink* sink() const noexcept { return stream_ ? &sink_ : nullptr; }

    taken take(const cg_completion& c) override {
        if (c.status != CG_OK) {
            cg_error e{};
            failed(c.status, read_struct(c.error, e) ? bounded(e.text, 1024) : std::string(status_name(c.status)));
            no_stream();
            return taken::failed;
        }
        cg_admin_response r{};
        const bool readable = read_struct(static_cast<const cg_admin_response*>(c.result), r);
        const bool streamed = readable && (r.flags & CG_ADMIN_STREAMED) != 0;
        const char* wrong = nullptr;
        if (!readable) wrong = "answered without a cg_admin_response";
        else if (r.http_status < 200 || r.http_status > 599) wrong = "answered with an HTTP status that is none";
        else if (r.body.size > CG_ADMIN_MAX_RESPONSE_BYTES) wrong = "answered with a body above 8 MiB; stream it";
        else if (r.body.data == nullptr && r.body.size != 0) wrong = "answered with a body without memory";
        else if (!usable_content_type(view(r.content_type))) wrong = "answered with an unusable content type";
        else if (streamed && (!stream_ || r.body.size != 0)) wrong = "streams although the route has no streams, or beside a body";
        if (wrong != nullptr) {
            failed(CG_E_INTERNAL, wrong);
            if (streamed && stream_) {
                hub_->opened(*stream_);
                stream_->cancel(CG_CANCEL_REQUESTER);
                stream_.reset();
            } else {
                no_stream();
            }
            return taken::fault;
        }
        answer_.status = r.http_status;
        answer_.content_type = r.content_type.size == 0 ? std::string(plain_text) : std::string(view(r.content_type));
        answer_.body.assign(reinterpret_cast<const char*>(r.body.data), r.body.size);
        if (streamed) {
            hub_->opened(*stream_);
            answer_.stream = std::move(stream_);
        } else {
            no_stream();
        }
        return taken::ok;
    }
    void deliver() override { then_(std::move(answer_)); }
    void fail(cg_status status) override {
        failed(status, status == CG_E_DEADLINE ? "did not answer in time" : std::string(status_name(status)));
        // It may still open what nobody reads.
        if (status == CG_E_DEADLINE && stream_) stream_->cancel(CG_CANCEL_DEADLINE);
        else no_stream();
        then_(std::move(answer_));
    }

  private:
    void failed(cg_status status, const std::string& why) {
        const bool later = status == CG_E_BUSY || status == CG_E_UNAVAILABLE || status == CG_E_DEADLINE || status == CG_E_CANCELLED;
        log::warn("a module failed on a request of the admin listener", {{"module", module_}, {"path", call_.path}, {"reason", why}});
        answer_ = text_answer(later ? 503 : 500, "module \"" + module_ + "\" " + (status == CG_E_DEADLINE ? "did not answer in time" : "failed; the log says why"));
    }
    void no_stream() {
        if (stream_) hub_->refused(*stream_);
        stream_.reset();
    }

    const admin_call call_;
    const std::string module_;
    const std::shared_ptr<stream_hub> hub_;
    std::shared_ptr<byte_stream> stream_;
    std::function<void(admin_answer)> then_;
    std::vector<cg_admin_header> headers_;
    cg_caller caller_{};
    cg_admin_request request_{};
    cg_stream_sink sink_{};
    admin_answer answer_;
};

bool matches(const admin_route& r, std::string_view path) { return r.prefix ? path.starts_with(r.path) : path == r.path; }
bool takes(const admin_route& r, std::string_view method) { return r.method == method || (r.method == "GET" && method == "HEAD"); }

}  // namespace

result<std::shared_ptr<const admin_routes>> admin_routes::of(const std::vector<std::shared_ptr<instance>>& modules) {
    auto out = std::make_shared<admin_routes>();
    out->readable_ = "/livez";
    for (const auto& m : modules)
        for (const auto& r : m->modules().routes()) {
            for (const auto& e : out->entries_)
                if (e.route.method == r.method && e.route.path == r.path && e.route.prefix == r.prefix)
                    return make_error(errc::invalid, "modules \"" + e.owner->name() + "\" and \"" + m->name() + "\" both serve " + r.method + " " + r.path +
                                                         " on the admin listener; leave one of them out");
            out->entries_.push_back({m, r});
            if (r.needs == CG_MAY_READ && r.method == "GET" && !r.prefix) out->readable_ += " " + r.path;
        }
    return std::shared_ptr<const admin_routes>(std::move(out));
}

void admin_routes::serve(admin_call call, std::function<void(admin_answer)> then) const {
    // The longest path wins, an exact one before a prefix; methods are looked at afterwards, so that a wrong one is a 405.
    const entry* best = nullptr;
    for (const auto& e : entries_)
        if (matches(e.route, call.path) && (best == nullptr || std::pair(!e.route.prefix, e.route.path.size()) > std::pair(!best->route.prefix, best->route.path.size())))
            best = &e;
    const bool reading = call.method == "GET" || call.method == "HEAD";
    if (best == nullptr) return then(reading ? text_answer(404, readable_) : text_answer(405, "GET"));
    std::string offered;
    const entry* chosen = nullptr;
    bool allowed = false;
    for (const auto& e : entries_) {
        if (e.route.path != best->route.path || e.route.prefix != best->route.prefix) continue;
        offered += (offered.empty() ? "" : " ") + e.route.method;
        allowed = allowed || e.route.needs <= call.caller.may;
        if (takes(e.route, call.method)) chosen = &e;
    }
    // Also for a method that it does not have: who may not use it learns nothing of it.
    if (!allowed || (chosen != nullptr && chosen->route.needs > call.caller.may))
        return then(text_answer(403, best->route.path.substr(1) + " is taken on the Unix socket only"));
    if (chosen == nullptr) return then(text_answer(405, offered));

    const auto& owner = chosen->owner;
    if (call.method == "HEAD") call.method = "GET";
    const auto hub = owner->modules().streams();
    std::shared_ptr<byte_stream> stream;
    cg_stream_control control{};
    if (read_struct(chosen->route.streams, control)) stream = hub->make(control, CG_ADMIN_MAX_CHUNK_BYTES);
    auto mine = std::make_unique<admin_body>(std::move(call), owner->name(), hub, stream, then);
    const auto start = [handle = chosen->route.handle, ctx = chosen->route.ctx, request = mine->request(), sink = mine->sink()](cg_op op, void*) {
        return handle(ctx, op, request, sink);
    };
    std::unique_ptr<operation_body> body = std::move(mine);
    const auto timeout = owner->options().timeout_ns > 0 ? owner->options().timeout_ns : default_timeout_ns;
    const auto& table = owner->table();
    const auto why = owner->begin(table.control_shard(), table.clock().mono_ns() + timeout, body, start);
    if (why == refusal::none) return;
    if (stream) hub->refused(*stream);
    then(text_answer(503, "module \"" + owner->name() + "\" " + std::string(to_string(why))));
}

}  // namespace callgate::host
