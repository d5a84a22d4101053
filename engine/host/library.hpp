// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/error.hpp"
#include "engine/host/manifest.hpp"
#include "engine/host/probe.hpp"

namespace callgate::host {

struct library_options {
    std::vector<std::string> directories;       ///< searched in order
    std::map<std::string, std::string> sha256;  ///< plugin name -> 64 hex digits the file must have
    std::string private_directory;              ///< for the copies that are mapped; empty = see private_copy::make
    probe_options probe;
    bool offline = false;  ///< tell plugins that there is no engine (CG_NEGOTIATION_OFFLINE)
};

/// Loads plugins and keeps them mapped for the life of the process: code and static data of a plugin may be
/// in use by threads, thread-local destructors and atexit handlers nobody can enumerate. [control] only.
/// The same content is loaded once, whatever it is called; changed content is loaded beside the old, except
/// under the same inode (it was overwritten in place, which says that the running copy cannot be trusted to be
/// what an operator sees on disk).
class library_loader {
  public:
    explicit library_loader(library_options options) : options_(std::move(options)) {}

    /// Finds, checks, hashes, probes and loads callgate_<name>.so. Every error names the file in `where`.
    [[nodiscard]] result<std::shared_ptr<const manifest>> load(const std::string& name);
    /// As load, of a file named by its path (`callgate plugin inspect ./x.so`); no sha256 pin.
    [[nodiscard]] result<std::shared_ptr<const manifest>> load_file(const std::string& path);

    /// Replaces directories and pins (reload); what is loaded stays.
    void configure(library_options options) { options_ = std::move(options); }
    [[nodiscard]] const library_options& options() const noexcept { return options_; }

  private:
    result<std::shared_ptr<const manifest>> load_checked(const std::string& path, const std::string* pin, const std::string& pin_name);

    library_options options_;
};

}  // namespace callgate::host
