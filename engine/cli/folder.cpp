// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/folder.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace callgate::cli {
namespace {

constexpr std::size_t max_file_bytes = 1u << 20;
constexpr std::string_view temporary_suffix = ".callgate-new";

class descriptor {
  public:
    explicit descriptor(int fd) noexcept : fd_(fd) {}
    ~descriptor() { if (fd_ >= 0) ::close(fd_); }
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;
    [[nodiscard]] int get() const noexcept { return fd_; }
    explicit operator bool() const noexcept { return fd_ >= 0; }

  private:
    int fd_;
};

std::string mode_text(mode_t mode) {
    char text[8];
    std::snprintf(text, sizeof text, "%04o", static_cast<unsigned>(mode & 07777));
    return text;
}

errc code_of(int code) {
    if (code == EACCES || code == EPERM || code == EROFS) return errc::permission;
    if (code == ENOENT) return errc::not_found;
    if (code == ENOSPC || code == EDQUOT || code == EIO) return errc::unavailable;
    return errc::invalid;
}

}  // namespace

error folder::failure(std::string_view what, const std::string& name, int code) const {
    return make_error(code_of(code), "cannot " + std::string(what) + ": " + std::strerror(code), path_ + "/" + name);
}

result<folder> folder::open(const std::string& path, step_hook hook) {
    if (path.empty()) return make_error(errc::invalid, "the name of the folder is empty");
    if (hook) hook("mkdir", path);
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
        const int code = errno;
        return make_error(code_of(code),
                          code == ENOENT ? "the folder above it does not exist; make it first"
                                         : std::string("cannot make the folder: ") + std::strerror(code),
                          path);
    }
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return make_error(code_of(errno), std::string("cannot open the folder: ") + std::strerror(errno), path);
    std::unique_ptr<char, decltype(&std::free)> full(::realpath(path.c_str(), nullptr), &std::free);
    folder out(fd, full ? full.get() : path, std::move(hook));
    struct stat st{};
    if (::fstat(fd, &st) != 0) return out.failure("look at the folder", ".", errno);
    if (st.st_uid != ::geteuid())
        return make_error(errc::permission, "the folder belongs to another user (uid " + std::to_string(st.st_uid) +
                                                "); run as that user or choose another folder", out.path_);
    if (st.st_mode & 022)
        return make_error(errc::permission, "the folder can be written by others (mode " + mode_text(st.st_mode) +
                                                "); chmod 700 it", out.path_);
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0)
        return make_error(errc::busy, "another callgate init is at work in this folder; wait for it", out.path_);
    return out;
}

folder::folder(folder&& o) noexcept : fd_(o.fd_), path_(std::move(o.path_)), hook_(std::move(o.hook_)) { o.fd_ = -1; }

folder::~folder() {
    if (fd_ >= 0) ::close(fd_);
}

result<std::vector<std::string>> folder::entries() const {
    const int copy = ::openat(fd_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0) return failure("list the folder", ".", errno);
    std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(copy), &::closedir);
    std::vector<std::string> out;
    while (const dirent* e = ::readdir(dir.get())) {
        const std::string_view name = e->d_name;
        if (name == "." || name == ".." || name.ends_with(temporary_suffix)) continue;
        out.emplace_back(name);
    }
    std::sort(out.begin(), out.end());
    return out;
}

