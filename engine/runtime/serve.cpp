// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/serve.hpp"

#include <algorithm>
#include <filesystem>

#include "engine/runtime/instance_config.hpp"
#include "engine/runtime/instance_sections.hpp"
#include "engine/runtime/plugin_links.hpp"
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

host::library_options plugin_libraries(const config& c) {
    host::library_options o;
    o.directories = c.plugins.directories.empty() ? default_plugin_directories() : c.plugins.directories;
    // Configurations that name their own folders came before the module.
    if (c.bundled_admin)
        for (auto& d : default_plugin_directories())
            if (std::ranges::find(o.directories, d) == o.directories.end()) o.directories.push_back(std::move(d));
    o.sha256 = c.plugins.sha256;
    return o;
}

host::instance_options host_options(const instance_options& o, const config& c) {
    host::instance_options out;
    out.name = o.name;
    out.plugin = o.plugin;
    out.type = o.type;
    out.config_json = o.config_json;
    out.base_dir = std::filesystem::path(c.file).parent_path().string();
    out.max_in_flight = o.max_in_flight != 0 ? o.max_in_flight : default_max_in_flight(c);
    out.timeout_ns = o.timeout_ns;
    out.breaker = {.failures = o.breaker.failures, .open_ns = o.breaker.pause_ns, .longest_open_ns = o.breaker.longest_pause_ns};
    out.watchdog = {.max_owed = o.overdue.max, .max_age_ns = o.overdue.age_ns};
    out.uses = o.uses;
    return out;
}

std::vector<finding> check(const std::string& config_path) {
    auto loaded = load_config(config_path);
    auto findings = std::move(loaded.findings);
    if (!loaded.value) return findings;
    const auto& c = *loaded.value;
    // A control loop that never turns is enough to create instances, since create does no I/O.
    boost::asio::io_context control{1};
    system_clock_source clock;
    host::plugin_host::options ho;
    ho.libraries = plugin_libraries(c);
    ho.wake = [](std::uint32_t) {};
    // Modules look for their capabilities as in a daemon.
    ho.engine = std::make_shared<const host::engine_port>(host::engine_port{
        .read = [](std::uint32_t, const std::function<void(host::engine_port::report)>& then) { then({}); }, .reload = [](const std::string&) {}});
    ho.audit = std::make_shared<const host::audit_port>(host::audit_port{[](const host::audit_note&) { return true; }});
    host::plugin_host host(control, clock, std::move(ho));
    auto look = [&](const instance_section& section, const instance_options& o) {
        auto add = [&](std::string text) {
            finding f;
            f.file = c.file;
            f.line = o.line;
            f.key = std::string(section.name) + "." + o.name;
            f.text = std::move(text);
            findings.push_back(std::move(f));
        };
        auto factory = host.find_factory(section.abi_kind, o.plugin, o.type);
        if (!factory) return add(factory.error().message());
        auto resolved = resolve_instance(o, factory->config_schema, c, std::string(section.name));
        findings.insert(findings.end(), resolved.findings.begin(), resolved.findings.end());
        if (!resolved.value) return;
        auto options = host_options(resolved.value->options, c);
        options.secrets = resolved.value->secrets;
        options.nats = idle_openers(o);
        auto made = host.make_instance(section.abi_kind, std::move(options));
        if (!made) return add(made.error().message());
        if (auto gone = (*made)->destroy(); !gone) add(gone.error().message());
    };
    for (const auto& s : instance_sections)
        for (const auto& o : c.*s.list) look(s, o);
    return findings;
}

}  // namespace callgate::runtime
