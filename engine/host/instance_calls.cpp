// SPDX-License-Identifier: Apache-2.0
#include "engine/host/instance_calls.hpp"

#include <callgate/abi/draft/kinds.h>

#include <algorithm>
#include <utility>

#include "engine/host/abi_read.hpp"
#include "engine/host/instance.hpp"
#include "engine/host/services.hpp"

namespace callgate::host {
namespace {

constexpr std::int64_t default_timeout_ns = 5'000'000'000, max_timeout_ns = 60'000'000'000;

cg_instance_answer failure(cg_status status, std::string_view text) { return {sizeof(cg_instance_answer), status, nullptr, to_c(text)}; }

// One signature of a provider; owns itself until the provider's adapter has answered, which it does exactly once.
class one_signature final : public flow::completion_sink {
  public:
    struct message final : flow::pinned {
        std::vector<std::uint8_t> bytes;
    };
    static void run(const std::shared_ptr<instance>& provider, const std::string& label, std::uint32_t purpose,
                    boost::intrusive_ptr<const message> text, std::int64_t timeout_ns, call_answer then) {
        const auto key = provider->keys().find(label);
        if (key == provider->keys().end()) return then(failure(CG_E_NOT_FOUND, "the key provider has no key of that label"));
        if (key->second.algorithm != CG_KEY_ED25519) return then(failure(CG_E_INVALID, "that key does not sign"));
        auto* sink = new one_signature(provider, key->second.nkey, std::move(then));
        auto job = std::make_unique<flow::sign_job>();
        auto& item = job->items.emplace_back();
        item.key = key->second.key;
        item.purpose = purpose;
        item.message = {text->bytes.data(), text->bytes.size()};
        item.hold = text;
        const auto& table = provider->table();
        provider->keys_port()->sign(table.control_shard(), std::move(job), table.clock().mono_ns() + timeout_ns, *sink);
    }
    void on_signed(std::unique_ptr<flow::sign_job> job) override {
        const std::unique_ptr<one_signature> self(this);
        const auto& item = job->items.front();
        const auto status = job->status != CG_OK ? job->status : item.status;
        if (status != CG_OK) return then_(failure(status, "the key provider did not sign"));
        cg_instance_signature s{};
        s.struct_size = sizeof s;
        s.nkey = to_c(nkey_);
        std::copy(std::begin(item.signature), std::end(item.signature), s.signature);
        then_({sizeof(cg_instance_answer), CG_OK, &s, {}});
    }
    void on_auth(flow::request_tag, flow::auth_result&&) override {}
    void on_shared(flow::request_tag, result<crypto::secret>) override {}

