// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/nats/nkey.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

#include "engine/runtime/config.hpp"

/// For tests of the loader.
namespace callgate::runtime::testing {

/// A folder of its own, removed at the end.
class scratch_folder {
  public:
    scratch_folder() {
        std::string name = (std::filesystem::temp_directory_path() / "callgate_config_XXXXXX").string();
        path_ = ::mkdtemp(name.data());
    }
    ~scratch_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    scratch_folder(const scratch_folder&) = delete;
    scratch_folder& operator=(const scratch_folder&) = delete;
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    std::string write(const std::string& name, const std::string& text, int mode = 0600) const {
        const auto file = path_ / name;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file, std::ios::binary) << text;
        std::filesystem::permissions(file, static_cast<std::filesystem::perms>(mode));
        return file.string();
    }

  private:
    std::filesystem::path path_;
};

inline std::string public_key_of(nats::key_type type) { return nats::key_pair::generate(type).public_text(); }

/// The public keys configs/*.yaml take from the environment.
inline void set_account_environment() {
    for (const char* name : {"AUTH_ACCOUNT", "SYS_ACCOUNT", "APP_ACCOUNT", "PEOPLE_ACCOUNT", "SERVICES_ACCOUNT"}) {
        ::setenv(name, public_key_of(nats::key_type::account).c_str(), 1);
    }
    ::setenv("OIDC_ISSUER", "https://idp.example.com", 1);
}

inline std::string messages(const std::vector<finding>& findings, bool errors_only = true) {
    std::string all;
    for (const auto& f : findings) {
        if (!errors_only || f.level == finding::severity::error) all += f.message() + "\n";
    }
    return all;
}

}  // namespace callgate::runtime::testing
