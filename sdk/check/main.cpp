// SPDX-License-Identifier: Apache-2.0
// callgate-plugin-check: does a plugin keep to the rules of sdk/docs/abi.md?
#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <regex>

#include "sdk/check/config_files.hpp"
#include "sdk/check/runner.hpp"

namespace {

using namespace callgate::check;

void write_file(const std::string& path, const std::string& text) {
    const auto folder = std::filesystem::path(path).parent_path();
    if (!folder.empty()) std::filesystem::create_directories(folder);
    std::ofstream out(path, std::ios::binary);
    out << text;
    if (!out.flush()) throw std::runtime_error(path + " cannot be written");
}

void list(std::uint32_t kind) {
    for (const auto& c : all_checks()) {
        std::cout << c.name << "  " << c.summary;
        if (c.kinds != 0) {
            std::cout << "  [";
            for (std::uint32_t k = 1, n = 0; k < 32; ++k)
                if ((c.kinds & (1u << k)) != 0) std::cout << (n++ == 0 ? "" : " ") << kind_name(k);
            std::cout << "]";
            if (kind != 0 && (c.kinds & (1u << kind)) == 0) std::cout << "  (skipped: the plugin is of kind " << kind_name(kind) << ")";
        }
        std::cout << "\n";
    }
}

void must_be_checks(const std::vector<std::string>& names) {
    for (const auto& name : names)
        if (std::ranges::none_of(all_checks(), [&](const auto& c) { return name == c.name; })) throw std::runtime_error("--disable-check: there is no check " + name + "; see --list");
}

int run(settings& s, const std::vector<std::string>& good, const std::vector<std::string>& stalled, const std::vector<std::string>& bad, const std::vector<std::string>& cases, bool only_list) {
    for (const auto* patterns : {&s.include, &s.exclude})
        for (const auto& p : *patterns) {
            try {
                (void)std::regex(p);
            } catch (const std::regex_error& e) {
                throw std::runtime_error("the pattern \"" + p + "\" is no regular expression: " + e.what());
            }
        }
    must_be_checks(s.disabled);
    if (s.plugin.empty()) {
        if (!only_list) throw std::runtime_error("which plugin? usage: callgate-plugin-check PLUGIN.so --config FILE");
        list(0);
        return 0;
    }
    // The loader searches its own directories for a name without a slash.
    s.plugin = std::filesystem::absolute(s.plugin).string();
    if (!std::filesystem::exists(s.plugin)) throw std::runtime_error(s.plugin + " does not exist");
    for (const auto& f : good) add_good(s, f);
    for (const auto& f : stalled) add_stalled(s, f);
    for (const auto& f : bad) add_bad(s, f);
    for (const auto& f : cases) add_cases(s, f);
    add_defaults(s);
    const auto kind = find_kind(s);
    if (only_list) {
        list(kind);
        return 0;
    }
    const auto results = run_checks(s, kind, [&](const check_entry& c) {
        if (s.verbose) std::cerr << c.name << "\n";
    });
    if (results.empty()) throw std::runtime_error("no check is selected by --include and --exclude; see --list");
    std::cout << to_text(results, s.verbose);
    if (!s.json_file.empty()) write_file(s.json_file, to_json(s, results));
    if (!s.junit_file.empty()) write_file(s.junit_file, to_junit(s, results));
    const bool sound = std::ranges::none_of(results, [](const auto& r) { return r.status == check_status::failed || r.status == check_status::blocked; });
    return sound ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Checks whether a callgate plugin keeps to the rules of the plugin ABI.\nEach check runs in a process of its own; the exit status is 0 when all passed, 1 when one failed,\n"
                 "2 when the check could not be made."};
    settings s;
    std::vector<std::string> good, stalled, bad, cases;
    bool only_list = false;
    std::uint64_t timeout = 60, patience_ms = 10'000, block_ms = 50;
    app.add_option("PLUGIN", s.plugin, "the plugin's file");
    app.add_option("--config", good, "YAML or JSON of an instance's `config` that must work (or a fragment of callgate.yaml); may be repeated")->take_all()->allow_extra_args(false);
    app.add_option("--stalled", stalled, "as --config, of an audit sink whose target takes nothing: a FIFO `stalled` is in the folder where relative paths start")->allow_extra_args(false);
    app.add_option("--bad", bad, "list of {key, config} that must be refused with a text that names the key")->allow_extra_args(false);
    app.add_option("--cases", cases, "truth table of an auth backend: list of {name, request, source, verdict, subject}")->allow_extra_args(false);
    app.add_option("--kind", s.kind, "auth, keys, claims, module or audit, when the plugin has several")->check(CLI::IsMember({"auth", "keys", "claims", "module", "audit"}));
    app.add_option("--type", s.type, "type of the factory, when the plugin has several of that kind");
    app.add_flag("--list", only_list, "name the checks and end");
    app.add_option("--include", s.include, "only checks whose name contains this regular expression")->allow_extra_args(false);
    app.add_option("--exclude", s.exclude, "not those")->allow_extra_args(false);
    app.add_flag("--in-process", s.in_process, "no process for each check: for a debugger");
    app.add_option("--json", s.json_file, "write the results as JSON");
    app.add_option("--junit", s.junit_file, "write the results as JUnit XML");
    app.add_option("--seed", s.seed, "of the group fuzz; the same seed does the same")->capture_default_str();
    app.add_option("--fuzz-steps", s.fuzz_steps, "length of a random sequence")->capture_default_str();
    app.add_option("--cycles", s.cycles, "of create and destroy, where growth is looked for")->check(CLI::Range(100, 1'000'000))->capture_default_str();
    app.add_option("--shards", s.shards, "shard threads")->check(CLI::Range(1, 64))->capture_default_str();
    app.add_option("--timeout", timeout, "seconds for one check")->check(CLI::Range(1, 3600))->capture_default_str();
    app.add_option("--patience", patience_ms, "milliseconds for one operation to complete")->check(CLI::Range(50, 600'000))->capture_default_str();
    app.add_option("--block-limit", block_ms, "milliseconds that a call may wait on a shard")->check(CLI::Range(1, 10'000))->capture_default_str();
    app.add_flag("--verbose", s.verbose, "name what passed as well");
    app.add_option("--disable-check", s.disabled, "throw away what this check finds: for testing this tool")->group("")->allow_extra_args(false);
    CLI11_PARSE(app, argc, argv);
    s.timeout = std::chrono::seconds(timeout);
    s.patience = std::chrono::milliseconds(patience_ms);
    s.block_limit = std::chrono::milliseconds(block_ms);
    try {
        return run(s, good, stalled, bad, cases, only_list);
    } catch (const std::exception& e) {
        std::cerr << "callgate-plugin-check: " << e.what() << "\n";
        return 2;
    }
}
