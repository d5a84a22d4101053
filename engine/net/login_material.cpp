// SPDX-License-Identifier: Apache-2.0
#include "engine/net/login_material.hpp"

#include <callgate/nats/creds.hpp>
#include <cstring>

#include "engine/net/secret_file.hpp"

namespace callgate::net {
namespace {

template <class Sink>
void escape_each(std::string_view text, Sink&& put) {
    static constexpr char digits[] = "0123456789abcdef";
    for (const char ch : text) {
        const auto c = static_cast<unsigned char>(ch);
        if (c == '"' || c == '\\') {
            put('\\');
            put(ch);
        } else if (c < 0x20) {
            put('\\'), put('u'), put('0'), put('0'), put(digits[c >> 4]), put(digits[c & 15]);
        } else {
            put(ch);
        }
    }
}

// Writes into guarded memory directly, so that no copy of a password is left on the heap.
struct guarded_writer {
    std::uint8_t* at = nullptr;
    std::size_t size = 0;
    void operator()(char c) {
        if (at) at[size] = static_cast<std::uint8_t>(c);
        ++size;
    }
    void text(std::string_view s) {
        for (const char c : s) (*this)(c);
    }
};

template <class Build>
crypto::secret build_guarded(Build&& build) {
    guarded_writer count;
    build(count);
    crypto::secret out(count.size + 1);
    guarded_writer write{out.data(), 0};
    build(write);
    out.data()[count.size] = 0;
    return out;
}

// cnats keeps the user and password options for the life of the connection and prints them into the CONNECT
// object unescaped. Its token handler is asked for each CONNECT, keeps nothing and is printed unescaped as
// well: so the members travel inside the token's quotes: "auth_token":"" then ours.
crypto::secret user_members(std::string_view user, std::string_view password) {
    return build_guarded([&](guarded_writer& w) {
        w.text("\",\"user\":\"");
        escape_each(user, w);
        w.text("\",\"pass\":\"");
        escape_each(password, w);
    });
}
crypto::secret token_member(std::string_view token) {
    return build_guarded([&](guarded_writer& w) { escape_each(token, w); });
}

error from(const nats::error& e, const std::string& path) { return make_error(errc::invalid, e.text, path); }

result<login_material> load(const creds_file& f) {
    auto text = read_secret_file(f.path);
    if (!text) return text.error();
    auto parsed = nats::parse_creds(text->text());
    if (!parsed) return from(parsed.error(), f.path);
    for (const char c : parsed->jwt) {
        const bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.';
        if (!ok) return make_error(errc::invalid, "user JWT has a character that no JWT has", f.path);
    }
    login_material m;
    m.jwt = std::move(parsed->jwt);
    if (!parsed->seed.empty()) {
        auto key = nats::key_pair::from_seed(parsed->seed.text());
        if (!key) return from(key.error(), f.path);
        m.key = std::move(*key);
    }
    return m;
}

result<login_material> load(const nkey_seed_file& f) {
    auto text = read_secret_file(f.path);
    if (!text) return text.error();
    auto key = nats::parse_decorated_user_nkey(text->text());
    if (!key) return from(key.error(), f.path);
    login_material m;
    m.key = std::move(*key);
    m.nkey_login = true;
    return m;
}

result<login_material> load(const password_file& f) {
    auto text = read_secret_file(f.path, 4096);
    if (!text) return text.error();
    auto password = text->text();
    if (password.ends_with('\n')) password.remove_suffix(1);
    if (password.ends_with('\r')) password.remove_suffix(1);
    if (password.empty()) return make_error(errc::invalid, "first line is empty; expected a password", f.path);
    if (password.find_first_of(std::string_view("\n\r\0", 3)) != std::string_view::npos)
        return make_error(errc::invalid, "more than one line; expected only a password", f.path);
    login_material m;
    m.members = user_members(f.user, password);
    return m;
}

result<login_material> load(const no_credentials&) { return login_material{}; }

}  // namespace

void append_json_escaped(std::string_view text, std::string& out) {
    escape_each(text, [&](char c) { out.push_back(c); });
}

result<login_material> load_login(const credentials& login, const server_url& url) {
    if (url.has_user_info && std::holds_alternative<no_credentials>(login)) {
        login_material m;
        m.members = url.password.empty() ? token_member(url.user) : user_members(url.user, url.password);
        return m;
    }
    return std::visit([](const auto& l) { return load(l); }, login);
}

}  // namespace callgate::net
