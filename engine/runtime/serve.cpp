// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/serve.hpp"

#include <filesystem>

#include "engine/runtime/supervisor.hpp"

namespace callgate::runtime {

int serve(const std::string& config_path) {
    supervisor s(config_path);
    return s.run();
}

std::vector<std::string> default_plugin_directories() {
    std::error_code ec;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", ec);
    std::vector<std::string> out;
    for (const char* relative : {"../plugins.d", "../lib/callgate/plugins"}) {
        const auto dir = (self.parent_path() / relative).lexically_normal();
        if (std::filesystem::is_directory(dir, ec)) out.push_back(dir.string());
    }
    if (out.empty()) out.push_back("/usr/lib/callgate/plugins");
    return out;
}

std::vector<finding> check(const std::string& config_path) {
    auto loaded = load_config(config_path);
    auto findings = std::move(loaded.findings);
    if (!loaded.value) return findings;
    const auto& c = *loaded.value;
    // Plugins run on threads of the host; a control loop that never turns is enough to create instances,
    // since create does no I/O.
    boost::asio::io_context control{1};
    system_clock_source clock;
    host::host_options ho;
    ho.directories = c.plugins.directories.empty() ? default_plugin_directories() : c.plugins.directories;
    ho.sha256 = c.plugins.sha256;
    host::plugin_host host(control, 1, [](std::uint32_t) {}, clock, std::move(ho));
    auto look = [&](const instance_options& o, bool backend) {
        const std::string section = backend ? "backends" : "keys";
        auto add = [&](std::string text) {
            finding f;
            f.file = c.file;
            f.line = o.line;
            f.key = section + "." + o.name;
            f.text = std::move(text);
            findings.push_back(std::move(f));
        };
        host::instance_spec spec;
        spec.kind = backend ? CG_KIND_AUTH_BACKEND : CG_KIND_KEY_PROVIDER;
        spec.name = o.name;
        spec.plugin = o.plugin;
        spec.type = o.type;
        spec.config_json = o.config_json;
        spec.base_dir = std::filesystem::path(c.file).parent_path().string();
        auto schema = host.schema(spec);
        if (!schema) return add(schema.error().message());
        auto by_schema = check_against_schema(*schema, o, c.file, section);
        const bool refused = !by_schema.empty();
        findings.insert(findings.end(), by_schema.begin(), by_schema.end());
        if (refused) return;
        if (auto made = host.make_instance(spec); !made) add(made.error().message());
    };
    for (const auto& k : c.keys) look(k, false);
    for (const auto& b : c.backends) look(b, true);
    return findings;
}

}  // namespace callgate::runtime
