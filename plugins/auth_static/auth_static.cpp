// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_static/auth_static.hpp"

#include <callgate/crypto/base64url.hpp>
#include <callgate/nats/nkey.hpp>
#include <callgate/sdk/config.hpp>

namespace callgate::auth_static {
namespace {

using namespace std::chrono_literals;

hash_options read_hash(const sdk::config_view& c) {
    c.only({"threads", "queue", "per_user", "per_host", "max_wait", "priority", "reserve_threads", "reserve_after"});
    hash_options h;
    h.threads = static_cast<std::size_t>(c.integer_or("threads", 1, 1, 16));
    h.queue = static_cast<std::size_t>(c.integer_or("queue", 256, 1, 65536));
    h.per_user = static_cast<std::size_t>(c.integer_or("per_user", 4, 1, 65536));
    h.per_host = static_cast<std::size_t>(c.integer_or("per_host", 64, 1, 65536));
    h.max_wait = c.duration_or("max_wait", 1s, 10ms, 1min);
    const auto p = c.string_or("priority", "idle");
    if (p == "low")
        h.sched = priority::low;
    else if (p == "normal")
        h.sched = priority::normal;
    else if (p != "idle")
        c.at("priority").fail("must be idle, low or normal");
    h.reserve = static_cast<std::size_t>(c.integer_or("reserve_threads", h.sched == priority::normal ? 0 : 1, 0, max_reserve));
    if (h.sched == priority::normal && h.reserve != 0) c.at("reserve_threads").fail("must be 0 with priority normal: the hashing threads have that priority already");
    h.reserve_after = c.duration_or("reserve_after", h.max_wait > 200ms ? 200ms : h.max_wait / 2, 10ms, 1min);
    if (c.has("reserve_after") && h.reserve_after >= h.max_wait) c.at("reserve_after").fail("must be shorter than max_wait: a login that has waited for that long is not hashed any more");
    return h;
}

/// A compact JWS or JWE belongs to another backend of the chain, not to a table of opaque tokens.
bool looks_like_jose(std::string_view text) { return text.starts_with("eyJ") && text.find('.') != std::string_view::npos; }

/// protocol.md 3.5: base64url without padding; standard base64 is tolerated.
bool decode_signature(std::string_view text, std::array<std::uint8_t, 64>& out) {
    if (text.size() == 88 && text.ends_with("==")) text.remove_suffix(2);
    if (text.size() != 86) return false;
    std::array<char, 86> url{};
    std::transform(text.begin(), text.end(), url.begin(), [](char c) { return c == '+' ? '-' : c == '/' ? '_' : c; });
    std::array<std::uint8_t, 66> bytes{};
    const auto n = crypto::base64url::decode({url.data(), url.size()}, bytes.data());
    if (!n || *n != out.size()) return false;
    std::copy_n(bytes.begin(), out.size(), out.begin());
    return true;
}

/// What the request asks this backend to judge.
struct credentials {
    bool nkey = false;
    std::string_view token;
    std::string_view password;  // with request.user()
};

credentials find_credentials(const sdk::request_view& r) {
    credentials c;
    switch (r.credential_source()) {
        case CG_CREDENTIAL_NKEY: c.nkey = true; break;
        case CG_CREDENTIAL_PASS:
            c.token = r.credential();
            if (!r.user().empty()) c.password = r.credential();
            break;
        case CG_CREDENTIAL_AUTH_TOKEN:
            c.token = r.credential();
            // MQTT clients arrive with their password in both fields (protocol.md 3.5).
            if (!r.user().empty() && r.pass() == r.credential()) c.password = r.credential();
            break;
        case CG_CREDENTIAL_USER: c.token = r.credential(); break;
        case CG_CREDENTIAL_JWT: break;
        default:
            c.nkey = !r.nkey().empty() && !r.sig().empty();
            c.token = r.auth_token().empty() && r.user().empty() ? r.pass() : r.auth_token();
            if (!r.user().empty()) c.password = r.pass();
    }
    if (looks_like_jose(c.password)) c.password = {};
    return c;
}

}  // namespace

std::unique_ptr<sdk::auth_backend> backend::create(sdk::host_ref host, const sdk::create_args& args) {
    const auto c = sdk::config_view::parse(args.config_json);
    c.only({"file", "reload_interval", "hash"});
    options o;
    if (c.at("file").string().empty()) c.at("file").fail("the path is empty");
    o.file = args.resolve(c.at("file").string());
    o.reload_interval = c.duration_or("reload_interval", 1s, 0s, 1h);
    if (o.reload_interval > 0s && o.reload_interval < 100ms) c.at("reload_interval").fail("must be 0 or from 100ms to 1h");
    if (c.has("hash")) o.hash = read_hash(c.at("hash"));
    return std::make_unique<backend>(host, std::move(o));
}

backend::backend(sdk::host_ref host, options o)
    : auth_backend(host),
      options_(std::move(o)),
      table_(host),
      timer_(host),
      pool_(host, options_.hash, [this](hash_job& job, bool matches) {
          const bool good = matches && job.entry != nullptr;
          answer(good ? admit(job.entry, "password", "password") : deny("bad_credentials", "wrong user name or password", "password"), job.op);
      }),
      logins_{count_logins(host, "token"), count_logins(host, "nkey"), count_logins(host, "password")},
      users_(host, "users", "Users of the file that is in use."),
      file_in_use_(host, "users_file_current", "1: the users are those of the file as it lies there; 0: it has a fault, and those from before the last change stay.") {}

backend::login_counters backend::count_logins(const sdk::host_ref& host, std::string_view how) {
    constexpr std::string_view name = "logins_total", help = "Credentials that were judged, by kind and outcome.";
    return {how, {host, name, help, {{"how", how}, {"outcome", "match"}}}, {host, name, help, {{"how", how}, {"outcome", "no_match"}}}};
}

void backend::start(sdk::op_handle&& op) {
    crypto::init();
    load();
    pool_.start();
    if (options_.reload_interval > 0s) timer_.arm(options_.reload_interval, [this] { poll(); });
    op.succeed();
}

void backend::drain(sdk::op_handle&& op) { pool_.drain(std::move(op)); }

void backend::stop(sdk::op_handle&& op) {
    timer_.cancel();
    pool_.stop();
    op.succeed();
}

void backend::load() {
    auto users = load_users(options_.file);
    // Before anybody can ask for a hash that needs it.
    try {
        pool_.provide_memory(users.table->hash_memory_bytes());
    } catch (const std::bad_alloc&) {
        throw sdk::status_error(CG_E_UNAVAILABLE,
                                "no memory for password hashing: each hashing and reserve thread needs " + std::to_string(users.table->hash_memory_bytes() >> 20) +
                                    " MiB for the users' largest argon2id hash; lower hash.threads, hash.reserve_threads or m of that hash",
                                options_.file);
    }
    loaded_ = seen_ = users.stamp;
    if (!users.warning.empty()) host().log(sdk::log_level::warn, users.warning, {{"file", options_.file}});
    host().log(sdk::log_level::info, "users file loaded", {{"file", options_.file}, {"users", std::to_string(users.table->size())}});
    users_.set(static_cast<std::int64_t>(users.table->size()));
    file_in_use_.set(1);
    table_.publish(std::move(users.table));
}

void backend::poll() {
    timer_.arm(options_.reload_interval, [this] { poll(); });
    const auto now = stamp_of(options_.file);
    pool_.unmap_outgrown();
    // A file still being written looks different from one look to the next; half of it may be valid YAML.
    const bool settled = now == seen_;
    seen_ = now;
    if (!settled || now == loaded_) return;
    std::string fault;
    bool passing = false;
    try {
        if (!now) throw sdk::status_error(CG_E_NOT_FOUND, "the users file is gone", options_.file);
        load();
    } catch (const sdk::status_error& e) {
        fault = (e.where().empty() ? options_.file : e.where()) + ": " + e.what();
        passing = e.code() == CG_E_UNAVAILABLE;
    }
    if (!fault.empty()) {
        if (fault != fault_) host().log(sdk::log_level::error, "users file not taken; the users before the change stay", {{"reason", fault}});
        // Not tried again before the file changes once more, unless reading itself was disturbed.
        if (!passing) loaded_ = now;
    } else if (!fault_.empty()) {
        host().log(sdk::log_level::info, "users file is good again", {{"file", options_.file}});
    }
    fault_ = fault;
    file_in_use_.set(fault_.empty() ? 1 : 0);
}

sdk::health backend::current_health() {
    if (fault_.empty()) return {};
    return {CG_HEALTH_DEGRADED, "serving the users from before the last change: " + fault_};
}

void backend::cancel(cg_op op, std::int32_t) { pool_.cancel(op); }

backend::decision backend::admit(entry_ptr entry, std::string_view credential_id, std::string_view how) {
    decision d;
    d.verdict = CG_VERDICT_ALLOW;
    d.entry = std::move(entry);
    d.credential_id = credential_id;
    d.how = how;
    return d;
}

backend::decision backend::deny(std::string_view reason_id, std::string_view reason, std::string_view how) {
    decision d;
    d.verdict = CG_VERDICT_DENY;
    d.reason_id = reason_id;
    d.reason = reason;
    d.how = how;
    return d;
}

backend::decision backend::judge_nkey(const user_table& table, const sdk::request_view& r) {
    std::array<std::uint8_t, 64> signature{};
    if (r.client_nonce().empty())
        return deny("nkey_without_nonce", "the server sent no nonce to sign; it needs always_enable_nonce, nkeys or operators", "nkey");
    if (!nats::is_public(r.nkey(), nats::key_type::user) || !decode_signature(r.sig(), signature))
        return deny("bad_credentials", "unknown nkey or wrong signature", "nkey");
    auto entry = table.by_nkey(r.nkey());
    // Checked for unknown keys as well: the time must not tell which keys are known.
    const bool good = static_cast<bool>(nats::verify(r.nkey(), r.client_nonce(), signature));
    if (!entry || !good) return deny("bad_credentials", "unknown nkey or wrong signature", "nkey");
    return admit(std::move(entry), r.nkey(), "nkey");
}

backend::decision backend::judge(const user_table& table, const sdk::request_view& r) {
    const auto found = find_credentials(r);
    if (found.nkey && table.has_nkeys()) return judge_nkey(table, r);
    if (!found.token.empty() && table.has_tokens())
        if (auto entry = table.by_token(found.token)) return admit(std::move(entry), "token", "token");
    if (!found.password.empty() && table.has_passwords()) {
        decision d;
        d.entry = table.by_user(r.user());
        if (d.entry && !d.entry->password) d.entry = nullptr;
        d.password = found.password;
        d.hash = d.entry ? *d.entry->password : table.unmatchable();
        return d;
    }
    if (!found.token.empty() && table.has_tokens() && !looks_like_jose(found.token)) return deny("bad_credentials", "unknown token", "token");
    decision d;
    d.verdict = CG_VERDICT_ABSTAIN;
    d.reason_id = "no_static_credential";
    d.reason = "the request carries no credential of a kind this users file has";
    return d;
}

void backend::answer(const decision& d, sdk::op_handle& op) const {
    sdk::reply_builder reply;
    for (const auto& l : logins_)
        if (l.how == d.how) (d.verdict == CG_VERDICT_ALLOW ? l.match : l.no_match).add(d.shard);
    if (!d.how.empty()) reply.explain(d.how, d.verdict == CG_VERDICT_ALLOW ? "match" : "no match");
    if (d.verdict == CG_VERDICT_ALLOW)
        reply.allow(d.entry->user).issuer(host().instance_name()).attributes_json(d.entry->attributes_json).credential_id(d.credential_id);
    else if (d.verdict == CG_VERDICT_DENY)
        reply.deny(d.reason_id, d.reason);
    else if (d.verdict == CG_VERDICT_ABSTAIN)
        reply.abstain(d.reason_id, d.reason);
    else
        reply.unavailable(d.reason_id, d.reason);
    reply.send(op);
}

void backend::authenticate(sdk::shard_state*, sdk::op_handle&& op, const sdk::request_view& r) {
    decision d;
    {
        // Let go before answering: the answer may run the next backend of the chain on this stack.
        const auto table = table_.read();
        if (table) {
            d = judge(*table, r);
            d.shard = r.shard();
        } else {
            d.verdict = CG_VERDICT_UNAVAILABLE;
            d.reason_id = "no_user_table";
        }
    }
    if (d.hash)
        pool_.submit({std::move(op), r, d.password, std::move(*d.hash), std::move(d.entry)});
    else
        answer(d, op);
}

}  // namespace callgate::auth_static