  private:
    one_signature(std::shared_ptr<instance> provider, std::string nkey, call_answer then)
        : provider_(std::move(provider)), nkey_(std::move(nkey)), then_(std::move(then)) {}
    const std::shared_ptr<instance> provider_;
    const std::string nkey_;
    const call_answer then_;
};

}  // namespace

std::string_view target_kind(std::uint32_t kind) noexcept {
    switch (kind) {
        case CG_KIND_KEY_PROVIDER: return "keys";
        case CG_KIND_CLAIM_STORE: return "store";
        default: return {};
    }
}

void instance_directory::add(const std::shared_ptr<instance>& i) { started_.emplace(std::pair(i->kind(), i->name()), i); }

void instance_directory::remove(const instance& i) {
    // By key: while it is being freed a weak reference to it has expired already.
    const auto [from, to] = started_.equal_range({i.kind(), i.name()});
    for (auto it = from; it != to;) {
        const auto alive = it->second.lock();
        it = !alive || alive.get() == &i ? started_.erase(it) : std::next(it);
    }
}

std::shared_ptr<instance> instance_directory::find(std::uint32_t kind, const std::string& name) const {
    const auto [from, to] = started_.equal_range({kind, name});
    for (auto it = to; it != from;)
        if (auto alive = (--it)->second.lock()) return alive;
    return nullptr;
}

cg_status instance_calls::find(std::uint32_t kind, std::string_view name, cg_target& out) {
    const auto word = target_kind(kind);
    if (word.empty()) return CG_E_UNSUPPORTED;
    const auto wanted = std::string(word) + "/" + std::string(name.substr(0, 256));
    if (std::find(uses_.begin(), uses_.end(), wanted) == uses_.end()) return CG_E_PERMISSION;
    const std::lock_guard lock(mutex_);
    if (targets_.size() >= max_targets) return CG_E_BUSY;
    targets_.push_back({kind, std::string(name)});
    out = static_cast<cg_target>(targets_.size());
    return CG_OK;
}

cg_status instance_calls::begin(const cg_instance_call& call, std::uint32_t kind, work w) {
    if (call.done == nullptr || call.timeout_ns < 0 || call.timeout_ns > max_timeout_ns) return CG_E_INVALID;
    std::string name;
    {
        const std::lock_guard lock(mutex_);
        if (closed_) return CG_E_CANCELLED;
        if (call.target == 0 || call.target > targets_.size() || targets_[call.target - 1].kind != kind) return CG_E_INVALID;
        if (calls_ >= max_calls) return CG_E_BUSY;
        ++calls_;
        name = targets_[call.target - 1].name;
    }
    const auto timeout = call.timeout_ns == 0 ? default_timeout_ns : call.timeout_ns;
    loop_->post([self = shared_from_this(), kind, name, timeout, w = std::move(w), done = call.done, ctx = call.ctx] {
        const auto other = self->directory_->find(kind, name);
        if (!other) return self->answer(done, ctx, failure(CG_E_UNAVAILABLE, "that instance is not running"));
        w(other, timeout, [self, done, ctx](const cg_instance_answer& a) { self->answer(done, ctx, a); });
    });
    return CG_OK;
}

void instance_calls::answer(void (*done)(void*, const cg_instance_answer*), void* ctx, const cg_instance_answer& a) {
    {
        const std::lock_guard lock(mutex_);
        if (closed_) return;
        --calls_;
    }
    done(ctx, &a);
}

cg_status instance_calls::sign(const cg_instance_call& call, const cg_instance_sign& r) {
    if (r.message.size > CG_INSTANCE_MAX_BYTES || (r.message.data == nullptr && r.message.size != 0) || r.label.size > 256) return CG_E_INVALID;
    boost::intrusive_ptr<one_signature::message> text(new one_signature::message);
    text->bytes.assign(r.message.data, r.message.data + r.message.size);
    return begin(call, CG_KIND_KEY_PROVIDER,
                 [label = std::string(view(r.label)), purpose = r.purpose, text = boost::intrusive_ptr<const one_signature::message>(text)](
                     const std::shared_ptr<instance>& provider, std::int64_t timeout_ns, call_answer then) {
                     one_signature::run(provider, label, purpose, text, timeout_ns, std::move(then));
                 });
}

cg_status instance_calls::ask_store(const cg_instance_call& call, std::unique_ptr<store_request> request) {
    if (!request) return CG_E_INVALID;
    return begin(call, CG_KIND_CLAIM_STORE,
                 [r = std::shared_ptr<store_request>(std::move(request))](const std::shared_ptr<instance>& store, std::int64_t timeout_ns,
                                                                          call_answer then) { r->run(store, timeout_ns, std::move(then)); });
}

std::size_t instance_calls::close() {
    const std::lock_guard lock(mutex_);
    if (std::exchange(closed_, true)) return 0;
    return calls_;
}

namespace {
template <class Request>
cg_status ask(const cg_host* host, const cg_instance_call* call, const Request* request) noexcept {
    cg_instance_call c{};
    Request r{};
    if (!read_struct(call, c) || !read_struct(request, r)) return CG_E_INVALID;
    return services::of(host).calls().ask_store(c, copy_request(r));
}
}  // namespace

const cg_instance_api instance_calls::api = {
    sizeof(cg_instance_api), 0,
    [](const cg_host* host, std::uint32_t kind, cg_str name, cg_target* target) noexcept -> cg_status {
        return target == nullptr ? CG_E_INVALID : services::of(host).calls().find(kind, view(name), *target);
    },
    [](const cg_host* host, const cg_instance_call* call, const cg_instance_sign* request) noexcept -> cg_status {
        cg_instance_call c{};
        cg_instance_sign r{};
        if (!read_struct(call, c) || !read_struct(request, r)) return CG_E_INVALID;
        return services::of(host).calls().sign(c, r);
    },
    &ask<cg_claim_get>, &ask<cg_claim_scan>, &ask<cg_claim_commit>};

}  // namespace callgate::host
