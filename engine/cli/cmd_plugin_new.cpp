// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/cmd_plugin_new.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>
#include <vector>

namespace callgate::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view placeholder = "my_auth";
constexpr std::size_t max_name = 40, max_files = 100;
constexpr std::uintmax_t max_file_bytes = 1 << 20;

struct planned_file {
    fs::path relative;
    std::string text;
    bool executable = false;
};

std::string named(std::string text, const std::string& name) {
    for (std::size_t at = 0; (at = text.find(placeholder, at)) != std::string::npos; at += name.size()) text.replace(at, placeholder.size(), name);
    return text;
}

// The name becomes a file name, part of C++ and CMake identifiers, and a word in callgate.yaml.
result<void> check_name(const std::string& name) {
    const auto small = [](char c) { return c >= 'a' && c <= 'z'; };
    const auto allowed = [&](char c) { return small(c) || (c >= '0' && c <= '9') || c == '_'; };
    if (name.empty() || name.size() > max_name || !small(name.front()) || name.back() == '_' || !std::all_of(name.begin(), name.end(), allowed) ||
        name.find("__") != std::string::npos)
        return make_error(errc::invalid,
                          "a plugin's name is 1 to 40 of a-z, 0-9 and _, starts with a letter, does not end with _ and has no two of them together, "
                          "such as auth_acme",
                          "NAME \"" + name.substr(0, 80) + "\"");
    return {};
}

result<fs::path> template_folder(const plugin_new_request& request) {
    const char* sub = request.language == "c" ? "c" : "cpp";
    std::error_code ec;
    fs::path base = request.templates;
    if (base.empty()) {
        const auto self = fs::read_symlink("/proc/self/exe", ec);
        base = (self.parent_path() / "../share/callgate/template").lexically_normal();
    }
    if (const auto folder = base / sub; fs::is_regular_file(folder / "CMakeLists.txt", ec)) return folder;
    return make_error(errc::not_found, "no template is here; install callgate's SDK or name its folder of templates by --template", (base / sub).string());
}

result<std::vector<planned_file>> plan(const fs::path& folder, const std::string& name) {
    std::vector<planned_file> out;
    std::error_code ec;
    fs::recursive_directory_iterator it(folder, ec), end;
    for (; !ec && it != end; it.increment(ec)) {
        if (it->is_directory(ec)) continue;
        const auto path = it->path();
        if (!it->is_regular_file(ec) || it->file_size(ec) > max_file_bytes || out.size() == max_files)
            return make_error(errc::invalid, "a template holds at most 100 files of at most 1 MiB", path.string());
        std::ifstream in(path, std::ios::binary);
        std::string text{std::istreambuf_iterator<char>(in), {}};
        if (!in) return make_error(errc::unavailable, "cannot read it", path.string());
        const bool executable = (it->status(ec).permissions() & fs::perms::owner_exec) != fs::perms::none;
        out.push_back({named(path.lexically_relative(folder).string(), name), named(std::move(text), name), executable});
    }
    if (ec) return make_error(errc::unavailable, "cannot read the template: " + ec.message(), folder.string());
    std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.relative < b.relative; });
    return out;
}

result<void> write_new(const fs::path& path, const planned_file& file) {
    const auto failed = [&](const char* what) { return make_error(errc::unavailable, std::string(what) + ": " + std::strerror(errno), path.string()); };
    // O_EXCL: what came into being since the plan was checked stays as it is.
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, file.executable ? 0777 : 0666);
    if (fd < 0) return failed("cannot make it");
    result<void> outcome;
    for (std::size_t done = 0; done < file.text.size();) {
        const ssize_t n = ::write(fd, file.text.data() + done, file.text.size() - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            outcome = failed("cannot write it");
            break;
        }
        done += static_cast<std::size_t>(n);
    }
    if (::close(fd) != 0 && outcome) outcome = failed("cannot write it");
    if (!outcome) ::unlink(path.c_str());
    return outcome;
}

// Files and folders made so far, newest last; taken away again unless keep() was called.
class made_paths {
  public:
    ~made_paths() {
        std::error_code ec;
        for (auto it = paths_.rbegin(); it != paths_.rend(); ++it) fs::remove(*it, ec);
    }
    result<void> make_folders(const fs::path& folder) {
        if (folder.empty()) return {};
        std::error_code ec;
        if (fs::is_directory(folder, ec)) return {};
        if (auto parent = make_folders(folder.parent_path()); !parent) return parent;
        if (!fs::create_directory(folder, ec)) return make_error(errc::unavailable, "cannot make the folder: " + (ec ? ec.message() : "it exists"), folder.string());
        paths_.push_back(folder);
        return {};
    }
    void add(const fs::path& path) { paths_.push_back(path); }
    void keep() noexcept { paths_.clear(); }

  private:
    std::vector<fs::path> paths_;
};

// For a line somebody copies into a shell.
std::string shell_word(const std::string& text) {
    const auto plain = [](unsigned char c) { return std::isalnum(c) != 0 || std::strchr("_-./+@%:,", c) != nullptr; };
    if (!text.empty() && std::all_of(text.begin(), text.end(), plain) && text.front() != '-') return text;
    std::string out = "'";
    for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
}

}  // namespace

result<void> run_plugin_new(const plugin_new_request& request, std::ostream& out) {
    if (auto named_well = check_name(request.name); !named_well) return named_well;
    auto folder = template_folder(request);
    if (!folder) return folder.error();
    auto files = plan(*folder, request.name);
    if (!files) return files.error();
    const fs::path target = request.directory.empty() ? fs::path(request.name) : fs::path(request.directory);
    std::error_code ec;
    for (const auto& file : *files)
        if (fs::symlink_status(target / file.relative, ec).type() != fs::file_type::not_found)
            return make_error(errc::permission, "exists and is never overwritten; nothing was written. Choose another folder by --dir", (target / file.relative).string());

    made_paths made;
    for (const auto& file : *files) {
        const auto path = target / file.relative;
        if (auto parent = made.make_folders(path.parent_path()); !parent) return parent;
        if (auto written = write_new(path, file); !written) return written;
        made.add(path);
    }
    made.keep();

    out << "made " << target.string() << ":";
    for (const auto& file : *files) out << ' ' << file.relative.string();
    out << "\nnext:\n  cd " << shell_word(target.string()) << "\n  cmake -B b && cmake --build b\n";
    if (request.language != "c") out << "  ctest --test-dir b\n";
    out << "  callgate-plugin-check b/*.so\nCMake finds the SDK when its bin folder is in PATH, or its prefix in CMAKE_PREFIX_PATH.\n";
    return {};
}

}  // namespace callgate::cli
