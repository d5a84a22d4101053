// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/cmd_init.hpp"

#include <callgate/nats/creds.hpp>
#include <ctime>
#include <ostream>

#include "engine/cli/init_callgate_config.hpp"
#include "engine/cli/init_keys.hpp"
#include "engine/cli/init_server_config.hpp"
#include "engine/cli/init_tokens.hpp"

namespace callgate::cli {
namespace {

/// A file that follows from plan and keys.
struct derived_file {
    std::string name;
    crypto::secret text;
    mode_t mode = 0644;
    bool only_if_missing = false;  ///< the operator's own from the first moment on
};

result<void> add_creds(std::vector<derived_file>& out, const std::string& name, const std::string& jwt,
                       const nats::key_pair& user, mode_t mode) {
    auto text = nats::format_creds(jwt, user);
    if (!text) return make_error(errc::internal, text.error().text, name);
    out.push_back({name, std::move(*text), mode});
    return {};
}

result<std::vector<derived_file>> derive(const init_plan& plan, const key_ring& keys, const folder& where) {
    std::vector<derived_file> out;
    deployment_tokens tokens;
    if (plan.mode == deployment_mode::operator_) {
        auto made = make_tokens(plan, keys);
        if (!made) return made.error();
        tokens = std::move(*made);
        struct { const char* name; const std::string* jwt; const char* key; mode_t mode; } creds[] = {
            {"keys/callout.creds", &tokens.callout_jwt, "callout", 0600},
            {"keys/system.creds", &tokens.system_jwt, "system", 0600},
            {"keys/break-glass.creds", &tokens.break_glass_jwt, "break-glass", 0600},
            // Handed to every client: it allows nothing but asking.
            {"sentinel.creds", &tokens.sentinel_jwt, "sentinel", 0644}};
        for (const auto& c : creds)
            if (auto ok = add_creds(out, c.name, *c.jwt, keys.key(c.key), c.mode); !ok) return ok.error();
        const auto public_file = [&](const std::string& name, const std::string& text) {
            out.push_back({name, crypto::secret::copy_of(std::string_view(text + "\n")), 0644});
        };
        public_file("jwt/operator.jwt", tokens.operator_jwt);
        for (const auto& a : tokens.accounts) public_file("jwt/" + a.name + ".jwt", a.jwt);
    }
    auto server = server_config_text(plan, keys, tokens, where.path());
    if (!server) return server.error();
    // In config mode it holds password hashes.
    out.push_back({"nats-server.conf", crypto::secret::copy_of(std::string_view(*server)),
                   plan.mode == deployment_mode::config ? mode_t{0600} : mode_t{0644}});
    if (!where.exists("users.yaml")) {
        auto users = users_text(plan, keys);
        if (!users) return users.error();
        out.push_back({"users.yaml", crypto::secret::copy_of(std::string_view(*users)), 0600, true});
    }
    out.push_back({"callgate.yaml", crypto::secret::copy_of(std::string_view(callgate_config_text(plan, keys))), 0644});
    return out;
}

struct report {
    std::vector<std::string> made, replaced, repaired, edited;
    std::size_t kept = 0;
};

/// Writes what is missing. With `finish` (first run, interrupted run, --force-config) also what differs.
result<void> write_derived(folder& where, const std::vector<derived_file>& files, bool finish, bool keep_previous, report& done) {
    for (const auto& f : files) {
        auto present = where.read(f.name);
        if (!present) return present.error();
        if (!*present) {
            if (auto ok = where.create(f.name, f.text.text(), f.mode); !ok) return ok;
            (finish ? done.made : done.repaired).push_back(f.name);
        } else if (f.only_if_missing || **present == f.text.text()) {
            ++done.kept;
        } else if (finish) {
            if (keep_previous)
                if (auto ok = where.keep_as(f.name, f.name + ".previous"); !ok) return ok;
            if (auto ok = where.replace(f.name, f.text.text(), f.mode); !ok) return ok;
            done.replaced.push_back(f.name);
        } else {
            ++done.kept;
            done.edited.push_back(f.name);
        }
    }
    return {};
}

result<std::optional<init_plan>> read_plan(const folder& where) {
    auto text = where.read(std::string(plan_file));
    if (!text) return text.error();
    if (*text) {
        auto plan = plan_from_json(**text, where.path() + "/" + std::string(plan_file));
        if (!plan) return plan.error();
        return std::optional<init_plan>(std::move(*plan));
    }
    auto names = where.entries();
    if (!names) return names.error();
    if (!names->empty())
        return make_error(errc::invalid, "the folder is not empty and was not made by callgate init (it has " + names->front() +
                                             "); name a new folder", where.path());
    return std::optional<init_plan>{};
}

void list(std::ostream& out, const char* title, const std::vector<std::string>& names) {
    if (names.empty()) return;
    out << title << '\n';
    for (const auto& n : names) out << "  " << n << '\n';
}

void tell(std::ostream& out, const init_plan& plan, const std::string& dir, const report& done) {
    list(out, "made:", done.made);
    list(out, "made again (was missing):", done.repaired);
    list(out, "written anew (the old one is kept as NAME.previous):", done.replaced);
    list(out, "kept, although it differs from what init would write; --force-config writes it anew:", done.edited);
    if (done.made.empty() && done.repaired.empty() && done.replaced.empty())
        out << "kept: " << done.kept << " files in " << dir << ", nothing changed\n";
    out << "\nNext steps (" << to_string(plan.mode) << " mode, nats-server " << plan.version.text() << ")\n"
        << "  1. start the server:   nats-server -c " << dir << "/nats-server.conf\n"
        << "  2. look it over:       callgate check " << dir << "/callgate.yaml\n"
        << "  3. start callgate:     callgate serve " << dir << "/callgate.yaml\n"
        << "  4. log in as \"alice\"; the password is in " << dir << "/keys/alice.password\n";
    out << "       nats pub --server " << server_urls(plan).front();
    if (plan.mode == deployment_mode::operator_ && !plan.version.has_default_sentinel()) out << " --creds " << dir << "/sentinel.creds";
    out << " --user alice --password \"$(cat " << dir << "/keys/alice.password)\" " << label_of_account(plan.accounts.front()) << ".alice.hello hi\n";
    out << "  5. add people:         callgate passwd, then put the hash into " << dir << "/users.yaml\n"
        << "Emergencies: the user break-glass has full rights in SYS and needs no callgate ("
        << (plan.mode == deployment_mode::operator_ ? "keys/break-glass.creds" : "keys/break-glass.password") << ").\n";
    if (plan.mode == deployment_mode::operator_)
        out << "Move keys/operator.nk to a safe place; only callgate init needs it.\n"
            << "Clients show sentinel.creds" << (plan.version.has_default_sentinel() ? ", or nothing: the server has it as default_sentinel" : "") << ".\n";
}

}  // namespace

result<void> run_init(const std::string& directory, const init_request& request, std::ostream& out, folder::step_hook hook) {
    auto opened = folder::open(directory, std::move(hook));
    if (!opened) return opened.error();
    folder& where = *opened;
    if (where.path().find_first_of("\"\\\n\r") != std::string::npos)
        return make_error(errc::invalid, "quotes, backslashes and line ends cannot stand in this path; choose another folder", where.path());

    auto before = read_plan(where);
    if (!before) return before.error();
    auto planned = make_plan(request, *before, static_cast<std::int64_t>(std::time(nullptr)), where.path());
    if (!planned) return planned.error();
    init_plan plan = std::move(*planned);
    auto wanted = inventory_of(plan);
    if (!wanted) return wanted.error();

    const std::string plan_name(plan_file);
    if (!*before) {
        if (auto ok = where.make_private(); !ok) return ok;
        if (auto ok = where.create(plan_name, to_json(plan), 0644); !ok) return ok;
    } else if (!(plan == **before)) {
        if (auto ok = where.replace(plan_name, to_json(plan), 0644); !ok) return ok;
    }
    for (const char* name : {"keys", "jwt", "run", "nats-data"}) {
        if (plan.mode == deployment_mode::config && std::string_view(name) == "jwt") continue;
        if (auto ok = where.make_directory(name); !ok) return ok;
    }
    auto keys = load_or_make_keys(where, *wanted, plan.unfinished);
    if (!keys) return keys.error();
    auto files = derive(plan, *keys, where);
    if (!files) return files.error();
    report done;
    done.made = keys->made;
    done.kept = wanted->keys.size() + wanted->passwords.size() - keys->made.size();
    // The first run has nothing to keep an old copy of.
    const bool renewed = before->has_value();
    if (auto ok = write_derived(where, *files, plan.unfinished, renewed, done); !ok) return ok;
    if (plan.unfinished) {
        plan.unfinished = false;
        if (auto ok = where.replace(plan_name, to_json(plan), 0644); !ok) return ok;
    }
    tell(out, plan, where.path(), done);
    return {};
}

}  // namespace callgate::cli
