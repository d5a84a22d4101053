// SPDX-License-Identifier: Apache-2.0
#include "engine/host/plugin_file.hpp"

#include <callgate/crypto/hash.hpp>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>

namespace callgate::host {
namespace {

std::string octal_mode(mode_t mode) {
    char text[8];
    std::snprintf(text, sizeof text, "%04o", static_cast<unsigned>(mode & 07777));
    return text;
}

std::string system_text(const std::string& what) { return what + ": " + std::strerror(errno); }

// Who else could replace or change this directory entry?
std::optional<error> refuse_foreign(const struct stat& s, const std::string& path) {
    if (s.st_uid != 0 && s.st_uid != ::geteuid())
        return make_error(errc::permission,
                          "belongs to user " + std::to_string(s.st_uid) + "; plugins and the directories above them must belong to root or to user " +
                              std::to_string(::geteuid()) + " (chown)",
                          path);
    const bool sticky_directory = S_ISDIR(s.st_mode) && (s.st_mode & S_ISVTX) != 0;
    if ((s.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !sticky_directory)
        return make_error(errc::permission, "mode " + octal_mode(s.st_mode) + " lets others change it; chmod go-w", path);
    return std::nullopt;
}

// Walks from / by descriptors, so that no component can be exchanged between its check and its use.
result<descriptor> open_checked(const std::string& canonical) {
    descriptor here(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!here) return make_error(errc::internal, system_text("cannot open /"), canonical);
    std::string walked = "/";
    std::size_t from = 1;
    for (;;) {
        struct stat s {};
        if (::fstat(here.get(), &s) != 0) return make_error(errc::permission, system_text("cannot stat"), walked);
        if (auto refused = refuse_foreign(s, walked)) return *refused;
        const auto slash = canonical.find('/', from);
        const bool last = slash == std::string::npos;
        const auto part = canonical.substr(from, last ? std::string::npos : slash - from);
        walked = canonical.substr(0, last ? std::string::npos : slash);
        // O_NONBLOCK: a FIFO put in the plugin's place must not hang the start.
        const int flags = last ? O_RDONLY | O_NONBLOCK : O_PATH | O_DIRECTORY;
        descriptor next(::openat(here.get(), part.c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
        if (!next && errno == ELOOP)
            return make_error(errc::permission, "is a symbolic link; name the file itself", walked);
        if (!next) return make_error(errno == ENOENT ? errc::not_found : errc::permission, system_text("cannot open"), walked);
        if (last) return next;
        here = std::move(next);
        from = slash + 1;
    }
}

}  // namespace

descriptor::~descriptor() {
    if (fd_ >= 0) ::close(fd_);
}

std::string sha256_hex(std::span<const std::uint8_t> bytes) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    out.reserve(64);
    for (const auto b : crypto::sha256(bytes)) {
        out.push_back(digits[b >> 4]);
        out.push_back(digits[b & 15]);
    }
    return out;
}

result<std::string> find_plugin(const std::string& name, const std::vector<std::string>& directories) {
    if (name.empty() || name.size() > 64 || name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string::npos)
        return make_error(errc::invalid, "plugin name \"" + name.substr(0, 80) + "\" is not valid; use 1 to 64 of a-z, 0-9 and _");
    const auto file = "callgate_" + name + ".so";
    std::string tried;
    for (const auto& d : directories) {
        const auto path = d + "/" + file;
        struct stat s {};
        if (::lstat(path.c_str(), &s) == 0) return path;
        tried += (tried.empty() ? "" : ", ") + d;
    }
    return make_error(errc::not_found, "plugin \"" + name + "\" is missing: no " + file + " in " +
                                           (tried.empty() ? "any directory, as none is configured" : tried) +
                                           "; install it or add its directory to plugins.directories");
}

result<plugin_file> read_plugin_file(const std::string& path) {
    const auto slash = path.rfind('/');
    const auto directory = slash == std::string::npos ? std::string(".") : slash == 0 ? std::string("/") : path.substr(0, slash);
    const auto base = slash == std::string::npos ? path : path.substr(slash + 1);
    // Only the directory is resolved (it may be reached by links the administrator made); the file itself is
    // opened without following any.
    const std::unique_ptr<char, void (*)(void*)> real(::realpath(directory.c_str(), nullptr), std::free);
    if (!real) return make_error(errno == ENOENT ? errc::not_found : errc::permission, system_text("cannot resolve directory"), directory);
    plugin_file out;
    out.path = std::string(real.get()) == "/" ? "/" + base : std::string(real.get()) + "/" + base;

    auto opened = open_checked(out.path);
    if (!opened) return opened.error();
    struct stat s {};
    if (::fstat(opened->get(), &s) != 0) return make_error(errc::permission, system_text("cannot stat"), out.path);
    if (!S_ISREG(s.st_mode)) return make_error(errc::permission, "is not a regular file", out.path);
    if (auto refused = refuse_foreign(s, out.path)) return *refused;
    if (s.st_size < 0 || static_cast<std::uint64_t>(s.st_size) > max_plugin_bytes)
        return make_error(errc::invalid, "is larger than " + std::to_string(max_plugin_bytes >> 20) + " MiB", out.path);
    out.device = s.st_dev;
    out.inode = s.st_ino;
    out.bytes.resize(static_cast<std::size_t>(s.st_size));
    std::size_t have = 0;
    while (have < out.bytes.size()) {
        const auto n = ::read(opened->get(), out.bytes.data() + have, out.bytes.size() - have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return make_error(errc::unavailable, system_text("cannot read"), out.path);
        if (n == 0) return make_error(errc::unavailable, "became shorter while it was read; try again", out.path);
        have += static_cast<std::size_t>(n);
    }
    out.sha256 = sha256_hex(out.bytes);
    out.handle = std::move(*opened);
    return out;
}

result<private_copy> private_copy::make(std::span<const std::uint8_t> bytes, const std::string& file_name, const std::string& directory) {
    std::vector<std::string> places;
    if (!directory.empty()) {
        places.push_back(directory);
    } else {
        for (const char* variable : {"RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"})
            if (const char* value = std::getenv(variable); value != nullptr && *value == '/') places.emplace_back(value);
        places.emplace_back("/run");
        if (const char* value = std::getenv("TMPDIR"); value != nullptr && *value == '/') places.emplace_back(value);
        places.emplace_back("/tmp");
        places.emplace_back("/var/tmp");
    }
    std::string why;
    for (const auto& place : places) {
        struct statvfs fs {};
        if (::statvfs(place.c_str(), &fs) == 0 && (fs.f_flag & ST_NOEXEC) != 0) {
            why += (why.empty() ? "" : ", ") + place + " (noexec)";
            continue;
        }
        std::string pattern = place + "/callgate-plugin-XXXXXX";
        if (::mkdtemp(pattern.data()) == nullptr) {
            why += (why.empty() ? "" : ", ") + place + " (" + std::strerror(errno) + ")";
            continue;
        }
        private_copy out;
        out.directory_ = pattern;
        out.path_ = pattern + "/" + file_name;
        descriptor fd(::open(out.path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0500));
        std::size_t done = 0;
        while (fd && done < bytes.size()) {
            const auto n = ::write(fd.get(), bytes.data() + done, bytes.size() - done);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) break;
            done += static_cast<std::size_t>(n);
        }
        if (fd && done == bytes.size()) return out;
        why += (why.empty() ? "" : ", ") + place + " (" + std::strerror(errno) + ")";
    }
    return make_error(errc::unavailable, "cannot make a private copy of the plugin in " + why +
                                             "; set RUNTIME_DIRECTORY to a writable directory that allows execution");
}

private_copy::~private_copy() {
    if (directory_.empty()) return;
    ::unlink(path_.c_str());
    ::rmdir(directory_.c_str());
}

}  // namespace callgate::host
