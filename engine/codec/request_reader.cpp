// SPDX-License-Identifier: Apache-2.0
#include "engine/codec/request_reader.hpp"

#include <callgate/crypto/base64url.hpp>
#include <callgate/crypto/secret.hpp>
#include <callgate/nats/jwt.hpp>
#include <callgate/nats/nkey.hpp>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

namespace callgate::codec {
namespace {

namespace b64 = crypto::base64url;
namespace dom = simdjson::dom;

error invalid(std::string text) { return make_error(errc::invalid, std::move(text)); }
error no_room() { return make_error(errc::busy, "memory bound of the request is reached"); }

bool equal_ignoring_case(std::string_view a, std::string_view lower) {
    return a.size() == lower.size() && std::equal(a.begin(), a.end(), lower.begin(), [](unsigned char x, char y) {
               return (x >= 'A' && x <= 'Z' ? static_cast<char>(x + 32) : static_cast<char>(x)) == y;
           });
}

std::string at(std::string_view object, std::string_view member) {
    return object.empty() ? std::string(member) : std::string(object) + "." + std::string(member);
}

// Optional member of an object; absent leaves the default, another type is an error. The first failure
// sticks, so that a run of reads needs one check at its end.
class object_reader {
  public:
    object_reader(dom::object object, std::string_view path, arena& memory, std::string& failure)
        : object_(object), path_(path), memory_(memory), failure_(failure) {}

    void text(const char* member, std::string_view& out) {
        dom::element e;
        if (!find(member, e)) return;
        std::string_view v;
        if (e.get(v) != simdjson::SUCCESS) return fail(member, "is not a string");
        out = memory_.copy(v);
    }
    void number(const char* member, std::int64_t& out, bool required = false) {
        dom::element e;
        if (!find(member, e)) {
            if (required) fail(member, "is missing");
            return;
        }
        if (e.get(out) != simdjson::SUCCESS) fail(member, "is not a 64-bit integer");
    }
    void number(const char* member, std::uint64_t& out) {
        dom::element e;
        if (find(member, e) && e.get(out) != simdjson::SUCCESS) fail(member, "is not an unsigned 64-bit integer");
    }
    void texts(const char* member, std::span<const std::string_view>& out) {
        dom::element e;
        if (find(member, e)) texts(e, member, out);
    }
    void texts(dom::element e, const char* member, std::span<const std::string_view>& out) {
        dom::array a;
        if (e.get(a) != simdjson::SUCCESS) return fail(member, "is not an array of strings");
        auto list = memory_.make_array<std::string_view>(a.size());
        std::size_t n = 0;
        for (dom::element item : a) {
            std::string_view v;
            if (item.get(v) != simdjson::SUCCESS) return fail(member, "is not an array of strings");
            if (n == list.size()) return;  // exhausted: reported once for the whole claim
            list[n++] = memory_.copy(v);
        }
        out = list;
    }
    bool object(const char* member, dom::object& out, bool required) {
        dom::element e;
        if (!find(member, e)) {
            if (required) fail(member, "is missing");
            return false;
        }
        if (e.get(out) == simdjson::SUCCESS) return true;
        fail(member, "is not an object");
        return false;
    }
    bool find(const char* member, dom::element& out) { return object_[member].get(out) == simdjson::SUCCESS; }
    void fail(std::string_view member, std::string_view what) {
        if (failure_.empty()) failure_ = at(path_, member) + " " + std::string(what);
    }

  private:
    dom::object object_;
    std::string_view path_;
    arena& memory_;
    std::string& failure_;
};

}  // namespace

struct request_reader::state {
    dom::parser parser;
    dom::document document;
    dom::element root;
    std::string_view json, signing_input, iss;
    std::array<std::uint8_t, 64> signature{};
    crypto::key_bytes issuer_key{};
    bool issuer_is_server = false, opened = false;
    // Bytes of document.string_buf to wipe: a bound from parse() on, exact once walk() saw every string.
    std::size_t strings_used = 0, strings_seen = 0;
    std::vector<std::string_view> names;

