// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <sys/types.h>

#include <callgate/crypto/secret.hpp>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/error.hpp"

namespace callgate::cli {

/// A deployment folder that survives kill -9 and power loss at any point: a file is there with all of its
/// bytes or not at all (temporary file, fsync, rename, fsync of the directory). One process at a time: an
/// exclusive lock is held while the object lives. Names are relative to the folder, at most one
/// sub-folder deep. Not for use from several threads.
class folder {
  public:
    /// Called before every system call that changes something; a test ends the process there.
    using step_hook = std::function<void(std::string_view what, std::string_view name)>;

    /// Makes `path` (its parent must exist) with mode 0700. An existing one must belong to this user and
    /// not be writable by others.
    static result<folder> open(const std::string& path, step_hook hook = {});
    folder(folder&& o) noexcept;
    folder& operator=(folder&&) = delete;
    ~folder();

    [[nodiscard]] const std::string& path() const noexcept { return path_; }  ///< absolute
    /// Names in the folder, without those of our own temporary files.
    [[nodiscard]] result<std::vector<std::string>> entries() const;
    [[nodiscard]] bool exists(const std::string& name) const;
    /// 0700 whatever it was made with, for a folder we take over.
    result<void> make_private();
    result<void> make_directory(const std::string& name);
    /// nullopt when missing. At most 1 MiB.
    [[nodiscard]] result<std::optional<std::string>> read(const std::string& name) const { return load(name, false); }
    /// As read(), into guarded memory; refuses a file that others can read or that is not this user's.
    [[nodiscard]] result<std::optional<crypto::secret>> read_secret(const std::string& name) const;
    /// Never replaces: fails when the file is there.
    result<void> create(const std::string& name, std::string_view bytes, mode_t mode);
    /// Puts the file there whatever was before.
    result<void> replace(const std::string& name, std::string_view bytes, mode_t mode);
    /// A second name for the present file, replacing that name.
    result<void> keep_as(const std::string& name, const std::string& second);

  private:
    folder(int fd, std::string path, step_hook hook) : fd_(fd), path_(std::move(path)), hook_(std::move(hook)) {}
    [[nodiscard]] result<std::optional<std::string>> load(const std::string& name, bool private_only) const;
    result<void> put(const std::string& name, std::string_view bytes, mode_t mode, bool may_replace);
    result<void> sync_parent_of(const std::string& name);
    void step(std::string_view what, std::string_view name) { if (hook_) hook_(what, name); }
    [[nodiscard]] error failure(std::string_view what, const std::string& name, int code) const;

    int fd_ = -1;
    std::string path_;
    step_hook hook_;
};

}  // namespace callgate::cli
