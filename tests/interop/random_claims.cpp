// SPDX-License-Identifier: Apache-2.0
#include "random_claims.hpp"

#include <callgate/nats/json_writer.hpp>

#include <algorithm>
#include <array>

namespace callgate::interop {

using namespace nats;

std::int64_t claims_generator::number() {
    static constexpr std::array<std::int64_t, 10> notable{-1, 1, 2, 100, 65536, 2147483647, 4294967296, 9007199254740993, 9223372036854775807, -9223372036854775807};
    return one_in(3) ? notable[below(notable.size())] : static_cast<std::int64_t>(below(1'000'000)) + 1;
}

std::string claims_generator::text() {
    static constexpr std::array<std::string_view, 22> pieces{"a", "Z", "0", " ", "<", ">", "&", "\"", "\\", "/", "\n", "\t", "\r", "\b", "\f", "\x01", "\x7f", "\xc3\xa9", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xf0\x9f\x94\x91", "{{"};
    std::string out;
    for (auto n = below(12) + 1; n > 0; --n) out += pieces[below(pieces.size())];
    return out;
}

std::string claims_generator::word() {
    std::string out;
    for (auto n = below(6) + 1; n > 0; --n) out += static_cast<char>('a' + below(26));
    return out;
}

std::string claims_generator::subject(bool wildcards) {
    static constexpr std::array<std::string_view, 5> broken{".a", "a.", "a..b", "a b c", "a b"};
    if (one_in(60)) return std::string(broken[below(broken.size())]);
    std::string out = word();
    for (auto n = below(4); n > 0; --n) out += wildcards && one_in(4) ? ".*" : "." + word();
    if (wildcards && one_in(4)) out += ".>";
    return out;
}

std::string claims_generator::key(key_type type) {
    if (one_in(80)) type = type == key_type::user ? key_type::account : key_type::user;
    return key_pair::generate(type).public_text();
}

void claims_generator::fill_base(claims_base& c, key_type subject) {
    c.sub = key_pair::generate(subject).public_text();
    c.name = optional_text();
    if (one_in(3)) c.aud = text();
    if (one_in(3)) c.exp = one_in(2) ? 1 + static_cast<std::int64_t>(below(1000)) : 4'000'000'000 + static_cast<std::int64_t>(below(1000));
    if (one_in(3)) c.nbf = one_in(4) ? 4'000'000'000 : 1;
    c.tags = several(3, [&] { return text(); });
}

subject_permission claims_generator::subjects(bool with_queue) {
    const auto one = [&] { return subject(true) + (with_queue && one_in(5) ? " " + word() : ""); };
    return {several(3, one), several(2, one)};
}

nats::permissions claims_generator::permissions() {
    nats::permissions p{subjects(false), subjects(true), {}};
    if (one_in(3)) p.resp = response_permission{one_in(4) ? 0 : number(), one_in(4) ? 0 : number()};
    return p;
}

user_limits claims_generator::limits() {
    static constexpr std::array<std::string_view, 5> networks{"10.0.0.0/8", "192.0.2.1/32", "::1/128", "2001:db8::/32", "nonsense"};
    static constexpr std::array<std::string_view, 4> kinds{"STANDARD", "WEBSOCKET", "MQTT", "IN_PROCESS"};
    user_limits l;
    l.perms = permissions();
    l.src = several(2, [&] { return std::string(networks[below(one_in(10) ? 5 : 4)]); });
    l.times = several(2, [&] { return one_in(20) ? time_range{"25:00:00", ""} : time_range{"08:15:00", "17:00:59"}; });
    if (one_in(4)) l.times_location = "UTC";
    l.subs = number();
    l.data = number();
    l.payload = number();
    l.bearer_token = one_in(2);
    l.proxy_required = one_in(4);
    l.allowed_connection_types = several(2, [&] { return std::string(kinds[below(kinds.size())]); });
    return l;
}

jetstream_limits claims_generator::jetstream() {
    return {number(), number(), one_in(2) ? 0 : number(), number(), 0, number(), number(), one_in(2)};
}

export_claim claims_generator::exported() {
    export_claim e;
    const bool service = one_in(2);
    e.name = optional_text();
    e.subject = subject(true);
    e.type = service ? "service" : "stream";
    e.token_req = one_in(2);
    for (auto n = below(3); n > 0; --n) e.revocations[one_in(3) ? "*" : key(key_type::account)] = static_cast<std::int64_t>(below(2'000'000'000));
    static constexpr std::array<std::string_view, 4> responses{"", "Singleton", "Stream", "Chunked"};
    if (service || one_in(20)) e.response_type = responses[below(responses.size())];
    if (service || one_in(20)) e.response_threshold_ns = one_in(20) ? -5 : static_cast<std::int64_t>(below(1'000'000'000));
    if ((service && one_in(2)) || one_in(40)) e.latency = service_latency{static_cast<std::int64_t>(below(101)), subject(one_in(10))};
    if (one_in(6)) e.account_token_position = static_cast<std::int64_t>(below(5));
    e.advertise = one_in(2);
    e.allow_trace = service ? one_in(2) : one_in(40);
    e.description = optional_text();
    if (one_in(3)) e.info_url = "https://example.org/" + word();
    return e;
}

import_claim claims_generator::imported() {
    import_claim i;
    const bool service = one_in(2);
    i.name = optional_text();
    i.subject = subject(one_in(2));
    i.account = key(key_type::account);
    i.type = service ? "service" : "stream";
    if (one_in(4)) i.local_subject = subject(false);
    else if (one_in(8)) i.to = subject(false);
    i.share = service ? one_in(2) : one_in(40);
    i.allow_trace = service ? one_in(40) : one_in(2);
    return i;
}

nats::signing_key claims_generator::signing_key() {
    nats::signing_key k;
    k.key = key(key_type::account);
    if (one_in(2)) {
        k.scoped = true;
        k.role = optional_text();
        k.description = optional_text();
        k.scope = limits();
        // Greater numbers are refused in scopes: Go does not read them exactly there.
        constexpr std::int64_t largest = std::int64_t{1} << 53;
        const auto clamp = [&](std::int64_t& n) { n = std::clamp(n, -largest, largest); };
        clamp(k.scope.subs), clamp(k.scope.data), clamp(k.scope.payload);
        if (k.scope.perms.resp) clamp(k.scope.perms.resp->max), clamp(k.scope.perms.resp->ttl_ns);
    }
    return k;
}

operator_claims claims_generator::make_operator() {
    operator_claims o;
    fill_base(o, key_type::operator_);
    o.signing_keys = several(3, [&] { return key(key_type::operator_); });
    if (one_in(2)) o.account_server_url = "https://accounts.example.org:9090/jwt/v1/" + word();
    static constexpr std::array<std::string_view, 6> urls{"nats://h:4222", "tls://h", "ws://h:80", "wss://h", "http://h", "nats://h/path"};
    o.operator_service_urls = several(2, [&] { return std::string(urls[below(one_in(10) ? 6 : 4)]); });
    if (one_in(2)) o.system_account = key(key_type::account);
    if (one_in(2)) o.assert_server_version = one_in(10) ? "1.2" : "2.10.29";
    o.strict_signing_key_usage = one_in(2);
    return o;
}

account_claims claims_generator::make_account() {
    account_claims a;
    fill_base(a, key_type::account);
    a.imports = several(3, [&] { return imported(); });
    a.exports = several(3, [&] { return exported(); });
    if (one_in(2)) a.limits = {number(), number(), number(), one_in(4) ? 1 : -1, one_in(4) ? 1 : -1, number(), number(), one_in(2), one_in(2)};
    if (one_in(2)) a.jetstream = jetstream();
    else
        for (auto n = below(3); n > 0; --n) a.tiered_limits["R" + std::to_string(n)] = jetstream();
    a.signing_keys = several(3, [&] { return signing_key(); });
    for (auto n = below(3); n > 0; --n) a.revocations[one_in(3) ? "*" : key(key_type::user)] = static_cast<std::int64_t>(below(2'000'000'000));
    a.default_permissions = permissions();
    for (auto n = below(3); n > 0; --n)
        a.mappings[subject(true)] = several(2, [&] { return weighted_mapping{subject(false), one_in(2) ? word() : "", static_cast<std::int64_t>(below(70)) + 1}; });
    if (one_in(2)) {
        a.authorization.auth_users = several(2, [&] { return key(key_type::user); });
        a.authorization.allowed_accounts = one_in(3) ? std::vector<std::string>{"*"} : several(2, [&] { return key(key_type::account); });
        if (one_in(2)) a.authorization.xkey = key(key_type::curve);
    }
    if (one_in(3)) a.trace = trace_claim{subject(one_in(10)), static_cast<std::int64_t>(below(102))};
    static constexpr std::array<std::string_view, 4> traffic{"", "system", "owner", "other"};
    a.cluster_traffic = traffic[below(one_in(10) ? 4 : 3)];
    a.description = optional_text();
    if (one_in(3)) a.info_url = "https://example.org/" + word();
    return a;
}

user_claims claims_generator::make_user() {
    user_claims u;
    fill_base(u, key_type::user);
    u.limits = one_in(4) ? user_limits::zero() : limits();
    if (one_in(2)) u.issuer_account = key(key_type::account);
    return u;
}

activation_claims claims_generator::make_activation() {
    activation_claims a;
    fill_base(a, key_type::account);
    a.subject = subject(true);
    a.kind = one_in(2) ? "stream" : "service";
    if (one_in(2)) a.issuer_account = key(key_type::account);
    return a;
}

authorization_request_claims claims_generator::make_request() {
    authorization_request_claims r;
    fill_base(r, key_type::account);
    r.server = {text(), word(), key(key_type::server), optional_text(), optional_text(), one_in(2) ? key(key_type::curve) : "", several(2, [&] { return text(); })};
    r.user_nkey = key(key_type::user);
    r.client = {optional_text(), optional_text(), optional_text(), optional_text(), optional_text(), optional_text(), optional_text(), optional_text(),
                one_in(3) ? random_() : 0, several(2, [&] { return text(); })};
    r.connect = {optional_text(), optional_text(), optional_text(), optional_text(), optional_text(), optional_text(), optional_text(), optional_text(), optional_text(), number()};
    if (one_in(2)) r.tls = client_tls{"1.3", optional_text(), several(2, [&] { return text(); }), several(2, [&] { return std::vector<std::string>{text()}; })};
    r.request_nonce = optional_text();
    return r;
}

authorization_response_claims claims_generator::make_response() {
    authorization_response_claims r;
    fill_base(r, key_type::user);
    r.aud = key(key_type::server);
    if (!one_in(3)) r.jwt = text();
    if (one_in(3)) r.error = text();
    if (one_in(2)) r.issuer_account = key(key_type::account);
    return r;
}

generic_claims claims_generator::make_generic() {
    generic_claims g;
    fill_base(g, key_type::server);
    g.type = "x_" + word();
    for (auto n = below(4); n > 0; --n) {
        std::string json;
        json_writer w(json);
        w.begin_object();
        w.key(text());
        w.string(text());
        w.key("n");
        w.integer(static_cast<std::int64_t>(below(1u << 30)));
        w.key("x");
        w.real(static_cast<double>(below(1'000'000)) / 1024);
        w.end_object();
        g.members["m_" + word()] = json;
    }
    return g;
}

claims_generator::item claims_generator::next() {
    const auto either = [&](key_type a, key_type b) { return key_pair::generate(one_in(2) ? a : b); };
    switch (turn_++ % 7) {
        case 0: return {make_operator(), key_pair::generate(key_type::operator_)};
        case 1: return {make_account(), either(key_type::operator_, key_type::account)};
        case 2: return {make_user(), key_pair::generate(key_type::account)};
        case 3: return {make_activation(), either(key_type::operator_, key_type::account)};
        case 4: return {make_request(), key_pair::generate(key_type::server)};
        case 5: return {make_response(), key_pair::generate(key_type::account)};
        default: return {make_generic(), either(key_type::user, key_type::server)};
    }
}

}  // namespace callgate::interop
