// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/nats/jwt.hpp>

#include <cstdint>
#include <random>
#include <string>

namespace callgate::interop {

/// Claims with random contents, the same for the same seed but for the keys, which are always fresh. Mostly valid, partly
/// not: other implementations must read what breaks a rule, too, and judge it the same. Contains only what
/// Go's types can hold.
class claims_generator {
  public:
    explicit claims_generator(std::uint64_t seed) : random_(seed) {}

    struct item {
        nats::any_claims claims;
        nats::key_pair signer;
    };
    /// Kinds by turns.
    item next();

  private:
    bool one_in(unsigned n) { return below(n) == 0; }
    std::uint64_t below(std::uint64_t n) { return random_() % n; }
    std::int64_t number();
    std::string text();
    std::string optional_text() { return one_in(2) ? text() : std::string(); }
    std::string word();
    std::string subject(bool wildcards);
    std::string key(nats::key_type type);
    template <class F>
    auto several(std::size_t most, F f) {
        std::vector<decltype(f())> out;
        for (auto n = below(most + 1); n > 0; --n) out.push_back(f());
        return out;
    }

    void fill_base(nats::claims_base& c, nats::key_type subject);
    nats::subject_permission subjects(bool with_queue);
    nats::permissions permissions();
    nats::user_limits limits();
    nats::jetstream_limits jetstream();
    nats::export_claim exported();
    nats::import_claim imported();
    nats::signing_key signing_key();

    nats::operator_claims make_operator();
    nats::account_claims make_account();
    nats::user_claims make_user();
    nats::activation_claims make_activation();
    nats::authorization_request_claims make_request();
    nats::authorization_response_claims make_response();
    nats::generic_claims make_generic();

    std::mt19937_64 random_;
    unsigned turn_ = 0;
};

}  // namespace callgate::interop
