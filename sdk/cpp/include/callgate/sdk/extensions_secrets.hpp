// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/secrets.h>
#include <callgate/sdk/extensions.hpp>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

/// secrets/1 (draft): what a property marked "x-callgate-secret" stands for.
namespace callgate::sdk {

namespace ext {
struct secrets {
    using api = cg_secrets_api;
    static constexpr std::string_view id = CG_EXT_SECRETS;
};
}  // namespace ext

/// A copy of a secret that is wiped when it goes. Move-only; keep it short, the host has the bytes.
class secret_copy {
  public:
    explicit secret_copy(std::size_t size) : bytes_(size) {}
    secret_copy(secret_copy&&) noexcept = default;
    secret_copy& operator=(secret_copy&& o) noexcept {
        wipe();
        bytes_ = std::move(o.bytes_);
        return *this;
    }
    secret_copy(const secret_copy&) = delete;
    secret_copy& operator=(const secret_copy&) = delete;
    ~secret_copy() { wipe(); }
    [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept { return bytes_; }
    [[nodiscard]] std::string_view text() const noexcept { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }

  private:
    friend secret_copy read_secret(const host_ref&, std::string_view);
    void wipe() noexcept {
        // Through volatile: the memory is about to be freed, and a plain loop would be optimised away.
        volatile auto* p = bytes_.data();
        for (std::size_t i = 0; i < bytes_.size(); ++i) p[i] = 0;
    }
    std::vector<std::uint8_t> bytes_;
};

/// [any] The present bytes behind the handle that stands in config_json. Throws status_error(CG_E_NOT_FOUND) when it is none.
[[nodiscard]] inline secret_copy read_secret(const host_ref& host, std::string_view handle) {
    const auto& api = host.require<ext::secrets>();
    for (std::size_t size = 256;;) {
        secret_copy out(size);
        cg_outbuf buffer{out.bytes_.data(), out.bytes_.size(), 0};
        const auto s = api.read(host.get(), to_c(handle), &buffer);
        if (s == CG_OK) {
            out.bytes_.resize(buffer.size);  // what is beyond was never written
            return out;
        }
        // It may be replaced by a longer one between two looks.
        if (s != CG_E_NOSPC || buffer.size <= size || buffer.size > CG_SECRET_MAX_BYTES)
            throw status_error(s, "the host has no secret under this handle; is the property marked x-callgate-secret?");
        size = buffer.size;
    }
}

/// Tells of secrets whose file has other bytes. [control]; one for each instance.
class secret_changes {
  public:
    secret_changes(host_ref host, std::function<void(std::string_view handle)> fn)
        : host_(host), api_(&host.require<ext::secrets>()), fn_(std::move(fn)) {
        const auto s = api_->on_change(host_.get(), [](void* ctx, cg_str handle) noexcept {
            const auto& self = *static_cast<secret_changes*>(ctx);
            detail::guard_callback(self.host_, "secret change", [&] { self.fn_(view(handle)); });
        }, this);
        if (s != CG_OK) throw status_error(s, "the host does not tell of changed secrets");
    }
    secret_changes(const secret_changes&) = delete;
    secret_changes& operator=(const secret_changes&) = delete;
    ~secret_changes() { (void)api_->on_change(host_.get(), nullptr, nullptr); }

  private:
    host_ref host_;
    const cg_secrets_api* api_;
    std::function<void(std::string_view)> fn_;
};

}  // namespace callgate::sdk
