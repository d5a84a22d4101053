// SPDX-License-Identifier: Apache-2.0
// The only source of this room that sees yaml-cpp.
#include "sdk/check/config_files.hpp"

#include <callgate/abi/auth_backend.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <filesystem>
#include <set>
#include <stdexcept>

#include "sdk/check/auth_request.hpp"

namespace callgate::check {
namespace {

[[noreturn]] void fail(const std::string& file, const YAML::Node& at, const std::string& why) {
    throw std::runtime_error(file + ":" + std::to_string(at.Mark().line + 1) + ": " + why);
}

boost::json::value scalar(const YAML::Node& n) {
    const auto& text = n.Scalar();
    // A tag of "!" marks what was quoted.
    if (n.Tag() == "!") return boost::json::string(text);
    if (text.empty() || text == "~" || text == "null") return nullptr;
    if (text == "true") return true;
    if (text == "false") return false;
    std::int64_t i = 0;
    if (const auto r = std::from_chars(text.data(), text.data() + text.size(), i); r.ec == std::errc{} && r.ptr == text.data() + text.size()) return i;
    double d = 0;
    if (const auto r = std::from_chars(text.data(), text.data() + text.size(), d);
        r.ec == std::errc{} && r.ptr == text.data() + text.size() && text.find_first_not_of("0123456789+-.eE") == std::string::npos)
        return d;
    return boost::json::string(text);
}

boost::json::value to_json(const std::string& file, const YAML::Node& n, int depth = 0) {
    if (depth > 64) fail(file, n, "more than 64 levels");
    switch (n.Type()) {
        case YAML::NodeType::Map: {
            boost::json::object o;
            for (const auto& m : n) {
                const auto key = m.first.as<std::string>();
                if (o.contains(key)) fail(file, m.first, "the key " + key + " stands twice");
                o[key] = to_json(file, m.second, depth + 1);
            }
            return o;
        }
        case YAML::NodeType::Sequence: {
            boost::json::array a;
            for (const auto& item : n) a.push_back(to_json(file, item, depth + 1));
            return a;
        }
        case YAML::NodeType::Scalar: return scalar(n);
        default: return nullptr;
    }
}

YAML::Node load(const std::string& file) {
    try {
        return YAML::LoadFile(file);
    } catch (const YAML::Exception& e) {
        throw std::runtime_error(file + ":" + std::to_string(e.mark.line + 1) + ": cannot be read as YAML or JSON: " + e.msg);
    }
}

std::string directory_of(const std::string& file) {
    return std::filesystem::absolute(file).parent_path().string();
}

/// {backends: {NAME: {plugin, config}}}: an example of a callgate.yaml.
std::optional<YAML::Node> config_of_fragment(const YAML::Node& root) {
    if (!root.IsMap() || root.size() != 1) return std::nullopt;
    const auto section = root.begin()->second;
    if (!section.IsMap() || section.size() != 1) return std::nullopt;
    const auto instance = section.begin()->second;
    if (!instance.IsMap() || !instance["plugin"] || !instance["config"]) return std::nullopt;
    return instance["config"];
}

std::string config_text(const std::string& file, const YAML::Node& n) {
    if (n.IsNull()) return "{}";
    if (!n.IsMap()) fail(file, n, "a configuration must be a map");
    return boost::json::serialize(to_json(file, n));
}

void only(const std::string& file, const YAML::Node& map, const std::set<std::string>& keys) {
    if (!map.IsMap()) fail(file, map, "must be a map");
    for (const auto& m : map)
        if (!keys.contains(m.first.as<std::string>())) fail(file, m.first, "unknown key \"" + m.first.as<std::string>() + "\"");
}

template <std::size_t N>
std::uint32_t one_of(const std::string& file, const YAML::Node& n, const std::pair<const char*, std::uint32_t> (&names)[N]) {
    std::string all;
    for (const auto& [name, value] : names) {
        if (n.as<std::string>() == name) return value;
        all += (all.empty() ? "" : ", ") + std::string(name);
    }
    fail(file, n, "must be one of " + all);
}

constexpr std::pair<const char*, std::uint32_t> verdict_names[] = {
    {"allow", CG_VERDICT_ALLOW}, {"deny", CG_VERDICT_DENY}, {"abstain", CG_VERDICT_ABSTAIN}, {"unavailable", CG_VERDICT_UNAVAILABLE}};
constexpr std::pair<const char*, std::uint32_t> source_names[] = {{"none", CG_CREDENTIAL_NONE}, {"auth_token", CG_CREDENTIAL_AUTH_TOKEN}, {"pass", CG_CREDENTIAL_PASS},
                                                                  {"jwt", CG_CREDENTIAL_JWT},   {"user", CG_CREDENTIAL_USER},             {"nkey", CG_CREDENTIAL_NKEY}};

}  // namespace

void add_good(settings& s, const std::string& file) {
    const auto root = load(file);
    const auto inner = config_of_fragment(root);
    s.good.push_back({file, config_text(file, inner ? *inner : root), directory_of(file)});
}

void add_stalled(settings& s, const std::string& file) {
    const auto root = load(file);
    const auto inner = config_of_fragment(root);
    s.stalled.push_back({file, config_text(file, inner ? *inner : root), directory_of(file)});
}

void add_bad(settings& s, const std::string& file) {
    const auto root = load(file);
    if (!root.IsSequence()) fail(file, root, "must be a list of {key: ..., config: ...}");
    for (const auto& item : root) {
        only(file, item, {"key", "config"});
        if (!item["key"] || !item["config"]) fail(file, item, "needs key (which the error must name) and config");
        s.bad.push_back({file + ":" + std::to_string(item.Mark().line + 1), item["key"].as<std::string>(), config_text(file, item["config"]), directory_of(file)});
    }
}

void add_cases(settings& s, const std::string& file) {
    const auto root = load(file);
    if (!root.IsSequence()) fail(file, root, "must be a list of {name, request, source, verdict, subject, reason_id}");
    const auto& fields = request_text_fields();
    for (const auto& item : root) {
        only(file, item, {"name", "request", "source", "verdict", "subject", "reason_id"});
        if (!item["name"] || !item["verdict"]) fail(file, item, "needs name and verdict");
        auth_case c;
        c.file = file;
        c.name = item["name"].as<std::string>();
        c.verdict = one_of(file, item["verdict"], verdict_names);
        if (item["source"]) c.credential_source = one_of(file, item["source"], source_names);
        if (item["subject"]) c.subject = item["subject"].as<std::string>();
        if (item["reason_id"]) c.reason_id = item["reason_id"].as<std::string>();
        if (item["request"])
            for (const auto& m : item["request"]) {
                const auto name = m.first.as<std::string>();
                if (std::ranges::find(fields, name) == fields.end()) fail(file, m.first, "cg_auth_request has no text field \"" + name + "\"");
                c.request[name] = m.second.as<std::string>();
            }
        s.cases.push_back(std::move(c));
    }
}

void add_defaults(settings& s) {
    namespace fs = std::filesystem;
    const fs::path beside = fs::path(s.plugin).replace_extension(".check");
    if (s.good.empty() && s.stalled.empty() && s.bad.empty() && s.cases.empty() && fs::is_directory(beside)) {
        std::vector<fs::path> files;
        for (const auto& e : fs::directory_iterator(beside)) files.push_back(e.path());
        std::ranges::sort(files);
        for (const auto& f : files) {
            const auto name = f.filename().string();
            if (f.extension() != ".yaml" && f.extension() != ".yml" && f.extension() != ".json") continue;
            if (name.starts_with("good")) add_good(s, f.string());
            if (name.starts_with("stalled")) add_stalled(s, f.string());
            if (name.starts_with("bad")) add_bad(s, f.string());
            if (name.starts_with("cases")) add_cases(s, f.string());
        }
    }
    if (s.good.empty()) s.good.push_back({"{}", "{}", fs::current_path().string()});
}

}  // namespace callgate::check
