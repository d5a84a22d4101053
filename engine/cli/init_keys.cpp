// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/init_keys.hpp"

#include <algorithm>
#include <cctype>
#include <set>

#include "engine/cli/password.hpp"

namespace callgate::cli {
namespace {

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
    return text;
}

/// A secret and a line end, for a file.
crypto::secret as_line(std::string_view text) {
    crypto::secret line(text.size() + 1);
    std::copy(text.begin(), text.end(), line.data());
    line.data()[text.size()] = '\n';
    return line;
}

error lost(const folder& where, const std::string& name) {
    return make_error(errc::not_found, "is missing, although other files were made from it: restore it from a backup, or say "
                                       "--force-config to make a new one and everything that depends on it",
                      where.path() + "/" + name);
}

}  // namespace

std::string key_file_of(const std::string& label) { return "keys/" + label + ".nk"; }
std::string password_file_of(const std::string& label) { return "keys/" + label + ".password"; }

std::string label_of_account(const std::string& account) {
    std::string out;
    for (const unsigned char c : account) out.push_back(static_cast<char>(std::tolower(c)));
    return out;
}

result<key_inventory> inventory_of(const init_plan& plan) {
    using nats::key_type;
    key_inventory out;
    if (plan.mode == deployment_mode::config) {
        out.keys = {{"auth", key_type::account, "issuer: signs callout answers and user JWTs"}};
        out.passwords = {{"callout", "callgate's callout links (account AUTH)"},
                         {"system", "callgate's system link (account SYS)"},
                         {"break-glass", "full rights in SYS, never passes the callout: for emergencies"}};
    } else {
        out.keys = {{"operator", key_type::operator_, "operator identity: the root of trust; move it offline"},
                    {"operator-signing", key_type::operator_, "signs account JWTs"},
                    {"sys", key_type::account, "system account"},
                    {"auth", key_type::account, "callout account identity"},
                    {"auth-signing", key_type::account, "signs callout answers"}};
        for (const auto& account : plan.accounts) {
            const auto label = label_of_account(account);
            out.keys.push_back({label, key_type::account, "account " + account + " identity"});
            out.keys.push_back({label + "-signing", key_type::account, "signs user JWTs of " + account});
            out.keys.push_back({label + "-reader", key_type::account, "scoped key of " + account + ": role reader"});
        }
        out.keys.push_back({"callout", key_type::user, "callgate's callout links (account AUTH)"});
        out.keys.push_back({"system", key_type::user, "callgate's system link (account SYS)"});
        out.keys.push_back({"break-glass", key_type::user, "full rights in SYS, never passes the callout: for emergencies"});
        out.keys.push_back({"sentinel", key_type::user, "what clients show to get to the callout; may do nothing"});
    }
    out.keys.push_back({"xkey", key_type::curve, "opens callout requests: guard it like the issuer"});
    out.passwords.push_back({"alice", "example user of users.yaml"});
    std::set<std::string> labels;
    for (const auto& k : out.keys)
        if (!labels.insert(k.label).second)
            return make_error(errc::invalid, "an account of this name would share the key file " + key_file_of(k.label) +
                                                 " with another key; choose another name", "--account");
    return out;
}

result<key_ring> load_or_make_keys(folder& where, const key_inventory& wanted, bool may_make) {
    key_ring ring;
    for (const auto& spec : wanted.keys) {
        const auto name = key_file_of(spec.label);
        auto text = where.read_secret(name);
        if (!text) return text.error();
        if (!*text) {
            if (!may_make) return lost(where, name);
            auto pair = nats::key_pair::generate(spec.type);
            const auto line = as_line(pair.seed_text().text());
            if (auto ok = where.create(name, line.text(), 0600); !ok) return ok.error();
            ring.made.push_back(name);
            ring.keys.emplace(spec.label, std::move(pair));
            continue;
        }
        auto pair = nats::key_pair::from_seed(trimmed((*text)->text()));
        if (!pair) return make_error(errc::invalid, "is no nkey seed (" + pair.error().text + "); restore it from a backup", where.path() + "/" + name);
        if (pair->type() != spec.type)
            return make_error(errc::invalid, "is a key of type " + std::string(nats::to_string(pair->type())) + ", but " +
                                                 std::string(nats::to_string(spec.type)) + " is needed", where.path() + "/" + name);
        ring.keys.emplace(spec.label, std::move(*pair));
    }
    for (const auto& spec : wanted.passwords) {
        const auto name = password_file_of(spec.label);
        auto text = where.read_secret(name);
        if (!text) return text.error();
        if (!*text) {
            if (!may_make) return lost(where, name);
            auto password = random_password();
            const auto line = as_line(password.text());
            if (auto ok = where.create(name, line.text(), 0600); !ok) return ok.error();
            ring.made.push_back(name);
            ring.passwords.emplace(spec.label, std::move(password));
            continue;
        }
        const auto password = trimmed((*text)->text());
        if (password.empty()) return make_error(errc::invalid, "holds no password; restore it from a backup", where.path() + "/" + name);
        ring.passwords.emplace(spec.label, crypto::secret::copy_of(password));
    }
    return ring;
}

}  // namespace callgate::cli
