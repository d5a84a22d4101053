// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/sdk/extensions.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "plugins/auth_oidc/issuer.hpp"
#include "plugins/auth_oidc/jwks.hpp"

namespace callgate::auth_oidc {

struct fetch_outcome {
    std::unique_ptr<const key_set> keys;  ///< nullptr: unchanged, or failed
    std::string fault;                    ///< what failed, with URL or path; empty = the keys are fresh
    std::vector<std::string> skipped;
    /// How long the issuer lets the keys be used before they are fetched again; nullopt = it does not say.
    std::optional<std::chrono::seconds> fresh_for{};
};

/// Gets one issuer's keys: from a file, a URL, or a URL that discovery names (OpenID Connect Discovery 1.0,
/// section 4). One attempt at a time. All of it is [control].
class key_fetcher {
  public:
    /// `done` ends every attempt; for a file it runs inside fetch(). `issuer` must outlive this.
    key_fetcher(sdk::host_ref host, const issuer_options& issuer, std::chrono::nanoseconds timeout, std::function<void(fetch_outcome)> done);
    key_fetcher(const key_fetcher&) = delete;
    key_fetcher& operator=(const key_fetcher&) = delete;
    /// Ends a running exchange; its answer is then ignored.
    ~key_fetcher();

    void fetch();
    [[nodiscard]] bool busy() const noexcept { return busy_; }
    /// The attempt ends as failed, soon.
    void cancel();

  private:
    void get(const std::string& url, bool conditional, void (key_fetcher::*next)(const sdk::http_response_view&));
    void on_discovery(const sdk::http_response_view& r);
    void on_keys(const sdk::http_response_view& r);
    [[nodiscard]] fetch_outcome parse(std::string_view text) const;
    void finish(fetch_outcome outcome);
    void fail(const std::string& why);

    sdk::host_ref host_;
    const issuer_options& issuer_;
    const std::chrono::nanoseconds timeout_;
    const std::function<void(fetch_outcome)> done_;
    const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
    bool busy_ = false;
    std::uint64_t exchange_ = 0;
    std::string url_;                  // of the exchange in flight
    std::string etag_, etag_url_;      // of the keys taken last
    std::optional<std::chrono::seconds> fresh_for_;  // the same
    std::string last_text_;            // of a file, taken last
};

}  // namespace callgate::auth_oidc