    // Duplicates must be refused in the whole document, not only in what we read: two readers that pick
    // different ones of a pair would see two different requests.
    std::string walk(dom::element e, std::string_view name) {
        switch (e.type()) {
            case dom::element_type::OBJECT: {
                const std::size_t first = names.size();
                std::size_t members = 0;
                const dom::object object = e.get_object().value_unsafe();
                for (const auto field : object) {
                    if (++members > max_object_members) return "object " + std::string(name) + " has more than 1024 members";
                    names.push_back(field.key);
                    note(field.key);
                }
                std::sort(names.begin() + static_cast<std::ptrdiff_t>(first), names.end());
                if (std::adjacent_find(names.begin() + static_cast<std::ptrdiff_t>(first), names.end()) != names.end())
                    return "duplicate member in object " + std::string(name);
                names.resize(first);
                for (const auto field : object) {
                    if (auto bad = walk(field.value, known(field.key)); !bad.empty()) return bad;
                }
                return {};
            }
            case dom::element_type::ARRAY: {
                std::size_t count = 0;
                const dom::array array = e.get_array().value_unsafe();
                for (const dom::element item : array) {
                    if (++count > max_array_elements) return "array " + std::string(name) + " has more than 4096 elements";
                    if (auto bad = walk(item, name); !bad.empty()) return bad;
                }
                return {};
            }
            case dom::element_type::STRING: note(e.get_string().value_unsafe()); return {};
            default: return {};
        }
    }
    // A member's name may be anything, a password put in the wrong place included: only ours are repeated.
    static std::string_view known(std::string_view name) {
        for (std::string_view ours : {"nats", "server_id", "client_info", "connect_opts", "client_tls", "tags", "certs", "verified_chains"})
            if (name == ours) return ours;
        return "(inner)";
    }
    void note(std::string_view s) {
        const auto* begin = reinterpret_cast<const char*>(document.string_buf.get());
        strings_seen = std::max(strings_seen, static_cast<std::size_t>(s.data() + s.size() - begin));
    }
    void wipe_strings(std::size_t bytes) {
        if (document.string_buf && bytes != 0) crypto::wipe(document.string_buf.get(), std::min(bytes, capacity()));
    }
    // As simdjson's document::allocate computes it for document.capacity().
    [[nodiscard]] std::size_t capacity() const { return 5 * document.capacity() / 3; }

    result<dom::element> parse(char* padded, std::size_t size) {
        dom::element e;
        strings_used = 5 * size / 3 + simdjson::SIMDJSON_PADDING;
        strings_seen = 0;
        const auto code = parser.parse_into_document(document, padded, size, false).get(e);
        if (code == simdjson::SUCCESS) return e;
        wipe_strings(strings_used);
        if (code == simdjson::MEMALLOC) return make_error(errc::busy, "no memory to parse the token");
        return invalid(std::string("payload is not JSON we accept: ") + simdjson::error_message(code));
    }

