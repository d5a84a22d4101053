// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/sdk/plugin.hpp>
#include <callgate/sdk/testing/fake_host.hpp>

namespace callgate::sdk::test {

/// A request with the fields tests set; the rest is absent. Must outlive the operation it is used in.
struct test_request {
    std::string credential, user, pass, auth_token, jwt, nkey, sig, nonce, client_host = "192.0.2.7";
    std::uint32_t credential_source = CG_CREDENTIAL_NONE;
    std::uint32_t flags = 0;
    cg_auth_request c{};

    const cg_auth_request* fill(const fake_host& host) {
        c = make<cg_auth_request>();
        c.flags = flags;
        c.trust = CG_TRUST_VERIFIED;
        c.arrival_ns = host.now_ns();
        c.now_unix_s = host.wall_unix_s();
        c.client_kind = CG_CLIENT_NATS;
        c.client_host = to_c(client_host);
        c.client_nonce = to_c(nonce);
        c.jwt = to_c(jwt);
        c.nkey = to_c(nkey);
        c.sig = to_c(sig);
        c.auth_token = to_c(auth_token);
        c.user = to_c(user);
        c.pass = to_c(pass);
        c.credential_source = credential_source;
        c.credential = to_c(credential);
        return &c;
    }
};

/// One instance driven through its C interface, from create to destroy, also one written in another language. Throws
/// std::runtime_error with the plugin's words when create fails. All of it on one thread, which is [control] and [shard].
class driver {
  public:
    driver(fake_host& host, const cg_factory& factory, const std::string& config_json, const std::string& base_dir = {}) : host_(host) {
        auto args = make<cg_create_args>();
        args.name = host.get()->instance_name;
        args.config_json = to_c(config_json);
        args.base_dir = to_c(base_dir);
        char text[1024];
        auto error = make<cg_errbuf>();
        error.text = {reinterpret_cast<std::uint8_t*>(text), sizeof text, 0};
        if (factory.create(&factory, host.get(), &args, &instance_, &error) != CG_OK)
            throw std::runtime_error(std::string(text, std::min(error.text.size, sizeof text)));
    }
    driver(const driver&) = delete;
    driver& operator=(const driver&) = delete;
    ~driver() {
        if (started_ && !stopped_) stop();
        if (attached_ && instance_->life->shard_detach != nullptr) instance_->life->shard_detach(instance_, 0, shard_);
        instance_->life->destroy(instance_);
    }

    [[nodiscard]] cg_instance* get() const noexcept { return instance_; }
    /// Accepted; the answer may come later.
    cg_op start_op() {
        const cg_op op = host_.begin(result_kind::none);
        started_ = true;
        run(op, instance_->life->start);
        return op;
    }
    /// Runs timers and routed exchanges, then attaches shard 0 when start succeeded.
    completion start() {
        const cg_op op = start_op();
        host_.run();
        auto c = host_.wait(op).value();
        if (c.status == CG_OK) attach();
        return c;
    }
    void attach() {
        if (instance_->life->shard_attach != nullptr && instance_->life->shard_attach(instance_, 0, &shard_) != CG_OK) throw std::runtime_error("shard_attach failed");
        attached_ = true;
    }
    completion stop() {
        const cg_op drain = host_.begin(result_kind::none);
        run(drain, instance_->life->drain);
        host_.run();
        (void)host_.wait(drain).value();
        const cg_op op = host_.begin(result_kind::none);
        run(op, instance_->life->stop);
        host_.run();
        stopped_ = true;
        return host_.wait(op).value();
    }
    completion health() {
        const cg_op op = host_.begin(result_kind::health);
        run(op, instance_->life->health);
        return host_.wait(op).value();
    }
    void cancel(cg_op op, std::int32_t reason = CG_CANCEL_DEADLINE) {
        host_.mark_cancelled(op);
        if (instance_->life->cancel != nullptr) instance_->life->cancel(instance_, op, reason);
    }

    cg_op authenticate_op(test_request& request, std::optional<std::chrono::nanoseconds> left = std::chrono::seconds(2)) {
        const auto* api = static_cast<const cg_auth_backend_api*>(instance_->api);
        const cg_op op = host_.begin(result_kind::auth_reply, left);
        accepted(op, api->authenticate(instance_, shard_, op, request.fill(host_)));
        return op;
    }
    completion authenticate(test_request& request) { return host_.wait(authenticate_op(request)).value(); }

    completion list_keys(std::span<const std::uint8_t> from = {}) {
        const auto* api = static_cast<const cg_key_provider_api*>(instance_->api);
        const cg_op op = host_.begin(result_kind::key_page);
        accepted(op, api->list_keys(instance_, op, to_c(from)));
        return host_.wait(op).value();
    }
    completion sign(std::vector<cg_sign_item>& items) {
        const auto* api = static_cast<const cg_key_provider_api*>(instance_->api);
        const cg_op op = host_.begin(result_kind::none);
        auto batch = make<cg_sign_batch>();
        batch.stride = sizeof(cg_sign_item);
        batch.items = items.data();
        batch.count = items.size();
        accepted(op, api->sign_batch(instance_, shard_, op, &batch));
        return host_.wait(op).value();
    }
    completion export_shared(cg_key key, std::span<const std::uint8_t> peer) {
        const auto* api = static_cast<const cg_key_provider_api*>(instance_->api);
        const cg_op op = host_.begin(result_kind::shared_key);
        accepted(op, api->export_shared == nullptr ? CG_E_UNSUPPORTED : api->export_shared(instance_, shard_, op, key, to_c(peer)));
        return host_.wait(op).value();
    }

  private:
    /// A life cycle function that is NULL has nothing to do and counts as done.
    void run(cg_op op, cg_status (*function)(cg_instance*, cg_op)) {
        if (function != nullptr) accepted(op, function(instance_, op));
        else complete(op, CG_OK);
    }
    /// What was not accepted is over with that status; a plugin that completes it all the same shows in host.faults().
    void accepted(cg_op op, cg_status status) {
        if (status != CG_OK) complete(op, status);
    }
    void complete(cg_op op, cg_status status) {
        auto c = make<cg_completion>();
        c.status = status;
        host_.get()->core->complete(host_.get(), op, &c);
    }

    fake_host& host_;
    cg_instance* instance_ = nullptr;
    void* shard_ = nullptr;
    bool attached_ = false, started_ = false, stopped_ = false;
};

}  // namespace callgate::sdk::test
