// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/config.hpp"

#include <algorithm>
#include <filesystem>

#include "engine/runtime/config_references.hpp"
#include "engine/runtime/config_sections.hpp"
#include "engine/runtime/instance_sections.hpp"

namespace callgate::runtime {

using policy::node;
using policy::section;

namespace {

policy::environment environment_of(const config& c) {
    policy::environment env;
    for (const auto& a : c.accounts) {
        policy::known_account k{a.name, a.key, {}};
        for (const auto& [role, key] : a.roles) k.roles.push_back(role);
        env.accounts.push_back(std::move(k));
    }
    env.callout_account = c.callout.account;
    env.system_account = c.callout.system_account;
    env.operator_mode = c.callout.mode == callout_mode::operator_;
    env.servers_pinned = c.callout.servers != server_pinning::any;
    for (const auto& b : c.backends) env.backends.push_back(b.name);
    for (const auto& s : c.stores) env.stores.push_back(s.name);
    return env;
}

// `policy:` itself, or the file it names. The tree must outlive the source.
policy::source policy_source(const section& root, loading& in, std::optional<node>& other_file) {
    const node* here = root.required("policy");
    if (here == nullptr || !here->is_mapping()) {
        static const node nothing{};
        if (here != nullptr) root.error("policy", "must be a mapping: rules, or file: <file>");
        return {&nothing, in.to.file(), "policy"};
    }
    const node* file = here->find("file");
    if (file == nullptr || here->members.size() > 1 || !file->is_scalar()) return {here, in.to.file(), "policy"};
    const auto path = in.absolute(file->text);
    if (const auto text = policy::read_document(path, in.to.out())) {
        other_file = policy::parse_yaml(*text, path, in.to.out());
        if (other_file) {
            policy::expand_environment(*other_file, path, in.to.out());
            refuse_literal_secrets(*other_file, {path, in.to.out()});
        }
    } else {
        root.error("policy", "names the file whose finding stands above");
    }
    static const node nothing{};
    return {other_file ? &*other_file : &nothing, path, {}};
}

void find_references(const section& root, std::string_view part, instance_options& i) {
    const node* instances = root.find(part);
    const node* instance = instances == nullptr ? nullptr : instances->find(i.name);
    const node* config = instance == nullptr ? nullptr : instance->find("config");
    if (config != nullptr) i.references = references_in(*config);
}

}  // namespace

load_outcome load_config_text(const std::string& text, const std::string& name, const std::string& base_dir) {
    load_outcome outcome;
    auto tree = policy::parse_yaml(text, name, outcome.findings);
    if (!tree) return outcome;
    set_aside_references(*tree);
    policy::expand_environment(*tree, name, outcome.findings);
    loading in{policy::reporter(name, outcome.findings), base_dir, {}};
    const std::filesystem::path file(name);
    in.value.file = (file.is_absolute() ? file : std::filesystem::path(base_dir) / file.filename()).lexically_normal().string();
    in.value.base_dir = base_dir;
    refuse_literal_secrets(*tree, in.to);

    const section root(in.to, *tree, {}, root_table);
    read_general(root, in);
    read_nats(root, in);
    read_callout(root, in);
    for (const auto& s : instance_sections) {
        const std::string part(s.name);
        auto& instances = in.value.*s.list;
        if (s.required || root.find(part) != nullptr) read_instances(root, part, instances, in);
        for (auto& i : instances) find_references(root, part, i);
    }
    read_accounts(root, in);
    read_admission(root, in);
    read_admin(root, in);
    add_admin_module(root, in.value);
    add_audit_sink(root, in);

    std::optional<node> other_file;
    const node* routes = root.required("routes");
    const auto rules = policy_source(root, in, other_file);
    const auto env = environment_of(in.value);
    // Its own list: compile() runs the policy's tests only while there is no error, and an error elsewhere
    // in the file must not hide a failing case.
    std::vector<finding> of_policy;
    if (routes != nullptr && rules.tree->is_mapping()) {
        in.value.policy = policy::compile({routes, name, "routes"}, rules, env, of_policy);
    }
    outcome.findings.insert(outcome.findings.end(), of_policy.begin(), of_policy.end());
    check_together(root, in);

    // In the order of the file, whatever the order of checking was; the main file first.
    std::ranges::stable_sort(outcome.findings, [&](const finding& a, const finding& b) {
        if (a.file != b.file) return a.file == name && b.file != name;
        return a.line < b.line;
    });
    if (!policy::has_error(outcome.findings)) outcome.value = std::move(in.value);
    return outcome;
}

load_outcome load_config(const std::string& path) {
    load_outcome outcome;
    std::error_code ec;
    const auto absolute = std::filesystem::absolute(path, ec).lexically_normal();
    if (ec) {
        outcome.findings.push_back({finding::severity::error, path, 0, {}, ec.message()});
        return outcome;
    }
    const auto text = policy::read_document(path, outcome.findings);
    if (!text) return outcome;
    outcome = load_config_text(*text, path, absolute.parent_path().string());
    if (outcome.value) outcome.value->file = absolute.string();
    return outcome;
}

}  // namespace callgate::runtime