    result<void> check_header(std::string_view chunk, arena& memory) {
        // What every nats-server writes, byte for byte.
        if (chunk == nats::jwt_header_b64) return {};
        if (chunk.size() > 1024) return invalid("token header is longer than 1024 characters");
        char* text = memory.make_text(b64::decoded_size(chunk.size()) + simdjson::SIMDJSON_PADDING);
        if (text == nullptr) return no_room();
        const auto n = b64::decode(chunk, reinterpret_cast<std::uint8_t*>(text));
        if (!n) return invalid("token header is not canonical base64url");
        std::memset(text + *n, 0, simdjson::SIMDJSON_PADDING);
        auto header = parse(text, *n);
        if (!header) return invalid("token header: " + header.error().text);
        if (auto bad = walk(*header, "header"); !bad.empty()) return invalid("token header: " + bad);
        std::string_view typ, alg;
        if ((*header)["typ"].get(typ) != simdjson::SUCCESS || !equal_ignoring_case(typ, "jwt")) return invalid("token header: typ is not JWT");
        if ((*header)["alg"].get(alg) != simdjson::SUCCESS || !equal_ignoring_case(alg, "ed25519-nkey"))
            return invalid("token header: alg is not ed25519-nkey");
        return {};
    }
};

request_reader::request_reader() : state_(std::make_unique<state>()) {
    // The bound on depth is the parser's: it must not recurse or allocate beyond it.
    if (state_->parser.allocate(16 * 1024, max_json_depth) != simdjson::SUCCESS) throw std::bad_alloc();
}
request_reader::~request_reader() { forget(); }

void request_reader::forget() noexcept {
    auto& s = *state_;
    s.wipe_strings(s.strings_used);
    s.strings_used = 0;
    s.names.clear();
    s.json = s.signing_input = s.iss = {};
    s.opened = s.issuer_is_server = false;
}

std::string_view request_reader::issuer() const noexcept { return state_->iss; }
bool request_reader::issuer_is_server() const noexcept { return state_->issuer_is_server; }

const crypto::key_bytes& request_reader::issuer_key() const noexcept { return state_->issuer_key; }

request_reader::signed_text request_reader::to_verify() const noexcept {
    const auto& s = *state_;
    return {s.opened && s.issuer_is_server,
            {reinterpret_cast<const std::uint8_t*>(s.signing_input.data()), s.signing_input.size()},
            s.signature,
            s.issuer_key};
}

result<void> request_reader::open(std::string_view token, arena& memory) {
    auto& s = *state_;
    forget();
    if (token.size() > max_token_bytes) return invalid("token is larger than 1 MiB");
    const auto dot1 = token.find('.');
    const auto dot2 = dot1 == token.npos ? token.npos : token.find('.', dot1 + 1);
    if (dot2 == token.npos || token.find('.', dot2 + 1) != token.npos) return invalid("token is not three chunks");
    const auto header = token.substr(0, dot1), payload = token.substr(dot1 + 1, dot2 - dot1 - 1), signature = token.substr(dot2 + 1);

    if (auto ok = s.check_header(header, memory); !ok) return ok.error();
    if (signature.size() != b64::encoded_size(64) || b64::decode(signature, s.signature.data()) != 64)
        return invalid("token signature is not 64 bytes of canonical base64url");
    char* text = memory.make_text(b64::decoded_size(payload.size()) + simdjson::SIMDJSON_PADDING);
    if (text == nullptr) return no_room();
    const auto size = b64::decode(payload, reinterpret_cast<std::uint8_t*>(text));
    if (!size) return invalid("token payload is not canonical base64url");
    std::memset(text + *size, 0, simdjson::SIMDJSON_PADDING);

    auto root = s.parse(text, *size);
    if (!root) return root.error();
    if (root->type() != dom::element_type::OBJECT) return invalid("payload is not a JSON object");
    if (auto bad = s.walk(*root, "claim"); !bad.empty()) return invalid(std::move(bad));
    s.strings_used = s.strings_seen;
    std::string_view iss;
    if ((*root)["iss"].get(iss) != simdjson::SUCCESS) return invalid("iss is missing or not a string");
    s.iss = memory.copy(iss);
    if (memory.exhausted()) return no_room();
    s.root = *root;
    s.json = {text, *size};
    s.signing_input = token.substr(0, dot2);
    if (nats::is_public(iss, nats::key_type::server)) {
        s.issuer_key = nats::decode_public(iss, nats::key_type::server)->bytes;
        s.issuer_is_server = true;
    }
    s.opened = true;
    return {};
}

result<request_claims> request_reader::claims(arena& memory) {
    auto& s = *state_;
    if (!s.opened) return make_error(errc::internal, "claims of a token that was not opened");
    request_claims c;
    std::string failure;
    const dom::object root = s.root.get_object().value_unsafe();
    object_reader top(root, "", memory, failure);
    c.json = s.json;
    c.iss = s.iss;
    top.text("aud", c.aud);
    top.text("sub", c.sub);
    top.number("exp", c.exp, true);
    top.number("iat", c.iat, true);
    dom::element unused;
    if (top.find("type", unused)) return invalid("a member \"type\" at top level makes it a version 1 token: refused");
    dom::object body;
    if (!top.object("nats", body, true)) return invalid(std::move(failure));

    object_reader nats(body, "nats", memory, failure);
    std::string_view type;
    std::int64_t version = 0;
    nats.text("type", type);
    nats.number("version", version);
    if (type != "authorization_request") nats.fail("type", "is not authorization_request");
    if (version != 2) nats.fail("version", "is not 2");
    nats.text("user_nkey", c.user_nkey);

    dom::object part;
    if (nats.object("server_id", part, true)) {
        object_reader r(part, "nats.server_id", memory, failure);
        r.text("name", c.server.name);
        r.text("host", c.server.host);
        r.text("id", c.server.id);
        r.text("version", c.server.version);
        r.text("cluster", c.server.cluster);
        r.text("xkey", c.server.xkey);
        r.texts("tags", c.server.tags);
    }
    if (nats.object("client_info", part, false)) {
        object_reader r(part, "nats.client_info", memory, failure);
        r.text("host", c.client.host);
        r.text("user", c.client.user);
        r.text("name", c.client.name);
        r.text("name_tag", c.client.name_tag);
        r.text("kind", c.client.kind);
        r.text("type", c.client.type);
        r.text("mqtt_id", c.client.mqtt_id);
        r.text("nonce", c.client.nonce);
        r.number("id", c.client.id);
        r.texts("tags", c.client.tags);
    }
    if (nats.object("connect_opts", part, false)) {
        object_reader r(part, "nats.connect_opts", memory, failure);
        r.text("jwt", c.connect.jwt);
        r.text("nkey", c.connect.nkey);
        r.text("sig", c.connect.sig);
        r.text("auth_token", c.connect.auth_token);
        r.text("user", c.connect.user);
        r.text("pass", c.connect.pass);
        r.text("name", c.connect.name);
        r.text("lang", c.connect.lang);
        r.text("version", c.connect.version);
        r.number("protocol", c.connect.protocol);
    }
    if (nats.object("client_tls", part, false)) {
        object_reader r(part, "nats.client_tls", memory, failure);
        c.tls.present = true;
        r.text("version", c.tls.version);
        r.text("cipher", c.tls.cipher);
        dom::element e;
        if (r.find("verified_chains", e)) {
            dom::array chains;
            if (e.get(chains) != simdjson::SUCCESS) {
                r.fail("verified_chains", "is not an array of chains");
            } else if (chains.begin() != chains.end()) {
                r.texts(*chains.begin(), "verified_chains", c.tls.chain_pem);
                c.tls.verified = !c.tls.chain_pem.empty();
            }
        }
        if (c.tls.chain_pem.empty()) r.texts("certs", c.tls.chain_pem);
    }
    if (!failure.empty()) return invalid(std::move(failure));
    if (memory.exhausted()) return no_room();
    return c;
}

}  // namespace callgate::codec
