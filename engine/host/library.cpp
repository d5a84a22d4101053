// SPDX-License-Identifier: Apache-2.0
#include "engine/host/library.hpp"

#include <callgate/abi/draft/module.h>

#include <algorithm>
#include <cctype>
#include <mutex>
#include <utility>

#include "engine/host/plugin_file.hpp"
#include "engine/host/plugin_note.hpp"

namespace callgate::host {
namespace {

// Libraries live as long as the process, so what is known of them does, too: loaders come and go with
// configurations and tests.
struct loaded_libraries {
    std::mutex mutex;
    std::map<std::string, std::shared_ptr<const manifest>> by_content;
    struct origin {
        std::string sha256;
        descriptor handle;  // keeps the inode number from being reused by a file that has nothing to do with it
    };
    std::map<std::pair<dev_t, ino_t>, origin> by_inode;
};

loaded_libraries& loaded() {
    static auto* libraries = new loaded_libraries;
    return *libraries;
}

error placed(error e, const std::string& path) {
    if (!e.where.empty() && e.where != path) return e;  // about a directory above it
    e.text = "plugin " + e.text;
    e.where = path;
    return e;
}

std::string lower(std::string s) {
    std::transform(s.begin(), s.end(), s.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return s;
}

}  // namespace

result<std::shared_ptr<const manifest>> library_loader::load(const std::string& name) {
    auto path = find_plugin(name, options_.directories);
    if (!path) return path.error();
    const auto pin = options_.sha256.find(name);
    return load_checked(*path, pin == options_.sha256.end() ? nullptr : &pin->second, name);
}

result<std::shared_ptr<const manifest>> library_loader::load_file(const std::string& path) { return load_checked(path, nullptr, {}); }

result<std::shared_ptr<const manifest>> library_loader::load_checked(const std::string& path, const std::string* pin,
                                                                     const std::string& pin_name) {
    auto file = read_plugin_file(path);
    if (!file) return placed(file.error(), path);
    if (pin != nullptr && lower(*pin) != file->sha256)
        return make_error(errc::permission, "plugin has sha256 " + file->sha256 + ", but plugins.sha256." + pin_name + " demands " + *pin, file->path);

    auto& known = loaded();
    const std::lock_guard lock(known.mutex);
    const auto inode = std::make_pair(file->device, file->inode);
    if (const auto it = known.by_inode.find(inode); it != known.by_inode.end() && it->second.sha256 != file->sha256)
        return make_error(errc::permission,
                          "plugin file was overwritten in place after it was loaded; install a new version under a new file and rename "
                          "it over the old one",
                          file->path);
    if (const auto it = known.by_content.find(file->sha256); it != known.by_content.end()) {
        known.by_inode.emplace(inode, loaded_libraries::origin{file->sha256, std::move(file->handle)});
        return it->second;
    }

    const auto note = read_plugin_note(file->bytes);
    if (!note) return placed(note.error(), file->path);
    if (auto fits = check_abi(note->abi_major, note->abi_minor_needed); !fits) return placed(fits.error(), file->path);

    // From here on only the copy counts: it holds the bytes that were hashed and whose note was read.
    const auto slash = file->path.rfind('/');
    auto copy = private_copy::make(file->bytes, file->path.substr(slash + 1), options_.private_directory);
    if (!copy) return placed(copy.error(), file->path);
    if (auto survived = probe_plugin(copy->path(), options_.probe); !survived) return placed(survived.error(), file->path);
    const auto entry = open_library(copy->path());
    if (!entry) return placed(entry.error(), file->path);
    auto negotiated = negotiate(*entry, options_.offline ? CG_NEGOTIATION_OFFLINE : 0);
    if (!negotiated) return placed(negotiated.error(), file->path);
    if (negotiated->plugin_id != note->plugin_id)
        return make_error(errc::abi, "plugin calls itself \"" + negotiated->plugin_id + "\", but its note says \"" + note->plugin_id + "\"", file->path);

    negotiated->path = file->path;
    negotiated->sha256 = file->sha256;
    auto shared = std::make_shared<const manifest>(std::move(*negotiated));
    known.by_content.emplace(file->sha256, shared);
    known.by_inode.emplace(inode, loaded_libraries::origin{file->sha256, std::move(file->handle)});
    return shared;
}

}  // namespace callgate::host
