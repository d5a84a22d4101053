// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

#include "engine/base/error.hpp"

/// The plugin file on disk: found, checked, read. [control]; blocking file access, start-up and reload only.
namespace callgate::host {

/// Owns a file descriptor.
class descriptor {
  public:
    explicit descriptor(int fd = -1) noexcept : fd_(fd) {}
    descriptor(descriptor&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
    descriptor& operator=(descriptor&& o) noexcept {
        std::swap(fd_, o.fd_);
        return *this;
    }
    ~descriptor();
    [[nodiscard]] int get() const noexcept { return fd_; }
    explicit operator bool() const noexcept { return fd_ >= 0; }

  private:
    int fd_;
};

/// A plugin file that passed the checks, with the bytes that were read from the descriptor they were made on.
struct plugin_file {
    std::string path;  ///< canonical
    descriptor handle;  ///< while it is open, the inode number is not given to another file
    dev_t device = 0;
    ino_t inode = 0;
    std::vector<std::uint8_t> bytes;
    std::string sha256;  ///< of `bytes`, 64 lower-case hex digits
};

inline constexpr std::size_t max_plugin_bytes = std::size_t{256} << 20;

/// callgate_<name>.so in the first directory that has one. invalid: a name other than [a-z0-9_]{1,64};
/// not_found with the list of directories otherwise.
[[nodiscard]] result<std::string> find_plugin(const std::string& name, const std::vector<std::string>& directories);

/// Opens without following a final symbolic link and refuses (permission) whatever somebody else could
/// change: every component from / on and the file must belong to root or the effective user and must not be
/// writable by group or others (directories with the sticky bit are fine); the file must be a regular one of at
/// most max_plugin_bytes.
[[nodiscard]] result<plugin_file> read_plugin_file(const std::string& path);

/// A private copy that exists under a path of its own: what is hashed is what dlopen maps, whatever happens
/// to the original meanwhile. Removed by the destructor; mappings made of it stay valid.
class private_copy {
  public:
    /// `directory` empty = the first of $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR, /run, $TMPDIR, /tmp and /var/tmp
    /// that can be written and does not forbid execution.
    static result<private_copy> make(std::span<const std::uint8_t> bytes, const std::string& file_name, const std::string& directory);
    private_copy(private_copy&& o) noexcept
        : directory_(std::exchange(o.directory_, {})), path_(std::exchange(o.path_, {})) {}
    private_copy& operator=(private_copy&&) = delete;
    ~private_copy();
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

  private:
    private_copy() = default;
    std::string directory_, path_;
};

/// 64 lower-case hex digits.
[[nodiscard]] std::string sha256_hex(std::span<const std::uint8_t> bytes);

}  // namespace callgate::host
