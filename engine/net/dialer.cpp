// SPDX-License-Identifier: Apache-2.0
#include "engine/net/dialer.hpp"

#include <cstdlib>
#include <cstring>

#include "engine/net/login_material.hpp"
#include "engine/net/secret_file.hpp"
#include "engine/net/server_url.hpp"
#include "engine/net/stuck_connect.hpp"

namespace callgate::net {
namespace {

struct options_deleter {
    void operator()(natsOptions* o) const noexcept { natsOptions_Destroy(o); }
};
using options_ptr = std::unique_ptr<natsOptions, options_deleter>;

// cnats frees what its handlers hand over with free().
char* heap_copy(std::string_view s) {
    auto* out = static_cast<char*>(std::malloc(s.size() + 1));
    if (!out) return nullptr;
    std::memcpy(out, s.data(), s.size());
    out[s.size()] = 0;
    return out;
}

natsStatus give_jwt(char** jwt, char**, void* closure) {
    *jwt = heap_copy(static_cast<login_material*>(closure)->jwt);
    return *jwt ? NATS_OK : NATS_NO_MEMORY;
}

natsStatus sign_nonce(char** why, unsigned char** signature, int* size, const char* nonce, void* closure) {
    const auto& login = *static_cast<login_material*>(closure);
    *signature = static_cast<unsigned char*>(std::calloc(1, 64));
    if (!*signature) return NATS_NO_MEMORY;
    *size = 0;
    if (!login.key) return NATS_OK;  // bearer token
    if (!nonce || !*nonce) {
        *why = heap_copy("the server sent no nonce, so it does not check nkeys or JWTs");
        return NATS_ILLEGAL_STATE;
    }
    const auto signed_nonce = login.key->sign(nonce);
    if (!signed_nonce) {
        *why = heap_copy(signed_nonce.error().text);
        return NATS_ERR;
    }
    std::memcpy(*signature, signed_nonce->data(), 64);
    *size = 64;
    return NATS_OK;
}

const char* give_members(void* closure) {
    return reinterpret_cast<const char*>(static_cast<login_material*>(closure)->members.data());
}

error at(natsStatus s, const char* what, const std::string& where) {
    natsStatus last = s;
    const char* text = nats_GetLastError(&last);
    return make_error(errc::invalid, std::string(what) + ": " + (text && *text ? text : natsStatus_GetText(s)), where);
}

result<void> set_tls(natsOptions* o, const tls_options& tls, const server_url& url) {
    natsStatus s = natsOptions_SetSecure(o, true);
    if (s != NATS_OK) return at(s, "TLS", url.printable());
    // Contents rather than paths, so that the file whose mode was checked is the one that is used.
    if (!tls.ca_file.empty()) {
        auto ca = read_public_file(tls.ca_file);
        if (!ca) return ca.error();
        s = natsOptions_SetCATrustedCertificates(o, ca->c_str());
        if (s != NATS_OK) return at(s, "not a PEM file of CA certificates", tls.ca_file);
    }
    if (!tls.cert_file.empty()) {
        auto cert = read_public_file(tls.cert_file);
        if (!cert) return cert.error();
        auto key = read_secret_file(tls.key_file, 1u << 20);
        if (!key) return key.error();
        crypto::secret text(key->size() + 1);
        std::memcpy(text.data(), key->data(), key->size());
        s = natsOptions_SetCertificatesChain(o, cert->c_str(), reinterpret_cast<const char*>(text.data()));
        if (s != NATS_OK) return at(s, "client certificate and key do not fit", tls.cert_file + ", " + tls.key_file);
    }
    s = natsOptions_SetExpectedHostname(o, tls.server_name.empty() ? url.host.c_str() : tls.server_name.c_str());
    if (s != NATS_OK) return at(s, "expected host name", url.printable());
    return {};
}

void set_login(natsOptions* o, login_material& login) {
    if (login.nkey_login) natsOptions_SetNKey(o, login.key->public_text().c_str(), sign_nonce, &login);
    else if (!login.jwt.empty()) natsOptions_SetUserCredentialsCallbacks(o, give_jwt, &login, sign_nonce, &login);
    else if (!login.members.empty()) natsOptions_SetTokenHandler(o, give_members, &login);
}

}  // namespace

bool wants_tls(const link_options& options) {
    if (options.tls) return true;
    for (const auto& text : options.urls)
        if (text.starts_with("tls://")) return true;
    return false;
}

void dial_control::abort(std::uint32_t silent_ms) {
    stop_.cancel();
    std::optional<sockaddr_storage> peer;
    {
        const std::scoped_lock lock(mutex_);
        peer = peer_;
    }
    if (peer) abort_stuck_connects(*peer, silent_ms);
}

void dial_control::entering_cnats(const sockaddr_storage& peer) {
    const std::scoped_lock lock(mutex_);
    peer_ = peer;
}

bool dial_control::in_cnats() const {
    const std::scoped_lock lock(mutex_);
    return peer_.has_value();
}

result<dialled> dial(boost::asio::io_context& loop, const link_options& options, std::size_t url_index,
                     std::uint32_t link, dial_control& control) {
    auto url = parse_server_url(options.urls[url_index]);
    if (!url) return url.error();
    const auto where = url->printable();
    auto login = load_login(options.login, *url);
    if (!login) return login.error();

    options_ptr o;
    {
        natsOptions* raw = nullptr;
        if (natsOptions_Create(&raw) != NATS_OK) return make_error(errc::internal, "cnats gives no options object", where);
        o.reset(raw);
    }
    const bool tls = wants_tls(options);
    if (tls) {
        const tls_options from_url;
        if (auto r = set_tls(o.get(), options.tls ? *options.tls : from_url, *url); !r) return r.error();
    } else {
        // cnats turns TLS on by itself when a server asks for it; that must not happen on a shard.
        natsOptions_SetExpectedHostname(o.get(), "tls-is-not-configured.invalid");
    }

    auto seen = probe_server(*url, options.connect_timeout_ns, control.stop());
    if (!seen) return seen.error();
    if (seen->greeting.tls_required && !tls)
        return make_error(errc::invalid, "the server requires TLS; give the link a tls section or a tls:// URL", where);
    if (!seen->greeting.tls_required && tls)
        return make_error(errc::invalid, "the server offers no TLS, but this link requires it", where);

    std::string name;
    append_json_escaped(options.name, name);  // printed into CONNECT unescaped
    const auto target = "nats://" + seen->numeric;
    natsOptions_SetURL(o.get(), target.c_str());
    natsOptions_SetName(o.get(), name.c_str());
    natsOptions_SetAllowReconnect(o.get(), false);
    natsOptions_SetMaxReconnect(o.get(), 0);
    natsOptions_SetIgnoreDiscoveredServers(o.get(), true);
    natsOptions_SetTimeout(o.get(), options.connect_timeout_ns / 1'000'000);
    natsOptions_SetPingInterval(o.get(), 0);
    natsOptions_SetSendAsap(o.get(), true);
    natsOptions_SetIOBufSize(o.get(), 64 << 10);
    natsOptions_DisableNoResponders(o.get(), !options.no_responders);
    set_login(o.get(), *login);

    auto connection = std::make_shared<session>(loop, link, options.max_payload_in);
    control.entering_cnats(seen->address);
    if (control.stop().cancelled()) return make_error(errc::cancelled, "stopped while connecting", where);
    auto connected = connection->connect(o.get());
    if (!connected) {
        auto e = connected.error();
        e.where = where;
        return e;
    }
    dialled out;
    // Behind a load balancer the second connection may meet another server: then its name is not known.
    const auto id = connection->server_id();
    if (id == seen->greeting.server_id) out.greeting = std::move(seen->greeting);
    else out.greeting.server_id = id;
    out.url = where;
    out.connection = std::move(connection);
    return out;
}

}  // namespace callgate::net
