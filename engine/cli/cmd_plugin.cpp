// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/cmd_plugin.hpp"

#include <algorithm>
#include <filesystem>
#include <ostream>

#include "engine/host/library.hpp"
#include "engine/host/plugin_file.hpp"
#include "engine/host/plugin_note.hpp"

namespace callgate::cli {
namespace {

namespace fs = std::filesystem;

std::string kinds_text(std::uint32_t kinds) {
    std::string out;
    for (std::uint32_t kind = 0; kind < 32; ++kind)
        if (kinds & (1u << kind)) out += (out.empty() ? "" : ", ") + host::kind_name(kind);
    return out.empty() ? "nothing" : out;
}

std::vector<fs::path> plugin_files(const std::vector<std::string>& directories) {
    std::vector<fs::path> out;
    for (const auto& directory : directories) {
        std::error_code ec;
        for (fs::directory_iterator it(directory, ec), end; !ec && it != end; it.increment(ec)) {
            const auto name = it->path().filename().string();
            if (name.starts_with("callgate_") && name.ends_with(".so")) out.push_back(it->path());
        }
    }
    std::sort(out.begin(), out.end());
    return out;
}

}  // namespace

int run_plugin_list(const std::vector<std::string>& directories, std::ostream& out) {
    int status = 0;
    const auto files = plugin_files(directories);
    if (files.empty()) {
        out << "no plugins (callgate_NAME.so) in:\n";
        for (const auto& directory : directories) out << "  " << directory << '\n';
    }
    for (const auto& path : files) {
        const auto refused = [&](const error& e) {
            out << path.string() << ": cannot be used: " << e.message() << '\n';
            status = 1;
        };
        auto file = host::read_plugin_file(path.string());
        if (!file) {
            refused(file.error());
            continue;
        }
        auto note = host::read_plugin_note(file->bytes);
        if (!note) {
            refused(note.error());
            continue;
        }
        if (auto fits = host::check_abi(note->abi_major, note->abi_minor_needed); !fits) {
            refused(fits.error());
            continue;
        }
        out << path.string() << ": " << note->plugin_id << ", " << kinds_text(note->kinds) << ", ABI " << note->abi_major << '.'
            << note->abi_minor_needed << ", sha256 " << file->sha256 << '\n';
    }
    return status;
}

result<void> run_plugin_inspect(const std::string& file_or_name, const std::vector<std::string>& directories, std::ostream& out) {
    host::library_options options;
    options.directories = directories;
    host::library_loader loader(std::move(options));
    auto loaded = file_or_name.find('/') != std::string::npos ? loader.load_file(fs::absolute(file_or_name).string()) : loader.load(file_or_name);
    if (!loaded) return loaded.error();
    const auto& m = **loaded;
    out << "file:     " << m.path << "\nsha256:   " << m.sha256 << "\nplugin:   " << m.plugin_id << ' ' << m.version << "\nvendor:   " << m.vendor
        << "\nlicence:  " << m.license << "\nbuild:    " << m.build_id << "\nABI:      " << m.abi_major << '.' << m.abi_minor_built << ", needs "
        << m.abi_major << '.' << m.abi_minor_needed << '\n';
    for (const auto& f : m.factories)
        out << "\n" << host::kind_name(f.kind) << " \"" << f.type << "\": " << f.summary << "\nschema of its config:\n" << f.config_schema << '\n';
    return {};
}

}  // namespace callgate::cli
