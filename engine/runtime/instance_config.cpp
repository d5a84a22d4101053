// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/instance_config.hpp"

#include <algorithm>
#include <boost/json.hpp>

#include "engine/net/secret_file.hpp"
#include "engine/runtime/config_references.hpp"

namespace callgate::runtime {
namespace {

namespace json = boost::json;

void replace(json::value& v, const std::string& path, const std::vector<config_reference>& references) {
    if (auto* text = v.if_string()) {
        const auto found = std::ranges::find(references, path, &config_reference::path);
        // A sealed one holds its handle by now.
        if (found == references.end() || !text->starts_with("${")) return;
        json::error_code ec;
        auto typed = json::parse(value_json(std::string(*text), found->quoted), ec);
        if (!ec) v = std::move(typed);
    } else if (auto* members = v.if_object()) {
        for (auto& m : *members) replace(m.value(), path.empty() ? std::string(m.key()) : path + "." + std::string(m.key()), references);
    } else if (auto* items = v.if_array()) {
        for (std::size_t i = 0; i < items->size(); ++i) replace((*items)[i], path + "[" + std::to_string(i) + "]", references);
    }
}

}  // namespace

resolve_outcome resolve_instance(const instance_options& o, const std::string& schema_json, const config& c, const std::string& section) {
    resolve_outcome out;
    auto sealed = host::seal_secrets(schema_json, o.config_json, c.base_dir, [](const std::string& path) { return net::read_secret_file(path); });
    if (!sealed) {
        const auto& e = sealed.error();
        finding f;
        f.file = c.file;
        f.line = o.line;
        const auto at = std::ranges::find(o.config_lines, e.where, &std::pair<std::string, int>::first);
        if (at != o.config_lines.end()) f.line = at->second;
        f.key = section + "." + o.name + ".config" + (e.where.empty() || e.where.front() == '[' ? "" : ".") + e.where;
        f.text = e.text;
        out.findings.push_back(std::move(f));
        return out;
    }
    resolved_instance r{o, std::move(sealed->secrets)};
    r.options.config_json = std::move(sealed->config_json);
    if (!o.references.empty()) {
        json::parse_options options;
        options.max_depth = 72;
        json::error_code ec;
        auto v = json::parse(r.options.config_json, ec, {}, options);
        if (!ec) {
            replace(v, {}, o.references);
            r.options.config_json = json::serialize(v);
        }
    }
    out.findings = check_against_schema(schema_json, r.options, c.file, section);
    if (std::ranges::none_of(out.findings, [](const finding& f) { return f.level == finding::severity::error; })) out.value = std::move(r);
    return out;
}

}  // namespace callgate::runtime