bool folder::exists(const std::string& name) const {
    struct stat st{};
    return ::fstatat(fd_, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
}

result<void> folder::make_private() {
    step("chmod", ".");
    if (::fchmod(fd_, 0700) != 0) return failure("set mode 0700", ".", errno);
    return {};
}

result<void> folder::make_directory(const std::string& name) {
    step("mkdir", name);
    if (::mkdirat(fd_, name.c_str(), 0700) != 0 && errno != EEXIST) return failure("make the folder", name, errno);
    struct stat st{};
    if (::fstatat(fd_, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return failure("look at the folder", name, errno);
    if (!S_ISDIR(st.st_mode))
        return make_error(errc::invalid, "is in the way: a folder of that name is needed; move it away", path_ + "/" + name);
    if (st.st_uid != ::geteuid() || (st.st_mode & 022))
        return make_error(errc::permission, "belongs to another user or can be written by others (mode " +
                                                mode_text(st.st_mode) + "); chown it and chmod 700 it", path_ + "/" + name);
    return sync_parent_of(name);
}

result<std::optional<std::string>> folder::load(const std::string& name, bool private_only) const {
    const descriptor fd(::openat(fd_, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!fd) {
        if (errno == ENOENT) return std::optional<std::string>{};
        return failure("read it", name, errno);
    }
    struct stat st{};
    if (::fstat(fd.get(), &st) != 0) return failure("look at it", name, errno);
    if (!S_ISREG(st.st_mode)) return make_error(errc::invalid, "is not a regular file; move it away", path_ + "/" + name);
    if (private_only && st.st_uid != ::geteuid())
        return make_error(errc::permission, "belongs to another user; chown it to the user that runs callgate", path_ + "/" + name);
    if (private_only && (st.st_mode & 077))
        return make_error(errc::permission, "can be read by others (mode " + mode_text(st.st_mode) +
                                                "): if nobody has, chmod 600 it, else make a new key", path_ + "/" + name);
    if (static_cast<std::size_t>(st.st_size) > max_file_bytes)
        return make_error(errc::invalid, "is larger than 1 MiB, which no file of a deployment is", path_ + "/" + name);
    std::string text(static_cast<std::size_t>(st.st_size), '\0');
    std::size_t done = 0;
    while (done < text.size()) {
        const ssize_t n = ::read(fd.get(), text.data() + done, text.size() - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failure("read it", name, errno);
        if (n == 0) break;
        done += static_cast<std::size_t>(n);
    }
    text.resize(done);
    return std::optional<std::string>(std::move(text));
}

result<std::optional<crypto::secret>> folder::read_secret(const std::string& name) const {
    auto text = load(name, true);
    if (!text) return text.error();
    if (!*text) return std::optional<crypto::secret>{};
    auto kept = crypto::secret::copy_of(std::string_view(**text));
    crypto::wipe((*text)->data(), (*text)->size());
    return std::optional<crypto::secret>(std::move(kept));
}

result<void> folder::create(const std::string& name, std::string_view bytes, mode_t mode) {
    return put(name, bytes, mode, false);
}

result<void> folder::replace(const std::string& name, std::string_view bytes, mode_t mode) {
    return put(name, bytes, mode, true);
}

result<void> folder::put(const std::string& name, std::string_view bytes, mode_t mode, bool may_replace) {
    const std::string temporary = name + std::string(temporary_suffix);
    // Left over from an interrupted run: the lock says that nobody is writing it now.
    step("unlink", temporary);
    if (::unlinkat(fd_, temporary.c_str(), 0) != 0 && errno != ENOENT) return failure("remove it", temporary, errno);
    step("open", temporary);
    {
        const descriptor fd(::openat(fd_, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
        if (!fd) return failure("write it", temporary, errno);
        step("chmod", temporary);
        if (::fchmod(fd.get(), mode) != 0) return failure("set its mode", temporary, errno);
        std::size_t done = 0;
        while (done < bytes.size()) {
            step("write", temporary);
            const ssize_t n = ::write(fd.get(), bytes.data() + done, bytes.size() - done);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return failure("write it", temporary, errno);
            done += static_cast<std::size_t>(n);
        }
        step("fsync", temporary);
        if (::fsync(fd.get()) != 0) return failure("write it to disk", temporary, errno);
    }
    step("rename", name);
    if (::renameat2(fd_, temporary.c_str(), fd_, name.c_str(), may_replace ? 0u : static_cast<unsigned>(RENAME_NOREPLACE)) != 0) {
        const int code = errno;
        if (!may_replace && code == EEXIST) {
            (void)::unlinkat(fd_, temporary.c_str(), 0);
            return make_error(errc::invalid, "is there already and is never overwritten", path_ + "/" + name);
        }
        return failure("put it in place", name, code);
    }
    return sync_parent_of(name);
}

result<void> folder::sync_parent_of(const std::string& name) {
    step("fsync directory", name);
    const auto slash = name.rfind('/');
    const descriptor fd(::openat(fd_, slash == std::string::npos ? "." : name.substr(0, slash).c_str(),
                                 O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd || ::fsync(fd.get()) != 0) return failure("write the folder to disk", name, errno);
    return {};
}

result<void> folder::keep_as(const std::string& name, const std::string& second) {
    step("unlink", second);
    if (::unlinkat(fd_, second.c_str(), 0) != 0 && errno != ENOENT) return failure("remove it", second, errno);
    step("link", second);
    if (::linkat(fd_, name.c_str(), fd_, second.c_str(), 0) != 0) return failure("keep the old file as", second, errno);
    return sync_parent_of(second);
}

}  // namespace callgate::cli
